"""A wrong configuration is refused in words that say what to write instead."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.samd import CONFIGURATION, REMOVAL_TIMEOUT_SECONDS, Samd

EX_CONFIG = 78
REFUSED = "2af95f941c6e47bb9ff343be8c0c45dc"


@dataclass(frozen=True)
class Wrong:
    """A wrong configuration and what the refusal must contain."""

    name: str
    text: str
    says: tuple[str, ...]


WRONG = [
    Wrong("unknown key", "[ports]\nmni = 1024\n", (":2: ports.mni:", "ports.min")),
    Wrong("unknown section", "\n[prots]\nmin = 1024\n", (":3: prots.min:", "ports.min")),
    Wrong("wrong type", '[ports]\nmin = "many"\n', (":2: ports.min:", "write ")),
    Wrong("impossible value", "[ports]\n\nmin = 70000\n", (":3: ports.min:", "65535")),
    Wrong("unknown choice", '[ports]\nevents = "telepathy"\n', (":2: ports.events:", "auto", "polling")),
    Wrong(
        "clear text to the world", '[caddy]\nlisten = ["0.0.0.0:80"]\n', (":2: caddy.listen:", "behind_proxy")
    ),
    Wrong("syntax error", "[ports\nmin = 1024\n", (":1: ", "[section]")),
]


@pytest.fixture(autouse=True)
def healthy(samd: Samd) -> None:
    samd.configure({"workspace": {"owners": ["dev"]}})
    if samd.is_active():
        samd.machine.run(["systemctl", "reload", "samd"])
    else:
        samd.machine.run("systemctl reset-failed samd; systemctl start samd")
    samd.wait_active()


def log_since(samd: Samd, since: str) -> str:
    return samd.machine.journalctl("--unit=samd", f"--since=@{since}")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_configuration_keeps_the_unit_from_starting_and_says_why(samd: Samd, wrong: Wrong) -> None:
    samd.machine.put_file(CONFIGURATION, wrong.text)
    since = samd.machine.output("date +%s.%N")
    assert samd.machine.run(["systemctl", "restart", "samd"], check=False).returncode != 0
    properties = samd.machine.show("samd", "ActiveState", "ExecMainStatus", "NRestarts")
    assert properties == {"ActiveState": "failed", "ExecMainStatus": str(EX_CONFIG), "NRestarts": "0"}
    log = log_since(samd, since)
    for part in (CONFIGURATION, *wrong.says):
        assert part in log
    checked = samd.cli("config", "check", check=False)
    assert checked.returncode == EX_CONFIG
    for part in (CONFIGURATION, *wrong.says):
        assert part in checked.stderr


def test_clients_of_a_refused_daemon_are_told_at_once_and_do_not_start_it_in_a_loop(samd: Samd) -> None:
    samd.machine.put_file(CONFIGURATION, WRONG[0].text)
    since = samd.machine.output("date +%s.%N")
    samd.machine.run(["systemctl", "restart", "samd"], check=False)
    for _ in range(3):
        assert samd.machine.run(["samd", "status"], check=False, timeout=10).returncode == 2
    samd.machine.wait_for(
        lambda: samd.machine.show("samd", "ActiveState")["ActiveState"] == "failed", "samd has given up"
    )
    # One start was asked for; each client asks once more, and again when it was cut off.
    assert log_since(samd, since).count("Starting samd.service") <= 1 + 3 * 2


def test_urls_stay_up_while_a_wrong_configuration_is_mended(samd: Samd) -> None:
    samd.publish(3000)
    samd.machine.put_file(CONFIGURATION, WRONG[0].text)
    samd.machine.run(["systemctl", "restart", "samd"], check=False)
    assert samd.get(3000) == 200
    samd.configure({"workspace": {"owners": ["dev"]}})
    samd.machine.run(["systemctl", "start", "samd"])
    samd.wait_port(3000, "published")


def test_a_reload_with_a_wrong_configuration_keeps_the_old_one_and_says_why(samd: Samd) -> None:
    samd.publish(3000)
    before, pid = len(samd.machine.journal("samd", MESSAGE_ID=REFUSED)), samd.main_pid
    samd.machine.put_file(CONFIGURATION, WRONG[0].text)
    reload = samd.machine.run(["systemctl", "reload", "samd"], check=False)
    assert reload.returncode != 0, "whoever reloads by hand sees that it was refused"
    entries = samd.machine.wait_for(
        lambda: samd.machine.journal("samd", MESSAGE_ID=REFUSED)[before:], "the refusal is in the journal"
    )
    assert f"{CONFIGURATION}:2: ports.mni" in entries[0]["MESSAGE"]
    assert samd.is_active() and samd.main_pid == pid
    assert samd.get(3000) == 200


def test_a_reload_takes_the_new_configuration(samd: Samd) -> None:
    samd.publish(3000)
    samd.publish(3001)
    samd.configure({"workspace": {"owners": ["dev"]}, "ports": {"ignore": [3001]}})
    samd.machine.run(["systemctl", "reload", "samd"])
    samd.wait_answer(3001, 404, REMOVAL_TIMEOUT_SECONDS)
    assert "ports.ignore" in samd.ports()[3001]["reason"]
    assert samd.get(3000) == 200
    samd.configure({"workspace": {"owners": ["dev"]}})
    samd.machine.run(["systemctl", "reload", "samd"])
    samd.wait_answer(3001, 200)


def test_a_reload_says_which_keys_wait_for_a_restart(samd: Samd) -> None:
    samd.configure({"workspace": {"owners": ["dev"]}, "daemon": {"stall_limit": "30s"}})
    samd.machine.run(["systemctl", "reload", "samd"])
    samd.machine.wait_for(
        lambda: any("daemon.stall_limit" in entry["MESSAGE"] for entry in samd.machine.journal("samd")),
        "the journal names the key that waits",
    )


def test_the_installed_file_shows_every_key_at_its_default_and_is_fine(samd: Samd) -> None:
    template = samd.cli("config", "template").stdout
    samd.machine.put_file("/tmp/template.toml", template.replace("# [", "["))
    assert "is fine" in samd.cli("config", "check", "/tmp/template.toml").stdout
    reference = samd.cli("config", "reference").stdout
    for key in ("stall_limit", "owners", "tracefs_instance", "pattern", "behind_proxy"):
        assert f"# {key} = " in template
        assert f"`{key}`" in reference
