"""Whoever may keep the machine keeps it, for a time or while something runs, and for no longer."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness.containers import Container
from harness.machine import Machine
from harness.samd import OWNER, Samd

# Waits for a file in the place that it is given.
UNTIL_FILE = "until [ -e {0} ]; do sleep 0.05; done; exit 7"


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine that can run containers, with samd."""
    with Machine(binds=caddy_binds(CURRENT_CADDY), with_containers=True) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": [OWNER]}})
        yield samd


@pytest.fixture(autouse=True)
def nothing_is_held(samd: Samd) -> Iterator[None]:
    """Every test begins without holds, and none leaves one behind."""
    assert holds(samd) == []
    yield
    for hold in holds(samd):
        samd.cli("release", hold["id"])


def holds(samd: Samd) -> list[dict[str, Any]]:
    return list(samd.json("holds")["holds"])


def held_by(samd: Samd) -> list[str]:
    """The ids of the signals that hold the machine and come from holds."""
    reasons = json.loads(samd.ask("GET", "/v1/idle")[2])["holding"]
    return [reason["id"] for reason in reasons if reason.get("kind") == "hold"]


def wait_held(samd: Samd, count: int) -> list[dict[str, Any]]:
    """Waits until so many holds are there, and the verdict goes by them."""

    def there() -> bool:
        return len(holds(samd)) == count and len(held_by(samd)) == count

    samd.machine.wait_for(there, f"{count} holds are there")
    return holds(samd)


def test_a_hold_for_a_time_keeps_the_machine_until_it_is_released(samd: Samd) -> None:
    samd.cli("hold", "2h", "--reason", "migration", user=OWNER)
    (hold,) = wait_held(samd, 1)
    assert (hold["by"]["user"], hold["reason"]) == (OWNER, "migration")
    left = datetime.fromisoformat(hold["until"].replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert 7100 <= left.total_seconds() <= 7201
    listed = samd.cli("holds").stdout
    assert hold["id"] in listed and "migration" in listed and OWNER in listed
    assert "migration" in samd.cli("idle").stdout
    samd.cli("release", hold["id"], user=OWNER)
    assert wait_held(samd, 0) == []


def test_a_hold_survives_a_restart_of_samd(samd: Samd) -> None:
    samd.cli("hold", "1h", "--reason", "restart", user=OWNER)
    (before,) = wait_held(samd, 1)
    samd.machine.run(["systemctl", "restart", "samd"])
    samd.wait_active()
    (after,) = wait_held(samd, 1)
    assert {key: after[key] for key in ("id", "reason", "by", "takenAt")} == {
        key: before[key] for key in ("id", "reason", "by", "takenAt")
    }


def test_a_hold_with_a_command_lasts_as_long_as_that_and_passes_its_status_on(samd: Samd) -> None:
    run = samd.machine.start(
        ["sh", "-c", f"samd hold -- sh -c '{UNTIL_FILE.format('/tmp/done')}'; echo status $?"], user=OWNER
    )
    (hold,) = wait_held(samd, 1)
    assert hold["process"]["pid"] > 0
    samd.machine.run(["touch", "/tmp/done"])
    assert run.read_line() == "status 7"
    assert wait_held(samd, 0) == []
    run.stop()


def test_a_hold_with_a_command_ends_when_it_is_killed_itself(samd: Samd) -> None:
    command = ["samd", "hold", "--", "sh", "-c", UNTIL_FILE.format("/tmp/bereft")]
    run = samd.machine.start(command, user=OWNER)
    (hold,) = wait_held(samd, 1)
    samd.machine.run(["kill", "-KILL", str(hold["process"]["pid"])])
    assert wait_held(samd, 0) == []
    # What it ran goes on; its output ends with it.
    samd.machine.run(["touch", "/tmp/bereft"])
    run.stop(signal.SIGKILL)


@pytest.mark.parametrize("user", ["guest", "nobody", "caddy"])
def test_who_has_no_part_in_the_workspace_may_not_keep_the_machine(samd: Samd, user: str) -> None:
    refused = samd.cli("hold", "1h", check=False, user=user)
    assert refused.returncode != 0
    assert refused.stderr.strip(), "why is said"
    assert holds(samd) == []


def test_a_hold_longer_than_the_cap_is_refused_with_the_cap(samd: Samd) -> None:
    refused = samd.cli("hold", "30d", check=False, user=OWNER)
    assert refused.returncode != 0
    assert "idle.hold_cap" in refused.stderr
    assert holds(samd) == []


def test_a_hold_can_be_taken_from_inside_a_container(samd: Samd) -> None:
    container = Container(
        samd.machine, "dc1", ["tail", "-f", "/dev/null"], user=OWNER, binds=["/run/samd", "/usr/bin/samd"]
    )
    command = ["podman", "exec", f"--user={OWNER}", container.name, "samd"]
    samd.machine.run([*command, "hold", "10m", "--reason", "from inside"])
    (hold,) = wait_held(samd, 1)
    assert (hold["reason"], hold["by"]["container"], hold["by"]["user"]) == ("from inside", "dc1", OWNER)
    samd.machine.run([*command, "release", hold["id"]])
    assert wait_held(samd, 0) == []
    container.remove()
