"""Caddy is replaced by a newer one, as a package upgrade does it: the URLs are back by themselves, with what it can do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CADDY_VERSIONS, CURRENT_CADDY
from harness import requirements, servers
from harness.machine import Machine
from harness.samd import Samd, host_of

BACK_WITHIN_SECONDS = 3.0
NEWER = "/opt/caddy-newer"
# While Caddy is down, nobody listens; who was connected is cut off.
CUT_OFF = {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine with Debian's own Caddy, and a newer one to put in its place."""
    newer = requirements.file_from_environment(CADDY_VERSIONS[CURRENT_CADDY], "a current Caddy")
    with Machine(binds={newer: NEWER}) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


def version(samd: Samd) -> str:
    return samd.machine.output(["caddy", "version"]).lstrip("v")


def replace_and_restart(samd: Samd, binary: str) -> None:
    """Replaces Caddy under load; the URLs answer again within the time."""
    with samd.watch_url(3000) as watch:
        samd.machine.run(
            f"install -m 755 {binary} /usr/bin/caddy.new && mv /usr/bin/caddy.new /usr/bin/caddy"
        )
        samd.machine.run(["systemctl", "restart", "caddy"])
        restarted = time.monotonic()
        for port in (3000, 3001, 3002):
            samd.wait_answer(port, 200, BACK_WITHIN_SECONDS - (time.monotonic() - restarted))
    assert watch.answers["200"] > 0
    assert set(watch.answers) <= {"200"} | CUT_OFF, dict(watch.answers)
    samd.wait_ready()


def test_urls_are_back_after_an_upgrade_and_after_the_way_back(samd: Samd) -> None:
    assert version(samd).startswith("2.6.")
    samd.machine.run(["cp", "/usr/bin/caddy", "/opt/caddy-older"])
    for port in (3000, 3001, 3002):
        samd.publish(port)
    replace_and_restart(samd, NEWER)
    assert version(samd).startswith(f"{CURRENT_CADDY}.")
    assert_streams_survive(samd)
    replace_and_restart(samd, "/opt/caddy-older")
    assert version(samd).startswith("2.6.")


def assert_streams_survive(samd: Samd) -> None:
    """What the newer Caddy can and the older could not: keep websockets across changes."""
    samd.serve(3040, command=servers.command(samd.machine, "upgrade-echo", "3040"))
    samd.wait_port(3040, "published")
    samd.machine.put_file("/run/watch-password", samd.password, mode=0o600)
    client = samd.machine.start(servers.command(samd.machine, "upgrade-client", host_of(3040)))
    assert client.read_line() == "101"
    samd.publish(3041)
    samd.stop_serving(3041)
    samd.wait_gone(3041)
    assert "closed" not in client.stop().split()
