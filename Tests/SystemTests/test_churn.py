"""After any coming and going of ports, the routes are those of the ports that are there."""

from __future__ import annotations

import json
import signal
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness.machine import Machine
from harness.polling import NotYet
from harness.samd import SOCKET, Samd, host_of

pytestmark = pytest.mark.alone

FIRST_PORT = 10000
LONG = [pytest.mark.full, pytest.mark.timeout(300)]
# Routes equal the truth this long after the last change.
EQUAL_WITHIN_SECONDS = 35.0
LINGER_SECONDS = 3.0
# Between what the churner writes down and what the daemon sees.
CLOCK_SLACK_SECONDS = 0.1

# Starts and ends servers at random, each a process or each a socket of this one, and prints, as JSON, the times at which
# each port was opened and closed. A tenth of the ports is opened at the start and stays. It leads a session, as a person's
# shell does; of other parents the watcher expects that they start a server again.
_CHURNER = """
import json, os, random, signal, socket, sys, time
first, count, seconds, seed, kind = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
if os.fork() > 0:
    os.wait()
    sys.exit()
os.setsid()
chance = random.Random(seed)
servers, history = {}, {}
def listen(port):
    listener = socket.create_server(("127.0.0.1", port))
    if kind == "sockets":
        return listener
    server = os.fork()
    if server == 0:
        while True:
            signal.pause()
    listener.close()
    return server
def toggle(port):
    if port in servers:
        history[port].append(("closed", time.time()))
        server = servers.pop(port)
        if kind == "sockets":
            server.close()
        else:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
    else:
        servers[port] = listen(port)
        history.setdefault(port, []).append(("opened", time.time()))
kept = range(first, first + count // 10)
for port in kept:
    toggle(port)
end = time.monotonic() + seconds
while time.monotonic() < end:
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        toggle(chance.randrange(kept.stop, first + count))
    time.sleep(chance.uniform(0, 0.08))
print(json.dumps({"kept": list(kept), "open": sorted(servers), "history": history}), flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine on which many ports may be published."""
    with Machine(binds=caddy_binds(CURRENT_CADDY)) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}, "ports": {"limit": 300}})
        yield samd


@pytest.mark.parametrize(
    ("count", "seconds", "kind"),
    [
        (60, 15, "processes"),
        pytest.param(200, 120, "processes", marks=LONG),
        pytest.param(200, 120, "sockets", marks=LONG),
    ],
)
def test_routes_equal_the_ports_after_random_churn(samd: Samd, count: int, seconds: int, kind: str) -> None:
    machine = samd.machine
    machine.put_file("/opt/churner.py", _CHURNER)
    follow = ["curl", "--silent", "--no-buffer", "--unix-socket", SOCKET, "http://localhost/v1/events"]
    follower = machine.start(["sh", "-c", 'exec "$@" > /run/events', "sh", *follow])
    machine.wait_for(lambda: machine.read_file("/run/events"), "the events are followed")
    churner = machine.start(
        f"exec python3 /opt/churner.py {FIRST_PORT} {count} {seconds} 7 {kind}", user="dev"
    )
    truth = json.loads(churner.read_line())
    machine.wait_for(
        lambda: equal(published(samd), set(truth["open"])), "samd lists the truth", EQUAL_WITHIN_SECONDS
    )
    machine.wait_for(lambda: equal(routed(samd), set(truth["open"])), "Caddy has the truth", 5)
    follower.stop(signal.SIGTERM)
    churner.stop(signal.SIGKILL)

    withdrawals = withdrawn(machine.read_file("/run/events"))
    assert withdrawals, "there was something to withdraw"
    wrong = [
        (port, when)
        for port, when in withdrawals
        if was_open_throughout(truth["history"][str(port)], when - LINGER_SECONDS, when)
    ]
    assert wrong == [], "withdrawn though it stayed open"
    machine.wait_for(lambda: equal(published(samd), set()), "all are gone", EQUAL_WITHIN_SECONDS)


def equal(found: set[int], truth: set[int]) -> bool:
    if found != truth:
        raise NotYet(f"too many: {sorted(found - truth)}, missing: {sorted(truth - found)}")
    return True


def published(samd: Samd) -> set[int]:
    return {number for number, entry in samd.ports().items() if entry["state"] == "published"}


def routed(samd: Samd) -> set[int]:
    """The ports for which Caddy has a route."""
    command = ["curl", "--silent", "--unix-socket", "/run/caddy/admin.sock", "--header", "Host;"]
    text = samd.machine.output([*command, "http://localhost/config/apps/http/servers/samd"])
    prefix, suffix = host_of("N").split("N")
    hosts = [host for host in strings(json.loads(text)) if host.endswith(suffix)]
    return {int(host.removeprefix(prefix).removesuffix(suffix)) for host in hosts}


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def withdrawn(events: str) -> list[tuple[int, float]]:
    """Port and time of each withdrawal."""
    found = []
    # The last line may be cut off.
    for line in events.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            if event["type"] == "port.withdrawn":
                when = datetime.fromisoformat(event["time"]).timestamp()
                found.append((int(event["data"]["port"]), when))
    return found


def was_open_throughout(history: list[tuple[str, float]], begin: float, end: float) -> bool:
    """Whether a port was open from `begin` to `end`, where the record leaves no doubt."""
    times = [when for _, when in history]
    latest = bisect_right(times, begin - CLOCK_SLACK_SECONDS) - 1
    if latest < 0 or history[latest][0] != "opened":
        return False
    return latest + 1 == len(times) or times[latest + 1] > end + CLOCK_SLACK_SECONDS
