"""Podman containers in a machine, each with a network of its own, made from the machine's own root."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.machine import CONTAINER_IMAGE, Machine

# The machine gives podman neither cgroups with controllers nor raised limits.
_OPTIONS = (
    "--pids-limit=-1",
    "--cgroups=disabled",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
    "--network=podman",
)


class Container:
    """A container of a machine that was made with containers; it runs until it is stopped or the machine ends."""

    def __init__(
        self,
        machine: Machine,
        name: str,
        command: Sequence[str],
        publish: Sequence[str] = (),
        user: str = "root",
        binds: Sequence[str] = (),
    ) -> None:
        """Starts it. `publish` has podman's `-p` values, such as "8088:3000"; `binds` is what it has of the machine."""
        self._machine = machine
        self.name = name
        options = [f"--name={name}", f"--user={user}", *(f"--publish={value}" for value in publish)]
        options += [f"--volume={place}:{place}:ro" for place in binds]
        machine.run(
            ["podman", "run", "--detach", *_OPTIONS, *options, "--rootfs", f"{CONTAINER_IMAGE}:O", *command]
        )

    def stop(self) -> None:
        """Ends its processes; it can be started again."""
        self._machine.run(["podman", "stop", "--time=0", self.name])

    def start(self) -> None:
        """Starts it again, with a new network namespace and the command it was made with."""
        self._machine.run(["podman", "start", self.name])

    def remove(self) -> None:
        """Ends and forgets it."""
        self._machine.run(["podman", "rm", "--force", "--time=0", self.name])

    @property
    def id(self) -> str:
        """Podman's full id."""
        return self._inspect("{{.Id}}")

    @property
    def address(self) -> str:
        """Its IPv4 address on podman's bridge."""
        return self._inspect("{{.NetworkSettings.IPAddress}}")

    @property
    def pid(self) -> int:
        """Its first process, as the machine numbers it."""
        return int(self._inspect("{{.State.Pid}}"))

    def pid_in_machine(self, pid: int) -> int:
        """How the machine numbers a process of it."""
        pattern = rf"^NSpid:\t[0-9]+\t{pid}$"
        listed = self._machine.output(
            f"grep --no-messages --files-with-matches --perl-regexp '{pattern}' /proc/[0-9]*/status || true"
        )
        namespace = self._machine.output(["readlink", f"/proc/{self.pid}/ns/pid"])
        pids = [int(place.split("/")[2]) for place in listed.split()]
        return next(
            found
            for found in pids
            if self._machine.output(["readlink", f"/proc/{found}/ns/pid"], check=False) == namespace
        )

    def signal(self, name: str) -> None:
        """Sends a signal to its first process."""
        self._machine.run(["podman", "kill", f"--signal={name}", self.name])

    def _inspect(self, form: str) -> str:
        return self._machine.output(["podman", "inspect", f"--format={form}", self.name])


def names(machine: Machine) -> list[str]:
    """Of all containers that run."""
    listed = json.loads(machine.output(["podman", "ps", "--format=json"]))
    return sorted(name for container in listed for name in container["Names"])
