"""docs/api.yaml says what the running daemon answers, and the daemon answers nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from harness.samd import Samd

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "api.yaml").read_text())
SOCKET = "/run/samd/samd.sock"


def check(value: object, schema: str) -> None:
    """Holds a value against a schema of the document."""
    Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(value)


def ask(samd: Samd, path: str, *options: str, user: str | None = None) -> tuple[str, str, str]:
    """GETs a path: status, media type and body."""
    answer = samd.machine.run(
        [
            "curl",
            "--silent",
            "--unix-socket",
            SOCKET,
            "--write-out",
            "\n%{http_code} %{content_type}",
            *options,
            f"http://localhost{path}",
        ],
        user=user,
    ).stdout
    body, _, trailer = answer.rpartition("\n")
    status, _, media_type = trailer.partition(" ")
    return status, media_type, body


@pytest.fixture(scope="module", autouse=True)
def ports(samd: Samd) -> None:
    samd.publish(3000)
    samd.serve(5432)
    samd.wait_port(5432, "refused")


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/status", "Status"),
        ("/v1/ports", "PortList"),
        ("/v1/password", "Password"),
        ("/v1/idle", "Idle"),
        ("/v1/holds", "HoldList"),
    ],
)
def test_answers_are_what_the_document_says(samd: Samd, path: str, schema: str) -> None:
    status, media_type, body = ask(samd, path)
    assert (status, media_type) == ("200", "application/json")
    check(json.loads(body), schema)


def send(samd: Samd, method: str, path: str, body: object, user: str | None = None) -> tuple[str, str, str]:
    """Sends a JSON body: status, media type and body of the answer."""
    return ask(samd, path, "--request", method, "--data", json.dumps(body), user=user)


def test_changes_are_what_the_document_says(samd: Samd) -> None:
    for change in ({"auth": "public"}, {"auth": "basic", "published": True}, {"reset": True}):
        check(change, "PortChange")
        status, media_type, body = send(samd, "PUT", "/v1/ports/3000", change)
        assert (status, media_type) == ("200", "application/json")
        check(json.loads(body), "Port")
    status, _, body = ask(samd, "/v1/password", "--request", "POST")
    assert status == "200"
    check(json.loads(body), "Password")
    samd.forget_password()


def test_holds_are_what_the_document_says(samd: Samd) -> None:
    request = {"reason": "contract", "seconds": 60}
    check(request, "HoldRequest")
    status, media_type, body = send(samd, "POST", "/v1/holds", request)
    assert (status, media_type) == ("201", "application/json")
    hold = json.loads(body)
    check(hold, "Hold")
    check(json.loads(ask(samd, "/v1/holds")[2]), "HoldList")
    status, _, body = ask(samd, f"/v1/holds/{hold['id']}", "--request", "DELETE")
    assert status == "200"
    check(json.loads(body), "Hold")


@pytest.mark.parametrize(
    "change",
    [{}, [], {"auth": "open"}, {"published": 1}, {"public": True}, {"auth": None}],
    ids=json.dumps,
)
def test_a_change_that_the_document_refuses_is_refused(samd: Samd, change: object) -> None:
    status, media_type, body = send(samd, "PUT", "/v1/ports/3000", change)
    assert (status, media_type) == ("400", "application/problem+json")
    check(json.loads(body), "Problem")


def test_the_document_has_every_path_that_is_answered_and_no_other(samd: Samd) -> None:
    source = Path(__file__).parents[2] / "Sources" / "SamdCore" / "LocalAPI" / "LocalAPIRoutes.swift"
    answered = set(re.findall(r'router\.(get|put|post|delete)\("([^"]+)"\)', source.read_text()))
    declared = {
        (method, path)
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
        if method in {"get", "put", "post", "delete"}
    }
    assert answered == declared
    for method, path in sorted(declared):
        if path == "/v1/events":
            continue  # It never ends; see below.
        status, _, body = ask(samd, path.replace("{name}", "9").replace("{id}", "9"), "--request", method.upper())
        assert "urn:samd:problem:not-found" not in body, (method, path, status)


def test_metrics_have_the_media_type_of_the_document(samd: Samd) -> None:
    status, media_type, body = ask(samd, "/metrics")
    assert status == "200"
    assert media_type.startswith("text/plain; version=0.0.4")
    assert "samd_build_info" in body


def test_a_recording_is_lines_of_json_that_begin_with_a_header(samd: Samd) -> None:
    status, media_type, body = ask(samd, "/v1/idle/recording")
    assert (status, media_type) == ("200", "application/jsonl")
    lines = [json.loads(line) for line in body.splitlines() if line]
    assert lines[0]["format"] == "samd-idle-recording"


def test_events_are_what_the_document_says(samd: Samd) -> None:
    events = samd.events()
    assert {"port.published", "port.refused", "daemon.ready"} <= {event["type"] for event in events}
    for event in events:
        check(event, "Event")


@pytest.mark.parametrize(
    ("path", "options", "user", "status"),
    [
        ("/v1/nothing", [], None, "404"),
        ("/v1/status", ["--request", "DELETE"], None, "404"),
        ("/v1/events?since=yesterday", [], None, "400"),
        ("/v1/events", ["--header", "Last-Event-ID: -1"], None, "400"),
        ("/v1/idle/recording?follow=perhaps", [], None, "400"),
        ("/v1/idle/recording", [], "nobody", "403"),
        ("/v1/password", [], "nobody", "403"),
        ("/v1/password", ["--request", "POST"], "nobody", "403"),
        ("/v1/ports/3000", ["--request", "PUT", "--data", '{"auth":"public"}'], "nobody", "403"),
        ("/v1/ports/9", ["--request", "PUT", "--data", '{"auth":"public"}'], None, "404"),
        ("/v1/ports/3000", ["--request", "PUT", "--data", "x" * 5000], None, "413"),
    ],
)
def test_errors_are_problems_with_something_to_do(
    samd: Samd, path: str, options: list[str], user: str | None, status: str
) -> None:
    code, media_type, body = ask(samd, path, *options, user=user)
    assert (code, media_type) == (status, "application/problem+json")
    problem = json.loads(body)
    check(problem, "Problem")
    assert problem["status"] == int(status)
    assert problem["hint"]


def test_every_type_of_event_is_in_the_document() -> None:
    source = (Path(__file__).parents[2] / "Sources" / "SamdCore" / "JournalMessages.swift").read_text()
    declared = {line.split('"')[1] for line in source.splitlines() if ' = "' in line}
    assert declared == set(DOCUMENT["components"]["schemas"]["Event"]["properties"]["type"]["enum"])
