"""A Messages API in a machine, so that the real Claude Code there does what a test wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.machine import Machine

PORT = 4180
_FOLDER = "/srv/messages"
_PROGRAM = Path(__file__).parent / "inside" / "messages_api.py"

Reply = dict[str, Any]


def text(words: str = "Well.", gate: str | None = None, every: float | None = None) -> Reply:
    """A text; held back by a gate it streams a word every so many seconds, or none at all."""
    reply: Reply = {"text": words}
    return reply | _gate(gate) | ({} if every is None else {"every": every})


def tool(name: str, gate: str | None = None, **input: object) -> Reply:
    """The use of a tool."""
    return {"tool": name, "input": input} | _gate(gate)


def bash(command: str, background: bool = False) -> Reply:
    """A command for Claude's shell."""
    more = {"run_in_background": True} if background else {}
    return tool("Bash", command=command, description="as told", timeout=600_000, **more)


def refusal(status: int, gate: str) -> Reply:
    """An error for every request until the gate is open."""
    return {"status": status} | _gate(gate)


def _gate(name: str | None) -> Reply:
    return {} if name is None else {"gate": name}


class MessagesAPI:
    """The API of one machine, reached by its containers, too. A prompt `act NAME` gets what `script` was given."""

    def __init__(self, machine: Machine) -> None:
        """Starts it and waits until it listens."""
        self._machine = machine
        self._gates = 0
        machine.put_file("/opt/messages_api.py", _PROGRAM.read_text())
        machine.run(["mkdir", "-p", _FOLDER])
        machine.run(
            ["systemd-run", "--quiet", "--unit=messages-api", "--collect"]
            + ["python3", "/opt/messages_api.py", _FOLDER, "0.0.0.0", str(PORT)]
        )
        listens = f"! ss --no-header --listening --tcp --numeric 'sport = :{PORT}' | grep -q ''"
        machine.wait_for(
            lambda: machine.run(listens, check=False).returncode != 0, "the Messages API listens", unit="messages-api"
        )

    def script(self, name: str, *replies: Reply) -> str:
        """Sets what a turn gets, step by step, and returns the prompt that asks for it."""
        self._machine.put_file(f"{_FOLDER}/{name}.json", json.dumps(replies))
        return f"act {name}"

    def gate(self) -> str:
        """A new gate, which is closed."""
        self._gates += 1
        return f"gate-{self._gates}"

    def open(self, gate: str) -> None:
        """Lets go what a gate holds back, now and later."""
        self._machine.put_file(f"{_FOLDER}/{gate}.open", "")

    def wait_replies(self, count: int, gate: str) -> None:
        """Waits until what a gate holds back was asked for so many times."""

        def asked() -> bool:
            return sum(entry["reply"].get("gate") == gate for entry in self.requests()) >= count

        self._machine.wait_for(asked, f"{gate} was asked for {count} times", 30, "messages-api")

    def requests(self) -> list[dict[str, Any]]:
        """What was asked so far, and what was answered."""
        lines = self._machine.output(f"cat {_FOLDER}/requests.jsonl 2> /dev/null || true").splitlines()
        return [json.loads(line) for line in lines]
