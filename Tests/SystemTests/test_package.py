"""The package on a Debian 12 that has never seen Swift: installed, restarted, removed, purged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness.machine import Machine
from harness.samd import CONFIGURATION, Samd

# Of all tests only these use samd's default for the trace instance: parallel machines share one kernel.
INSTANCE = "/sys/kernel/tracing/instances/samd"


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(binds=caddy_binds(CURRENT_CADDY)) as machine:
        yield machine


def files(machine: Machine) -> set[str]:
    """Every file that a package could bring or a daemon could leave."""
    places = "/etc /lib/systemd /opt /run /srv /tmp /usr /var"
    return set(machine.run(f"find {places} -xdev -not -type d; find /run -not -type d").stdout.splitlines())


def installed(machine: Machine, deb: Path) -> Samd:
    """Installs the package as the documentation says, with its own configuration."""
    place = "/root/samd.deb"
    machine.put_file(place, deb.read_bytes())
    machine.run(["apt-get", "--quiet", "--yes", "install", place])
    samd = Samd(machine)
    samd.wait_active()
    return samd


def test_it_installs_and_serves_on_a_machine_without_swift(machine: Machine, deb: Path) -> None:
    assert machine.output("find / -xdev -name 'libswift*' -or -name swiftc") == ""
    samd = installed(machine, deb)
    assert machine.output(["systemctl", "is-active", "samd"]) == "active"
    assert (
        machine.output(["systemctl", "is-enabled", "samd.service", "samd.socket"]).split() == ["enabled"] * 2
    )
    samd.publish(3000)
    assert machine.output(["systemctl", "--failed", "--no-legend"]) == ""
    machine.wait_for(
        lambda: machine.run(["test", "-d", INSTANCE], check=False).returncode == 0, "kernel events are there"
    )
    assert "libswift" not in machine.output(["ldd", "/usr/bin/samd"])


def test_every_file_of_it_belongs_to_root_and_only_root_may_write_it(machine: Machine, deb: Path) -> None:
    machine.install_deb(deb)
    paths = [
        line for line in machine.output(["dpkg-query", "--listfiles", "samd"]).splitlines() if line != "/."
    ]
    for line in machine.output(["stat", "--format=%U:%G %A %n", *paths]).splitlines():
        owner, mode, _path = line.split(maxsplit=2)
        assert owner == "root:root", line
        assert mode[0] == "l" or (mode[5] == "-" and mode[8] == "-"), line
    assert machine.output(["dpkg", "--verify", "samd"]) == ""


def test_after_a_removal_only_configuration_and_state_are_left_and_caddy_is_as_before(
    machine: Machine, deb: Path
) -> None:
    before = files(machine)
    samd = installed(machine, deb)
    samd.publish(3000)
    machine.run(["dpkg", "--remove", "samd"])
    assert machine.run(["test", "-e", INSTANCE], check=False).returncode != 0
    assert machine.run(["pgrep", "--exact", "samd"], check=False).returncode != 0
    assert machine.run(["test", "-e", "/run/samd"], check=False).returncode != 0
    assert machine.run(["test", "-e", CONFIGURATION], check=False).returncode == 0
    # Nobody keeps the routes up to date any more: they are gone, and the admin endpoint is back in its place.
    machine.wait_for(lambda: samd.fetch(3000)[0] == 0, "the URL is gone")
    machine.wait_for(
        lambda: (
            machine.run(["curl", "--fail", "--silent", "http://127.0.0.1:2019/config/"], check=False).stdout
        ),
        "Caddy's admin endpoint is back",
        unit="caddy",
    )
    machine.run(["dpkg", "--purge", "samd"])
    assert machine.output(["systemctl", "--failed", "--no-legend"]) == ""
    ours = [path for path in files(machine) - before if "samd" in path or "/run/caddy" in path]
    assert ours == []


def test_it_can_be_installed_again_after_a_removal_and_keeps_the_password(
    machine: Machine, deb: Path
) -> None:
    samd = installed(machine, deb)
    password = samd.password
    machine.run(["dpkg", "--remove", "samd"])
    samd = installed(machine, deb)
    assert samd.password == password
    samd.publish(3000)


def test_a_configuration_that_was_edited_survives_an_upgrade(
    machine: Machine, deb: Path, newer_deb: Path
) -> None:
    installed(machine, deb)
    machine.run(f"echo '[ports]\nignore = [3001]' > {CONFIGURATION}")
    machine.install_deb(newer_deb)
    assert machine.read_file(CONFIGURATION) == "[ports]\nignore = [3001]\n"
    assert Samd(machine).is_active()


def test_an_administrators_choice_to_disable_it_survives_an_upgrade(
    machine: Machine, deb: Path, newer_deb: Path
) -> None:
    installed(machine, deb)
    machine.run(["systemctl", "disable", "samd.service", "samd.socket"])
    machine.install_deb(newer_deb)
    assert machine.run(["systemctl", "is-enabled", "samd.service"], check=False).stdout.strip() == "disabled"


def test_it_works_on_a_machine_without_caddy_and_says_what_is_missing(machine: Machine, deb: Path) -> None:
    machine.run("systemctl stop caddy && systemctl mask --quiet caddy")
    samd = installed(machine, deb)
    samd.serve(3000)
    samd.wait_port(3000, "pending")
    machine.wait_for(lambda: "Caddy" in samd.status_text(), "the status names Caddy")


@pytest.mark.parametrize("place", ["caddy.service", "caddy.service.d/10-mine.conf"])
def test_a_caddy_with_a_command_of_its_own_is_left_alone(machine: Machine, deb: Path, place: str) -> None:
    command = "/usr/bin/caddy run --config /etc/caddy/mine.json"
    machine.put_file("/etc/caddy/mine.json", '{"admin": {"listen": "unix//run/mine.sock"}}')
    machine.put_file(
        f"/etc/systemd/system/{place}",
        f"[Service]\nType=notify\nUser=root\nExecStart=\nExecStart={command}\n",
    )
    machine.run("systemctl daemon-reload && systemctl restart caddy")
    before = machine.show("caddy", "MainPID")["MainPID"]
    samd = installed(machine, deb)
    assert machine.show("caddy", "MainPID")["MainPID"] == before, "it was not restarted"
    assert command in machine.output(["systemctl", "show", "--property=ExecStart", "caddy"])
    # What the message asks for makes it work.
    samd.configure({"caddy": {"admin": "unix//run/mine.sock"}})
    machine.run(["systemctl", "restart", "samd"])
    samd.publish(3000)
    # So it stays through a removal and another installation; a purge takes everything along.
    machine.run(["apt-get", "--quiet", "--yes", "remove", "samd"])
    installed(machine, deb)
    assert machine.show("caddy", "MainPID")["MainPID"] == before
    assert command in machine.output(["systemctl", "show", "--property=ExecStart", "caddy"])
    machine.run(["apt-get", "--quiet", "--yes", "purge", "samd"])
    assert "50-samd.conf" not in machine.output("find /etc/systemd -name '50-samd*'")
