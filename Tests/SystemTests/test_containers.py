"""What listens in a container with a network of its own is reached under the right name, and by Caddy alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness import servers
from harness.containers import Container
from harness.machine import Machine
from harness.polling import NotYet
from harness.samd import REMOVAL_TIMEOUT_SECONDS, Samd, host_of

INSIDE = ("0.0.0.0:3000", "127.0.0.1:4000", "::1:4001")
RELAYS = "/run/samd/relay"
# Connects to a relay as Caddy would and tells what came of it.
_INTRUDER = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
try:
    connection.connect(sys.argv[1])
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    print("answered" if connection.recv(1000) else "closed")
except (PermissionError, ConnectionResetError, BrokenPipeError):
    print("closed")
"""


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine that can run containers, with samd and the current Caddy."""
    with Machine(binds=caddy_binds(CURRENT_CADDY), with_containers=True) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


@pytest.fixture(scope="module")
def dc1(samd: Samd) -> Container:
    return Container(
        samd.machine, "dc1", servers.in_container("greeter", "dc1", *INSIDE), publish=["8088:3000"]
    )


@pytest.fixture(autouse=True)
def all_published(samd: Samd, dc1: Container) -> None:
    for port in (3000, 4000, 4001, 8088):
        samd.wait_answer(port, 200)


def serve_on_the_machine(samd: Samd, port: int) -> None:
    """A server of the workspace's owner outside all containers."""
    samd.serve(port, command=servers.command(samd.machine, "greeter", f"machine 127.0.0.1:{port}"))


def answer(samd: Samd, name: int | str) -> str:
    status, body = samd.fetch(name, samd.password)
    return body if status == 200 else str(status)


def relays(samd: Samd) -> list[str]:
    return samd.machine.output(f"ls {RELAYS} 2> /dev/null", check=False).split()


def wait_relays(samd: Samd, count: int, what: str) -> list[str]:
    """Waits until there are so many relays; they are made and removed beside the routes."""

    def found() -> bool:
        if len(relays(samd)) != count:
            raise NotYet(str(relays(samd)))
        return True

    samd.machine.wait_for(found, what)
    return sorted(relays(samd))


def test_listeners_inside_and_outside_and_published_ports_answer(samd: Samd) -> None:
    serve_on_the_machine(samd, 3100)
    samd.wait_answer(3100, 200)
    assert {port: answer(samd, port) for port in (3000, 4000, 4001, 8088, 3100)} == {
        3000: "dc1 0.0.0.0:3000",
        4000: "dc1 127.0.0.1:4000",
        4001: "dc1 ::1:4001",
        8088: "dc1 0.0.0.0:3000",
        3100: "machine 127.0.0.1:3100",
    }
    for port in (3000, 4000, 4001, 8088, 3100):
        assert samd.fetch(port)[0] == 401


def test_a_port_of_a_container_is_listed_with_it(samd: Samd, dc1: Container) -> None:
    ports = samd.named_ports()
    for name in ("3000", "4000", "4001"):
        container = ports[name]["container"]
        assert (container["name"], container["runtime"]) == ("dc1", "podman"), ports[name]
        assert dc1.id.startswith(container["id"])
        assert not container["isForwarded"]
    # Podman hands the socket of a published port on, within moments to conmon; samd looks again 2 s after a change.
    samd.machine.wait_for(lambda: samd.named_ports()["8088"]["container"]["isForwarded"], "8088 is forwarded")
    assert samd.named_ports()["8088"]["container"]["name"] == "dc1"
    assert "dc1" in samd.cli("ports").stdout


def test_a_container_is_always_reached_under_its_long_name(samd: Samd) -> None:
    assert answer(samd, "3000-dc1") == "dc1 0.0.0.0:3000"
    assert answer(samd, "4000-dc1") == "dc1 127.0.0.1:4000"
    assert answer(samd, "4001-dc1") == "dc1 ::1:4001"
    assert answer(samd, "8088-dc1") == "404"


def test_of_equal_numbers_the_machines_own_has_the_plain_name(samd: Samd) -> None:
    serve_on_the_machine(samd, 3000)
    samd.machine.wait_for(lambda: answer(samd, 3000).startswith("machine"), "the machine's own has 3000")
    assert answer(samd, "3000-dc1") == "dc1 0.0.0.0:3000"
    entry = samd.wait_port("3000-dc1", "published")
    assert (entry["port"], entry["container"]["name"]) == (3000, "dc1")
    assert entry["url"] == f"http://{host_of('3000-dc1')}:8080/"
    samd.stop_serving(3000)
    samd.machine.wait_for(
        lambda: answer(samd, 3000).startswith("dc1"), "the container has 3000", REMOVAL_TIMEOUT_SECONDS
    )


def test_two_containers_with_the_same_number_are_told_apart(samd: Samd) -> None:
    dc2 = Container(samd.machine, "dc2", servers.in_container("greeter", "dc2", *INSIDE))
    for name, body in {
        "3000-dc2": "dc2 0.0.0.0:3000",
        "4000-dc2": "dc2 127.0.0.1:4000",
        "4001-dc2": "dc2 ::1:4001",
    }.items():
        samd.wait_answer(name, 200)
        assert answer(samd, name) == body
    assert answer(samd, 3000) == "dc1 0.0.0.0:3000", "who came first keeps the plain name"
    dc2.remove()
    for name in ("3000-dc2", "4000-dc2", "4001-dc2"):
        samd.wait_answer(name, 404, REMOVAL_TIMEOUT_SECONDS)
    assert answer(samd, "4000-dc1") == "dc1 127.0.0.1:4000"


def test_a_containers_name_is_written_as_host_names_are(samd: Samd) -> None:
    container = Container(
        samd.machine, "Web_App.One", servers.in_container("greeter", "web", "127.0.0.1:4100")
    )
    samd.wait_answer("4100-web-app-one", 200)
    assert samd.wait_port("4100", "published")["container"]["name"] == "Web_App.One"
    container.remove()
    samd.wait_gone("4100")


def test_processes_of_other_users_in_a_container_are_published_too(samd: Samd) -> None:
    container = Container(
        samd.machine, "users", servers.in_container("greeter", "users", "127.0.0.1:4200"), user="1234:1234"
    )
    samd.wait_answer(4200, 200)
    assert samd.wait_port("4200", "published")["owner"]["uid"] == 1234
    container.remove()
    samd.wait_gone("4200")


@pytest.mark.parametrize("user", ["dev", "guest", "root"])
def test_only_caddy_may_use_the_relays(samd: Samd, user: str) -> None:
    samd.machine.put_file("/opt/intruder.py", _INTRUDER)
    # The wildcard is reached over the bridge.
    for name in wait_relays(samd, 2, "there is one for 127.0.0.1 and one for ::1"):
        place = f"{RELAYS}/{name}"
        assert samd.machine.output(["python3", "/opt/intruder.py", place], user=user) == "closed"
    assert answer(samd, 4000) == "dc1 127.0.0.1:4000"


def test_a_restarted_daemon_finds_its_relays_again(samd: Samd) -> None:
    before = wait_relays(samd, 2, "there is one for 127.0.0.1 and one for ::1")
    samd.machine.run(["systemctl", "restart", "samd"])
    samd.wait_active()
    for port, body in {4000: "dc1 127.0.0.1:4000", 4001: "dc1 ::1:4001"}.items():
        samd.wait_answer(port, 200)
        assert answer(samd, port) == body
    assert sorted(relays(samd)) == before


def test_a_stopped_container_is_withdrawn_and_a_started_one_is_back(samd: Samd, dc1: Container) -> None:
    dc1.stop()
    for name in (3000, 4000, 4001, 8088, "3000-dc1"):
        samd.wait_answer(name, 404, REMOVAL_TIMEOUT_SECONDS)
    assert not {"3000", "4000", "4001", "8088"} & set(samd.named_ports()), json.dumps(samd.named_ports())
    wait_relays(samd, 0, "there are none")
    dc1.start()
    for name in (3000, 4000, 4001, 8088, "3000-dc1", "4000-dc1"):
        samd.wait_answer(name, 200)
    assert answer(samd, 4001) == "dc1 ::1:4001"
    assert samd.wait_port("4000", "published")["container"]["name"] == "dc1"
