"""What the real Claude Code does is known to samd within a second: it works, asks, waits for its user or is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness import idle
from harness.claude import BINARY, SESSIONS, ClaudeCode, Place, Session, claude_binds
from harness.containers import Container
from harness.idle import Answer
from harness.machine import Machine
from harness.messages_api import MessagesAPI, bash, refusal, text, tool
from harness.observation import Observation, marking
from harness.samd import Samd
from harness.ssh import SSH

# Runs in its project's folder until a file is there.
UNTIL_STOPPED = "sh -c 'while [ ! -e stop ]; do sleep 0.1; done; rm stop'"
# Processes of which nothing tells that they begin or end are noticed at the next sweep.
SWEEP_SECONDS = 17.0


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine that can run containers, with Claude Code and samd."""
    with Machine(binds=caddy_binds(CURRENT_CADDY) | claude_binds(), with_containers=True) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


@pytest.fixture(scope="module")
def api(samd: Samd) -> MessagesAPI:
    return MessagesAPI(samd.machine)


@pytest.fixture(scope="module")
def ssh(samd: Samd) -> SSH:
    return SSH(samd.machine)


@pytest.fixture(scope="module", params=["machine", "container"])
def place(request: pytest.FixtureRequest, samd: Samd) -> Place:
    """Where Claude runs: everything is asked on the machine and in a container."""
    if request.param == "machine":
        return Place()
    command = ["tail", "-f", "/dev/null"]
    return Place("dc1", Container(samd.machine, "dc1", command, user="dev", binds=[BINARY]))


@pytest.fixture(scope="module")
def seen(samd: Samd, place: Place) -> Iterator[Observation]:
    """Everything that happens at a place."""
    with Observation(samd.machine, SESSIONS, {place.name: place.root}) as observation:
        yield observation


@pytest.fixture(scope="module")
def claude(samd: Samd, api: MessagesAPI, ssh: SSH, seen: Observation) -> ClaudeCode:
    return ClaudeCode(samd.machine, ssh, seen)


@pytest.fixture(scope="module")
def shared(place: Place) -> list[Session]:
    """The session that tests leave at its prompt for the next one."""
    return []


@pytest.fixture
def repl(
    claude: ClaudeCode, shared: list[Session], place: Place, request: pytest.FixtureRequest
) -> Iterator[Session]:
    """A session at its prompt; a test that does not come to its end does not hand its session on."""
    session = shared.pop() if shared else claude.repl(f"for-{abs(hash(request.node.name))}", place)
    yield session
    if session.is_at_prompt:
        shared.append(session)
    else:
        session.terminal.close()


@pytest.fixture(scope="module")
def shows(seen: Observation) -> Callable[..., None]:
    """Asserts that samd shows a session as something, a second after an instant at the latest."""

    def shows(session: Session, kind: str, since: float, detail: str = "") -> None:
        pid = session.machine_pid

        def is_shown(answer: Answer) -> bool:
            mine = [entry for entry in idle.signals(answer, kind) if entry.get("pid") == pid]
            return any(detail in (entry.get("detail") or "") for entry in mine)

        idle.shows(seen, f"{kind} {detail} for {pid} in {session.place.name}", is_shown, since)

    return shows


def has_tool(session: Session) -> Callable[[Answer], bool]:
    """Whether an answer has a process that works for the session."""
    owner = f"claude:{session.machine_pid}:"
    return lambda answer: any(
        (entry.get("belongsTo") or "").startswith(owner) for entry in idle.signals(answer, "claude.tool")
    )


def has_no_tool(session: Session) -> Callable[[Answer], bool]:
    shown = has_tool(session)
    return lambda answer: not shown(answer)


def is_gone(session: Session) -> Callable[[Answer], bool]:
    pid = session.machine_pid
    states = ("busy", "shell", "asking", "prompt", "unknown")
    return lambda answer: not any(
        entry.get("pid") == pid and entry["kind"].removeprefix("claude.") in states
        for entry in answer["signals"]
    )


def has_orphan(answer: Answer) -> bool:
    return bool(idle.signals(answer, "claude.orphan"))


def has_no_orphan(answer: Answer) -> bool:
    return not has_orphan(answer)


def test_a_repl_that_nobody_has_touched_is_at_its_prompt(
    claude: ClaudeCode, place: Place, shared: list[Session], shows: Callable[..., None]
) -> None:
    session = claude.repl("untouched", place)
    shows(session, "claude.prompt", session.wait_status("idle"))
    shared.append(session)


@pytest.mark.parametrize("pace", [pytest.param(0.5, id="slowly"), pytest.param(None, id="silently")])
def test_a_turn_is_busy_however_slowly_the_answer_comes(
    repl: Session, api: MessagesAPI, shows: Callable[..., None], pace: float | None
) -> None:
    gate = api.gate()
    repl.say(api.script("stream", text("There it is.", gate=gate, every=pace)))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    api.open(gate)
    shows(repl, "claude.prompt", repl.wait_status("idle", since=busy))


def test_a_turn_that_is_interrupted_is_over(
    repl: Session, api: MessagesAPI, shows: Callable[..., None]
) -> None:
    repl.say(api.script("interrupted", text(gate=api.gate(), every=0.2)))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    repl.keys("\x03")
    shows(repl, "claude.prompt", repl.wait_status("idle", since=busy))


def test_a_command_that_claude_runs_is_its_tool(
    repl: Session, api: MessagesAPI, place: Place, seen: Observation, shows: Callable[..., None]
) -> None:
    repl.say(api.script("command", bash(marking("command", "tail -f /dev/null"))))
    started = seen.wait_mark("command", place.name)
    idle.shows(seen, "the tool", has_tool(repl), started, SWEEP_SECONDS)
    shows(repl, "claude.busy", started)
    repl.keys("\x03")
    stopped = repl.wait_status("idle", since=started)
    shows(repl, "claude.prompt", stopped)
    idle.shows(seen, "no tool", has_no_tool(repl), stopped, SWEEP_SECONDS)


def test_a_question_for_permission_is_asking(
    repl: Session, api: MessagesAPI, shows: Callable[..., None]
) -> None:
    gate = api.gate()
    repl.say(api.script("permission", tool("Write", gate=gate, file_path="note.txt", content="Well.")))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    api.open(gate)
    asked = repl.wait_status("waiting", since=busy)
    shows(repl, "claude.asking", asked, detail="permission")
    repl.agree()
    shows(repl, "claude.prompt", repl.wait_status("idle", since=asked))


def test_a_question_of_claudes_own_is_asking(
    repl: Session, api: MessagesAPI, shows: Callable[..., None]
) -> None:
    options = [{"label": word, "description": word} for word in ("Left", "Right")]
    question = {"question": "Where to?", "header": "Way", "multiSelect": False, "options": options}
    repl.say(api.script("question", tool("AskUserQuestion", questions=[question])))
    asked = repl.wait_status("waiting", since=repl.last_change)
    shows(repl, "claude.asking", asked, detail="input")
    repl.agree()
    shows(repl, "claude.prompt", repl.wait_status("idle", since=asked))


def test_a_request_that_is_tried_again_after_an_overload_is_busy(
    repl: Session, api: MessagesAPI, shows: Callable[..., None]
) -> None:
    gate = api.gate()
    repl.say(api.script("overload", refusal(529, gate)))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    api.wait_replies(2, gate)
    shows(repl, "claude.busy", time.monotonic())
    api.open(gate)
    shows(repl, "claude.prompt", repl.wait_status("idle", since=busy))


def test_a_background_command_at_the_prompt_is_a_shell_until_it_ends(
    repl: Session, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    repl.say(api.script("background", bash(UNTIL_STOPPED, background=True)))
    shell = repl.wait_status("shell", since=repl.last_change)
    shows(repl, "claude.shell", shell)
    idle.shows(seen, "the background command", has_tool(repl), shell, SWEEP_SECONDS)
    repl.make_file("stop")
    # Its end begins a turn without the user.
    ended = repl.wait_status("busy", since=shell)
    shows(repl, "claude.prompt", repl.wait_status("idle", since=ended))


def test_a_subagent_keeps_its_session_busy(
    repl: Session, api: MessagesAPI, place: Place, seen: Observation, shows: Callable[..., None]
) -> None:
    helper = api.script("helper", bash(marking("subagent", UNTIL_STOPPED)))
    ask = {"description": "helper", "prompt": helper, "subagent_type": "general-purpose"}
    repl.say(api.script("agent", tool("Agent", **ask)))
    started = seen.wait_mark("subagent", place.name)
    shows(repl, "claude.busy", started)
    repl.make_file("stop")
    shows(repl, "claude.prompt", repl.wait_status("idle", since=started))


def test_a_run_without_a_prompt_is_busy_and_then_gone(
    claude: ClaudeCode, api: MessagesAPI, place: Place, seen: Observation, shows: Callable[..., None]
) -> None:
    gate = api.gate()
    session = claude.one_shot("one-shot", api.script("one-shot", text("There it is.", gate=gate)), place)
    shows(session, "claude.busy", session.wait_status("busy"))
    gone = is_gone(session)
    api.open(gate)
    idle.shows(seen, "the run is gone", gone, session.wait_gone())


def test_a_claude_whose_user_leaves_is_gone(
    claude: ClaudeCode, place: Place, seen: Observation, shows: Callable[..., None]
) -> None:
    session = claude.repl("left", place)
    shows(session, "claude.prompt", session.wait_status("idle"))
    gone = is_gone(session)
    session.leave()
    idle.shows(seen, "Claude is gone", gone, session.wait_gone())
    assert not session.is_in_registry


def test_a_claude_killed_in_a_turn_is_gone(
    claude: ClaudeCode, api: MessagesAPI, place: Place, seen: Observation, shows: Callable[..., None]
) -> None:
    session = claude.untyped("killed", api.script("killed", text(gate=api.gate(), every=0.2)), place)
    shows(session, "claude.busy", session.wait_status("busy"))
    gone = is_gone(session)
    session.kill()
    idle.shows(seen, "Claude is gone", gone, session.wait_gone())
    assert session.is_in_registry, "its entry still says that it is busy"


def test_a_command_that_outlives_its_killed_claude_is_an_orphan(
    claude: ClaudeCode, api: MessagesAPI, place: Place, seen: Observation, shows: Callable[..., None]
) -> None:
    session = claude.untyped("bereft", api.script("bereft", bash(marking("bereft", UNTIL_STOPPED))), place)
    started = seen.wait_mark("bereft", place.name)
    idle.shows(seen, "no orphan", has_no_orphan, started)
    gone = is_gone(session)
    session.kill()
    killed = session.wait_gone()
    idle.shows(seen, "Claude is gone", gone, killed)
    idle.shows(seen, "the orphan", has_orphan, killed)
    ended = session.make_file("stop")
    if place.container is None:
        idle.shows(seen, "no orphan any more", has_no_orphan, ended, SWEEP_SECONDS)
