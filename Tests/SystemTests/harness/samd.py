"""samd in a machine, as an operator meets it: the package, the commands, the URLs."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import polling, prometheus
from harness.machine import Machine
from harness.polling import NotYet

CONFIGURATION = "/etc/samd/samd.toml"
SOCKET = "/run/samd/samd.sock"
DOMAIN_HOST = "vm1.localhost"
LISTEN = "http://127.0.0.1:8080"
# The workspace's owner on the machine, and the user name for published URLs.
OWNER = "dev"
WEB_USER = "dev"
# A port that goes keeps its route for 3 s; the rest is a slow machine's.
REMOVAL_TIMEOUT_SECONDS = 3.0 + polling.TIMEOUT_SECONDS
# The events that the daemon keeps.
KEPT_EVENTS = 512
# curl's statuses for a connection that ended without an answer.
_UNANSWERED = (52, 56)

Settings = Mapping[str, Mapping[str, object]]


class Samd:
    """The installed samd of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._password = ""

    # Installation and configuration

    def install(self, package: Path, settings: Settings | None = None) -> None:
        """Writes the configuration, installs the package and waits until the unit is active."""
        self.configure(settings or {})
        self.machine.install_deb(package)
        self.wait_active()

    def configure(self, settings: Settings) -> None:
        """Writes the configuration, its trace instance the machine's own: one tracefs serves all."""
        sections = {name: dict(values) for name, values in settings.items()}
        sections.setdefault("ports", {}).setdefault("tracefs_instance", self.machine.trace_instance)
        self.machine.put_file(CONFIGURATION, render_toml(sections))

    def wait_active(self) -> None:
        """Waits until the unit is active and its API answers."""
        self.machine.wait_for(self.is_active, "samd.service is active")
        self.machine.wait_for(
            lambda: self.cli("status", "--json", check=False).returncode == 0, "the API answers"
        )

    def wait_ready(self) -> None:
        """Waits until samd says that all its services are well."""

        def ready() -> bool:
            if (status := self.json("status"))["state"] != "ready":
                raise NotYet(json.dumps(status))
            return True

        self.machine.wait_for(ready, "samd is ready")

    def wait_wake_up(self, source: str) -> dict[str, Any]:
        """Waits until changes of ports are noticed in a way, and returns what the status says of it."""

        def found() -> dict[str, Any]:
            wake_up: dict[str, Any] = self.json("status").get("wakeUp") or {}
            if wake_up.get("source") != source:
                raise NotYet(json.dumps(wake_up))
            return wake_up

        return self.machine.wait_for(found, f"changes are noticed by {source}")

    def is_active(self) -> bool:
        """What `systemctl is-active samd` says."""
        return self.machine.run(["systemctl", "is-active", "--quiet", "samd"], check=False).returncode == 0

    @property
    def main_pid(self) -> int:
        """The daemon's pid within the machine, 0 while it does not run."""
        return int(self.machine.show("samd", "MainPID")["MainPID"])

    # Commands

    def cli(self, *arguments: str, check: bool = True, user: str | None = None) -> Any:
        """Runs `samd …`; a CompletedProcess."""
        return self.machine.run(["samd", *arguments], check=check, user=user)

    def json(self, *arguments: str) -> Any:
        """Runs `samd … --json` and returns what it printed."""
        return json.loads(self.cli(*arguments, "--json").stdout)

    def ports(self) -> dict[int, dict[str, Any]]:
        """`samd ports --json` by port number."""
        return {entry["port"]: entry for entry in self.json("ports")["ports"]}

    def named_ports(self) -> dict[str, dict[str, Any]]:
        """`samd ports --json` by name, without listeners that another one covers."""
        listed = self.json("ports")["ports"]
        return {entry["name"]: entry for entry in listed if entry["state"] != "covered"}

    def ask(
        self, method: str, path: str, body: object = None, user: str | None = None
    ) -> tuple[int, str, str]:
        """A request to the local API: status, media type and body of the answer."""
        options = ["--silent", "--max-time", "10", "--unix-socket", SOCKET, "--request", method]
        if body is not None:
            options += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
        answer = self.machine.run(
            ["curl", *options, "--write-out", "\n%{http_code} %{content_type}", f"http://localhost{path}"],
            user=user,
        ).stdout
        text, _, trailer = answer.rpartition("\n")
        status, _, media_type = trailer.partition(" ")
        return int(status), media_type, text

    def change(self, name: str | int, **change: object) -> dict[str, Any]:
        """PUTs a change of a port, which must be accepted, and returns the port's report."""
        status, _, body = self.ask("PUT", f"/v1/ports/{name}", change)
        assert status == 200, body
        return dict(json.loads(body))

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """The events so far, of those that the daemon keeps, after an id."""
        # The stream does not end, so how many there are is asked first.
        families = prometheus.parse(self.ask("GET", "/metrics")[2])
        count = min(int(families["samd_events_total"].value()), KEPT_EVENTS)
        events = self._follow("?since=0", lambda events: len(events) == count)
        if not since or events[-1]["id"] <= since:
            return [event for event in events if event["id"] > since]
        return self._follow(f"?since={since}", lambda later: later[-1]["id"] == events[-1]["id"])

    def _follow(
        self, query: str, is_complete: Callable[[list[dict[str, Any]]], bool]
    ) -> list[dict[str, Any]]:
        """Follows the events until those that came are all that are wanted; one at least."""
        command = ["curl", "--silent", "--no-buffer", "--unix-socket", SOCKET]
        follower = self.machine.start([*command, f"http://localhost/v1/events{query}"])
        events: list[dict[str, Any]] = []
        while not events or not is_complete(events):
            line = follower.read_line()
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
        follower.stop()
        return events

    def wait_port(self, port: int | str, state: str) -> dict[str, Any]:
        """Waits until a port is listed in a state, and returns its entry. A string is a port's name."""

        def listed() -> dict[str, Any]:
            ports: Mapping[Any, dict[str, Any]] = (
                self.ports() if isinstance(port, int) else self.named_ports()
            )
            if ports.get(port, {}).get("state") != state:
                raise NotYet(json.dumps(ports))
            return ports[port]

        return self.machine.wait_for(listed, f"port {port} is {state}")

    def wait_gone(self, port: int | str) -> None:
        """Waits until nothing listens on a port any more, as far as samd knows. A string is a port's name."""

        def gone() -> bool:
            return port not in (self.ports() if isinstance(port, int) else self.named_ports())

        self.machine.wait_for(gone, f"port {port} is gone", REMOVAL_TIMEOUT_SECONDS)

    def status_text(self) -> str:
        """The STATUS that the daemon gave systemd."""
        return self.machine.show("samd", "StatusText")["StatusText"]

    @property
    def password(self) -> str:
        """The generated password, as the owner is shown it."""
        if not self._password:
            self._password = self.cli("password").stdout.strip().removeprefix(f"{WEB_USER}:")
        return self._password

    def forget_password(self) -> None:
        """Asks for the password again next time, after it was renewed."""
        self._password = ""

    # Servers and requests

    def serve(
        self,
        port: int,
        bind: str | None = None,
        user: str = OWNER,
        command: str | None = None,
        properties: Sequence[str] = (),
    ) -> None:
        """Starts a web server as a user, by default Python's, as a unit with the given properties.

        One that this port has already is ended first.
        """
        self.stop_serving(port)
        web = f"python3 -m http.server {port}" + (f" --bind {bind}" if bind else "")
        options = [f"--unit=web-{port}", f"--uid={user}", *(f"--property={entry}" for entry in properties)]
        self.machine.run(
            f"systemd-run --quiet --collect --working-directory=/tmp {shlex.join(options)} {command or web}"
        )

    def restart_serving(self, port: int) -> None:
        """Ends the web server of a port and starts it again, as fast as that goes."""
        self.machine.run(["systemctl", "restart", f"web-{port}"])

    def stop_serving(self, port: int) -> None:
        """Stops the web server of a port, if there is one."""
        self.machine.run(["systemctl", "stop", f"web-{port}"], check=False)

    def fetch(self, port: int | str, password: str | None = None, path: str = "/") -> tuple[int, str]:
        """Requests a port's URL, anonymously without a password; status (0: no answer) and body.

        As browsers do, it asks once more when the connection ends without an answer: Go's server drops a request that it
        reads just when a reload shuts it down (decision 5).
        """
        options = [
            f'url = "{LISTEN}{path}"',
            f'header = "Host: {host_of(port)}"',
            'write-out = "\\n%{http_code}"',
            "max-time = 10",
            "silent",
        ]
        if password is not None:
            options.append(f'user = "{WEB_USER}:{password}"')
        for _ in range(2):
            result = self.machine.run(["curl", "--config", "-"], input="\n".join(options), check=False)
            if result.returncode not in _UNANSWERED:
                break
        body, _, status = result.stdout.rpartition("\n")
        return int(status or 0), body

    def answer_header(self, port: int, name: str) -> str:
        """A header of the answer to an authenticated request; empty when it is not there."""
        options = f'user = "{WEB_USER}:{self.password}"\nheader = "Host: {host_of(port)}"\n'
        command = ["curl", "--silent", "--head", "--request", "GET", "--config", "-", LISTEN]
        lines = self.machine.run(command, input=options).stdout.splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return headers.get(name, "")

    def publish(self, port: int, **options: Any) -> None:
        """Serves a port and waits until its URL answers and samd knows that."""
        self.serve(port, **options)
        self.wait_answer(port, 200)
        self.wait_port(port, "published")

    def get(self, port: int | str) -> int:
        """The status of an authenticated request."""
        return self.fetch(port, self.password)[0]

    def wait_answer(
        self, port: int | str, status: int, timeout: float = polling.TIMEOUT_SECONDS
    ) -> None:
        """Waits until an authenticated request is answered with a status."""

        def answered() -> bool:
            found = self.get(port)
            if found != status:
                raise NotYet(f"status {found}")
            return True

        self.machine.wait_for(answered, f"{host_of(port)} answers {status}", timeout)

    def watch_url(self, port: int) -> UrlWatch:
        """Starts requesting a port's URL until the watch is stopped; use it as a context manager."""
        return UrlWatch(self, port)


class UrlWatch:
    """A client in the machine that asks for one URL again and again over new connections."""

    _SCRIPT = """
import base64, http.client, sys, time
host, password = sys.argv[1], sys.stdin.readline().strip()
token = base64.b64encode(f"dev:{password}".encode()).decode()
headers = {"Host": host, "Authorization": f"Basic {token}"}
print("ready", flush=True)
while True:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
        connection.request("GET", "/", headers=headers)
        print(connection.getresponse().status, flush=True)
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        print(type(error).__name__, flush=True)
    time.sleep(0.02)
"""
    _PLACE = "/tmp/watch-url.py"

    def __init__(self, samd: Samd, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self._samd = samd
        self._port = port

    def __enter__(self) -> UrlWatch:
        machine = self._samd.machine
        machine.put_file(self._PLACE, self._SCRIPT)
        machine.put_file("/run/watch-password", self._samd.password, mode=0o600)
        self._client = machine.start(
            f"exec python3 {self._PLACE} {host_of(self._port)} < /run/watch-password"
        )
        assert self._client.read_line() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.update(self._client.stop().split())

    def assert_only(self, status: int) -> None:
        """Asserts that there were answers, and none but this."""
        assert set(self.answers) == {str(status)}, dict(self.answers)


def host_of(port: int | str) -> str:
    """The host name under which a port is published."""
    return f"{port}--{DOMAIN_HOST}"


def render_toml(sections: Settings) -> str:
    """Sections of plain values as TOML."""
    lines: list[str] = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        # JSON's strings, numbers, booleans and arrays of them are TOML's, too.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
