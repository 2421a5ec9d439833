"""What looks like a person for a while, and is found out: minutes each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness.claude import SESSIONS
from harness.machine import Machine
from harness.observation import Line, Observation
from harness.samd import Samd
from harness.ssh import SSH
from test_idle import IDLE, QUERY, THRESHOLD_SECONDS

pytestmark = [pytest.mark.full, pytest.mark.timeout(400)]

# Input that never pauses counts as a person's for so long, with the settings of these tests.
STEADY_SECONDS = 60.0
LATE_SECONDS = 60.0


@pytest.fixture
def samd(deb: Path) -> Iterator[Samd]:
    """A machine of the test's own that becomes idle as soon as it may."""
    with Machine(binds=caddy_binds(CURRENT_CADDY)) as machine:
        machine.put_file("/opt/query.py", QUERY)
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}, "idle": IDLE})
        yield samd


def test_a_terminal_that_does_nothing_but_answer_its_program_is_no_person(samd: Samd) -> None:
    with Observation(samd.machine, SESSIONS) as seen:
        begun = time.monotonic()
        terminal = SSH(samd.machine).log_in("dev", "python3 /opt/query.py", answers=True)

        def is_input(line: Line) -> bool:
            signals = line.get("idle", {}).get("signals", [])
            return any(signal["kind"] == "terminal" and signal["counts"] == "touched" for signal in signals)

        seen.wait(lambda lines: any(map(is_input, lines)), "it looks like a person first", 40)

        def became_idle(lines: list[Line]) -> list[Line]:
            return [line for line in lines if line.get("idle", {}).get("state") == "idle"][:1]

        longest = STEADY_SECONDS + THRESHOLD_SECONDS + LATE_SECONDS
        at = seen.wait(became_idle, "the machine is idle", longest + 60)[0]["at"]
        assert at - begun <= longest
        terminal.close()
