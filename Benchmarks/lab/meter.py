"""What a process costs: its CPU time as the scheduler counts it, and its memory."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def resident_mb(pid: int) -> float:
    """VmRSS in units of 10^6 bytes; the file says kB and means 1024 bytes."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match.group(1)) * 1024 / 1e6


@dataclass(frozen=True)
class CPUTime:
    """A process's CPU time at one moment, in nanoseconds."""

    # The sum over all threads, those that ended included.
    process: int
    threads: Mapping[str, int]


def cpu_time(pid: int) -> CPUTime:
    """The scheduler's counts (sum_exec_runtime), exact to the nanosecond, unlike the ticks of `utime` and `stime`.

    The clock of the process is that of clock_getcpuclockid(3); a thread's count is the first field of its schedstat.
    """
    threads: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            spent = int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended while we looked
        threads[f"{name}/{task.name}"] = spent
    return CPUTime(time.clock_gettime_ns((~pid << 3) | 2), threads)


def percent_between(before: CPUTime, after: CPUTime, seconds: float) -> tuple[float, dict[str, float]]:
    """Per cent of one core for the process, and for each of its threads, the busiest first."""

    def percent(spent: int) -> float:
        return spent / seconds / 1e7

    threads = {name: percent(spent - before.threads.get(name, 0)) for name, spent in after.threads.items()}
    ordered = dict(sorted(threads.items(), key=lambda item: -item[1]))
    return percent(after.process - before.process), ordered
