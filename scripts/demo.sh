#!/usr/bin/env bash
# demo: on this machine, as any user, without touching its system: a small web server starts, its URL appears behind a
# password, and vanishes with it. Exits 0 only if every step was really seen.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

say "demo: a port that is listened on appears at its URL, and vanishes again"
ensure_setup demo
samd=$root/dist/samd
if [ -x "$samd" ] && [ -z "$(find Sources Package.swift -newer "$samd" -print -quit)" ]; then
    note "using the release build in dist/"
else
    "$root/scripts/build.sh"
    samd=$root/$build_dir/debug/samd
fi

started=$EPOCHREALTIME
work=$(mktemp -d -t samd-demo.XXXXXX)
instance=samd-demo-$$
declare -A processes=()

# Ends what was started, by process id, the newest first; a step that already ended is no error.
finish() {
    local name
    for name in server events samd caddy; do
        [ -z "${processes[$name]:-}" ] || stop "$name" || true
    done
    rmdir "/sys/kernel/tracing/instances/$instance" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

stop() {
    local pid=${processes[$1]} code=0
    unset "processes[$1]"
    kill -TERM "$pid" 2>/dev/null || true
    ( # Whoever ignores SIGTERM for 10 s is killed; this watcher ends with what it watches.
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || exit 0
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    ) &
    local watcher=$!
    wait "$pid" 2>/dev/null || code=$?
    wait "$watcher" 2>/dev/null || true
    return "$code"
}

step() { printf '    [%5s s] %s\n' "$(seconds_since "$started")" "$*"; }
show() { while IFS= read -r line; do printf '              %s\n' "$line"; done <<<"$*"; }
fail() {
    printf 'demo: not seen: %s\n' "$*" >&2
    local log
    for log in samd caddy; do
        [ ! -s "$work/$log.log" ] || { echo "--- end of $log's log" >&2; tail -n 15 "$work/$log.log" >&2; }
    done
    exit 1
}

# await SECONDS COMMAND…: whether the command succeeded within that time; asks every 20 ms.
await() {
    local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/[.,]/}" -lt "$deadline" ] || return 1
        sleep 0.02
    done
}

# free_port FIRST LAST: the first port in the range that nobody listens on. 0 0: any, as the kernel chooses.
free_port() {
    "$venv/bin/python" - "$1" "$2" <<'PYTHON'
import socket, sys
for port in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(probe.getsockname()[1])
        sys.exit(0)
sys.exit("every port of the range is taken")
PYTHON
}

# Caddy, as any program of this user, with its files and its admin endpoint in the demo's folder.
mkdir -m 700 "$work/caddy" "$work/state" "$work/run" "$work/site"
printf '{"admin": {"listen": "unix/%s", "config": {"persist": false}}}\n' "$work/admin.sock" >"$work/caddy.json"
HOME=$work/caddy XDG_DATA_HOME=$work/caddy XDG_CONFIG_HOME=$work/caddy \
    "$caddy_2_11" run --config "$work/caddy.json" >"$work/caddy.log" 2>&1 </dev/null &
processes[caddy]=$!
await 10 test -S "$work/admin.sock" || fail "Caddy's admin socket"
step "Caddy $("$caddy_2_11" version | cut -d' ' -f1) runs; its admin endpoint is a socket that only this user opens"

# samd, told where that Caddy is and whose ports to publish: ours.
web_port=$(free_port 0 0)
cat >"$work/samd.toml" <<TOML
[daemon]
state_dir = "$work/state"
runtime_dir = "$work/run"
socket = "$work/samd.sock"

[workspace]
owners = [$(id -u)]

[ports]
tracefs_instance = "$instance"

[routes]
vm = "demo"

[caddy]
admin = "unix/$work/admin.sock"
listen = ["127.0.0.1:$web_port"]
TOML
export SAMD_SOCKET=$work/samd.sock
"$samd" run --config "$work/samd.toml" >"$work/samd.log" 2>&1 </dev/null &
processes[samd]=$!
# Asks again until the API answers; a samd that has ended never will.
samd_answers() { "$samd" status >/dev/null 2>&1 || ! kill -0 "${processes[samd]}" 2>/dev/null; }
await 15 samd_answers || fail "samd's local API within 15 s"

# The daemon keeps its last events, so none is missed; nothing below sleeps and hopes.
mkfifo "$work/events"
"$samd" events --json >"$work/events" 2>"$work/events.log" </dev/null &
processes[events]=$!
exec {events}<"$work/events"

# await_event SECONDS TYPE [PORT]: the next event of that type, about that port.
await_event() {
    local line left deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    while left=$((deadline - ${EPOCHREALTIME/[.,]/})) && [ "$left" -gt 0 ]; do
        IFS= read -r -t "$((left / 1000000)).$(printf '%06d' $((left % 1000000)))" -u "$events" line || return 1
        [[ $line == *"\"$2\""* && $line == *"${3:+\"port\":\"$3\"}"* ]] && return 0
    done
    return 1
}

await_event 10 daemon.ready || fail "samd's readiness in \`samd events\`"
step "samd is ready (\`samd status\`):"
show "$("$samd" status)"

# request URL [--password]: the status code; the body lands in $work/body. The password never stands in an argument list.
request() {
    local -a options=(--silent --max-time 10 --output "$work/body" --write-out '%{http_code}' --noproxy '*'
        --resolve "$web_host:$web_port:127.0.0.1")
    if [ "${2:-}" = --password ]; then
        curl "${options[@]}" --config <(printf 'user = "%s:%s"\n' "$web_user" "$web_password") "$1" || true
    else
        curl "${options[@]}" "$1" || true
    fi
}

# A web server like any other that somebody starts in a workspace.
port=$(free_port 3000 3099)
echo "Hello from port $port" >"$work/site/index.html"
cat >"$work/server.py" <<'PYTHON'
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler)
print("listening", flush=True)
server.serve_forever()
PYTHON
mkfifo "$work/server"
# In a session of its own, as if typed into a shell: of a server whose parent is a script samd expects a restart, and keeps its
# URL for 30 s.
setsid "$venv/bin/python" "$work/server.py" "$port" "$work/site" >"$work/server" 2>"$work/server.log" </dev/null &
processes[server]=$!
IFS= read -r -t 10 _ <"$work/server" || fail "a web server on port $port"
listening=$EPOCHREALTIME
step "a web server listens on port $port"
await_event 10 port.published "$port" || fail "port $port in \`samd events\`"
step "published after $(seconds_since "$listening") s (\`samd ports\`):"
show "$("$samd" ports)"

read -r url web_host < <("$samd" ports --json | "$venv/bin/python" -c '
import json, sys
row = next(row for row in json.load(sys.stdin)["ports"] if row["port"] == int(sys.argv[1]))
print(row["url"], row["host"])' "$port") || fail "the URL of port $port in \`samd ports --json\`"
read -r web_user web_password < <("$samd" password --json | "$venv/bin/python" -c '
import json, sys
credentials = json.load(sys.stdin)
print(credentials["user"], credentials["password"])') || fail "the password in \`samd password\`"

code=$(request "$url")
[ "$code" = 401 ] || fail "401 without the password at $url (got $code)"
step "$url without the password: 401"
code=$(request "$url" --password)
[ "$code" = 200 ] || fail "200 with the password at $url (got $code)"
grep -q "Hello from port $port" "$work/body" || fail "the web server's page at $url"
step "$url with the password (\`samd password\`): 200, \"$(cat "$work/body")\""
other=${url/"$web_host"/9--unknown.localhost}
code=$(web_host=9--unknown.localhost request "$other" --password)
[ "$code" = 404 ] || fail "404 for an unknown host at $other (got $code)"
step "$other, which nobody published: 404"

# A stand-in for Claude Code: a program of that name that only sleeps, with the session file that Claude keeps.
sessions=$work/home/.claude/sessions
mkdir -p "$sessions"
cp "$(command -v sleep)" "$work/claude"
(cd "$work/home" && exec env HOME="$work/home" CLAUDE_CONFIG_DIR= "$work/claude" 600) >"$work/claude.log" 2>&1 </dev/null &
processes[claude]=$!
claude=${processes[claude]}
# session STATUS: what the stand-in says that it does.
session() {
    printf '{"pid": %d, "sessionId": "00000000-0000-4000-8000-000000000001", "cwd": "%s", "status": "%s", "waitingFor": "permission prompt"}' \
        "$claude" "$work/home" "$1" >"$sessions/$claude.json"
}
idle() { "$samd" idle --json | "$venv/bin/python" -c '
import json, sys
report = json.load(sys.stdin)
print(*(signal["kind"] for signal in report["signals"] if signal.get("pid") == int(sys.argv[1])))' "$claude"; }
session_is() { [ "$(idle)" = "$1" ]; }
for status in busy:claude.busy waiting:claude.asking; do
    session "${status%:*}"
    changed=$EPOCHREALTIME
    await 10 session_is "${status#*:}" || fail "a session that is ${status%:*} in \`samd idle\`"
    step "a stand-in for Claude says \"${status%:*}\", known after $(seconds_since "$changed") s (\`samd idle\`):"
    show "$("$samd" idle | grep -E "^[A-Z][a-z]+:|^SIGNAL|pid $claude|claude.*$claude" | cut -c1-140)"
done
stop claude || true
await 10 session_is "" || fail "the stand-in's end in \`samd idle\`"
step "the stand-in ends: it is gone"

stop server || true
gone=$EPOCHREALTIME
step "the web server ends"
await_event 20 port.withdrawn "$port" || fail "port $port withdrawn in \`samd events\`"
code=$(request "$url" --password)
[ "$code" = 404 ] || fail "404 at $url after its server ended (got $code)"
step "$url: 404, $(seconds_since "$gone") s later; a restarted server would have kept it"

stop events || true
stop samd || fail "a clean end of samd (exit $?)"
stop caddy || fail "a clean end of Caddy (exit $?)"
step "samd and Caddy ended, nothing is left behind"
note "demo: every step was seen, $(seconds_since "$started") s"
note "next: ./dev test; README.md on installing it on a machine; docs/ARCHITECTURE.md on how it works"
