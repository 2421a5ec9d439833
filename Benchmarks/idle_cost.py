"""What samd costs while nothing happens: beside 400 processes with 1,000 sockets, ten of them published through Caddy, five
Claude sessions of which two work, and a workspace of 50,000 files.

CPU time is the scheduler's own count in nanoseconds, since samples at a timer's tick miss what sleeps between ticks. In the
same run: samd's parser on tables of 10,000 rows, and `ss -tlnp` on the same machine at rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab import at_rest, sessions
from lab.isolation import Lab, serve_experiments
from lab.meter import cpu_time, percent_between, resident_mb
from lab.programs import SamdUnderTest, binary, start_caddy, wait_until
from lab.report import Figure, report
from lab.trace import ListenEvents

# Long enough for one walk of the workspace.
SECONDS = 120.0
EVENTS_PERCENT, POLLING_PERCENT = 0.3, 3.0
PROBES_PERCENT = 0.2
# The thread that all probes of idle detection share.
PROBES_THREAD = "samd-idle/"
RESIDENT_MB = 35.0
PARSE_MS = 2.0
# Processes are looked at more closely in their first minute, and the workspace is walked for the first time.
SETTLE_SECONDS = 90.0
# samd polls every second within two minutes of a change, every five seconds later.
QUIET_AFTER_SECONDS = 125.0
RESIDENT_SAMPLES = 11
SS_RUNS = 15

Cost = dict[str, Any]


def rest(instance: str, events: str, settle: float, seconds: float, routes: int) -> Cost:
    """samd's cost in a window of some seconds on a machine at rest."""
    load = at_rest.Load(published=routes)
    at_rest.start(load)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="samd-bench-") as place:
        Path(place).chmod(0o755)
        workspace = sessions.start(sessions.Sessions(), Path(place))
        return _rest(SamdUnderTest(instance, start_caddy("caddy"), events, workspace), instance, settle, seconds, events, routes)


def _rest(
    samd: SamdUnderTest, instance: str, settle: float, seconds: float, events: str, routes: int
) -> Cost:
    process = samd.start(samd.watched())
    samd.wait_answering()
    wanted = "kernel events" if events == "auto" else "polling"
    wait_until(lambda: samd.wake_up() == wanted, f"samd notices ports by {wanted}")
    wait_until(lambda: samd.published() == routes, f"{routes} ports are published")
    time.sleep(settle)
    resident = []
    with ListenEvents(f"{instance}-count") as elsewhere:
        before, begin = cpu_time(process.pid), time.monotonic()
        for _ in range(RESIDENT_SAMPLES):
            resident.append(resident_mb(process.pid))
            time.sleep(seconds / RESIDENT_SAMPLES)
        after, end = cpu_time(process.pid), time.monotonic()
        percent, threads = percent_between(before, after, end - begin)
        happened = elsewhere.count()
    probes = sum(part for name, part in threads.items() if name.startswith(PROBES_THREAD))
    return {
        "percent": percent - probes,
        "probes": probes,
        "threads": threads,
        "resident": statistics.median(resident),
        "elsewhere": happened,
        "ss_ms": _time_ss(),
    }


def _time_ss() -> float:
    """The median time of `ss -tlnp`, its start included, in ms."""
    times = []
    for _ in range(SS_RUNS):
        before = time.monotonic()
        subprocess.run(["ss", "-tlnp"], check=True, stdout=subprocess.DEVNULL)
        times.append((time.monotonic() - before) * 1000)
    return statistics.median(times)


def _parse() -> dict[str, dict[str, float]]:
    """What the parse driver measured, by table."""
    output = subprocess.run([binary("SAMD_PARSE_BENCH")], check=True, capture_output=True, text=True).stdout
    measured: dict[str, dict[str, float]] = json.loads(output)
    return measured


def main() -> int:
    """Runs the labs side by side and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--threads", action="store_true", help="tell on standard error which threads it was")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the window (default: 60)")
    parser.add_argument("--settle", type=float, help="wait this long first (default: until polling is slow)")
    parser.add_argument("--routes", type=int, default=10, help="how many ports are published (default: 10)")
    options = parser.parse_args()

    tables = _parse()
    window = {"seconds": options.seconds, "routes": options.routes}
    labs: dict[str, Lab] = {}
    try:
        settle = QUIET_AFTER_SECONDS if options.settle is None else options.settle
        labs["polling"] = Lab("rest", events="polling", settle=settle, **window)
        settle = SETTLE_SECONDS if options.settle is None else options.settle
        labs["kernel events"] = Lab("rest", events="auto", settle=settle, **window)
        costs: dict[str, Cost] = {name: labs[name].result() for name in ("kernel events", "polling")}
    finally:
        for lab in labs.values():
            lab.close()
    if options.threads:
        for name, cost in costs.items():
            for thread, percent in cost["threads"].items():
                print(f"{name}: {percent:8.4f} % {thread}", file=sys.stderr)
    return report("idle-cost", [*_costs(costs, options.seconds), *_parsing(tables)], options.json)


def _costs(costs: dict[str, Cost], seconds: float) -> list[Figure]:
    events, polling = costs["kernel events"], costs["polling"]
    load = at_rest.Load()
    at_rest_note = f"{load.processes} processes, {load.sockets} sockets, {seconds:g} s"
    work = sessions.Sessions()
    probes_note = f"{work.busy + work.at_prompt} sessions, {work.files:,} files"
    elsewhere = "listen() and close() elsewhere on this machine meanwhile: {}"
    return [
        Figure("CPU, kernel events", events["percent"], "%", EVENTS_PERCENT, at_rest_note),
        Figure("CPU, polling", polling["percent"], "%", POLLING_PERCENT),
        Figure("CPU, all probes of idle detection", events["probes"], "%", PROBES_PERCENT, probes_note),
        Figure("the same, polling", polling["probes"], "%", PROBES_PERCENT),
        Figure(
            "resident, kernel events",
            events["resident"],
            "MB",
            RESIDENT_MB,
            elsewhere.format(events["elsewhere"]),
        ),
        Figure("resident, polling", polling["resident"], "MB", RESIDENT_MB),
        Figure("ss -tlnp, once", events["ss_ms"], "ms", None, "the same machine"),
    ]


def _parsing(tables: dict[str, dict[str, float]]) -> list[Figure]:
    figures = []
    for name, table in tables.items():
        rows, per_row = table["rows"], table["allocations"] - table["allocations_few"]
        note = f"median of {table['runs']}"
        figures += [
            Figure(f"parse net/{name}, {rows:,} rows", table["median_ms"], "ms", PARSE_MS, note),
            Figure(
                f"allocations for {rows - table['few_rows']:,} more rows",
                per_row,
                "",
                0,
                f"of {table['allocations']}",
            ),
        ]
    return figures


if __name__ == "__main__":
    serve_experiments({"rest": rest})
    sys.exit(main())
