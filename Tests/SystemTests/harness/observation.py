"""What a program in the machine saw of Claude's registry and of samd's answers, each change with its instant."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.machine import Machine, RunningCommand
from harness.samd import SOCKET

T = TypeVar("T")
Line = dict[str, Any]

_PROGRAM = Path(__file__).parent / "inside" / "observer.py"
_SHOWN_LINES = 15
_SHOWN_CHARACTERS = 1500
# Where commands in the machine make a file to say that they are so far.
MARKS = "/tmp/marks"


def marking(name: str, command: str) -> str:
    """A shell command that says that it is so far, and then is replaced by another."""
    return f"mkdir -p {MARKS} && touch {MARKS}/{name} && exec {command}"


class Observation:
    """A running observation; use it as a context manager. Instants are seconds of CLOCK_MONOTONIC."""

    def __init__(
        self, machine: Machine, sessions: str, roots: Mapping[str, str] | None = None, of_samd: bool = True
    ) -> None:
        """`sessions` is the registry's folder in each root; `roots` maps names to the roots' paths in the machine."""
        self.machine = machine
        self._plan = {
            "roots": dict(roots or {"machine": "/"}),
            "sessions": sessions,
            "marks": MARKS,
            "socket": SOCKET if of_samd else None,
        }
        self._lines: list[Line] = []
        self._changed = threading.Condition()
        self._program: RunningCommand | None = None

    def __enter__(self) -> Observation:
        self.machine.put_file("/opt/observer.py", _PROGRAM.read_text())
        self._program = self.machine.start(
            ["python3", "-u", "/opt/observer.py", json.dumps(self._plan)]
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait(lambda lines: any("ready" in line for line in lines), "the observer is ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._program is not None
        self._program.send_signal(signal.SIGKILL)
        self._reader.join()
        self._program.stop(signal.SIGKILL)

    @property
    def lines(self) -> list[Line]:
        """What was seen so far, oldest first."""
        with self._changed:
            return list(self._lines)

    def wait(self, find: Callable[[list[Line]], T], what: str, timeout: float = 20.0) -> T:
        """Waits until something true is found in what was seen; looks again only when more was seen."""
        found: list[T] = []

        def look() -> bool:
            found[:] = [find(self._lines)]
            return bool(found[0])

        with self._changed:
            if self._changed.wait_for(look, timeout):
                return found[0]
            shown = self._end()
        raise AssertionError(f"waited {timeout:g} s in vain until {what}; seen last:\n{shown}")

    def idle_now(self) -> dict[str, Any]:
        """What samd says of the machine's use, as of the last look."""
        return self.wait(lambda lines: [line["idle"] for line in lines if "idle" in line][-1:], "samd answers")[0]

    def wait_mark(self, name: str, root: str = "machine") -> float:
        """Waits until a command has made its mark, and returns when that was seen."""

        def find(lines: list[Line]) -> float:
            made = (line for line in lines if line.get("mark") == name and line["root"] == root)
            return next((float(line["at"]) for line in made), 0.0)

        return self.wait(find, f"{name} is in {MARKS} of {root}")

    def _end(self) -> str:
        """The last lines, and of samd's answers the last one whole."""
        lines = self._lines[-_SHOWN_LINES:]
        shown = [json.dumps(line)[:_SHOWN_CHARACTERS] for line in lines if "idle" not in line]
        answers = [line for line in self._lines if "idle" in line][-1:]
        return "\n".join([*shown, *(json.dumps(line, indent=1) for line in answers)])

    def _read(self) -> None:
        assert self._program is not None
        for text in self._program.lines():
            with self._changed:
                # What is no JSON is a traceback.
                self._lines.append(json.loads(text) if text.startswith("{") else {"at": 0.0, "error": text})
                self._changed.notify_all()
