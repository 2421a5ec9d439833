"""A machine at rest: processes that sleep, and sockets of theirs on which nothing happens."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass

from lab.programs import OWNER_UID

OTHER_UID = 2000
FIRST_PORT = 3000
# Their owner is nobody of the workspace: samd looks at them and refuses them.
FIRST_OTHER_PORT = 5000


@dataclass(frozen=True)
class Load:
    """What is at rest. Sockets that do not listen are ends of established connections."""

    processes: int = 400
    sockets: int = 1000
    listening: int = 100
    # How many of those that listen are the workspace owner's, and so have routes.
    published: int = 10


def start(load: Load) -> None:
    """Starts the processes, which end with the lab, and returns when all sockets are there."""
    pairs = (load.sockets - load.listening) // 2
    for index in range(load.processes):
        port = None
        if index < load.published:
            port = FIRST_PORT + index
        elif index < load.listening:
            port = FIRST_OTHER_PORT + index
        _start_process(
            uid=OWNER_UID if index < load.published else OTHER_UID,
            port=port,
            pairs=len(range(index, pairs, load.processes)),
        )


def _start_process(uid: int, port: int | None, pairs: int) -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        try:
            _rest(writer, uid, port, pairs)
        finally:
            os._exit(1)
    os.close(writer)
    if os.read(reader, 1) != b"+":
        raise SystemExit(f"a process at rest could not open its sockets (port {port})")
    os.close(reader)


def _rest(ready: int, uid: int, port: int | None, pairs: int) -> None:
    os.setgid(uid)
    os.setuid(uid)
    kept = []
    if port is not None:
        kept.append(socket.create_server(("127.0.0.1", port)))
    for _ in range(pairs):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            kept.append(socket.create_connection(listener.getsockname()))
            kept.append(listener.accept()[0])
    os.write(ready, b"+")
    os.close(ready)
    while True:
        signal.pause()
