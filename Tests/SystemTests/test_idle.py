"""What keeps a machine, and what does not, however busy it looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from conftest import CURRENT_CADDY, caddy_binds
from harness import notifications, polling, streams
from harness.claude import SESSIONS, ClaudeCode, claude_binds
from harness.containers import Container
from harness.idle import Signal
from harness.machine import Machine
from harness.messages_api import MessagesAPI, tool
from harness.notifications import Notifications
from harness.observation import Line, Observation
from harness.samd import Samd, host_of
from harness.ssh import SSH, Terminal

# The shortest that are accepted.
THRESHOLD_SECONDS = 60.0
IDLE: dict[str, object] = {
    "threshold": "1m",
    "waiting_threshold": "1m",
    "warn_before": "10s",
    "boot_grace": "0s",
    "silent_cap": "1m",
    "progress_window": "1m",
    "weak_limit": "0s",
    # Terminals are looked at every 15 s.
    "steady_pause": "30s",
    "steady_limit": "1m",
}
# So much later than the threshold a machine may become idle.
LATE_SECONDS = 60.0
# Terminals tell in steps of 8 s when there was input; what processes have read and written is looked at twice a minute.
NOTICE_SECONDS = 75.0

REPAINT = """
import time
for count in range(10**9):
    print(f"\\x1b[H\\x1b[2J{count} " + "#" * 40, end="", flush=True)
    time.sleep(1)
"""
QUERY = """
import os, time, tty
tty.setraw(0)
while True:
    print("\\x1b[6n", end="", flush=True)
    os.read(0, 100)
    time.sleep(2)
"""
CHATTER = """
import time
for count in range(10**9):
    with open("/home/dev/app.log", "a") as log:
        log.write(f"{time.time()} request {count} served in 3 ms\\n")
    time.sleep(0.2)
"""
# Polls as a page does that was left open; no person asked for any of it.
TAB = """
import http.client, base64, sys, time
host, credentials = sys.argv[1], open("/run/tab-password").read().strip()
headers = {"Host": host, "Authorization": "Basic " + base64.b64encode(credentials.encode()).decode(),
           "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}
while True:
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
    connection.request("GET", "/", headers=headers)
    assert connection.getresponse().status == 200
    connection.close()
    time.sleep(5)
"""
# The internet: tries ports, logs in as nobody it may be, and guesses passwords.
INTRUDER = """
import base64, http.client, socket, subprocess, sys, time
host = sys.argv[1]
guess = "Basic " + base64.b64encode(b"dev:123456").decode()
while True:
    for port in (22, 23, 80, 443, 3000, 3306, 5432, 8080):
        with socket.socket() as connection:
            connection.settimeout(1)
            connection.connect_ex(("127.0.0.1", port))
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    subprocess.run(["ssh", *(f"-o{option}" for option in options), "guest@127.0.0.1", "true"],
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for method, headers in (("GET", {}), ("POST", {}), ("POST", {"Authorization": guess, "Sec-Fetch-User": "?1"})):
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
        connection.request(method, "/", headers={"Host": host, **headers})
        assert connection.getresponse().status == 401
        connection.close()
    time.sleep(2)
"""
# Gives bash a terminal of the container's own, as an editor's server there does, and copies its own input to it.
SHELL_IN_CONTAINER = "import pty; pty.spawn(['bash', '--norc'])"
# A third of a core without a word, as a slow test run.
SILENT_WORK = """
import time
while True:
    end = time.monotonic() + 0.03
    while time.monotonic() < end:
        pass
    time.sleep(0.06)
"""


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine that becomes idle as soon as it may."""
    with Machine(binds=caddy_binds(CURRENT_CADDY) | claude_binds(), with_containers=True) as machine:
        for name, program in {
            "repaint": REPAINT,
            "query": QUERY,
            "chatter": CHATTER,
            "tab": TAB,
            "intruder": INTRUDER,
            "silent-work": SILENT_WORK,
        }.items():
            machine.put_file(f"/opt/{name}.py", program)
        samd = Samd(machine)
        samd.install(
            deb, {"workspace": {"owners": ["dev"]}, "idle": IDLE, "notify": notifications.SETTINGS}
        )
        samd.publish(3000, command=streams.server_command(machine, 3000))
        yield samd


@pytest.fixture(scope="module")
def ssh(samd: Samd) -> SSH:
    return SSH(samd.machine)


@pytest.fixture(scope="module")
def seen(samd: Samd) -> Iterator[Observation]:
    with Observation(samd.machine, SESSIONS) as observation:
        yield observation


@pytest.fixture(scope="module")
def api(samd: Samd) -> MessagesAPI:
    return MessagesAPI(samd.machine)


@pytest.fixture(scope="module")
def claude(samd: Samd, ssh: SSH, seen: Observation, api: MessagesAPI) -> ClaudeCode:
    return ClaudeCode(samd.machine, ssh, seen)


@pytest.fixture(scope="module")
def container(samd: Samd) -> Container:
    return Container(samd.machine, "dc1", ["tail", "-f", "/dev/null"])


@pytest.fixture(scope="module")
def told(samd: Samd) -> Notifications:
    return Notifications(samd.machine)


def background(samd: Samd, name: str, command: str, user: str = "root") -> None:
    """Starts a unit that runs until the machine ends."""
    samd.machine.run(f"systemd-run --quiet --collect --unit={name} --uid={user} {command}")


@pytest.fixture(scope="module")
def bustle(
    samd: Samd,
    ssh: SSH,
    seen: Observation,
    api: MessagesAPI,
    claude: ClaudeCode,
    container: Container,
    told: Notifications,
) -> Iterator[float]:
    """Everything that looks busy and is not; since when all of it goes on."""
    background(samd, "chatter", "python3 /opt/chatter.py", "dev")
    samd.machine.put_file("/run/tab-password", f"dev:{samd.password}", mode=0o600)
    background(samd, "tab", f"python3 /opt/tab.py {host_of(3000)}")
    background(samd, "intruder", f"python3 /opt/intruder.py {host_of(3000)}")
    terminals = [
        ssh.log_in("dev"),
        ssh.log_in("dev", "tail -f /home/dev/app.log"),
        ssh.log_in("dev", "tmux new-session 'python3 /opt/repaint.py' ';' split-window 'python3 /opt/query.py'"),
    ]
    asking = claude.untyped("asking", api.script("asking", tool("Write", file_path="note.txt", content="Well.")))
    asking.wait_status("waiting")
    for terminal, words in zip(terminals, ("dev@vm1", "served", "####")):
        terminal.wait_for(words)
    with streams.Load(samd, 3000, websockets=2):
        yield time.monotonic()
        for terminal in (*terminals, asking.terminal):
            terminal.close()


def moment(text: str) -> float:
    """An instant of an answer, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.mark.timeout(240)
def test_none_of_what_only_looks_busy_keeps_the_machine(samd: Samd, seen: Observation, bustle: float) -> None:
    def find(lines: list[Line]) -> list[Line]:
        return [line for line in lines if line.get("idle", {}).get("state") == "idle"][:1]

    became_idle = seen.wait(find, "the machine is idle", THRESHOLD_SECONDS + LATE_SECONDS + 20)[0]
    took = became_idle["at"] - bustle
    print(f"idle {took:.1f} s after everything began")
    assert took <= THRESHOLD_SECONDS + LATE_SECONDS
    answer = became_idle["idle"]
    assert answer["holding"] == [], answer
    states = [line["idle"]["state"] for line in seen.lines if "idle" in line]
    assert "waiting" in states, "a Claude that asks makes the machine wait for its user first"
    kinds = {signal["kind"] for signal in answer["signals"]}
    assert {"claude.asking", "ssh", "terminal.pane", "web.background"} <= kinds, "all of it is seen nonetheless"
    for unit in ("chatter", "tab", "intruder", "web-3000"):
        assert samd.machine.show(unit, "ActiveState")["ActiveState"] == "active"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", notifications.WAYS)
def test_people_are_told_that_claude_asks_and_that_the_machine_becomes_idle(
    samd: Samd, seen: Observation, bustle: float, told: Notifications, way: str
) -> None:
    asked = told.wait(way, "waiting", THRESHOLD_SECONDS + LATE_SECONDS)
    assert "permission" in asked["text"], asked
    assert asked["host"] == "vm1"
    warned = told.wait(way, "warned", THRESHOLD_SECONDS + LATE_SECONDS)
    assert warned["id"] != asked["id"]
    assert len(told.received(way, "waiting")) == 1, "one question is told once"


@pytest.mark.parametrize("way", notifications.WAYS)
def test_where_notifications_go_can_be_tried_out(samd: Samd, told: Notifications, way: str) -> None:
    tried = samd.json("notify", "test")["results"]
    assert [result["delivered"] for result in tried if result["way"] == way] == [True], tried
    told.wait(way, "test", 10)


def wait_signal(seen: Observation, what: str, condition: Callable[[Signal], bool]) -> Signal:
    """Waits until samd shows a signal that fulfils a condition."""

    def find(lines: list[Line]) -> list[Signal]:
        answers = [line["idle"] for line in lines if "idle" in line][-1:]
        return [signal for answer in answers for signal in answer["signals"] if condition(signal)]

    return seen.wait(find, what, NOTICE_SECONDS)[0]


def is_touch(kind: str, since: float) -> Callable[[Signal], bool]:
    """Whether a signal of a kind tells of an activity after an instant of the wall clock."""

    def condition(signal: Signal) -> bool:
        changed = signal.get("changedAt")
        # Timestamps have whole seconds, and terminals' are up to 8 s behind.
        is_new = bool(changed) and moment(changed) >= since - 1
        return signal["kind"] == kind and signal["counts"] == "touched" and is_new

    return condition


def assert_active(seen: Observation) -> None:
    """Asserts that the machine counts as used now."""
    seen.wait(
        lambda lines: [line["idle"] for line in lines if "idle" in line][-1]["state"] == "active",
        "the machine is active",
    )


@dataclass
class People:
    """Who uses the machine, since an instant of the wall clock."""

    since: float
    shell: Terminal
    contained: Terminal


@pytest.fixture(scope="module")
def people(
    samd: Samd,
    ssh: SSH,
    seen: Observation,
    api: MessagesAPI,
    claude: ClaudeCode,
    container: Container,
) -> Iterator[People]:
    """Everything that does keep a machine, begun together."""
    machine = samd.machine
    machine.run("mkdir /srv/files && truncate --size=1G /srv/files/image")
    background(samd, "files", "python3 -m http.server 9400 --directory /srv/files")
    machine.wait_for(
        lambda: machine.run("curl --silent --head http://127.0.0.1:9400/", check=False).returncode == 0,
        "the server of files answers",
    )
    begun = time.time()
    inside = ["podman", "exec", "-i", container.name, "python3", "-c", SHELL_IN_CONTAINER]
    wake_up = tool("ScheduleWakeup", delaySeconds=3600, reason="look again", prompt="act nothing")
    download = "curl --silent --limit-rate 2M --output image http://127.0.0.1:9400/image"
    shell, contained = ssh.log_in("dev"), Terminal(machine.start(inside, with_input=True))
    terminals = [
        ssh.log_in("dev", "python3 /opt/silent-work.py"),
        ssh.log_in("dev", download),
        claude.untyped("sleeper", api.script("sleeper", wake_up)).terminal,
    ]
    shell.wait_for("dev@vm1")
    contained.wait_for("bash")
    yield People(begun, shell, contained)
    for terminal in (shell, contained, *terminals):
        terminal.close()


def type_until_noticed(seen: Observation, terminal: Terminal, condition: Callable[[Signal], bool]) -> None:
    """Goes on typing, a line each second: of input within 8 s of an earlier one the kernel tells nothing."""

    def is_noticed() -> bool:
        terminal.type("true\r")
        return any(map(condition, seen.idle_now()["signals"]))

    polling.wait_for(is_noticed, "input is noticed", NOTICE_SECONDS, terminal.screen, interval=1.0)


def test_typing_over_ssh_keeps_the_machine(seen: Observation, people: People) -> None:
    def is_typed(signal: Signal) -> bool:
        return not signal.get("container") and is_touch("terminal", people.since)(signal)

    type_until_noticed(seen, people.shell, is_typed)
    assert_active(seen)


def test_typing_in_a_container_keeps_the_machine(
    seen: Observation, people: People, container: Container
) -> None:
    def is_typed(signal: Signal) -> bool:
        return signal.get("container") == container.name and is_touch("terminal", people.since)(signal)

    type_until_noticed(seen, people.contained, is_typed)
    assert_active(seen)


@pytest.mark.parametrize(
    "request_of_a_person",
    [
        pytest.param(["--request", "POST", "--data", "x=1"], id="form"),
        pytest.param(["--header", "Sec-Fetch-User: ?1", "--header", "Sec-Fetch-Mode: navigate"], id="link"),
    ],
)
def test_a_click_in_the_web_interface_keeps_the_machine(
    samd: Samd, seen: Observation, people: People, request_of_a_person: list[str]
) -> None:
    since = time.time()
    options = f'user = "dev:{samd.password}"\nheader = "Host: {host_of(3000)}"\n'
    samd.machine.run(
        ["curl", "--silent", "--config", "-", *request_of_a_person, "http://127.0.0.1:8080/"], input=options
    )
    wait_signal(seen, "a person's request", is_touch("web.person", since))
    assert_active(seen)


def is_job(words: str) -> Callable[[Signal], bool]:
    """Whether a signal is a job of a program, and holds the machine."""
    return lambda signal: (
        signal["kind"] == "job" and signal["counts"] == "holds" and words in signal["subject"]
    )


def test_a_silent_run_that_computes_keeps_the_machine(seen: Observation, people: People) -> None:
    wait_signal(seen, "the job", is_job("python3"))
    assert_active(seen)


def test_a_download_keeps_the_machine(seen: Observation, people: People) -> None:
    wait_signal(seen, "the download", is_job("curl"))
    assert_active(seen)


def test_a_session_that_will_go_on_by_itself_keeps_the_machine(seen: Observation, people: People) -> None:
    def is_wake_up(signal: Signal) -> bool:
        return signal["kind"] == "claude.wake-up" and signal["counts"] == "holds"

    signal = wait_signal(seen, "the wake-up", is_wake_up)
    assert 3300 <= moment(signal["until"]) - time.time() <= 3700, signal
    assert_active(seen)
