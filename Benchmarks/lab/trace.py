"""Counts what the kernel tells about sockets that begin or cease to listen, in every network namespace."""

from __future__ import annotations

import re
from pathlib import Path

_INSTANCES = Path("/sys/kernel/tracing/instances")
_EVENT = "events/sock/inet_sock_set_state"
# 10 is TCP_LISTEN.
_FILTER = "newstate==10 || oldstate==10"


class ListenEvents:
    """A trace instance that counts such changes while it exists; use it as a context manager."""

    def __init__(self, instance: str) -> None:
        self._place = _INSTANCES / instance

    def __enter__(self) -> ListenEvents:
        self._place.mkdir()
        (self._place / _EVENT / "filter").write_text(_FILTER)
        (self._place / _EVENT / "enable").write_text("1")
        return self

    def __exit__(self, *_: object) -> None:
        (self._place / _EVENT / "enable").write_text("0")
        self._place.rmdir()

    def count(self) -> int:
        """How many there were."""
        total = 0
        for statistics in self._place.glob("per_cpu/cpu*/stats"):
            counts = dict(re.findall(r"(?m)^([\w ]+): (\d+)$", statistics.read_text()))
            total += int(counts["entries"]) + int(counts["overrun"])
        return total
