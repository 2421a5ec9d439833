"""A listening port of the workspace has a URL: through a booted systemd, the package and a real Caddy."""

from __future__ import annotations

import pytest

from harness import servers
from harness.samd import REMOVAL_TIMEOUT_SECONDS, Samd, host_of


@pytest.fixture(scope="module")
def samd(any_caddy: Samd) -> Samd:
    return any_caddy


def test_the_expected_caddy_serves(samd: Samd, caddy_version: str) -> None:
    assert samd.machine.output(["caddy", "version"]).lstrip("v").startswith(f"{caddy_version}.")


def test_a_port_answers_the_owner_and_nobody_else(samd: Samd) -> None:
    # As a user would start it: no address, no option.
    samd.publish(3000)
    assert samd.fetch(3000, samd.password)[0] == 200
    assert samd.fetch(3000)[0] == 401
    assert samd.fetch(3000, "wrong")[0] == 401


def test_an_unknown_host_gets_a_404_that_lists_nothing(samd: Samd) -> None:
    samd.publish(3001)
    for port in (4999, "nonsense"):
        status, body = samd.fetch(port)
        assert status == 404
        assert "3001" not in body


def test_a_port_that_goes_loses_its_url(samd: Samd) -> None:
    samd.publish(3002)
    samd.stop_serving(3002)
    samd.wait_answer(3002, 404, REMOVAL_TIMEOUT_SECONDS)
    assert 3002 not in samd.ports()


def test_a_port_that_comes_back_at_once_keeps_its_url(samd: Samd) -> None:
    samd.publish(3003)
    samd.restart_serving(3003)
    samd.wait_answer(3003, 200)
    events = [event for event in samd.events() if event["data"].get("port") == "3003"]
    assert [event["type"] for event in events] == ["port.published"]


@pytest.mark.parametrize(
    ("port", "bind", "address"),
    [
        (3010, "127.0.0.1", "127.0.0.1"),
        (3011, "0.0.0.0", "0.0.0.0"),
        (3012, "::1", "::1"),
        (3013, "::", "::"),
    ],
)
def test_listeners_of_both_families_and_of_any_address_are_reached(
    samd: Samd, port: int, bind: str, address: str
) -> None:
    samd.publish(port, bind=bind)
    entry = samd.ports()[port]
    assert entry["state"] == "published"
    assert entry["address"] == address


def test_the_server_sees_its_own_address_as_host_and_never_our_password(samd: Samd) -> None:
    samd.publish(3020, command=servers.command(samd.machine, "headers", "3020"))
    _, body = samd.fetch(3020, samd.password)
    headers = {line.split(": ")[0].lower(): line.split(": ")[1] for line in body.splitlines()}
    assert headers["host"] == "localhost:3020"
    assert headers["x-forwarded-host"] == host_of(3020)
    assert "authorization" not in headers


def test_a_published_server_that_does_not_answer_gives_a_page_that_reloads_itself(samd: Samd) -> None:
    samd.serve(3021, command=servers.command(samd.machine, "mute", "3021"))
    samd.wait_answer(3021, 502)
    assert samd.answer_header(3021, "refresh")
    assert samd.fetch(3021)[0] == 401


@pytest.mark.parametrize(
    ("port", "user", "reason"),
    [
        (3030, "root", "owner"),
        (3031, "guest", "owner"),
        (5432, "dev", "ports.deny"),
        (40001, "dev", "ephemeral"),
    ],
    ids=["of root", "of another user", "of a database", "in the ephemeral range"],
)
def test_a_port_that_is_not_offered_is_listed_with_the_reason(
    samd: Samd, port: int, user: str, reason: str
) -> None:
    samd.serve(port, user=user)
    entry = samd.wait_port(port, "refused")
    assert reason in entry["reason"]
    assert entry["hint"]
    assert entry.get("url") is None
    assert samd.get(port) == 404


def test_ports_below_1024_are_not_offered(samd: Samd) -> None:
    samd.serve(1023, properties=["AmbientCapabilities=CAP_NET_BIND_SERVICE"])
    assert "1024" in samd.wait_port(1023, "refused")["reason"]
    assert samd.get(1023) == 404


def test_new_ports_are_noticed_by_kernel_events_under_the_hardened_unit(samd: Samd) -> None:
    assert samd.wait_wake_up("kernel events")
    assert "kernel events" in samd.status_text()


def test_websockets_survive_changes_where_caddy_can(samd: Samd, caddy_version: str) -> None:
    samd.serve(3040, command=servers.command(samd.machine, "upgrade-echo", "3040"))
    samd.wait_port(3040, "published")
    samd.machine.put_file("/run/watch-password", samd.password, mode=0o600)
    client = samd.machine.start(servers.command(samd.machine, "upgrade-client", host_of(3040)))
    assert client.read_line() == "101"
    samd.publish(3041)
    samd.stop_serving(3041)
    samd.wait_gone(3041)
    lines = client.stop().split()
    assert lines[0] == "0", "an upgraded connection passes through"
    # Caddy 2.6 knows no stream_close_delay and may close it at a change.
    if caddy_version != "2.6":
        assert "closed" not in lines
        assert len(lines) > 20
