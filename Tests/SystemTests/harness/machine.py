"""Throw-away machines: a booted systemd with its own network, cgroup and files, gone at the end."""

from __future__ import annotations

import codecs
import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from harness import leftovers, naming, polling
from harness.rootfs import ensure_rootfs

T = TypeVar("T")
Command = str | Sequence[str]

BOOT_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 45.0
COMMAND_TIMEOUT_SECONDS = 60.0
OVERLAY_SIZE = "2g"
# Where a machine has the root of its containers: its own, as it was before it booted.
CONTAINER_IMAGE = "/srv/image"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
# Beside what containers are usually given: tracefs instances, and entering a process's network namespace.
_NSPAWN_OPTIONS = (
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--resolv-conf=off",
    "--timezone=off",
    "--console=pipe",
    "--capability=all",
    "--system-call-filter=bpf @known",
)
_NSPAWN_ENVIRONMENT = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    # Its own network's part of /proc/sys, which podman sets when it makes a bridge.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}
_SIGRTMIN = 34
_POWER_OFF = _SIGRTMIN + 4


class CommandFailed(AssertionError):
    """A command in a machine ended with another status than zero."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        self.result = result
        super().__init__(
            f"exit {result.returncode}: {shlex.join(result.args)}\n"
            f"--- stdout\n{result.stdout[-4000:]}\n--- stderr\n{result.stderr[-4000:]}"
        )


class CommandEnded(AssertionError):
    """A command ended while a line of its output was waited for."""


class RunningCommand:
    """A command that runs in a machine beside the test."""

    def __init__(self, arguments: Sequence[str], with_input: bool = False) -> None:
        self._arguments = arguments
        self._nsenter = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def read_line(self) -> str:
        """The next line of its output, without the line's end; blocks until there is one, or the command ends."""
        assert self._nsenter.stdout is not None
        line = self._nsenter.stdout.readline()
        if not line:
            raise CommandEnded(f"ended while a line was waited for: {shlex.join(self._arguments)}")
        return line.rstrip("\n")

    def lines(self) -> Iterator[str]:
        """The lines of its output as they come, without their ends, until it ends."""
        assert self._nsenter.stdout is not None
        for line in self._nsenter.stdout:
            yield line.rstrip("\n")

    def pieces(self) -> Iterator[str]:
        """Its output as it comes, line or not, until it ends. Not for use together with what reads lines."""
        assert self._nsenter.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while data := os.read(self._nsenter.stdout.fileno(), 65536):
            yield decoder.decode(data)

    def write(self, text: str) -> None:
        """Gives input to a command that was started with input."""
        assert self._nsenter.stdin is not None
        self._nsenter.stdin.write(text)
        self._nsenter.stdin.flush()

    def send_signal(self, which: signal.Signals) -> bool:
        """Sends a signal to the command and what it started; false when nothing of it runs."""
        descendants = _descendants(self._nsenter.pid)
        for pid in descendants:
            with suppress(ProcessLookupError):
                os.kill(pid, which)
        return bool(descendants)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        """Ends the command, if it has not ended, and returns the rest of its output."""
        # nsenter passes no signal on, and it must be the one to reap its child: a zombie whose parent is
        # elsewhere keeps the machine's pid namespace, and so its shutdown, waiting.
        while self._nsenter.poll() is None and not self.send_signal(how):
            time.sleep(polling.INTERVAL_SECONDS)
        # Not communicate(): with a timeout it reads the descriptor and loses what read_line() left in the buffer.
        assert self._nsenter.stdout is not None
        rest = self._nsenter.stdout.read()
        if self._nsenter.stdin is not None:
            with suppress(BrokenPipeError):
                self._nsenter.stdin.close()
        self._nsenter.wait(timeout=COMMAND_TIMEOUT_SECONDS)
        return rest


class Machine:
    """A booted Debian 12. Use it as a context manager; everything it made on the host goes with it."""

    def __init__(self, binds: Mapping[Path, str] | None = None, with_containers: bool = False) -> None:
        """`binds` maps files of the host to the places where the machine finds them, read-only.

        With containers, podman can give them networks, and finds their image at `CONTAINER_IMAGE`.
        """
        self.name = naming.new_name()
        self.trace_instance = self.name
        self._directory = leftovers.RUN_DIRECTORY / self.name
        self._binds = dict(binds or {})
        self._with_containers = with_containers
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init_pid = 0
        self._started: list[RunningCommand] = []

    # Life

    def __enter__(self) -> Machine:
        try:
            self._make_file_system()
            self._boot()
        except BaseException:
            leftovers.remove(self.name)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._power_off()
        finally:
            leftovers.remove(self.name)

    def power_off(self) -> int:
        """Shuts down in the orderly way and returns nspawn's status: 0 for powered off, 133 for rebooted."""
        return self._power_off()

    @property
    def root(self) -> Path:
        """The machine's files, as the host sees them."""
        return self._directory / "root"

    @property
    def init_pid(self) -> int:
        """The machine's pid 1, as the host numbers it."""
        return self._init_pid

    # Commands

    def run(
        self,
        command: Command,
        check: bool = True,
        user: str | None = None,
        input: str | None = None,
        timeout: float = COMMAND_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the machine; a string goes through its shell. Costs about 15 ms."""
        arguments = self._inside(command, user, environment)
        result = subprocess.run(
            arguments,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        result.args = _as_arguments(command)
        if check and result.returncode != 0:
            raise CommandFailed(result)
        return result

    def output(self, command: Command, **options: Any) -> str:
        """What a successful command printed, without the white space around it."""
        return self.run(command, **options).stdout.strip()

    def start(self, command: Command, user: str | None = None, with_input: bool = False) -> RunningCommand:
        """Starts a command in the machine and lets it run, at the longest until the machine ends."""
        running = RunningCommand(self._inside(command, user, None), with_input)
        self._started.append(running)
        return running

    def put_file(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Writes a file of root's into the machine, with the directories above it."""
        data = content.encode() if isinstance(content, str) else content
        place = Path(f"/proc/{self._init_pid}/root") / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as temporary:
            temporary.write(data)
            os.fchmod(temporary.fileno(), mode)
        os.rename(temporary.name, place)

    def read_file(self, path: str) -> str:
        """The content of a file in the machine."""
        return self.run(["cat", path]).stdout

    def install_deb(self, package: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Installs a package without the network, keeping configuration files that are already there."""
        place = f"/var/cache/{package.name}"
        self.put_file(place, package.read_bytes())
        return self.run(["dpkg", "--install", "--force-confold", place], check=check)

    # Systemd

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit as systemd tells them."""
        lines = self.output(["systemctl", "show", unit, *(f"--property={name}" for name in properties)])
        return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)

    def journal(self, unit: str, **fields: str) -> list[dict[str, Any]]:
        """The unit's journal entries of this boot, oldest first, that have all the given fields."""
        matches = [f"{name}={value}" for name, value in fields.items()]
        lines = self.journalctl("--output=json", "--all", f"_SYSTEMD_UNIT={unit}.service", *matches)
        return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]

    def journalctl(self, *options: str) -> str:
        """What journalctl prints, with everything that was logged so far: the journal takes messages in by and by."""
        self.run(["journalctl", "--sync"])
        return self.run(["journalctl", "--no-pager", *options]).stdout

    def wait_for(
        self,
        condition: Callable[[], T],
        what: str,
        timeout: float = polling.TIMEOUT_SECONDS,
        unit: str = "samd",
    ) -> T:
        """Waits for a condition; the failure's text has the unit's status and the end of its journal."""
        return polling.wait_for(condition, what, timeout, lambda: self.describe(unit))

    def describe(self, unit: str = "samd") -> str:
        """The unit's status and the end of its journal, for a failure's text."""
        status = self.run(["systemctl", "status", "--no-pager", "--lines=0", unit], check=False).stdout
        journal = self.run(["journalctl", "--no-pager", "--lines=40", f"--unit={unit}"], check=False).stdout
        return f"--- systemctl status {unit}\n{status}\n--- journal of {unit}\n{journal}"

    # Parts

    def _make_file_system(self) -> None:
        lower = ensure_rootfs()
        self._directory.mkdir(parents=True)
        _host(["mount", "-t", "tmpfs", "-o", f"size={OVERLAY_SIZE},mode=755", self.name, self._directory])
        upper, work = self._directory / "upper", self._directory / "work"
        for directory in (upper, work, self.root):
            directory.mkdir()
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        _host(["mount", "-t", "overlay", "-o", layers, self.name, self.root])

    def _boot(self) -> None:
        _host(["ip", "netns", "add", self.name])
        _host(["ip", "-n", self.name, "link", "set", "lo", "up"])
        groups = [root / self.name for root in leftovers.cgroup_roots()]
        for group in groups:
            group.mkdir()
        enter = "".join(f"echo $$ > {shlex.quote(str(group))}/cgroup.procs; " for group in groups)
        nspawn = [
            "systemd-nspawn",
            f"--machine={self.name}",
            f"--directory={self.root}",
            f"--network-namespace-path=/run/netns/{self.name}",
            *_NSPAWN_OPTIONS,
            *(f"--bind-ro={host}:{place}" for host, place in self._binds.items()),
            *(self._container_options() if self._with_containers else ()),
            "--boot",
        ]
        # An owner killed without mercy takes its machine along; a session of its own keeps Ctrl-C for us.
        script = f"{enter}exec setpriv --pdeathsig TERM {shlex.join(nspawn)}"
        with open(self._console_log, "wb") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={**os.environ, **_NSPAWN_ENVIRONMENT},
            )
        deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
        self._init_pid = polling.wait_for(
            self._find_init, "pid 1 is there", BOOT_TIMEOUT_SECONDS, self._console_tail
        )
        polling.wait_for(
            self._booted, "the machine is booted", deadline - time.monotonic(), self._console_tail
        )

    def _container_options(self) -> list[str]:
        """The image, and a place for its layers: they cannot lie on the machine's own, an overlay itself."""
        return [
            f"--bind-ro={ensure_rootfs()}:{CONTAINER_IMAGE}",
            "--tmpfs=/var/lib/containers:size=1g,mode=700",
        ]

    @property
    def _console_log(self) -> Path:
        return self._directory / "console.log"

    def _console_tail(self) -> str:
        return f"--- console\n{self._console_log.read_text(errors='replace')[-3000:]}"

    def _find_init(self) -> int:
        """The child of nspawn that has become systemd: before its exec it is nspawn's own code."""
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise RuntimeError(f"nspawn ended with {self._nspawn.returncode}\n{self._console_tail()}")
        # Its threads and children may end while they are looked at.
        with suppress(FileNotFoundError, ProcessLookupError):
            for directory in Path(f"/proc/{self._nspawn.pid}/task").iterdir():
                for child in (directory / "children").read_text().split():
                    if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                        return int(child)
        return 0

    def _booted(self) -> bool:
        """Blocks until systemd says that the boot is over; fails at once while its bus is not there."""
        state = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        if state == "degraded":
            failed = self.output(["systemctl", "--failed", "--no-pager", "--plain"])
            raise RuntimeError(f"the machine booted with failed units:\n{failed}")
        if state != "running":
            raise polling.NotYet(state)
        return True

    def _power_off(self) -> int:
        if self._nspawn is None:
            return 0
        for running in self._started:
            running.stop(signal.SIGKILL)
        if self._with_containers and self._nspawn.poll() is None and self._init_pid:
            # They have no cgroup of their own, so systemd would wait 90 s for a pid 1 that ignores SIGTERM.
            self.run(["podman", "rm", "--all", "--force", "--time=0"], check=False)
        if self._nspawn.poll() is None and self._init_pid:
            os.kill(self._init_pid, _POWER_OFF)
        try:
            return self._nspawn.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._nspawn.send_signal(signal.SIGKILL)
            raise
        finally:
            self._init_pid = 0

    def _account(self, user: str) -> list[str]:
        """The user's line of the machine's /etc/passwd (passwd(5)), as fields."""
        for line in Path(f"/proc/{self._init_pid}/root/etc/passwd").read_text().splitlines():
            if (fields := line.split(":"))[0] == user:
                return fields
        raise LookupError(f"the machine has no user {user}")

    def _inside(self, command: Command, user: str | None, environment: Mapping[str, str] | None) -> list[str]:
        if not self._init_pid:
            raise RuntimeError(f"{self.name} is not running")
        root = f"/proc/{self._init_pid}/root"
        variables = dict(_ENVIRONMENT)
        identity: list[str] = []
        if user is not None:
            account = self._account(user)
            identity = ["setpriv", f"--reuid={account[2]}", f"--regid={account[3]}", "--init-groups", "--"]
            variables |= {"HOME": account[5], "USER": user}
        variables |= environment or {}
        return [
            *("nsenter", "--target", str(self._init_pid)),
            *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
            *(f"--root={root}", f"--wd={root}"),
            *("env", "--ignore-environment"),
            *(f"{name}={value}" for name, value in variables.items()),
            *identity,
            *_as_arguments(command),
        ]


def _as_arguments(command: Command) -> list[str]:
    return ["sh", "-c", command] if isinstance(command, str) else list(command)


def _descendants(pid: int) -> list[int]:
    """Every process below another one, children before their parents."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in children for found in (*_descendants(int(child)), int(child))]


def _host(command: Sequence[str | Path]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{shlex.join(map(str, command))}: {result.stderr.strip()}")
