"""Workspace owners decide about single ports, within what policy allows; what they decided outlives restarts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from harness.samd import REMOVAL_TIMEOUT_SECONDS, Samd, Settings

OWNERS: Settings = {"workspace": {"owners": ["dev"]}}


@pytest.fixture(autouse=True)
def usual_policy(samd: Samd) -> Iterator[None]:
    yield
    reconfigure(samd, OWNERS)


def reconfigure(samd: Samd, settings: Settings) -> None:
    samd.configure(settings)
    samd.machine.run(["systemctl", "reload", "samd"])


def wait_anonymous(samd: Samd, port: int, status: int) -> None:
    samd.machine.wait_for(lambda: samd.fetch(port)[0] == status, f"{port} answers strangers {status}")


def problem(answer: tuple[int, str, str]) -> tuple[int, dict[str, Any]]:
    status, media_type, body = answer
    assert media_type == "application/problem+json", body
    value = json.loads(body)
    assert value["type"].startswith("urn:samd:problem:")
    assert value["status"] == status and value["detail"] and value["hint"]
    return status, value


def test_a_public_port_asks_nobody_for_a_password_until_it_is_basic_again(samd: Samd) -> None:
    samd.publish(3000)
    said = samd.cli("ports", "set", "3000", "--auth", "public", user="dev").stdout
    assert "3000--vm1.localhost" in said and "everybody" in said
    wait_anonymous(samd, 3000, 200)
    entry = samd.ports()[3000]
    assert (entry["auth"], entry["override"]) == ("public", {"auth": "public"})
    samd.cli("ports", "set", "3000", "--auth", "basic", user="dev")
    wait_anonymous(samd, 3000, 401)
    assert samd.get(3000) == 200


@pytest.mark.parametrize("how", [["systemctl", "restart", "samd"], ["systemctl", "kill", "-sKILL", "samd"]])
def test_what_was_set_survives_the_daemon_and_the_server(samd: Samd, how: list[str]) -> None:
    samd.publish(3001)
    samd.change(3001, auth="public")
    wait_anonymous(samd, 3001, 200)
    before = samd.main_pid
    samd.machine.run(how)
    samd.machine.wait_for(lambda: samd.main_pid not in (0, before), "samd is another process")
    samd.wait_active()
    samd.wait_port(3001, "published")
    assert samd.ports()[3001]["auth"] == "public"
    assert samd.fetch(3001)[0] == 200
    samd.stop_serving(3001)
    samd.wait_gone(3001)
    samd.serve(3001)
    wait_anonymous(samd, 3001, 200)
    samd.change(3001, reset=True)


def test_a_withdrawn_port_is_back_when_it_is_published_again(samd: Samd) -> None:
    samd.publish(3002)
    samd.cli("ports", "set", "3002", "--unpublish", user="dev")
    samd.wait_answer(3002, 404)
    entry = samd.wait_port(3002, "refused")
    assert entry["override"] == {"published": False}
    assert entry["command"] == "samd ports set 3002 --publish"
    samd.cli("ports", "set", "3002", "--publish", user="dev")
    samd.wait_answer(3002, 200)


def test_reset_forgets_what_was_set(samd: Samd) -> None:
    samd.publish(3003)
    samd.change(3003, auth="public")
    wait_anonymous(samd, 3003, 200)
    samd.cli("ports", "set", "3003", "--reset", user="dev")
    wait_anonymous(samd, 3003, 401)
    assert "override" not in samd.ports()[3003]


def test_a_refused_port_is_listed_with_the_command_that_publishes_it(samd: Samd) -> None:
    samd.serve(40001)
    entry = samd.wait_port(40001, "refused")
    assert entry["command"] == "samd ports set 40001 --publish"
    assert entry["command"] in samd.cli("ports").stdout
    samd.machine.run(shlex.split(entry["command"]), user="dev")
    samd.wait_answer(40001, 200)
    assert samd.fetch(40001)[0] == 401


def test_what_only_root_may_publish_is_published_by_root(samd: Samd) -> None:
    samd.serve(3004, user="guest")
    command = samd.wait_port(3004, "refused")["command"]
    assert command == "sudo samd ports set 3004 --publish"
    status, why = problem(samd.ask("PUT", "/v1/ports/3004", {"published": True}, user="dev"))
    assert status == 403 and "owner" in why["detail"]
    assert samd.get(3004) == 404
    samd.machine.run(shlex.split(command)[1:])
    samd.wait_answer(3004, 200)
    samd.change(3004, reset=True)
    samd.wait_answer(3004, 404)


def test_others_than_owners_may_not_decide(samd: Samd) -> None:
    samd.publish(3005)
    status, _ = problem(samd.ask("PUT", "/v1/ports/3005", {"auth": "public"}, user="guest"))
    assert status == 403
    result = samd.cli("ports", "set", "3005", "--auth", "public", user="guest", check=False)
    assert result.returncode != 0 and result.stderr
    assert samd.fetch(3005)[0] == 401


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("4999", {"auth": "public"}, 404),
        ("nonsense", {"auth": "public"}, 404),
        ("3006", {}, 400),
        ("3006", {"auth": None, "published": None}, 400),
        ("3006", {"auth": "open"}, 400),
        ("3006", {"auht": "public"}, 400),
        ("3006", ["public"], 400),
    ],
)
def test_changes_that_make_no_sense_are_refused_in_words(
    samd: Samd, name: str, body: object, expected: int
) -> None:
    samd.publish(3006)
    assert problem(samd.ask("PUT", f"/v1/ports/{name}", body))[0] == expected


def test_policy_forbids_public_ports_and_ends_those_that_there_are(samd: Samd) -> None:
    samd.publish(3007)
    samd.change(3007, auth="public")
    wait_anonymous(samd, 3007, 200)
    reconfigure(samd, {**OWNERS, "ports": {"allow_public": False}})
    wait_anonymous(samd, 3007, 401)
    assert samd.ports()[3007]["auth"] == "basic"
    samd.publish(3008)
    status, why = problem(samd.ask("PUT", "/v1/ports/3008", {"auth": "public"}))
    assert status == 403 and "ports.allow_public" in why["detail"]
    assert samd.fetch(3008)[0] == 401


def test_a_withdrawn_port_needs_no_second_word_after_the_server_restarts(samd: Samd) -> None:
    samd.publish(3009)
    samd.change(3009, published=False)
    samd.wait_answer(3009, 404)
    samd.stop_serving(3009)
    samd.wait_gone(3009)
    samd.serve(3009)
    samd.wait_port(3009, "refused")
    assert samd.get(3009) == 404


def test_a_new_password_replaces_the_old_one(samd: Samd) -> None:
    samd.publish(3010)
    old = samd.password
    shown = samd.cli("password", "--new", user="dev").stdout.strip()
    samd.forget_password()
    assert shown == f"dev:{samd.password}" and samd.password != old
    samd.wait_answer(3010, 200)
    assert samd.fetch(3010, old)[0] == 401
    assert samd.cli("password", "--new", user="guest", check=False).returncode != 0
    samd.machine.run(["systemctl", "restart", "samd"])
    samd.wait_active()
    assert samd.get(3010) == 200
    journal = samd.machine.journalctl("--output=export")
    assert samd.password not in journal and old not in journal


def test_a_forgotten_override_does_not_wait_for_another_user(samd: Samd) -> None:
    samd.publish(3011)
    samd.change(3011, auth="public")
    samd.stop_serving(3011)
    samd.wait_gone(3011)
    samd.serve(3011, user="guest")
    assert "override" not in samd.wait_port(3011, "refused")
    samd.stop_serving(3011)
    samd.machine.wait_for(lambda: 3011 not in samd.ports(), "the other user is gone", REMOVAL_TIMEOUT_SECONDS)
    samd.publish(3011)
    assert samd.fetch(3011)[0] == 401
