"""A number that somebody else takes over is withdrawn at once, and what was allowed for its owner is gone."""

from __future__ import annotations

import json

import pytest

from harness.samd import Samd

# The owner's server ends, and at once another user's listens on the number. For two seconds anonymous requests ask who
# answers; the last line tells how long the other user's server was reached after it began to listen.
_TAKEOVER = """
import http.client, json, os, subprocess, sys, time
port, uid, owner, host = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
SERVER = '''
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"thief")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
'''
def ask():
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()
assert ask()[0] == 200, "public before"
subprocess.run(["systemctl", "kill", "--signal=SIGKILL", owner], check=True)
while True:
    thief = subprocess.Popen(["python3", "-c", SERVER, str(port)], user=uid, group=uid, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    if thief.stdout.readline() == b"ready\\n":
        break
begin = last = time.monotonic()
statuses = []
while time.monotonic() - begin < 2:
    try:
        status, body = ask()
        if body == b"thief":
            last = time.monotonic()
    except (OSError, http.client.HTTPException) as error:  # ended under way, as it should be
        status = type(error).__name__
    if status not in statuses:
        statuses.append(status)
    time.sleep(0.005)
thief.kill()
thief.wait()
print(json.dumps({"reached": last - begin, "statuses": statuses, "last": status}))
"""
# What kernel events, one scan and one change of Caddy may take on a busy machine.
AT_ONCE_SECONDS = 0.5


@pytest.mark.parametrize(("port", "user", "uid"), [(3000, "guest", 1001), (3001, "root", 0)])
def test_a_number_taken_over_is_withdrawn_at_once_and_its_public_is_gone(
    samd: Samd, port: int, user: str, uid: int
) -> None:
    samd.publish(port)
    samd.change(port, auth="public")
    samd.machine.wait_for(lambda: samd.fetch(port)[0] == 200, f"{port} is public")
    since = samd.events()[-1]["id"]
    samd.machine.put_file("/opt/takeover.py", _TAKEOVER)
    told = samd.machine.output(
        f"python3 /opt/takeover.py {port} {uid} web-{port}.service {port}--vm1.localhost"
    )
    outcome = json.loads(told)
    assert outcome["reached"] <= AT_ONCE_SECONDS, told
    assert outcome["last"] == 404, told
    kinds = [event["type"] for event in samd.events(since) if event["data"].get("port") == str(port)]
    assert "port.withdrawn" in kinds and "port.override-dropped" in kinds, kinds

    samd.publish(port)
    assert samd.fetch(port)[0] == 401, "the owner's next server asks for the password again"
    assert samd.ports()[port]["auth"] == "basic"
    assert "override" not in samd.ports()[port]


def test_a_takeover_is_listed_with_the_reason(samd: Samd) -> None:
    samd.publish(3002)
    samd.stop_serving(3002)
    samd.serve(3002, user="guest")
    entry = samd.wait_port(3002, "refused")
    assert entry["owner"]["user"] == "guest"
    assert "owner" in entry["reason"]
    samd.wait_answer(3002, 404)


def test_an_owner_who_comes_back_within_the_linger_keeps_what_was_allowed(samd: Samd) -> None:
    samd.publish(3003)
    samd.change(3003, auth="public")
    samd.restart_serving(3003)
    samd.machine.wait_for(lambda: samd.fetch(3003)[0] == 200, "3003 is public still")
    assert samd.ports()[3003]["auth"] == "public"
