"""Claude sessions and a workspace for idle detection to look at. The sessions are stand-ins: a `sleep` called `claude`, with
the registry file and the transcript that Claude Code keeps.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lab.programs import OWNER_UID

_GROWTH_SECONDS = 2.0
_RECORD = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": "x" * 400}]}})


@dataclass(frozen=True)
class Sessions:
    """How many sessions of which kind, and the size of the workspace that they work in."""

    busy: int = 2
    at_prompt: int = 3
    folders: int = 5000
    files_per_folder: int = 10

    @property
    def files(self) -> int:
        """Files of the workspace."""
        return self.folders * self.files_per_folder


def start(sessions: Sessions, place: Path) -> Path:
    """Starts the sessions, whose transcripts grow while they are busy, and returns the workspace's folder."""
    workspace = place / "workspace"
    _fill(workspace, sessions)
    program = place / "claude"
    shutil.copy("/bin/sleep", program)
    transcripts = []
    for index in range(sessions.busy + sessions.at_prompt):
        is_busy = index < sessions.busy
        transcript = _start(program, place / f"home{index}", workspace, "busy" if is_busy else "idle")
        if is_busy:
            transcripts.append(transcript)
    threading.Thread(target=_grow, args=(transcripts,), daemon=True).start()
    return workspace


def _fill(workspace: Path, sessions: Sessions) -> None:
    for folder in range(sessions.folders):
        path = workspace / f"{folder // 100}" / f"{folder % 100}"
        path.mkdir(parents=True)
        for file in range(sessions.files_per_folder):
            (path / f"file{file}.txt").touch()


def _start(program: Path, home: Path, workspace: Path, status: str) -> Path:
    registry = home / ".claude" / "sessions"
    slug = str(workspace).replace("/", "-")
    project = home / ".claude" / "projects" / slug
    registry.mkdir(parents=True)
    project.mkdir(parents=True)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(
        [str(program), "86400"], user=OWNER_UID, group=OWNER_UID, env=environment, cwd=workspace
    )
    start = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    session = f"00000000-0000-4000-8000-{process.pid:012d}"
    record = {
        "pid": process.pid,
        "sessionId": session,
        "cwd": str(workspace),
        "procStart": start,
        "status": status,
        "kind": "interactive",
    }
    file, transcript = registry / f"{process.pid}.json", project / f"{session}.jsonl"
    file.write_text(json.dumps(record))
    transcript.write_text("")
    for path in (home, *home.rglob("*")):
        os.chown(path, OWNER_UID, OWNER_UID)
    return transcript


def _grow(transcripts: list[Path]) -> None:
    while True:
        time.sleep(_GROWTH_SECONDS)
        for transcript in transcripts:
            try:
                with transcript.open("a") as file:
                    file.write(_RECORD + "\n")
            except FileNotFoundError:
                return  # the lab is being taken down
