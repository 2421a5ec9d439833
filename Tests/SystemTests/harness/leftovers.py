"""Finds and removes what a machine makes on the host: processes, mounts, namespaces, cgroups, instances."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import naming

RUN_DIRECTORY = Path("/run/samd-tests")
_KILL_TIMEOUT_SECONDS = 20.0
_BUSY_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Leftover:
    """One thing that belongs to a machine."""

    kind: str
    name: str
    subject: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


def cgroup_roots() -> list[Path]:
    """The hierarchies in which a machine gets a cgroup: two on a hybrid host, one on a unified host."""
    hybrid = [Path("/sys/fs/cgroup") / name for name in ("unified", "systemd")]
    present = [root for root in hybrid if root.is_dir()]
    return present or [Path("/sys/fs/cgroup")]


@contextmanager
def private_tracefs() -> Iterator[Path | None]:
    """The kernel's tracefs, mounted for the duration at a place of our own; None where it cannot be."""
    RUN_DIRECTORY.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f"{naming.new_name()}-tracefs", dir=RUN_DIRECTORY))
    mounted = subprocess.run(["mount", "-t", "tracefs", "tracefs", place], capture_output=True)
    try:
        yield place if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", place], check=True)
        place.rmdir()


def find(selected: Callable[[str], bool]) -> list[Leftover]:
    """Everything on this host that carries a selected name."""
    found: list[Leftover] = []

    def add(kind: str, text: str, subject: str) -> None:
        found.extend(Leftover(kind, name, subject) for name in naming.names_in(text) if selected(name))

    for pid, command in _processes():
        add("process", command, f"{pid} ({command[:80]})")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        add("mount", line, line.split()[1])
    if Path("/run/netns").is_dir():
        for namespace in sorted(Path("/run/netns").iterdir()):
            add("network namespace", namespace.name, namespace.name)
    for root in cgroup_roots():
        for group in sorted(root.glob(f"{naming.PREFIX}-*")):
            add("cgroup", group.name, str(group))
            found.extend(
                Leftover("process", group.name, f"{pid} (in {group})")
                for pid in _pids_in(group)
                if selected(group.name)
            )
    if RUN_DIRECTORY.is_dir():
        for directory in sorted(RUN_DIRECTORY.iterdir()):
            add("directory", directory.name, str(directory))
    with private_tracefs() as tracefs:
        if tracefs is not None:
            for instance in sorted((tracefs / "instances").iterdir()):
                add("trace instance", instance.name, instance.name)
    return found


def remove(name: str) -> None:
    """Removes everything of one machine. Safe to call again, and on a machine that never came up."""
    _kill_all(name)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if name in line:
            _insist(_umount, line.split()[1])
    if (Path("/run/netns") / name).exists():
        subprocess.run(["ip", "netns", "delete", name], check=True)
    for root in cgroup_roots():
        group = root / name
        if group.is_dir():
            for directory, _, _ in os.walk(group, topdown=False):
                _insist(os.rmdir, directory)
    with private_tracefs() as tracefs:
        if tracefs is not None:
            for instance in (tracefs / "instances").glob(f"*{name}"):
                _insist(os.rmdir, str(instance))
    for directory_of_name in RUN_DIRECTORY.glob(f"{name}*"):
        shutil.rmtree(directory_of_name)


def sweep() -> list[str]:
    """Removes what dead owners left behind, and returns their names."""
    dead = sorted({leftover.name for leftover in find(lambda name: not naming.owner_lives(name))})
    for name in dead:
        remove(name)
    return dead


def _processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(entry.name), command.strip()


def _pids_in(group: Path) -> list[int]:
    pids: list[int] = []
    for directory, _, files in os.walk(group):
        if "cgroup.procs" in files:
            try:
                pids += [int(pid) for pid in (Path(directory) / "cgroup.procs").read_text().split()]
            except OSError:
                continue  # the group went while we looked
    return [pid for pid in pids if pid > 0]


def _kill_all(name: str) -> None:
    """Kills the machine's processes: those in its cgroups, and those whose command line names it."""
    deadline = time.monotonic() + _KILL_TIMEOUT_SECONDS
    while True:
        pids = {pid for pid, command in _processes() if _is_machine_command(command, name)}
        for root in cgroup_roots():
            pids.update(_pids_in(root / name))
        pids.discard(os.getpid())
        if not pids:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {name} survive SIGKILL: {sorted(pids)}")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def _is_machine_command(command: str, name: str) -> bool:
    return command.startswith("systemd-nspawn") and name in command


def _umount(place: str) -> None:
    result = subprocess.run(["umount", place], capture_output=True, text=True)
    if result.returncode != 0 and "not mounted" not in result.stderr:
        raise OSError(errno.EBUSY, result.stderr.strip())


def _insist(act: Callable[[str], None], place: str) -> None:
    """Repeats what fails with EBUSY: the kernel lets go of a dead process's things a moment later."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_SECONDS
    while True:
        try:
            return act(place)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
