"""The real Claude Code in a machine, at a terminal that somebody opened over SSH, talking to our own Messages API."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import polling, requirements
from harness.containers import Container
from harness.machine import Machine
from harness.messages_api import PORT
from harness.observation import Line, Observation
from harness.ssh import SSH, Terminal

VARIABLE = "SAMD_TEST_CLAUDE"
BINARY = "/usr/local/bin/claude"
HOME = "/home/dev"
SESSIONS = f"{HOME}/.claude/sessions"
# Podman's bridge, on which containers reach the machine.
_BRIDGE = "10.88.0.1"
_KEY = "sk-ant-no-key-0123456789abcdef0123456789"
_REPL = ("--permission-mode=manual", "--allowedTools=Bash")
# Starting is most of all reading a large binary.
START_TIMEOUT_SECONDS = 40.0


def claude_binds() -> dict[Path, str]:
    """What puts the binary into a machine."""
    return {requirements.file_from_environment(VARIABLE, "a Claude Code binary"): BINARY}


@dataclass(frozen=True)
class Place:
    """Where a Claude runs: the machine itself, or a container of it."""

    name: str = "machine"
    container: Container | None = None

    @property
    def root(self) -> str:
        """Its root folder, as the machine sees it."""
        return "/" if self.container is None else f"/proc/{self.container.pid}/root"

    def command(self, command: str, at_terminal: bool) -> tuple[str, str]:
        """Who must run what in the machine so that the workspace's owner runs a command here."""
        if self.container is None:
            return "dev", command
        options = "-it" if at_terminal else "-i"
        return "root", f"podman exec {options} --user=dev {self.container.name} sh -c {shlex.quote(command)}"


class Session:
    """A Claude Code that runs, with its terminal."""

    def __init__(self, terminal: Terminal, project: str, place: Place, seen: Observation) -> None:
        self.terminal = terminal
        self.place = place
        self.project = project
        self._seen = seen

    @cached_property
    def pid(self) -> int:
        """Its pid as its own root numbers it, once it has written itself into the registry."""

        def find(lines: list[Line]) -> int:
            return next((line["session"] for line in lines if self._is_mine(line)), 0)

        what = f"a Claude of {self.project} is in the registry of {self.place.name}"
        try:
            return self._seen.wait(find, what, START_TIMEOUT_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- screen\n{self.terminal.screen()}") from None

    @cached_property
    def machine_pid(self) -> int:
        """Its pid as the machine numbers it."""
        if self.place.container is None:
            return self.pid
        return self.place.container.pid_in_machine(self.pid)

    @property
    def last_change(self) -> float:
        """When the registry's entry was last seen to change."""
        return max(line["at"] for line in self._entries(self._seen.lines))

    @property
    def is_at_prompt(self) -> bool:
        """Whether the registry's last word is that it waits for a prompt."""
        entries = list(self._entries(self._seen.lines))
        return bool(entries) and (entries[-1]["entry"] or {}).get("status") == "idle"

    def say(self, text: str) -> None:
        """Types a prompt and sends it."""
        # Ctrl-U: an interrupted prompt comes back to be edited.
        self.terminal.type("\x15" + text)
        # Wait for the echo: keys that come in one piece are taken for a paste, whose return is no key.
        self.terminal.wait_for(text.split()[-1])
        self.terminal.type("\r")

    def keys(self, text: str) -> None:
        """Presses keys."""
        self.terminal.type(text)

    def agree(self) -> None:
        """Answers a dialog with what it offers first."""
        self.terminal.wait_for("Esc")
        asked = self.last_change

        def press() -> bool:
            self.terminal.type("\r")
            return self.last_change > asked

        # A dialog that has just opened takes no key, lest one is meant for the prompt.
        polling.wait_for(press, "the dialog takes the answer", START_TIMEOUT_SECONDS, self.terminal.screen, 0.3)

    def make_file(self, name: str) -> float:
        """Makes a file in its project and returns when."""
        self._seen.machine.run(["touch", f"{self.place.root.rstrip('/')}{self.project}/{name}"])
        return time.monotonic()

    def leave(self) -> None:
        """Ends it as its user does."""
        self.terminal.type("/exit")
        self.terminal.wait_for("/exit")
        self.terminal.type("\r")

    def kill(self) -> None:
        """Kills it without mercy."""
        self._seen.machine.run(["kill", "-KILL", str(self.machine_pid)])

    @property
    def is_in_registry(self) -> bool:
        """Whether its entry is there."""
        return bool(list(self._entries(self._seen.lines))[-1]["entry"])

    def wait_status(self, status: str, since: float = 0.0) -> float:
        """Waits until the registry has a status that was written after an instant, and returns when it was seen."""

        def find(lines: list[Line]) -> float:
            entries = (line for line in self._entries(lines) if line["at"] >= since and line["entry"])
            return next((float(line["at"]) for line in entries if line["entry"].get("status") == status), 0.0)

        try:
            return self._seen.wait(find, f"the status is {status}", START_TIMEOUT_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- screen\n{self.terminal.screen()}") from None

    def wait_gone(self) -> float:
        """Waits until its process has ended, and returns when that was seen."""
        pid = self.pid

        def find(lines: list[Line]) -> float:
            ends = (line for line in lines if line.get("gone") == pid and line["root"] == self.place.name)
            return next((float(line["at"]) for line in ends), 0.0)

        return self._seen.wait(find, f"Claude {pid} is gone")

    def _entries(self, lines: list[Line]) -> Iterator[Line]:
        """The changes of its entry in the registry."""
        pid = self.pid
        return (line for line in lines if line.get("session") == pid and line["root"] == self.place.name)

    def _is_mine(self, line: Line) -> bool:
        entry = line.get("entry")
        return bool(entry) and line["root"] == self.place.name and entry.get("cwd") == self.project


class ClaudeCode:
    """Starts Claude Code for the workspace's owner, past all that it asks on its first run."""

    def __init__(self, machine: Machine, ssh: SSH, seen: Observation) -> None:
        self._machine = machine
        self._ssh = ssh
        self._seen = seen

    def repl(self, name: str, place: Place = Place()) -> Session:
        """Starts one at a prompt in a project of its own; it may run commands, but asks before it writes files."""
        session = self._start(name, place, _REPL)
        session.wait_status("idle")
        return session

    def untyped(self, name: str, prompt: str, place: Place = Place()) -> Session:
        """The same with a first prompt for which nobody touches a key."""
        return self._start(name, place, [*_REPL, prompt])

    def one_shot(self, name: str, prompt: str, place: Place = Place()) -> Session:
        """Starts `claude -p` in a project of its own."""
        return self._start(name, place, ["-p", prompt, "--allowedTools=Bash"])

    def _start(self, name: str, place: Place, options: Sequence[str]) -> Session:
        project = f"{HOME}/{name}"
        self._prepare(project, place)
        host = "127.0.0.1" if place.container is None else _BRIDGE
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "HOME": HOME,
            "ANTHROPIC_BASE_URL": f"http://{host}:{PORT}",
            "ANTHROPIC_API_KEY": _KEY,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        variables = shlex.join(f"{key}={value}" for key, value in environment.items())
        command = f"cd {project} && exec env -i {variables} {shlex.join(['claude', *options])}"
        user, command = place.command(f"sh -c {shlex.quote(command)}", at_terminal=True)
        return Session(self._ssh.log_in(user, command), project, place, self._seen)

    def _prepare(self, project: str, place: Place) -> None:
        """What the dialogs of a first run would write: the tour, the approval of the key, the trust in the folder."""
        home = f"{place.root.rstrip('/')}{HOME}"
        answers = {
            "hasCompletedOnboarding": True,
            "hasSeenAutoDefaultNotice": True,
            "customApiKeyResponses": {"approved": [_KEY[-20:]], "rejected": []},
            "projects": {project: {"hasTrustDialogAccepted": True}},
        }
        program = (
            "import json, os, sys\n"
            "place, answers = sys.argv[1], json.loads(sys.argv[2])\n"
            "known = json.load(open(place)) if os.path.exists(place) else {}\n"
            "projects = known.get('projects', {}) | answers['projects']\n"
            "json.dump(known | answers | {'projects': projects}, open(place + '.new', 'w'))\n"
            "os.rename(place + '.new', place)\n"
        )
        self._machine.run(["mkdir", "-p", f"{home}/{project.rpartition('/')[2]}"])
        self._machine.run(["python3", "-c", program, f"{home}/.claude.json", json.dumps(answers)])
        self._machine.run(["chown", "-R", "1000:1000", home])
