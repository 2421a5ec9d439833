"""Caddy is absent, restarted, or reconfigured by somebody else: samd says so and puts things right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import caddy_binds
from harness.machine import Machine
from harness.samd import Samd

# samd looks every 5 s whether its routes are still there.
REPAIR_TIMEOUT_SECONDS = 20.0
# Asks once more as browsers do: a connection on which a reload of Caddy ends ends without an answer (decision 5).
CURL = ("curl", "--silent", "--max-time", "10", "--retry", "1", "--retry-all-errors", "--retry-delay", "0")
REPAIRED = "ef06c1975a6e42859bd1dc18b2bd7c1a"

FOREIGN = {
    # Caddy 2.6 would otherwise move its endpoint back to port 2019.
    "admin": {"listen": "unix//run/caddy/admin.sock"},
    "apps": {
        "http": {
            "servers": {
                "foreign": {
                    "listen": ["127.0.0.1:8090"],
                    "routes": [{"handle": [{"handler": "static_response", "body": "foreign"}]}],
                }
            }
        }
    },
}


@pytest.fixture(scope="module")
def samd(deb: Path, caddy_version: str) -> Iterator[Samd]:
    """A machine on which samd was installed while Caddy did not run."""
    with Machine(binds=caddy_binds(caddy_version)) as machine:
        machine.run(["systemctl", "stop", "caddy"])
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


def foreign_answer(samd: Samd) -> str:
    return samd.machine.output([*CURL, "http://127.0.0.1:8090/"], check=False)


def ask_caddy(samd: Samd, method: str, path: str, body: object = None) -> None:
    """Changes Caddy's configuration, as another tool would."""
    options = ["--fail", "--silent", "--show-error", "--unix-socket", "/run/caddy/admin.sock"]
    headers = ["--header", "Host;", "--header", "Content-Type: application/json"]
    command = ["curl", *options, *headers, "--request", method, "--data", "@-", f"http://localhost{path}"]
    samd.machine.run(command, input=json.dumps(body))


def test_without_caddy_samd_is_ready_and_says_what_is_missing(samd: Samd) -> None:
    assert samd.is_active()
    samd.serve(3000)
    entry = samd.wait_port(3000, "pending")
    assert entry["reason"]
    samd.machine.wait_for(lambda: "Caddy" in samd.status_text(), "the status names Caddy")
    status = samd.json("status")
    assert status["state"] == "degraded"
    (caddy,) = [service for service in status["services"] if service["name"] == "caddy"]
    assert caddy["health"] == "degraded" and caddy["hint"]
    doctor = samd.cli("doctor", check=False)
    assert doctor.returncode == 1
    assert "ERROR  caddy:" in doctor.stdout and "→" in doctor.stdout


def test_when_caddy_comes_samd_catches_up(samd: Samd) -> None:
    samd.serve(3000)
    samd.machine.run(["systemctl", "start", "caddy"])
    samd.wait_answer(3000, 200)
    samd.wait_port(3000, "published")
    samd.wait_ready()
    samd.machine.wait_for(
        lambda: "waiting" not in samd.status_text() and "Caddy" not in samd.status_text(), "all is well"
    )


def test_after_a_restart_of_caddy_the_urls_are_back(samd: Samd) -> None:
    samd.publish(3001)
    samd.machine.run(["systemctl", "restart", "caddy"])
    samd.wait_answer(3001, 200)


def test_after_a_reload_of_caddys_own_configuration_the_urls_are_back(samd: Samd) -> None:
    samd.publish(3010)
    samd.machine.put_file("/etc/caddy/Caddyfile", "http://127.0.0.1:8091 {\n\trespond reloaded\n}\n")
    samd.machine.run(["systemctl", "reload", "caddy"])
    answer = [*CURL, "http://127.0.0.1:8091/"]
    samd.machine.wait_for(
        lambda: samd.machine.output(answer, check=False) == "reloaded", "Caddy has its new file", unit="caddy"
    )
    samd.wait_answer(3010, 200, REPAIR_TIMEOUT_SECONDS)
    assert samd.machine.output(answer) == "reloaded"


def test_a_configuration_that_somebody_else_loads_is_kept_and_the_routes_are_put_back(samd: Samd) -> None:
    samd.publish(3002)
    ask_caddy(samd, "POST", "/load", FOREIGN)
    samd.wait_answer(3002, 200, REPAIR_TIMEOUT_SECONDS)
    assert foreign_answer(samd) == "foreign"
    samd.machine.wait_for(lambda: samd.machine.journal("samd", MESSAGE_ID=REPAIRED), "samd tells of it")
    samd.publish(3003)
    assert foreign_answer(samd) == "foreign"


def test_routes_come_back_into_a_configuration_that_somebody_emptied(samd: Samd) -> None:
    samd.publish(3004)
    ask_caddy(samd, "DELETE", "/config/apps")
    samd.wait_answer(3004, 200, REPAIR_TIMEOUT_SECONDS)


def test_a_caddy_that_dies_is_missed_and_welcomed_back(samd: Samd) -> None:
    samd.publish(3005)
    samd.machine.run(["systemctl", "kill", "--signal=SIGKILL", "caddy"])
    samd.machine.wait_for(lambda: samd.json("status")["state"] == "degraded", "samd misses Caddy", 15)
    samd.machine.run(["systemctl", "restart", "caddy"])
    samd.wait_answer(3005, 200)
    samd.wait_ready()
    kinds = [event["type"] for event in samd.events()]
    assert kinds.index("caddy.unreachable") < len(kinds) - 1 - kinds[::-1].index("caddy.reachable")
