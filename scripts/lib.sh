# Shared by the files of scripts/: sourced, never run. Sets `root` and moves there.
# shellcheck shell=bash disable=SC2034 # what it sets is used by the files that source it

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
cache=$root/.cache
logs=$cache/logs
build_dir=${SAMD_BUILD_DIR:-.build}
venv=$cache/venv
if ! mkdir -p "$logs" 2>/dev/null || [ ! -w "$logs" ] || [ ! -w "$cache" ]; then
    echo "dev: cannot write to $cache: it belongs to $(stat -c %U "$root"); use a checkout of your own" >&2
    exit 1
fi

# Where a Swift toolchain is looked for when PATH has none.
if ! command -v swift >/dev/null; then
    for folder in /opt/swift/usr/bin "$HOME/.local/share/swiftly/bin" /usr/local/swift/usr/bin; do
        [ -x "$folder/swift" ] && PATH=$PATH:$folder && break
    done
fi

# Where git is told to fetch packages from a mirror on this machine (url.PATH.insteadOf) that belongs to somebody else,
# git refuses to read it. For what runs here, and only then, it may: the user's git was pointed there on purpose.
trust_local_mirrors() {
    local key
    while read -r key _; do
        key=${key#url.}
        key=${key%.insteadof}
        if [ -d "$key" ] && [ ! -O "$key" ]; then
            printf '[include]\n\tpath = ~/.gitconfig\n[safe]\n\tdirectory = *\n' >"$cache/gitconfig"
            export GIT_CONFIG_GLOBAL=$cache/gitconfig
            return
        fi
    done < <(git config --get-regexp '^url\./.*\.insteadof$' 2>/dev/null || true)
}
trust_local_mirrors

# Flags that every build of the package shares. Keeping them equal keeps incremental builds incremental.
swift_flags=(--scratch-path "$build_dir" --explicit-target-dependency-import-check error)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# seconds_since START, where START is a value of EPOCHREALTIME: one decimal.
seconds_since() {
    local now=${EPOCHREALTIME/[.,]/} then=${1/[.,]/}
    local tenths=$(((now - then) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# run_logged NAME SECONDS COMMAND…: output goes to $logs/NAME.log; on failure its tail is printed.
# The command runs in a process group of its own, which ends with this script or when SECONDS have passed.
run_logged() {
    local name=$1 limit=$2 log=$logs/$1.log code=0
    shift 2
    timeout --kill-after=20 "$limit" "$@" >"$log" 2>&1 </dev/null &
    running_job=$!
    wait "$running_job" || code=$?
    running_job=
    [ "$code" -eq 0 ] && return 0
    [ "$code" -eq 124 ] && printf 'dev: %s took longer than %s s and was ended\n' "$name" "$limit" >>"$log"
    printf '\n--- %s failed (exit %s); the end of %s:\n' "$name" "$code" "${log#"$root"/}" >&2
    tail -n "${TAIL_LINES:-60}" "$log" >&2
    printf -- '---\n' >&2
    return "$code"
}

running_job=
# `timeout` passes the signal on to the whole group of its command.
end_running_job() {
    [ -z "$running_job" ] || kill -TERM "$running_job" 2>/dev/null || true
}
trap 'end_running_job; exit 130' INT
trap 'end_running_job; exit 143' TERM

# ensure_setup [build|demo|test]: silent when there is nothing to do.
ensure_setup() { SAMD_SETUP_QUIET=1 "$root/scripts/setup.sh" "${1:-build}"; }

caddy_2_6=$cache/bin/caddy-2.6
caddy_2_11=$cache/bin/caddy-2.11
claude=$cache/bin/claude

# What tests and benchmarks find their parts by. A variable that is set already is left alone.
export_test_environment() {
    export SAMD_TEST_CADDY_2_6=${SAMD_TEST_CADDY_2_6:-$caddy_2_6}
    export SAMD_TEST_CADDY_2_11=${SAMD_TEST_CADDY_2_11:-$caddy_2_11}
    export SAMD_TEST_CLAUDE=${SAMD_TEST_CLAUDE:-$claude}
    export SAMD_CACHE=${SAMD_CACHE:-$cache}
    local package
    package=$root/dist/samd_$(<"$root/VERSION")_$(dpkg --print-architecture).deb
    export SAMD_DEB=${SAMD_DEB:-$package}
    export SAMD_BIN=${SAMD_BIN:-$root/dist/samd}
}
