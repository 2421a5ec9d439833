"""The machines that the other tests stand on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import leftovers, naming, requirements
from harness.machine import CommandFailed, Machine
from harness.polling import wait_for

_OWNER_THAT_HANGS = """
import sys
from harness.machine import Machine
with Machine() as machine:
    print(machine.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    requirements.require_machines()
    with Machine() as machine:
        yield machine


def left_of(name: str) -> list[str]:
    return [str(leftover) for leftover in leftovers.find(lambda found: found == name)]


def test_a_machine_runs_a_booted_systemd_in_a_network_of_its_own(machine: Machine) -> None:
    assert machine.output(["systemctl", "is-system-running"]) == "running"
    assert machine.output(["cat", "/proc/1/comm"]) == "systemd"
    links = json.loads(machine.output(["ip", "-json", "link"]))
    assert [link["ifname"] for link in links] == ["lo"]


def test_a_machine_has_a_tracefs_in_which_instances_can_be_made(machine: Machine) -> None:
    instance = f"/sys/kernel/tracing/instances/{machine.trace_instance}"
    machine.run(f"mkdir {instance} && test -e {instance}/trace_pipe && rmdir {instance}")


def test_a_failed_command_tells_what_it_printed(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match=r"exit 3: (?s:.*)to stdout(?s:.*)to stderr"):
        machine.run("echo to stdout; echo to stderr >&2; exit 3")


def test_a_command_runs_as_the_user_that_was_asked_for(machine: Machine) -> None:
    assert machine.output("id -un; pwd; echo $HOME", user="dev").split() == ["dev", "/", "/home/dev"]


def test_waiting_in_vain_tells_what_was_seen_last_and_the_units_journal(machine: Machine) -> None:
    with pytest.raises(AssertionError, match=r"until it snows; last seen: rain(?s:.*)Journal Service"):
        machine.wait_for(lambda: _fail("rain"), "it snows", timeout=0.1, unit="systemd-journald")


def _fail(text: str) -> bool:
    raise AssertionError(text)


def test_two_machines_do_not_meet(machine: Machine) -> None:
    server = machine.start(["python3", "-m", "http.server", "3000"])
    answer = "curl --silent --output /dev/null http://127.0.0.1:3000/"
    machine.wait_for(lambda: machine.run(answer, check=False).returncode == 0, "the server answers")
    with Machine() as other:
        assert other.run(answer, check=False).returncode == 7  # nobody listens
    server.stop()
    machine.wait_for(lambda: machine.run(answer, check=False).returncode == 7, "the server is gone")


def test_a_machine_that_ended_leaves_nothing_behind() -> None:
    requirements.require_machines()
    with Machine() as machine:
        machine.run(f"mkdir /sys/kernel/tracing/instances/{machine.trace_instance}")
        machine.start(["sleep", "1000"])
        assert left_of(machine.name)
    assert left_of(machine.name) == []


def test_a_machine_is_removed_when_the_test_in_it_fails() -> None:
    requirements.require_machines()
    name = ""
    with pytest.raises(ZeroDivisionError):
        with Machine() as machine:
            name = machine.name
            raise ZeroDivisionError
    assert left_of(name) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["by Ctrl-C", "without mercy"])
def test_what_an_owner_leaves_that_was_killed(how: signal.Signals) -> None:
    requirements.require_machines()
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER_THAT_HANGS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()
    assert left_of(name) and naming.owner_lives(name)
    owner.send_signal(how)
    owner.communicate(timeout=60)
    if how is signal.SIGKILL:
        # The kernel ends the machine; what it cannot end is swept by the next run.
        wait_for(lambda: not any("process" in left for left in left_of(name)), "the machine is gone", 30)
        assert left_of(name)
        assert name in leftovers.sweep()
    assert left_of(name) == []
