"""People who log in to a machine: its own sshd, and clients that run in the machine as well."""

from __future__ import annotations

import re
import shlex
import signal
import threading
from collections.abc import Sequence

from harness.machine import Machine, RunningCommand

_KEY = "/root/.ssh/id_ed25519"
_OPTIONS = (
    "-o=BatchMode=yes",
    "-o=LogLevel=ERROR",
    "-o=StrictHostKeyChecking=no",
    "-o=UserKnownHostsFile=/dev/null",
    f"-i{_KEY}",
)
# What terminals are told beside the text: CSI and OSC sequences, and two-byte escapes.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>78])")
# Of what a program wrote, the part that a failure's text shows.
_SCREEN_CHARACTERS = 3000


# Asks the terminal where its cursor is, and what it says.
_QUERY, _ANSWER = "\x1b[6n", "\x1b[1;1R"


class Terminal:
    """A program at a terminal of its own, and who sits there."""

    def __init__(self, running: RunningCommand, answers: bool = False) -> None:
        """A terminal that answers says where its cursor is when it is asked."""
        self._running = running
        self._answers = answers
        self._text = ""
        self._seen = 0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        """Types characters; "\\r" is the return key."""
        self._running.write(text)

    def screen(self) -> str:
        """The end of what the program wrote, without what moves the cursor."""
        return _ESCAPES.sub(" ", self._text)[-_SCREEN_CHARACTERS:]

    def wait_for(self, words: str, timeout: float = 20.0) -> None:
        """Waits until the program has written something since the last of these waits."""
        with self._changed:
            if not self._changed.wait_for(lambda: words in self._text[self._seen :], timeout):
                raise AssertionError(f"{words!r} was not written within {timeout:g} s:\n{self.screen()}")
            self._seen += self._text[self._seen :].index(words) + len(words)

    def close(self) -> None:
        """Hangs up."""
        # Ended by its client, so that what ran in it gets what a lost connection gives: SIGHUP.
        self._running.send_signal(signal.SIGTERM)
        self._reader.join()
        self._running.stop(signal.SIGKILL)

    def _read(self) -> None:
        for piece in self._running.pieces():
            with self._changed:
                self._text += piece
                if self._answers and _QUERY in piece:
                    self._running.write(_ANSWER)
                self._changed.notify_all()


class SSH:
    """The machine's sshd, which knows one key for all."""

    def __init__(self, machine: Machine, users: Sequence[str] = ("dev", "root")) -> None:
        """Starts it and lets the users in."""
        self._machine = machine
        machine.run(["mkdir", "-p", "-m", "700", "/root/.ssh"])
        machine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", _KEY])
        public = machine.read_file(f"{_KEY}.pub")
        for user in users:
            home = "/root" if user == "root" else f"/home/{user}"
            machine.put_file(f"{home}/.ssh/authorized_keys", public)
        machine.run(["systemctl", "start", "ssh.service"])

    def log_in(self, user: str, command: str | None = None, answers: bool = False) -> Terminal:
        """Opens a session with a terminal; without a command it runs the user's shell."""
        sized = f"stty rows 50 columns 160; export TERM=xterm-256color; exec {command or '$SHELL -l'}"
        arguments = ["ssh", "-tt", *_OPTIONS, f"{user}@127.0.0.1", f"sh -c {shlex.quote(sized)}"]
        return Terminal(self._machine.start(arguments, with_input=True), answers)
