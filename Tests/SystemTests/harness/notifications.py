"""Where a machine's notifications arrive: a small web server in it, which keeps what is posted."""

from __future__ import annotations

import json
from typing import Any

from harness.machine import Machine

PORT = 4190
_LIST = "/srv/notifications.jsonl"
_PROGRAM = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[2], "a") as file:
            file.write(json.dumps({"path": self.path, "body": json.loads(body)}) + "\\n")
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
# What [notify] has to have, so that everything arrives twice: posted by samd, and by a command that samd starts.
SETTINGS: dict[str, object] = {
    "webhook": f"http://127.0.0.1:{PORT}/webhook",
    "command": ["/usr/bin/curl", "--silent", "--data-binary", "@-", f"http://127.0.0.1:{PORT}/command"],
}
WAYS = ("webhook", "command")


class Notifications:
    """Those of one machine."""

    def __init__(self, machine: Machine) -> None:
        """Starts the server."""
        self._machine = machine
        machine.put_file("/opt/notifications.py", _PROGRAM)
        machine.run(
            ["systemd-run", "--quiet", "--collect", "--unit=notifications"]
            + ["python3", "/opt/notifications.py", str(PORT), _LIST]
        )

    def received(self, way: str, kind: str) -> list[dict[str, Any]]:
        """What arrived on a way, oldest first."""
        lines = self._machine.output(f"cat {_LIST} 2> /dev/null || true").splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry["body"] for entry in entries if entry["path"] == f"/{way}" and entry["body"]["kind"] == kind]

    def wait(self, way: str, kind: str, timeout: float) -> dict[str, Any]:
        """Waits for the first notification of a kind."""
        found = self._machine.wait_for(
            lambda: self.received(way, kind), f"a notification {kind} arrives by {way}", timeout
        )
        return found[0]
