"""Notes when Claude's registry changes and what samd says; runs inside a machine: observer.py PLAN.

PLAN is a JSON object: "roots" maps a name to a root folder ("/", or /proc/PID/root of a container), "sessions" is the place
of the registry in each root, "marks" that of a folder in which commands make files to say that they are so far, "socket"
is samd's socket, or null. Each change is a line of JSON with "at", the monotonic clock:

    {"at": …, "root": NAME, "session": PID, "entry": {…}}    a file of the registry; null when it is gone
    {"at": …, "root": NAME, "gone": PID}                     a process that the registry named ended
    {"at": …, "root": NAME, "mark": FILE}                    a new file in the folder of marks
    {"at": …, "idle": {…}}                                   the answer of GET /v1/idle, but for what always changes
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

REGISTRY_INTERVAL_SECONDS = 0.01
IDLE_INTERVAL_SECONDS = 0.05
# Of an entry of the registry.
FIELDS = ("cwd", "status", "waitingFor")


def emit(at: float, **fields: object) -> None:
    """Writes a line."""
    print(json.dumps({"at": at, **fields}), flush=True)


class Root:
    """The registry of one root and the processes that it names."""

    def __init__(self, name: str, root: Path, sessions: str, marks: str) -> None:
        self._name = name
        self._root = root
        self._folder = root / sessions.lstrip("/")
        self._marks = root / marks.lstrip("/")
        self._marked: set[str] = set()
        self._texts: dict[int, str] = {}
        self._alive: set[int] = set()

    def look(self) -> None:
        """Emits what has changed since the last look."""
        seen: dict[int, str] = {}
        try:
            for file in self._folder.glob("*.json"):
                if file.stem.isdigit():
                    seen[int(file.stem)] = file.read_text()
        except OSError:
            return  # a file or the whole root went while we looked; the next look tells
        at = time.monotonic()
        self._look_at_marks(at)
        for pid, text in seen.items():
            if text == self._texts.get(pid):
                continue
            try:
                entry = json.loads(text)
            except ValueError:
                continue  # half written
            self._texts[pid] = text
            self._alive.add(pid)
            emit(at, root=self._name, session=pid, entry={key: entry.get(key) for key in FIELDS})
        for pid in set(self._texts) - set(seen):
            del self._texts[pid]
            emit(at, root=self._name, session=pid, entry=None)
        for pid in [pid for pid in self._alive if not self._lives(pid)]:
            self._alive.remove(pid)
            emit(time.monotonic(), root=self._name, gone=pid)

    def _look_at_marks(self, at: float) -> None:
        try:
            names = {file.name for file in self._marks.iterdir()}
        except OSError:
            return
        for name in names - self._marked:
            emit(at, root=self._name, mark=name)
        self._marked = names

    def _lives(self, pid: int) -> bool:
        try:
            stat = (self._root / "proc" / str(pid) / "stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


class Idle:
    """What samd says about the machine."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._connection: http.client.HTTPConnection | None = None
        self._last: Any = None

    def look(self) -> None:
        """Emits the answer if it is another one than before."""
        try:
            answer = self._ask()
        except (OSError, http.client.HTTPException):
            self._connection = None
            return
        for key in ("at", "explanation", "settings"):
            answer.pop(key, None)
        for probe in answer.get("probes", []):
            probe.pop("lastLook", None)
        if answer != self._last:
            self._last = answer
            emit(time.monotonic(), idle=answer)

    def _ask(self) -> Any:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("localhost", timeout=5)
            self._connection.sock = socket.socket(socket.AF_UNIX)
            self._connection.sock.settimeout(5)
            self._connection.sock.connect(self._place)
        self._connection.request("GET", "/v1/idle")
        response = self._connection.getresponse()
        body = response.read()
        if response.will_close:
            self._connection = None
        if response.status != 200:
            raise http.client.HTTPException(body)
        return json.loads(body)


def main() -> None:
    """Looks until it is ended."""
    plan = json.loads(sys.argv[1])
    roots = [Root(name, Path(root), plan["sessions"], plan["marks"]) for name, root in plan["roots"].items()]
    idle = Idle(plan["socket"]) if plan["socket"] else None
    due = 0.0
    print(json.dumps({"at": time.monotonic(), "ready": True}), flush=True)
    while True:
        for root in roots:
            root.look()
        if idle is not None and time.monotonic() >= due:
            idle.look()
            due = time.monotonic() + IDLE_INTERVAL_SECONDS
        time.sleep(REGISTRY_INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
