"""What the way through a relay costs: a client on the host, a unix socket, a server on 127.0.0.1 of another namespace.

Compared, in the same run and alternately, with the same client beside the server in its namespace. The relay runs alone
in a process (Benchmarks/relay-driver), which makes its descriptors, threads and memory countable.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.isolation import Lab, serve_experiments
from lab.programs import binary, wait_until
from lab.report import Figure, percentile, report

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "SAMD_RELAY_BENCH"
NAMESPACE = "inner"
CONNECTIONS = 1000
WARM_UP_BYTES = 1 << 20
# Through the relay at least half of the direct throughput.
TIMES_AS_LONG = 2.0
KINDS = {"down": "out of the namespace", "up": "into the namespace"}


class Program:
    """A running relay-bench that is talked to by lines."""

    def __init__(self, *arguments: object, inside: bool = False) -> None:
        enter = ["ip", "netns", "exec", NAMESPACE] if inside else []
        self.process = subprocess.Popen(
            [*enter, binary(VARIABLE), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Its next line of output; ends the experiment when there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args} said nothing more")
        return line

    def ask(self) -> dict[str, int]:
        """Statistics of a relay."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer: dict[str, int] = json.loads(self.line())
        return answer

    def finish(self) -> None:
        """Ends its input, and waits for its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def relaying(_instance: str, pairs: int, megabytes: int) -> dict[str, Any]:
    """All measurements with one server and one relay."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
    port = Program("serve", inside=True).line()
    relay = Program("relay", "/run/relay", f"/run/netns/{NAMESPACE}", port)
    path = relay.line()
    seconds: dict[str, dict[str, list[float]]] = {}
    for kind in KINDS:
        _transfer(path, kind, WARM_UP_BYTES)
        times: dict[str, list[float]] = {"direct": [], "relay": []}
        for _ in range(pairs):
            times["direct"].append(_transfer(port, kind, megabytes * 1_000_000, inside=True))
            times["relay"].append(_transfer(path, kind, megabytes * 1_000_000))
        seconds[kind] = times
    wait_until(lambda: relay.ask()["open"] == 0, "the transfers are over")
    before = relay.ask()
    crowd = Program("connections", path, CONNECTIONS)
    result = json.loads(crowd.line())
    during = relay.ask()
    private_mb = _private_mb(relay.process.pid)
    crowd.finish()
    wait_until(lambda: relay.ask()["open"] == 0, "the connections are over")
    after = relay.ask()
    relay.finish()
    return {
        "seconds": seconds,
        "crowd": result,
        "before": before,
        "during": during,
        "after": after,
        "private_mb": private_mb,
    }


def _transfer(address: str, kind: str, size: int, inside: bool = False) -> float:
    client = Program("transfer", address, kind, size, inside=inside)
    seconds = float(client.line())
    client.finish()
    return seconds


def _private_mb(pid: int) -> float:
    """RssAnon in units of 10^6 bytes: without the pages of the program's file."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match.group(1)) * 1024 / 1e6


def figures_of(measured: dict[str, Any], megabytes: int) -> list[Figure]:
    """The measurements beside their bounds."""
    figures = []
    for kind, way in KINDS.items():
        times = measured["seconds"][kind]
        direct, relay = statistics.median(times["direct"]), statistics.median(times["relay"])
        note = f"medians of {len(times['relay'])} × {megabytes} MB"
        figures += [
            Figure(f"{way}, direct", megabytes / direct, "MB/s"),
            Figure(f"{way}, relay", megabytes / relay, "MB/s", note=note),
            Figure(f"{way}, relay takes … as long", relay / direct, "times", TIMES_AS_LONG),
        ]
    latencies = measured["crowd"]["milliseconds"]
    before, during, after = measured["before"], measured["during"], measured["after"]
    note = f"{CONNECTIONS} begun at once: {during['descriptors']} descriptors, {during['threads']} threads"
    return [
        *figures,
        Figure("connections not served", CONNECTIONS - measured["crowd"]["echoed"], "", 0, note),
        Figure("connect and echo, p50", percentile(latencies, 0.5), "ms"),
        Figure("connect and echo, p99", percentile(latencies, 0.99), "ms"),
        Figure("private memory with them", measured["private_mb"], "MB", note="the whole process"),
        Figure(
            "descriptors left over",
            after["descriptors"] - before["descriptors"],
            "",
            0,
            f"{before['descriptors']} before",
        ),
        # Swift's own pool may have ended some of its threads.
        Figure(
            "threads left over",
            max(0, after["threads"] - before["threads"]),
            "",
            0,
            f"{before['threads']} before, {after['threads']} after",
        ),
    ]


def build() -> str:
    """Builds the program that is measured, and returns its path."""
    scratch = ROOT / os.environ.get("SAMD_BUILD_DIR", ".build")
    flags = ["--scratch-path", str(scratch), "--explicit-target-dependency-import-check", "error"]
    subprocess.run(
        ["swift", "build", *flags, "-c", "release", "--product", "relay-bench"],
        cwd=ROOT,
        check=True,
        stdout=sys.stderr,
    )
    return str(scratch / "release" / "relay-bench")


def main() -> int:
    """Runs the lab and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--pairs", type=int, default=9, help="direct and relayed transfers (default: 9 each)")
    parser.add_argument("--megabytes", type=int, default=1000, help="size of a transfer (default: 1000)")
    options = parser.parse_args()
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = build()
    measured = Lab("relaying", pairs=options.pairs, megabytes=options.megabytes).result()
    return report("relay", figures_of(measured, options.megabytes), options.json)


if __name__ == "__main__":
    serve_experiments({"relaying": relaying})
    sys.exit(main())
