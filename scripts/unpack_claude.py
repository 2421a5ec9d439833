#!/usr/bin/env python3
"""unpack_claude.py WHEEL FILE: writes the Claude Code binary that the wheel of claude-agent-sdk bundles to FILE."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

MEMBER = "claude_agent_sdk/_bundled/claude"


def main() -> None:
    wheel, place = sys.argv[1], Path(sys.argv[2])
    unfinished = place.with_name(place.name + ".unfinished")
    with zipfile.ZipFile(wheel) as archive:
        if MEMBER not in archive.namelist():
            sys.exit(f"{Path(wheel).name} has no {MEMBER}: another version of claude-agent-sdk is needed")
        with archive.open(MEMBER) as packed, open(unfinished, "wb") as plain:
            shutil.copyfileobj(packed, plain)
    unfinished.chmod(0o755)
    os.rename(unfinished, place)


if __name__ == "__main__":
    main()
