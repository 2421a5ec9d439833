"""What runs in a lab: Caddy, samd, and web servers that tell when they began to listen."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

OWNER_UID = 1000
READY_TIMEOUT_SECONDS = 20.0
CADDY_PORT = 8080
PEER_PORT = 8081
_NOTIFY_SOCKET = "/run/notify"
# WatchdogSec= of samd.service.
_WATCHDOG_SECONDS = 30


def binary(variable: str) -> str:
    """The program that an environment variable names."""
    path = os.environ.get(variable)
    if not path or not os.access(path, os.X_OK):
        raise SystemExit(f"{variable} must name a program; `./dev bench` sets it")
    return path


def wait_until(condition: Callable[[], bool], what: str, timeout: float = READY_TIMEOUT_SECONDS) -> None:
    """Polls a condition every 10 ms; ends the experiment when it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {timeout:g} s in vain until {what}")
        time.sleep(0.01)


def start_caddy(name: str) -> str:
    """Starts a current Caddy, waits until it answers, and returns the path of its admin socket."""
    folder = Path(f"/run/{name}")
    folder.mkdir()
    admin = folder / "admin.sock"
    (folder / "caddy.json").write_text(json.dumps({"admin": {"listen": f"unix/{admin}"}}))
    environment = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    subprocess.Popen(
        [binary("SAMD_TEST_CADDY_2_11"), "run", "--config", str(folder / "caddy.json")],
        stdout=subprocess.DEVNULL,
        stderr=open(folder / "log", "wb"),
        env={**os.environ, **environment},
    )
    wait_until(lambda: admin.exists() and _connects(admin), f"{name} answers")
    return str(admin)


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


class SamdUnderTest:
    """A daemon with its own folders, and a way to ask it."""

    def __init__(self, instance: str, admin: str, events: str, workspace: Path | None = None) -> None:
        folder = Path("/run/samd-bench")
        folders = json.dumps([str(workspace)] if workspace else [])
        folder.mkdir(exist_ok=True)
        self._socket = folder / "samd.sock"
        self._configuration = folder / "samd.toml"
        self._configuration.write_text(
            f"""
            [daemon]
            state_dir = "{folder}/state"
            runtime_dir = "{folder}/run"
            socket = "{self._socket}"
            [workspace]
            owners = [{OWNER_UID}]
            folders = {folders}
            [ports]
            events = "{events}"
            tracefs_instance = "{instance}"
            [routes]
            vm = "bench"
            [caddy]
            admin = "unix/{admin}"
            listen = ["127.0.0.1:{CADDY_PORT}"]
            """
        )

    def start(self, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts the daemon as its unit does."""
        return subprocess.Popen(
            [binary("SAMD_BIN"), "run", "--config", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open("/run/samd-bench/log", "ab"),
            env={**os.environ, "MALLOC_ARENA_MAX": "2", **(environment or {})},
        )

    def watched(self) -> dict[str, str]:
        """An environment for `start` in which the daemon reports to a watchdog, as under its unit."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(_NOTIFY_SOCKET)

        def drain() -> None:
            while True:
                receiver.recv(65536)

        threading.Thread(target=drain, daemon=True).start()
        return {"NOTIFY_SOCKET": _NOTIFY_SOCKET, "WATCHDOG_USEC": str(_WATCHDOG_SECONDS * 1_000_000)}

    def wait_answering(self) -> None:
        """Waits until the local API answers."""
        wait_until(lambda: self._socket.exists() and _connects(self._socket), "samd answers")

    def get(self, path: str) -> dict[str, object]:
        """A resource of the local API."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._socket))
        connection.request("GET", path)
        answer: dict[str, object] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def wake_up(self) -> str:
        """How changes of ports are noticed."""
        wake_up = self.get("/v1/status")["wakeUp"]
        assert isinstance(wake_up, dict)
        return str(wake_up["source"])

    def published(self) -> int:
        """How many ports are published."""
        counts = self.get("/v1/status")["ports"]
        assert isinstance(counts, dict)
        return int(counts["published"])


class WebServer:
    """A process of the workspace's owner that listens on a port and answers every request with 200."""

    def __init__(self, port: int) -> None:
        self.port = port
        reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            self._serve(writer)
        os.close(writer)
        with os.fdopen(reader) as text:
            self.listening_since = float(text.read())

    def stop(self) -> None:
        """Ends the process, and with it the listening socket."""
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)

    def _serve(self, writer: int) -> None:
        os.setgid(OWNER_UID)
        os.setuid(OWNER_UID)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        before = time.monotonic()
        listener.listen()
        os.write(writer, repr(before).encode())
        os.close(writer)
        while True:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            connection.close()


# While Caddy swaps listeners the kernel may lose a connection request and repeat it after a second (TCP's first
# timeout); who asks again sooner is not held up by that.
ANSWER_TIMEOUT_SECONDS = 0.25


def status_of(caddy_port: int, host: str, authorization: str) -> int:
    """The status of the answer to an authenticated request for a host; 0 for no answer in time."""
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
    try:
        address = ("127.0.0.1", caddy_port)
        with socket.create_connection(address, timeout=ANSWER_TIMEOUT_SECONDS) as connection:
            connection.sendall(request.encode())
            return int(connection.makefile("rb").readline().split()[1])
    except (OSError, IndexError):
        return 0
