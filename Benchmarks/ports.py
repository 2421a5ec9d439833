"""How long from listen() until the port's URL answers: listen() → first authenticated 200 through Caddy 2.11.

Ten routes are there already. Measured with kernel events, with polling shortly after activity and when quiet,
and in the same run for a peer that polls every 2 s and edits one Caddy route per port.
"""

from __future__ import annotations

import argparse
import base64
import random
import sys
import time
from collections.abc import Callable, Mapping

from lab import poller
from lab.isolation import Lab, serve_experiments
from lab.programs import CADDY_PORT, PEER_PORT, SamdUnderTest, WebServer, start_caddy, status_of, wait_until
from lab.report import Figure, percentile, report

ROUTES = 10
# Above it, samd refuses no number that trials can reach.
FIRST_PORT = 14000
BATCH = 10
TRIAL_TIMEOUT_SECONDS = 30.0
# samd polls every second within two minutes of a change, every five seconds later.
QUIET_AFTER_SECONDS = 125.0
POLL_SECONDS = {"active": 1.0, "quiet": 5.0}
KERNEL_P50_MS, KERNEL_P99_MS = 25.0, 150.0
ACTIVE_P99_MS, QUIET_P99_MS = 1500.0, 6000.0

Contestants = Mapping[str, Callable[[int], int]]


class Track:
    """A lab with Caddy, samd and ten published ports, in which trials are run."""

    def __init__(self, instance: str, events: str, with_peer: bool = False) -> None:
        self._samd = SamdUnderTest(instance, start_caddy("caddy"), events)
        self._samd.start()
        self._samd.wait_answering()
        wanted = "kernel events" if events == "auto" else "polling"
        wait_until(lambda: self._samd.wake_up() == wanted, f"samd notices ports by {wanted}")
        self._next_port = FIRST_PORT
        for _ in range(ROUTES):
            WebServer(self._take_port())
        wait_until(lambda: self._samd.published() == ROUTES, f"{ROUTES} ports are published")
        password = self._samd.get("/v1/password")["password"]
        mine = _basic(str(password))
        self.contestants: dict[str, Callable[[int], int]] = {
            "samd": lambda port: status_of(CADDY_PORT, f"{port}--bench.localhost", mine)
        }
        if with_peer:
            poller.start_poller(start_caddy("caddy-peer"))
            peers = _basic(poller.PASSWORD)

            def ask_peer(port: int) -> int:
                return status_of(PEER_PORT, poller.host_of(port), peers)

            wait_until(lambda: ask_peer(FIRST_PORT) == 200, "the peer has published")
            self.contestants["peer"] = ask_peer

    def trials(self, count: int, longest_pause: float, look_every: float) -> dict[str, list[float]]:
        """Milliseconds of each trial by contestant. Up to `BATCH` routes more are there than the ten."""
        samples: dict[str, list[float]] = {name: [] for name in self.contestants}
        for first in range(0, count, BATCH):
            servers = []
            for _ in range(first, min(first + BATCH, count)):
                time.sleep(random.uniform(0, longest_pause))
                server = WebServer(self._take_port())
                servers.append(server)
                for name, taken in self._race(server, look_every).items():
                    samples[name].append(taken)
            for server in servers:
                server.stop()
            wait_until(lambda: self._samd.published() == ROUTES, "the batch's routes are gone")
        return samples

    def _race(self, server: WebServer, look_every: float) -> dict[str, float]:
        """Asks every contestant again and again until its URL answers."""
        times: dict[str, float] = {}
        while len(times) < len(self.contestants):
            for name, ask in self.contestants.items():
                if name not in times and ask(server.port) == 200:
                    times[name] = (time.monotonic() - server.listening_since) * 1000
            if time.monotonic() - server.listening_since > TRIAL_TIMEOUT_SECONDS:
                raise SystemExit(
                    f"port {server.port} was not published by all within {TRIAL_TIMEOUT_SECONDS:g} s"
                )
            time.sleep(look_every)
        return times

    def _take_port(self) -> int:
        self._next_port += 1
        return self._next_port - 1


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"dev:{password}".encode()).decode()


def kernel_events(instance: str, count: int) -> dict[str, list[float]]:
    """Trials with kernel events. Their pauses have no rhythm, so no phase of samd's timers is favoured."""
    return Track(instance, "auto").trials(count, longest_pause=0.25, look_every=0.001)


def polling_active(instance: str, count: int) -> dict[str, list[float]]:
    """Trials with polling soon after activity, beside the peer."""
    track = Track(instance, "polling", with_peer=True)
    return track.trials(count, longest_pause=poller.INTERVAL_SECONDS, look_every=0.005)


def polling_quiet(instance: str) -> dict[str, list[float]]:
    """One trial with polling after a quiet time; the trial itself ends the quiet."""
    track = Track(instance, "polling")
    time.sleep(QUIET_AFTER_SECONDS)
    return track.trials(1, longest_pause=POLL_SECONDS["quiet"], look_every=0.01)


def main() -> int:
    """Runs the labs and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--trials", type=int, default=100, help="trials with kernel events (default: 100)")
    parser.add_argument(
        "--polling-trials", type=int, default=40, help="with polling after activity (default: 40)"
    )
    parser.add_argument("--quiet-trials", type=int, default=8, help="with polling when quiet (default: 8)")
    options = parser.parse_args()

    quiet: list[Lab] = []
    try:
        # Each needs two quiet minutes, so they wait side by side, nearly idle, while the others run.
        quiet = [Lab("polling_quiet") for _ in range(options.quiet_trials)]
        time.sleep(10 if quiet else 0)
        events = Lab("kernel_events", count=options.trials).result()["samd"]
        active = Lab("polling_active", count=options.polling_trials).result()
        resting = [sample for lab in quiet for sample in lab.result()["samd"]]
    finally:
        for lab in quiet:
            lab.close()
    figures = [
        Figure("kernel events p50", percentile(events, 0.50), "ms", KERNEL_P50_MS, f"{len(events)} trials"),
        Figure("kernel events p99", percentile(events, 0.99), "ms", KERNEL_P99_MS),
        Figure("kernel events worst", max(events), "ms"),
        Figure(
            "polling, active p50",
            percentile(active["samd"], 0.50),
            "ms",
            None,
            f"{len(active['samd'])} trials",
        ),
        Figure("polling, active p99", percentile(active["samd"], 0.99), "ms", ACTIVE_P99_MS),
    ]
    if resting:
        figures += [
            Figure("polling, quiet p50", percentile(resting, 0.50), "ms", None, f"{len(resting)} trials"),
            Figure("polling, quiet p99", percentile(resting, 0.99), "ms", QUIET_P99_MS),
        ]
    figures += [
        Figure(
            "2 s poller p50",
            percentile(active["peer"], 0.50),
            "ms",
            None,
            "the same trials as polling, active",
        ),
        Figure("2 s poller p99", percentile(active["peer"], 0.99), "ms"),
    ]
    return report("ports", figures, options.json)


if __name__ == "__main__":
    serve_experiments(
        {"kernel_events": kernel_events, "polling_active": polling_active, "polling_quiet": polling_quiet}
    )
    sys.exit(main())
