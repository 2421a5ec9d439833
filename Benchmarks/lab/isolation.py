"""Runs a function in namespaces of its own: network, processes and mounts vanish with it, however it ends."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

_MARK = "SAMD_BENCH_LAB"
# Only trace instances outlive the namespaces, since tracefs is one for the whole kernel.
_REMOVE_INSTANCES = (
    "mount -t tracefs tracefs /sys/kernel/tracing && "
    'for instance in "/sys/kernel/tracing/instances/$1"*; do [ ! -d "$instance" ] || rmdir "$instance"; done'
)

Experiment = Callable[..., object]


class Lab:
    """One experiment that runs in its own namespaces beside this process."""

    def __init__(self, experiment: str, **arguments: object) -> None:
        """Starts the named experiment; arguments and result travel as JSON. See `serve_experiments`."""
        self._instance = f"samdbench-{secrets.token_hex(4)}"
        specification = {"experiment": experiment, "instance": self._instance, "arguments": arguments}
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._process = subprocess.Popen(
            [*command, sys.executable, *sys.argv[:1]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, _MARK: json.dumps(specification)},
        )

    def result(self) -> Any:
        """Waits for the experiment and returns what it returned."""
        try:
            output, _ = self._process.communicate()
        finally:
            self.close()
        if self._process.returncode != 0:
            raise SystemExit(f"an experiment failed with {self._process.returncode}; its message is above")
        return json.loads(output.splitlines()[-1])

    def close(self) -> None:
        """Ends the experiment, if it has not ended, and removes what it left in the kernel."""
        self._process.kill()
        self._process.wait()
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", _REMOVE_INSTANCES, "sh", self._instance], check=False
        )


def serve_experiments(experiments: Mapping[str, Experiment]) -> None:
    """Call this first: in a lab it runs the experiment and ends the process, elsewhere it returns."""
    specification = os.environ.pop(_MARK, None)
    if specification is None:
        if os.geteuid() != 0:
            raise SystemExit("this benchmark makes network and mount namespaces of its own, which needs root")
        return
    asked = json.loads(specification)
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
        ["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"],
    ):
        subprocess.run(command, check=True)
    result = experiments[asked["experiment"]](asked["instance"], **asked["arguments"])
    print(json.dumps(result), flush=True)
    sys.exit(0)
