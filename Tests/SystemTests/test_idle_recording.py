"""What samd saw can be written down and judged again, with the settings of the time or with others."""

from __future__ import annotations

import signal

from harness.samd import OWNER, Samd

PLACE = "/tmp/recording"


def test_a_recording_is_replayed_to_the_verdicts_of_its_time(samd: Samd) -> None:
    recorder = samd.machine.start(["samd", "idle", "record", PLACE])
    samd.machine.wait_for(
        lambda: samd.machine.run(["test", "-s", PLACE], check=False).returncode == 0, "something is recorded"
    )
    samd.cli("hold", "10m", "--reason", "recorded", user=OWNER)
    samd.machine.wait_for(
        lambda: samd.machine.run(["grep", "-q", "recorded", PLACE], check=False).returncode == 0,
        "the hold is recorded",
    )
    recorder.stop(signal.SIGINT)
    (hold,) = samd.json("holds")["holds"]
    samd.cli("release", hold["id"])
    replayed = samd.cli("idle", "replay", PLACE).stdout
    assert "recorded" in replayed and "active" in replayed
    sooner = samd.cli("idle", "replay", PLACE, "--threshold", "15m").stdout
    assert "recorded" in sooner
