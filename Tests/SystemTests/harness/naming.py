"""Names that carry their owner, so that whoever comes later knows whether the owner still lives."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

PREFIX = "samdtest"
_PATTERN = re.compile(rf"{PREFIX}-(\d+)-(\d+)-([0-9a-f]{{6}})")


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; tells a reused pid apart. None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else int(fields[19])


def new_name() -> str:
    """A name that no other machine has, at most 44 characters, owned by this process."""
    return f"{PREFIX}-{os.getpid()}-{start_time(os.getpid())}-{secrets.token_hex(3)}"


def names_in(text: str) -> set[str]:
    """Every such name in a text, for example in a mount table."""
    return {match.group(0) for match in _PATTERN.finditer(text)}


def owner_lives(name: str) -> bool:
    """Whether the process that took the name is still the same one."""
    match = _PATTERN.fullmatch(name)
    return match is not None and start_time(int(match.group(1))) == int(match.group(2))


def owned_here(name: str) -> bool:
    """Whether this process took the name."""
    return name.startswith(f"{PREFIX}-{os.getpid()}-{start_time(os.getpid())}-")
