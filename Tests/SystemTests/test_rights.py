"""What the daemon may do in its sandbox, and what it says when it may not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness.machine import Machine
from harness.samd import Samd

# Enters the network namespace of another process, as a relay to containers must, and asks who listens there.
_ENTER = """
import ctypes, os, sys
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
namespace = os.open(f"/proc/{sys.argv[1]}/ns/net", os.O_RDONLY)
if libc.setns(namespace, CLONE_NEWNET) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
import socket
print(socket.create_connection(("127.0.0.1", 7000), timeout=5).recv(100).decode())
"""
_GREETER = """
import socket
listener = socket.create_server(("127.0.0.1", 7000))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"hello from the box")
    connection.close()
"""
# What says how the unit starts and lives, not what its processes may do.
_NOT_SANDBOX = ("Exec", "Restart", "Timeout", "Watchdog", "Type", "Notify", "RuntimeDir", "StateDir")


def sandbox(samd: Samd) -> list[str]:
    """The unit's directives that confine it, as options of systemd-run."""
    lines = samd.machine.output(["systemctl", "cat", "samd.service"]).splitlines()
    service = lines[lines.index("[Service]") + 1 : lines.index("[Install]")]
    directives = [line for line in service if "=" in line and not line.startswith(("#", *_NOT_SANDBOX))]
    return [f"--property={directive}" for directive in directives]


def test_the_network_namespace_of_a_process_can_be_entered_in_the_sandbox(samd: Samd) -> None:
    machine = samd.machine
    machine.put_file("/opt/enter.py", _ENTER)
    machine.put_file("/opt/greeter.py", _GREETER)
    machine.run("ip netns add box && ip -n box link set lo up")
    as_dev = "setpriv --reuid=dev --clear-groups"
    greeter = machine.start(f"exec ip netns exec box {as_dev} python3 /opt/greeter.py")
    assert greeter.read_line() == "ready"
    pid = machine.output(["pgrep", "--full", "python3 /opt/greeter.py"]).split()[-1]
    options = sandbox(samd)
    assert any("RestrictNamespaces" in option for option in options)
    answer = machine.output(
        f"systemd-run --quiet --wait --pipe --collect {shlex.join(options)} -- python3 /opt/enter.py {pid}"
    )
    assert answer == "hello from the box"
    greeter.stop()


def test_the_sandbox_leaves_little_to_attack(samd: Samd) -> None:
    answer = samd.machine.run(["systemd-analyze", "security", "--no-pager", "samd.service"]).stdout
    exposure = float(answer.split("Overall exposure level for samd.service:")[1].split()[0])
    assert exposure <= 4.0, answer


def test_the_daemon_cannot_write_where_it_need_not(samd: Samd) -> None:
    options = shlex.join(sandbox(samd))


    def write(place: str) -> tuple[int, str]:
        result = samd.machine.run(
            f"systemd-run --quiet --wait --pipe --collect {options} -- sh -c 'echo x > {place}'", check=False
        )
        return result.returncode, result.stderr

    assert write("/run/samd/probe")[0] == 0, "where it may write, it can"
    samd.machine.run(["rm", "/run/samd/probe"])
    for place in ("/etc/probe", "/home/dev/probe", "/usr/probe"):
        code, message = write(place)
        assert code != 0 and "Read-only file system" in message, (place, message)


def test_an_ordinary_user_who_starts_the_daemon_is_told_what_to_do(samd: Samd) -> None:
    result = samd.cli("run", user="dev", check=False)
    assert result.returncode == 1
    assert "run samd as root" in result.stderr
    assert "daemon.runtime_dir" in result.stderr


def test_a_second_daemon_is_told_about_the_first(samd: Samd) -> None:
    result = samd.cli("run", check=False)
    assert result.returncode == 75
    assert f"pid {samd.main_pid}" in result.stderr
    assert "systemctl status samd" in result.stderr
    assert samd.is_active()


def test_the_daemon_starts_after_the_network_and_before_containers(samd: Samd) -> None:
    order = samd.machine.show("samd", "After", "Before", "Wants")
    assert {"network-online.target", "samd.socket"} <= set(order["After"].split())
    assert "docker.service" in order["Before"].split()
    assert "network-online.target" in order["Wants"].split()


@pytest.fixture(scope="module")
def polling(deb: Path) -> Iterator[Samd]:
    """samd on a machine whose tracefs it cannot use."""
    with Machine(binds=caddy_binds(CURRENT_CADDY)) as machine:
        machine.run(["umount", "/sys/kernel/tracing"])
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


def test_without_tracefs_ports_are_found_by_polling_and_the_reason_is_told(polling: Samd) -> None:
    wake_up = polling.wait_wake_up("polling")
    assert "/sys/kernel/tracing" in wake_up["reason"]
    polling.machine.wait_for(lambda: "polling" in polling.status_text(), "the status says so")
    polling.publish(3000)
    (finding,) = [finding for finding in polling.json("doctor") if finding["check"] == "kernel events"]
    assert finding["level"] == "warning"
    assert "mount -t tracefs" in finding["hint"]
