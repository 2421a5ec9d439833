"""A load on published ports: websockets and event streams that stay open, and requests at a steady rate."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import dataclass, field
from typing import Any

from harness.machine import Machine, RunningCommand
from harness.samd import WEB_USER, Samd, host_of

# Answers requests, sends events and echoes what comes through an upgrade. SIGUSR1: listens no more, keeps its connections.
# SIGUSR2: ends, but a child that does nothing keeps the connections open.
SERVER = """
import asyncio, os, signal, sys
async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            text = head.decode().lower()
            if "\\r\\nupgrade:" in text:
                writer.write(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
                while data := await reader.read(4096):
                    writer.write(data)
                    await writer.drain()
                return
            if text.startswith("get /events "):
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n")
                while True:
                    writer.write(b"data: tick\\n\\n")
                    await writer.drain()
                    await asyncio.sleep(0.1)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main(address, port):
    server = await asyncio.start_server(serve, address, int(port), backlog=512)
    def leave():
        server.close()
        if os.fork() > 0:
            os._exit(0)
        while True:
            signal.pause()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, server.close)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, leave)
    await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""

# Reads what it shall do as JSON from a file. Prints `ready` when all streams are open, a line for each one that ends, and
# on SIGTERM what became of everything, as JSON.
_CLIENT = """
import asyncio, base64, json, signal, sys, time
plan = json.load(open(sys.argv[1]))
headers = [f"Host: {plan['host']}"]
if plan["credentials"]:
    headers.append("Authorization: Basic " + base64.b64encode(plan["credentials"].encode()).decode())
upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: " + base64.b64encode(bytes(16)).decode()]
open_streams = {"websocket": 0, "events": 0}
messages = {"websocket": 0, "events": 0}
failures, requests, repeated, pending = {}, 0, 0, set()
slowest = waited = 0.0

class Unanswered(Exception):
    pass

async def ask(path, more):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
        writer.write("\\r\\n".join([f"GET {path} HTTP/1.1", *headers, *more, "", ""]).encode())
        head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        raise Unanswered("closed")
    except ConnectionResetError:
        raise Unanswered("reset")
    return int(head.split()[1]), reader, writer

# Clients may send an idempotent request again whose connection ends without an answer (RFC 9110, 9.2.2). Whoever asks again at
# once may meet the same reload.
async def ask_again(path, more):
    global repeated
    while True:
        try:
            return await ask(path, more)
        except Unanswered:
            repeated += 1

async def websocket(ready):
    status, reader, writer = await ask_again("/", upgrade)
    ready(status == 101, status)
    open_streams["websocket"] += 1
    count = 0
    try:
        while True:
            writer.write(f"{count}\\n".encode())
            if await reader.readline() != f"{count}\\n".encode():
                break
            count += 1
            messages["websocket"] += 1
            await asyncio.sleep(0.1)
    except ConnectionError:
        pass
    ended("websocket")

async def events(ready):
    status, reader, writer = await ask_again("/events", [])
    ready(status == 200, status)
    open_streams["events"] += 1
    try:
        while line := await reader.readline():
            messages["events"] += line.startswith(b"data:")
    except ConnectionError:
        pass
    ended("events")

def ended(kind):
    open_streams[kind] -= 1
    print("ended", kind, flush=True)

async def request():
    global requests, slowest, waited
    requests += 1
    begin = time.monotonic()
    try:
        async with asyncio.timeout(10):
            status, reader, writer = await ask_again("/", ["Connection: close"])
            await reader.read()
            writer.close()
        outcome = status
    except Exception as error:
        outcome = type(error).__name__
    slowest = max(slowest, time.monotonic() - begin)
    waited += time.monotonic() - begin
    if outcome != 200:
        failures[str(outcome)] = failures.get(str(outcome), 0) + 1

async def ask_steadily(rate, stop):
    due = time.monotonic()
    while not stop.is_set():
        task = asyncio.create_task(request())
        pending.add(task)
        task.add_done_callback(pending.discard)
        due += 1 / rate
        await asyncio.sleep(max(0, due - time.monotonic()))

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    opened = asyncio.Semaphore(0)
    def ready(is_open, status):
        if not is_open:
            print("refused", status, flush=True)
            sys.exit(1)
        opened.release()
    streams = [asyncio.create_task(websocket(ready)) for _ in range(plan["websockets"])]
    streams += [asyncio.create_task(events(ready)) for _ in range(plan["events"])]
    for _ in streams:
        await opened.acquire()
    print("ready", flush=True)
    begin = time.monotonic()
    if plan["rate"]:
        await ask_steadily(plan["rate"], stop)
        seconds = time.monotonic() - begin
        await asyncio.gather(*pending)
    else:
        await stop.wait()
        seconds = time.monotonic() - begin
    print(json.dumps({"open": open_streams, "messages": messages, "requests": requests, "repeated": repeated,
                      "failures": failures,
                      "seconds": seconds, "slowest": slowest, "waited": waited}), flush=True)
    for stream in streams:
        stream.cancel()

asyncio.run(main())
"""
# However it is asked to end, a client answers what it still waits for first.
_PLACE = "/opt/streams"


@dataclass
class Outcome:
    """What became of a load."""

    open: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    # How often one of them got no answer and was sent again.
    repeated: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    # What all requests took together.
    waited: float = 0.0

    @property
    def under_way(self) -> float:
        """Requests that were under way at a time, on average."""
        return self.waited / self.seconds


def server_command(machine: Machine, port: int) -> str:
    """Puts the server into the machine and returns the command that runs it."""
    machine.put_file(f"{_PLACE}/server.py", SERVER)
    return f"python3 {_PLACE}/server.py 127.0.0.1 {port}"


class Load:
    """Clients of one published port; use it as a context manager, at whose end `outcome` is there."""

    def __init__(
        self,
        samd: Samd,
        port: int | str,
        websockets: int = 0,
        events: int = 0,
        rate: int = 0,
        anonymous: bool = False,
    ) -> None:
        """`rate` is requests a second, each over a connection of its own."""
        self.outcome = Outcome()
        self._machine = samd.machine
        self._streams = websockets + events
        self._plan: dict[str, Any] = {
            "host": host_of(port),
            "credentials": None if anonymous else f"{WEB_USER}:{samd.password}",
            "websockets": websockets,
            "events": events,
            "rate": rate,
        }
        self._client: RunningCommand | None = None
        self._place = f"{_PLACE}/plan-{port}-{id(self)}.json"

    def __enter__(self) -> Load:
        self._machine.put_file(f"{_PLACE}/client.py", _CLIENT)
        self._machine.put_file(self._place, json.dumps(self._plan), mode=0o600)
        self._client = self._machine.start(f"exec python3 {_PLACE}/client.py {self._place}")
        assert (line := self._client.read_line()) == "ready", line
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._client is not None
        rest = self._client.stop(signal.SIGTERM)
        if kind is None:
            self.outcome = Outcome(**json.loads(rest.splitlines()[-1]))

    def wait_all_ended(self, timeout: float) -> None:
        """Waits until every stream has ended; after `timeout` seconds the failure's text tells which have not."""
        assert self._client is not None
        # Told to end, the client prints what became of its streams, which is no line that is waited for.
        alarm = threading.Timer(timeout, self._client.send_signal, [signal.SIGTERM])
        alarm.start()
        try:
            for _ in range(self._streams):
                line = self._client.read_line()
                assert line.startswith("ended "), f"not all ended within {timeout:g} s: {line}"
        finally:
            alarm.cancel()

    def assert_undisturbed(self) -> None:
        """Asserts that no stream ended and no request failed."""
        assert self.outcome.failures == {}, self.outcome
        assert self.outcome.open == {
            "websocket": self._plan["websockets"],
            "events": self._plan["events"],
        }, self.outcome
