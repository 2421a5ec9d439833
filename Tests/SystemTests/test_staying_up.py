"""Published URLs answer whatever happens to the daemon: it stops, stalls, is killed, reloaded, upgraded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import packages
from harness.samd import CONFIGURATION, Samd

STALLED = "31bc0e1d68a94531b4b55dd36cd106dd"
DROP_IN = "/etc/systemd/system/samd.service.d/tests.conf"
PORT = 3000


@pytest.fixture(autouse=True)
def published(samd: Samd) -> Iterator[None]:
    if not samd.is_active():
        samd.machine.run(["systemctl", "restart", "samd"])
    samd.stop_serving(PORT)
    samd.publish(PORT)
    yield


def trace_instances(samd: Samd) -> list[str]:
    """The trace instances of this machine; the kernel shows those of all machines."""
    names = samd.machine.output(["ls", "/sys/kernel/tracing/instances"]).split()
    return [name for name in names if samd.machine.name in name]


def assert_one_daemon_and_nothing_left_over(samd: Samd) -> None:
    assert samd.machine.output(["pgrep", "--exact", "samd"]).split() == [str(samd.main_pid)]
    samd.wait_wake_up("kernel events")
    assert trace_instances(samd) == [samd.machine.trace_instance]
    assert sorted(samd.machine.output(["ls", "/run/samd"]).split()) == ["access.sock", "samd.lock", "samd.sock"]
    # One of those is there while a file is being saved.
    samd.machine.wait_for(
        lambda: ".tmp" not in samd.machine.output(["ls", "/var/lib/samd"]), "no temporary file is left over"
    )


def test_a_killed_daemon_comes_back_while_its_urls_answer(samd: Samd) -> None:
    before = samd.main_pid
    with samd.watch_url(PORT) as watch:
        samd.machine.run(["systemctl", "kill", "--signal=SIGKILL", "samd"])
        samd.machine.wait_for(lambda: samd.main_pid not in (0, before), "samd is restarted")
        samd.wait_active()
        samd.wait_port(PORT, "published")
    watch.assert_only(200)
    assert_one_daemon_and_nothing_left_over(samd)
    samd.publish(3001)


def test_what_changed_while_the_daemon_was_down_is_made_good(samd: Samd) -> None:
    samd.publish(3002)
    samd.machine.run(["systemctl", "stop", "samd"])
    samd.stop_serving(3002)
    samd.serve(3003)
    samd.machine.run(["systemctl", "start", "samd"])
    samd.wait_answer(3003, 200)
    samd.wait_answer(3002, 404)


def test_a_stopped_daemon_leaves_its_urls_and_no_trace_instance(samd: Samd) -> None:
    with samd.watch_url(PORT) as watch:
        samd.machine.run(["systemctl", "stop", "samd"])
        assert not samd.is_active()
        assert trace_instances(samd) == []
        assert samd.get(PORT) == 200
        samd.machine.run(["systemctl", "start", "samd"])
        samd.wait_port(PORT, "published")
    watch.assert_only(200)
    assert_one_daemon_and_nothing_left_over(samd)


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_urls_answer_during(samd: Samd, verb: str) -> None:
    with samd.watch_url(PORT) as watch:
        samd.machine.run(["systemctl", verb, "samd"])
        samd.wait_active()
        samd.wait_port(PORT, "published")
    watch.assert_only(200)


def test_first_sightings_survive_a_restart(samd: Samd) -> None:
    since = samd.ports()[PORT]["since"]
    samd.machine.run(["systemctl", "restart", "samd"])
    assert samd.wait_port(PORT, "published")["since"] == since


def test_an_upgrade_in_place_keeps_urls_password_and_configuration(samd: Samd, newer_deb: Path) -> None:
    before = samd.main_pid
    password, configuration = samd.password, samd.machine.read_file(CONFIGURATION)
    with samd.watch_url(PORT) as watch:
        samd.machine.install_deb(newer_deb)
        samd.wait_active()
        samd.wait_port(PORT, "published")
    watch.assert_only(200)
    assert samd.main_pid != before
    installed = samd.machine.output("dpkg-query --show --showformat='${Version}' samd")
    assert installed == packages.version_of(newer_deb)
    assert samd.cli("password").stdout.strip().endswith(f":{password}")
    assert samd.machine.read_file(CONFIGURATION) == configuration
    assert_one_daemon_and_nothing_left_over(samd)


def test_clients_that_connect_during_a_restart_are_answered(samd: Samd) -> None:
    commands = 10
    client = samd.machine.start(
        f"for i in $(seq {commands}); do samd status --json > /dev/null 2>&1; echo $?; done"
    )
    samd.machine.run(["systemctl", "restart", "samd"])
    statuses = [client.read_line() for _ in range(commands)]
    client.stop()
    # systemd drops what waits in the socket at the moment the daemon ends (FlushPending=); the command asks again.
    assert statuses == ["0"] * commands


@pytest.fixture
def stalling(samd: Samd) -> Iterator[None]:
    """A daemon whose ports service stops making progress, under a watchdog that is in a hurry."""
    configuration = samd.machine.read_file(CONFIGURATION)
    samd.configure({"workspace": {"owners": ["dev"]}, "daemon": {"stall_limit": "3s"}})
    samd.machine.put_file(DROP_IN, "[Service]\nEnvironment=SAMD_FAULT_STALL=ports\nWatchdogSec=2s\n")
    samd.machine.run("systemctl daemon-reload && systemctl restart samd")
    yield
    samd.machine.put_file(CONFIGURATION, configuration)
    samd.machine.run(f"rm {DROP_IN} && systemctl daemon-reload && systemctl restart samd")


@pytest.mark.usefixtures("stalling")
def test_a_service_without_progress_gets_the_daemon_restarted_and_is_named(samd: Samd) -> None:
    before = samd.main_pid
    with samd.watch_url(PORT) as watch:
        samd.machine.wait_for(lambda: samd.main_pid not in (0, before), "the watchdog restarts samd", 30)
    watch.assert_only(200)
    entry = samd.machine.journal("samd", MESSAGE_ID=STALLED)[0]
    assert entry["SAMD_SERVICE"] == "ports"
    assert "service ports made no progress" in entry["MESSAGE"]
    log = samd.machine.journalctl("--unit=samd")
    assert "Watchdog timeout" in log


UNREADABLE = {"empty": "", "cut": "{", "newer": '{"version": 99}', "noise": "\x00\xff"}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("name", ["ports.json", "web-credentials.json"])
def test_a_state_file_that_cannot_be_read_is_moved_aside_and_told(
    samd: Samd, name: str, content: str
) -> None:
    path = f"/var/lib/samd/{name}"
    samd.machine.run(["systemctl", "stop", "samd"])
    samd.machine.put_file(path, content, mode=0o600)
    since = samd.machine.output("date +%s.%N")
    samd.machine.run(["systemctl", "start", "samd"])
    log = samd.machine.journalctl("--unit=samd", f"--since=@{since}")
    assert f"{path} was not used" in log
    assert f"{path}.unusable" in log
    assert samd.machine.run(["test", "-f", f"{path}.unusable"], check=False).returncode == 0
    samd.forget_password()
    samd.wait_answer(PORT, 200)
