"""What the commands print, for people and for programs, and with which status they end."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

import pytest

from harness import naming
from harness.machine import RunningCommand
from harness.samd import Samd, host_of


@pytest.fixture(scope="module", autouse=True)
def ports(samd: Samd) -> None:
    samd.publish(3000)
    samd.serve(3030, user="root")
    samd.wait_port(3030, "refused")
    samd.machine.wait_for(lambda: "kernel events" in samd.cli("status").stdout, "kernel events are there")


def test_ports_shows_urls_and_why_others_have_none(samd: Samd) -> None:
    text = samd.cli("ports").stdout
    published, refused = text.split("Not published:")
    assert f"http://{host_of(3000)}:8080/" in published
    assert "python3 -m http.server 3000" in published
    assert "dev" in published
    assert "3030" in refused and "root" in refused and "workspace.owners" in refused


def test_ports_as_json_has_everything_that_is_known(samd: Samd) -> None:
    entry = samd.ports()[3000]
    assert entry["url"] == f"http://{host_of(3000)}:8080/"
    assert entry["host"] == host_of(3000)
    assert entry["auth"] == "basic"
    assert entry["owner"] == {"uid": 1000, "user": "dev"}
    assert entry["process"]["command"] == "/usr/bin/python3 -m http.server 3000"
    assert entry["process"]["cwd"] == "/tmp"
    assert naming.start_time(samd.machine.init_pid)  # the machine still lives; its pids are its own:
    assert samd.machine.output(["cat", f"/proc/{entry['process']['pid']}/comm"]) == "python3"
    assert datetime.fromisoformat(entry["since"]).tzinfo is not None


def test_status_tells_people_how_the_services_fare(samd: Samd) -> None:
    text = samd.cli("status").stdout
    assert "is ready on vm1" in text
    assert "1 published" in text
    assert "kernel events" in text
    assert [
        line.split()[1] for line in text.splitlines() if line.startswith(("ports ", "caddy ", "api "))
    ] == ["ok"] * 3


def test_status_as_json_has_what_a_program_needs(samd: Samd) -> None:
    status = samd.json("status")
    assert status["state"] == "ready"
    assert status["pid"] == samd.main_pid
    assert status["vm"] == "vm1"
    assert UUID(status["bootID"])
    assert status["ports"]["published"] == 1
    assert {service["name"] for service in status["services"]} >= {"ports", "caddy", "api"}
    assert all(service["sinceProgressSeconds"] < 5 for service in status["services"])


def test_events_shows_the_past_and_follows(samd: Samd) -> None:
    follower = samd.machine.start(["samd", "events", "--json"])
    types = set()
    while "port.published" not in types:
        types.add(json.loads(follower.read_line())["type"])
    assert "daemon.ready" in types
    samd.publish(3005)
    while (event := json.loads(follower.read_line()))["data"].get("port") != "3005":
        pass
    assert event["type"] == "port.published"
    assert event["data"]["host"] == host_of(3005)
    follower.stop()


def test_events_for_people_are_lines_with_time_type_and_sentence(samd: Samd) -> None:
    follower = samd.machine.start(["samd", "events", "--since", "0"])
    time, kind, sentence = follower.read_line().split(maxsplit=2)
    assert datetime.fromisoformat(time)
    assert "." in kind
    assert " " in sentence
    follower.stop()


def test_events_resume_after_the_last_one_that_was_seen(samd: Samd) -> None:
    events = samd.events()
    later = samd.events(since=events[0]["id"])
    assert [event["id"] for event in later] == [event["id"] for event in events[1:]]


def test_the_api_speaks_server_sent_events(samd: Samd) -> None:
    options = ["--silent", "--include", "--no-buffer", "--unix-socket", "/run/samd/samd.sock"]
    follower = samd.machine.start(
        ["curl", *options, "--header", "Last-Event-ID: 0", "http://localhost/v1/events"]
    )
    assert "content-type: text/event-stream" in read_block(follower).lower()
    while "event: port.published" not in (frame := read_block(follower)):
        pass
    assert [line.split(": ")[0] for line in frame.splitlines()] == ["id", "event", "data"]
    follower.stop()


def read_block(follower: RunningCommand) -> str:
    """The lines up to the next empty one."""
    lines = []
    while line := follower.read_line().removesuffix("\r"):
        lines.append(line)
    return "\n".join(lines)


def test_an_unknown_resource_is_answered_with_a_problem(samd: Samd) -> None:
    answer = samd.machine.output(
        [
            "curl",
            "--silent",
            "--unix-socket",
            "/run/samd/samd.sock",
            "--write-out",
            "\n%{http_code} %{content_type}",
            "http://localhost/v1/nothing",
        ],
    )
    body, _, tail = answer.rpartition("\n")
    assert tail == "404 application/problem+json"
    assert {"type", "title", "status", "detail"} <= json.loads(body).keys()


def test_doctor_finds_nothing_wrong_on_a_healthy_machine(samd: Samd) -> None:
    result = samd.cli("doctor")
    assert "ERROR" not in result.stdout and "warn" not in result.stdout
    findings = samd.json("doctor")
    assert {finding["check"] for finding in findings} >= {
        "configuration",
        "rights",
        "daemon",
        "kernel events",
        "caddy",
    }
    assert {finding["level"] for finding in findings} == {"ok"}


def test_whoever_opens_the_socket_may_read(samd: Samd) -> None:
    assert "3000" in samd.cli("ports", user="guest").stdout
    assert samd.cli("status", user="guest").returncode == 0


def test_the_password_is_shown_to_root_and_the_owner_alone(samd: Samd) -> None:
    assert samd.cli("password", user="dev").stdout == samd.cli("password").stdout
    refused = samd.cli("password", user="guest", check=False)
    assert refused.returncode == 1
    assert samd.password not in refused.stdout + refused.stderr
    assert "workspace.owners" in refused.stderr


def test_a_generated_password_has_at_least_128_bits(samd: Samd) -> None:
    # Base64 text carries six bits a character.
    assert len(samd.password) * 6 >= 128
    assert samd.password.replace("-", "").replace("_", "").isalnum()


def test_without_a_daemon_the_message_says_where_to_look(samd: Samd) -> None:
    result = samd.cli("ports", "--socket", "/run/nowhere.sock", check=False)
    assert result.returncode == 2
    assert "systemctl status samd" in result.stderr


def test_a_wrong_option_ends_with_the_usage_status(samd: Samd) -> None:
    assert samd.cli("ports", "--nonsense", check=False).returncode == 64
