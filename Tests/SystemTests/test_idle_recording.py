"""What samd saw can be written down and judged again, with the settings of the time or with others."""

from __future__ import annotations

import json
from typing import Any

from harness.samd import OWNER, Samd

PLACE = "/tmp/recording"


def replayed(samd: Samd, *options: str) -> Any:
    return json.loads(samd.cli("idle", "replay", PLACE, "--json", *options, user="guest").stdout)


def test_a_recording_is_replayed_to_the_verdicts_of_its_time(samd: Samd) -> None:
    samd.cli("hold", "10m", "--reason", "recorded", user=OWNER)
    samd.machine.wait_for(lambda: "recorded" in samd.cli("idle").stdout, "the verdict goes by the hold")
    samd.cli("idle", "record", PLACE)
    (hold,) = samd.json("holds")["holds"]
    samd.cli("release", hold["id"])
    assert samd.machine.output(["stat", "--format=%a %U", PLACE]) == "600 root", "it tells about users"
    samd.machine.run(["chmod", "644", PLACE])
    then = replayed(samd)["report"]
    assert then["state"] == "active"
    assert [reason["kind"] for reason in then["holding"] if "recorded" in reason["text"]] == ["hold"], then
    assert then["settings"]["threshold"] == "30m"
    assert replayed(samd, "--threshold", "15m")["report"]["settings"]["threshold"] == "15m"
    assert "recorded" in samd.cli("idle", "replay", PLACE).stdout


def test_what_happens_from_now_on_can_be_recorded_too(samd: Samd) -> None:
    recorder = samd.machine.start(["samd", "idle", "record", "--for", "1m", "-"])
    assert json.loads(recorder.read_line())["format"] == "samd-idle-recording"
    samd.cli("hold", "10m", "--reason", "from now on", user=OWNER)
    assert any("from now on" in line for line in recorder.lines()), "the hold is written as soon as it is there"
    recorder.stop()
    (hold,) = samd.json("holds")["holds"]
    samd.cli("release", hold["id"])


def test_a_file_that_is_no_recording_is_refused_with_its_name(samd: Samd) -> None:
    refused = samd.cli("idle", "replay", "/etc/hostname", check=False)
    assert refused.returncode != 0
    assert "/etc/hostname" in refused.stderr
