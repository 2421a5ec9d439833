"""How long samd takes from its start until READY=1, and how much memory it holds at rest with ten routes."""

from __future__ import annotations

import argparse
import signal
import socket
import statistics
import sys
import time

from lab.isolation import Lab, serve_experiments
from lab.meter import resident_mb
from lab.programs import SamdUnderTest, WebServer, start_caddy, wait_until
from lab.report import Figure, report

ROUTES = 10
FIRST_PORT = 3000
REST_SECONDS = 5.0
READY_MS = 300.0
RESIDENT_MB = 35.0
READY_TIMEOUT_SECONDS = 30.0


def starts(instance: str, count: int) -> dict[str, list[float]]:
    """Starts samd again and again beside a Caddy and ten web servers, as systemd would."""
    samd = SamdUnderTest(instance, start_caddy("caddy"), "auto")
    for port in range(FIRST_PORT, FIRST_PORT + ROUTES):
        WebServer(port)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind("/run/notify")
    notify.settimeout(READY_TIMEOUT_SECONDS)
    ready, resident = [], []
    for _ in range(count):
        before = time.monotonic()
        process = samd.start({"NOTIFY_SOCKET": "/run/notify"})
        while b"READY=1" not in notify.recv(65536).split(b"\n"):
            pass
        ready.append((time.monotonic() - before) * 1000)
        wait_until(lambda: samd.published() == ROUTES, f"{ROUTES} ports are published")
        time.sleep(REST_SECONDS)
        resident.append(resident_mb(process.pid))
        process.send_signal(signal.SIGTERM)
        process.wait(READY_TIMEOUT_SECONDS)
    return {"ready": ready, "resident": resident}


def main() -> int:
    """Runs the lab and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--starts", type=int, default=10, help="how many starts (default: 10)")
    options = parser.parse_args()
    measured = Lab("starts", count=options.starts).result()
    ready, resident = measured["ready"], measured["resident"]
    figures = [
        Figure("start to READY, median", statistics.median(ready), "ms", READY_MS, f"{len(ready)} starts"),
        Figure("start to READY, worst", max(ready), "ms", READY_MS),
        Figure(
            "resident at rest, median", statistics.median(resident), "MB", RESIDENT_MB, f"{ROUTES} routes"
        ),
        Figure("resident at rest, worst", max(resident), "MB"),
    ]
    return report("start", figures, options.json)


if __name__ == "__main__":
    serve_experiments({"starts": starts})
    sys.exit(main())
