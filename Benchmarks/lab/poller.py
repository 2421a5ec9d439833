"""The usual way, as a peer: every two seconds read the socket tables, then add or delete a route each."""

from __future__ import annotations

import base64
import crypt
import http.client
import json
import os
import random
import socket
import time
from pathlib import Path

from lab.programs import PEER_PORT

INTERVAL_SECONDS = 2.0
PASSWORD = "peer-password"
_LISTEN = "0A"


def start_poller(admin: str) -> None:
    """Runs the poller in a process of its own, which ends with the lab."""
    if os.fork() == 0:
        try:
            _run(admin)
        finally:
            os._exit(1)


def host_of(port: int) -> str:
    """The host name under which the poller publishes a port."""
    return f"{port}--peer.localhost"


def _run(admin: str) -> None:
    _ask(admin, "PUT", "/config/apps", {"http": {"servers": {"peer": _server()}}})
    known: set[int] = set()
    time.sleep(random.uniform(0, INTERVAL_SECONDS))
    while True:
        found = _listening_ports()
        for port in sorted(found - known):
            _ask(admin, "PUT", "/config/apps/http/servers/peer/routes/0", _route(port))
        for port in sorted(known - found):
            _ask(admin, "DELETE", f"/id/peer{port}", None)
        known = found
        time.sleep(INTERVAL_SECONDS)


def _listening_ports() -> set[int]:
    """Ports of ordinary users that somebody listens on."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[7]) >= 1000:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def _server() -> dict[str, object]:
    return {
        "listen": [f"127.0.0.1:{PEER_PORT}"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [{"handler": "static_response", "status_code": 404}]}],
    }


def _route(port: int) -> dict[str, object]:
    # Cost 4 as in samd, so that only the way of noticing differs.
    hashed = crypt.crypt(PASSWORD, "$2b$04$" + "abcdefghijklmnopqrstuv")
    account = {"username": "dev", "password": base64.b64encode(hashed.encode()).decode()}
    basic = {"hash": {"algorithm": "bcrypt"}, "accounts": [account], "hash_cache": {}}
    return {
        "@id": f"peer{port}",
        "match": [{"host": [host_of(port)]}],
        "handle": [
            {"handler": "authentication", "providers": {"http_basic": basic}},
            {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{port}"}]},
        ],
        "terminal": True,
    }


def _ask(admin: str, method: str, path: str, body: object) -> None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(admin)
    headers = {"Host": "", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"the peer's {method} {path} was answered with {answer.status}: {answer.read()!r}")
    connection.close()
