"""What the real Claude Code does is known to samd within a second, whether it works, asks, waits for its user or is gone."""

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

MACHINE = Place()
# Runs in its project's folder until a file is there.
UNTIL_STOPPED = "sh -c 'while [ ! -e stop ]; do sleep 0.1; done; rm stop'"
# A process that nothing watches any more is missed at the next sweep.
ORPHAN_SECONDS = 5.0


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
def container(samd: Samd) -> Place:
    command = ["tail", "-f", "/dev/null"]
    return Place("dc1", Container(samd.machine, "dc1", command, user="dev", binds=[BINARY]))


@pytest.fixture(scope="module")
def seen(samd: Samd, container: Place) -> Iterator[Observation]:
    """Everything that happens in the module."""
    roots = {place.name: place.root for place in (MACHINE, container)}
    with Observation(samd.machine, SESSIONS, roots) as observation:
        yield observation


@pytest.fixture(scope="module")
def claude(samd: Samd, api: MessagesAPI, seen: Observation) -> ClaudeCode:
    return ClaudeCode(samd.machine, SSH(samd.machine), seen)


@pytest.fixture(scope="module")
def shared(claude: ClaudeCode) -> list[Session]:
    """The session that tests leave at its prompt for the next one."""
    return []


@pytest.fixture
def repl(claude: ClaudeCode, shared: list[Session], request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session at its prompt; a test that does not come to its end does not hand its session on."""
    if not shared:
        shared.append(claude.repl(f"after-{request.node.name.replace('_', '-')}"))
    session = shared.pop()
    yield session
    if session.is_at_prompt:
        shared.append(session)
    else:
        session.terminal.close()


@pytest.fixture
def shows(seen: Observation) -> Callable[..., None]:
    """Asserts that samd shows a session as something, a second after an instant at the latest."""

    def shows(session: Session, kind: str, since: float, detail: str = "") -> None:
        pid = session.machine_pid

        def is_shown(answer: Answer) -> bool:
            mine = [entry for entry in idle.signals(answer, kind) if entry.get("pid") == pid]
            return any(detail in (entry.get("detail") or "") for entry in mine)

        took = idle.shows(seen, f"{kind} {detail} for {pid} in {session.place.name}", is_shown, since)
        print(f"{session.place.name}: {kind} {detail} after {took * 1000:.0f} ms")

    return shows


def has_tool(session: Session) -> Callable[[Answer], bool]:
    """Whether an answer has a process that works for the session."""
    owner = f"claude:{session.machine_pid}:"
    return lambda answer: any(
        (entry.get("belongsTo") or "").startswith(owner) for entry in idle.signals(answer, "claude.tool")
    )


def is_gone(session: Session) -> Callable[[Answer], bool]:
    pid = session.machine_pid
    return lambda answer: not any(
        entry.get("pid") == pid and entry["kind"].startswith("claude.") for entry in answer["signals"]
    )


def test_a_repl_that_nobody_has_touched_is_at_its_prompt(
    claude: ClaudeCode, shared: list[Session], shows: Callable[..., None]
) -> None:
    session = claude.repl("untouched")
    shows(session, "claude.prompt", session.wait_status("idle"))
    shared.append(session)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"every": 0.5}, id="slow-stream"),
        pytest.param({}, id="silent-stream"),
    ],
)
def test_a_turn_is_busy_however_slowly_the_answer_comes(
    repl: Session,
    api: MessagesAPI,
    shows: Callable[..., None],
    reply: dict[str, float],
    request: pytest.FixtureRequest,
) -> None:
    gate = request.node.callspec.id
    repl.say(api.script(gate, text("There it is.", gate=gate, **reply)))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    api.open(gate)
    shows(repl, "claude.prompt", repl.wait_status("idle", since=busy))


def test_a_command_that_claude_runs_is_its_tool(
    repl: Session, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    repl.say(api.script("tool", bash(marking("tool", "tail -f /dev/null"))))
    busy = repl.wait_status("busy", since=repl.last_change)
    started = seen.wait_mark("tool")
    idle.shows(seen, "the tool", has_tool(repl), started)
    shows(repl, "claude.busy", busy)
    repl.keys("\x03")
    stopped = repl.wait_status("idle", since=started)
    shows(repl, "claude.prompt", stopped)
    idle.shows(seen, "no tool", lambda answer: not has_tool(repl)(answer), stopped)


def test_a_question_for_permission_is_asking(
    repl: Session, api: MessagesAPI, shows: Callable[..., None]
) -> None:
    repl.say(api.script("permission", tool("Write", file_path="note.txt", content="Well.")))
    asked = repl.wait_status("waiting", since=repl.last_change)
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
    repl: Session, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    repl.say(api.script("overload", refusal(529, gate="overload")))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    api.wait_requests(2, {"status": 529})
    shows(repl, "claude.busy", time.monotonic())
    api.open("overload")
    shows(repl, "claude.prompt", repl.wait_status("idle", since=busy))


def test_a_background_command_at_the_prompt_is_a_shell_until_it_ends(
    repl: Session, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    repl.say(api.script("background", bash(UNTIL_STOPPED, background=True)))
    shell = repl.wait_status("shell", since=repl.last_change)
    shows(repl, "claude.shell", shell)
    idle.shows(seen, "the background command", has_tool(repl), shell)
    repl.make_file("stop")
    # Its end begins a turn without the user.
    ended = repl.wait_status("busy", since=shell)
    shows(repl, "claude.prompt", repl.wait_status("idle", since=ended))


def test_a_subagent_is_busy_and_its_commands_are_tools(
    repl: Session, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    helper = api.script("helper", bash(marking("subagent", UNTIL_STOPPED)))
    ask = {"description": "helper", "prompt": helper, "subagent_type": "general-purpose"}
    repl.say(api.script("agent", tool("Agent", **ask)))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    started = seen.wait_mark("subagent")
    idle.shows(seen, "the subagent's command", has_tool(repl), started)
    shows(repl, "claude.busy", started)
    repl.make_file("stop")
    shows(repl, "claude.prompt", repl.wait_status("idle", since=started))


def test_a_run_without_a_terminal_is_busy_and_then_gone(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    session = claude.one_shot("one-shot", api.script("one-shot", text("There it is.", gate="one-shot")))
    shows(session, "claude.busy", session.wait_status("busy"))
    api.open("one-shot")
    idle.shows(seen, "the run is gone", is_gone(session), session.wait_gone())


def test_a_turn_that_is_interrupted_is_over(
    repl: Session, api: MessagesAPI, shows: Callable[..., None]
) -> None:
    repl.say(api.script("interrupted", text(gate="never", every=0.2)))
    busy = repl.wait_status("busy", since=repl.last_change)
    shows(repl, "claude.busy", busy)
    repl.keys("\x03")
    shows(repl, "claude.prompt", repl.wait_status("idle", since=busy))


def test_a_claude_killed_in_a_turn_is_gone(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    killed_in_a_turn(claude, api, seen, shows, MACHINE)


def test_a_command_that_outlives_its_killed_claude_is_an_orphan(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None]
) -> None:
    killed_with_a_tool(claude, api, seen, shows, MACHINE)


def test_a_claude_in_a_container_works_asks_waits_and_goes(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None], container: Place
) -> None:
    session = claude.repl("contained", container)
    prompt = session.wait_status("idle")
    shows(session, "claude.prompt", prompt)
    session.say(api.script("contained", tool("Write", gate="contained", file_path="note.txt", content="Well.")))
    busy = session.wait_status("busy", since=prompt)
    shows(session, "claude.busy", busy)
    api.open("contained")
    asked = session.wait_status("waiting", since=busy)
    shows(session, "claude.asking", asked, detail="permission")
    session.agree()
    prompt = session.wait_status("idle", since=asked)
    shows(session, "claude.prompt", prompt)
    gone = is_gone(session)
    session.leave()
    idle.shows(seen, "Claude is gone", gone, session.wait_gone())


def test_a_claude_killed_in_a_turn_in_a_container_is_gone(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None], container: Place
) -> None:
    killed_in_a_turn(claude, api, seen, shows, container)


def test_a_command_in_a_container_that_outlives_its_killed_claude_is_an_orphan(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None], container: Place
) -> None:
    killed_with_a_tool(claude, api, seen, shows, container)


def killed_in_a_turn(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None], place: Place
) -> None:
    """Kills a Claude whose answer is on its way."""
    session = claude.repl("killed", place)
    session.say(api.script("killed", text(gate="never", every=0.2)))
    shows(session, "claude.busy", session.wait_status("busy"))
    gone = is_gone(session)
    session.kill()
    idle.shows(seen, "Claude is gone", gone, session.wait_gone())
    assert session.is_in_registry, "a killed Claude leaves its entry behind"


def killed_with_a_tool(
    claude: ClaudeCode, api: MessagesAPI, seen: Observation, shows: Callable[..., None], place: Place
) -> None:
    """Kills a Claude while its command runs, and then lets the command end."""
    session = claude.repl("bereft", place)
    mark = f"bereft-in-{place.name}"
    session.say(api.script(mark, bash(marking(mark, UNTIL_STOPPED))))
    started = seen.wait_mark(mark, place.name)
    idle.shows(seen, "the tool", has_tool(session), started)
    idle.shows(seen, "no orphan", lambda answer: not idle.signals(answer, "claude.orphan"), started)
    gone = is_gone(session)
    session.kill()
    killed = session.wait_gone()
    idle.shows(seen, "the orphan", lambda answer: bool(idle.signals(answer, "claude.orphan")), killed)
    idle.shows(seen, "Claude is gone", gone, killed)
    ended = session.make_file("stop")
    idle.shows(
        seen, "no orphan any more", lambda answer: not idle.signals(answer, "claude.orphan"), ended, ORPHAN_SECONDS
    )
