"""Caddy's access log becomes counters per port, and costs the routes nothing when nobody reads it."""

from __future__ import annotations

import json

import pytest

from harness import prometheus, servers
from harness.polling import wait_for
from harness.prometheus import Family
from harness.samd import Samd, host_of
from test_caddy_comes_and_goes import ask_caddy

PORT = 3000
ASKED_HERE_ONLY = "a-path-that-only-one-test-asks-for"
ACCESS_SOCKET = "/run/samd/access.sock"


# Its server accepts connections and closes them, so that nothing but requests for its own sake are counted as 5xx.
LAST_PORT = 3999


@pytest.fixture(autouse=True)
def published(samd: Samd) -> None:
    if not samd.is_active():
        samd.machine.run(["systemctl", "start", "samd"])
        samd.wait_active()
    samd.publish(PORT)


@pytest.fixture
def all_counted(samd: Samd) -> None:
    """Every request so far is counted: the access log has an order, and one that was sent after them is counted."""
    samd.serve(LAST_PORT, command=servers.command(samd.machine, "mute", str(LAST_PORT)))
    samd.wait_port(LAST_PORT, "published")

    def counted() -> bool:
        before = requests(samd, status="5xx", port=LAST_PORT)
        assert samd.get(LAST_PORT) == 502
        return wait_for(lambda: requests(samd, "5xx", LAST_PORT) > before, "it is counted", 1)

    # The first one may be lost: after a restart of samd Caddy looks for the log's socket every 10 s.
    samd.machine.wait_for(counted, "the last request is counted")


def metrics(samd: Samd) -> dict[str, Family]:
    status, media_type, page = samd.ask("GET", "/metrics")
    assert (status, media_type) == (200, prometheus.MEDIA_TYPE)
    return prometheus.parse(page)


def requests(samd: Samd, status: str = "", port: int = PORT) -> float:
    """How many there were to a port, of all or of one class of statuses."""
    family = metrics(samd).get("samd_port_requests_total", Family(""))
    return family.value(port=str(port), **({"status": status} if status else {}))


def wait_counted(samd: Samd, count: float, status: str = "") -> None:
    """The access log comes on its own way, a moment after the answer."""
    what = f"{count:g} requests are counted {status}"
    samd.machine.wait_for(lambda: requests(samd, status) == count, what)


@pytest.mark.usefixtures("all_counted")
def test_requests_and_bytes_are_counted_by_port_and_status(samd: Samd) -> None:
    answered, refused = requests(samd, status="2xx"), requests(samd, status="4xx")
    samd.publish(3001)
    _, body = samd.fetch(PORT, samd.password)
    wait_counted(samd, answered + 1, status="2xx")
    sent = metrics(samd)["samd_port_sent_bytes_total"].value(port=str(PORT))
    others = requests(samd, port=3001)
    for _ in range(5):
        samd.fetch(PORT, samd.password)
    for _ in range(2):
        samd.fetch(PORT)
    wait_counted(samd, answered + 6, status="2xx")
    wait_counted(samd, refused + 2, status="4xx")
    assert metrics(samd)["samd_port_sent_bytes_total"].value(port=str(PORT)) >= sent + 5 * len(body)
    assert requests(samd, port=3001) == others


@pytest.mark.usefixtures("all_counted")
def test_ports_lists_requests(samd: Samd) -> None:
    before = requests(samd)
    samd.fetch(PORT, samd.password)
    wait_counted(samd, before + 1)
    assert samd.ports()[PORT]["requests"] == before + 1


def test_metrics_follow_the_conventions_and_name_what_matters(samd: Samd) -> None:
    samd.serve(3030, user="root")
    samd.wait_port(3030, "refused")
    families = metrics(samd)
    assert all(name.startswith("samd_") and family.help for name, family in families.items())
    assert families["samd_ports"].value(state="published") >= 1
    assert families["samd_ports"].value(state="refused") >= 1
    assert families["samd_build_info"].value() == 1
    assert families["samd_service_healthy"].value(service="caddy") == 1
    assert families["samd_events_total"].value(type="port.published") >= 1


@pytest.mark.usefixtures("all_counted")
def test_no_request_is_written_to_the_journal(samd: Samd) -> None:
    before = requests(samd)
    samd.fetch(PORT, samd.password, path=f"/{ASKED_HERE_ONLY}")
    wait_counted(samd, before + 1)
    for unit in ("samd", "caddy"):
        journal = [json.dumps(entry) for entry in samd.machine.journal(unit)]
        assert journal and not any(ASKED_HERE_ONLY in entry for entry in journal)


def test_without_samd_caddys_configuration_changes_and_its_routes_stay(samd: Samd) -> None:
    samd.machine.run(["systemctl", "stop", "samd"])
    assert samd.get(PORT) == 200
    server = {
        "listen": ["127.0.0.1:8090"],
        "routes": [{"handle": [{"handler": "static_response", "body": "foreign"}]}],
    }
    # Caddy opens its log writers anew at each change: one that cannot be opened would make it refuse the change.
    ask_caddy(samd, "PUT", "/config/apps/http/servers/foreign", server)
    assert samd.machine.output(["curl", "--silent", "http://127.0.0.1:8090/"]) == "foreign"
    assert samd.get(PORT) == 200
    ask_caddy(samd, "DELETE", "/config/apps/http/servers/foreign")
    samd.machine.run(["systemctl", "start", "samd"])
    samd.wait_active()
    before = requests(samd)

    def counted() -> bool:
        samd.fetch(PORT, samd.password)
        return requests(samd) > before

    # Caddy looks for a log's socket that was away every 10 s.
    samd.machine.wait_for(counted, "requests are counted again", 25)


def test_caddy_can_be_restarted_while_samd_is_stopped(samd: Samd) -> None:
    samd.machine.run(["systemctl", "stop", "samd"])
    samd.machine.run(["systemctl", "restart", "caddy"])
    assert samd.machine.output(["systemctl", "is-active", "caddy"]) == "active"
    samd.machine.run(["systemctl", "start", "samd"])
    samd.wait_answer(PORT, 200)


def test_a_killed_daemon_counts_again_when_it_is_back(samd: Samd) -> None:
    before = samd.main_pid
    with samd.watch_url(PORT) as watch:
        samd.machine.run(["systemctl", "kill", "--signal=SIGKILL", "samd"])
        samd.machine.wait_for(lambda: samd.main_pid not in (0, before), "samd is restarted")
        samd.wait_active()
        samd.machine.wait_for(lambda: requests(samd) > 0, "requests are counted again")
    watch.assert_only(200)


@pytest.mark.usefixtures("all_counted")
@pytest.mark.parametrize("user", ["dev", "guest"])
def test_only_caddy_writes_the_access_log(samd: Samd, user: str) -> None:
    line = {
        "ts": 1, "request": {"host": host_of(PORT), "method": "GET", "headers": {}}, "status": 200, "size": 1,
    }  # fmt: skip
    script = (
        "import socket, sys\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        "try:\n"
        f"    connection.connect({ACCESS_SOCKET!r})\n"
        f"    connection.sendall({json.dumps(line)!r}.encode() + b'\\n')\n"
        "    connection.settimeout(5)\n"
        "    print(connection.recv(1))\n"
        "except (PermissionError, ConnectionResetError, BrokenPipeError):\n"
        "    print(b'')\n"
    )
    before = requests(samd)
    assert samd.machine.output(["python3", "-c", script], user=user) == "b''"
    samd.fetch(PORT, samd.password)
    wait_counted(samd, before + 1)
