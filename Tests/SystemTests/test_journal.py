"""The journal: entries with fields, explanations in the catalog, and no secret anywhere."""

from __future__ import annotations

import pytest

from harness.samd import REMOVAL_TIMEOUT_SECONDS, Samd, host_of

PUBLISHED = "9cebf148b1fa458b82feb8d921e1cb30"
WITHDRAWN = "2bac8d6443d44b17a5031c93509fa261"
REFUSED = "b582b9a0803442398b291fc0a34bd9a4"


@pytest.fixture(scope="module", autouse=True)
def history(samd: Samd) -> None:
    """A port came, one went, one was refused, and a stranger tried a password."""
    samd.publish(3000)
    samd.publish(3001)
    samd.fetch(3000, "wrong-password")
    samd.stop_serving(3001)
    samd.wait_answer(3001, 404, REMOVAL_TIMEOUT_SECONDS)
    samd.serve(6379)
    samd.wait_port(6379, "refused")


def test_a_published_port_is_an_entry_with_fields(samd: Samd) -> None:
    entry = next(e for e in samd.machine.journal("samd", MESSAGE_ID=PUBLISHED) if e["SAMD_PORT"] == "3000")
    assert entry["SAMD_HOST"] == host_of(3000)
    assert entry["SAMD_URL"] == f"http://{host_of(3000)}:8080/"
    assert entry["SAMD_USER"] == "dev"
    assert entry["SAMD_UID"] == "1000"
    assert entry["SAMD_COMMAND"] == "python3"
    assert entry["SAMD_EVENT"] == "port.published"
    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == "samd"


def test_a_withdrawn_port_is_an_entry_with_fields(samd: Samd) -> None:
    (entry,) = samd.machine.journal("samd", MESSAGE_ID=WITHDRAWN)
    assert (entry["SAMD_PORT"], entry["SAMD_HOST"]) == ("3001", host_of(3001))


def test_a_refused_port_of_the_workspace_is_an_entry_with_the_reason(samd: Samd) -> None:
    (entry,) = samd.machine.journal("samd", MESSAGE_ID=REFUSED)
    assert entry["SAMD_PORT"] == "6379"
    assert "ports.deny" in entry["SAMD_REASON"]
    assert entry["SAMD_HINT"]


def test_the_catalog_explains_every_entry_that_has_an_id(samd: Samd) -> None:
    entries = [entry for entry in samd.machine.journal("samd") if "MESSAGE_ID" in entry]
    assert entries
    for identifier in {entry["MESSAGE_ID"] for entry in entries if entry["_COMM"] == "samd"}:
        subject = samd.machine.output(["journalctl", "--catalog", "--dump-catalog", identifier])
        assert "Subject:" in subject, identifier


def test_journalctl_x_explains_a_published_port_with_its_url(samd: Samd) -> None:
    text = samd.machine.journalctl("--catalog", "--unit=samd", f"MESSAGE_ID={PUBLISHED}")
    assert "Defined-By: samd" in text
    assert f"http://{host_of(3000)}:8080/" in text


def test_the_password_is_in_no_log_no_argument_and_no_environment(samd: Samd) -> None:
    journal = samd.machine.journalctl("--output=verbose", "--all")
    assert samd.password not in journal
    processes = samd.machine.run(
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null", check=False
    ).stdout
    assert "samd" in processes
    assert samd.password not in processes


def test_other_users_find_the_password_in_no_file(samd: Samd) -> None:
    samd.machine.put_file("/run/pattern", samd.password, mode=0o644)
    places = "/etc /home /run /srv /tmp /usr/local /var"
    found = samd.machine.run(
        f"grep --recursive --files-with-matches --devices=skip --fixed-strings --file=/run/pattern {places}",
        user="guest",
        check=False,
    )
    assert found.stdout.split() == ["/run/pattern"]


def test_only_root_and_caddy_open_the_admin_endpoint(samd: Samd) -> None:
    probe = [
        "curl",
        "--silent",
        "--unix-socket",
        "/run/caddy/admin.sock",
        "--header",
        "Host;",
        "http://localhost/config/",
    ]
    assert "samd" in samd.machine.output(probe)
    for user in ("dev", "guest"):
        assert samd.machine.run(probe, user=user, check=False).returncode == 7
    assert (
        samd.machine.run(["curl", "--silent", "http://127.0.0.1:2019/config/"], check=False).returncode == 7
    )


def test_state_is_readable_by_root_alone(samd: Samd) -> None:
    assert samd.machine.output(["stat", "--format=%a %U", "/var/lib/samd"]) == "700 root"
    modes = samd.machine.output("find /var/lib/samd -type f -printf '%m %u\\n'").splitlines()
    assert modes and set(modes) == {"600 root"}
