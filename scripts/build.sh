#!/usr/bin/env bash
# build [--release]: builds samd. Release: one static file without debug information or this checkout's path.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

configuration=debug
while [ $# -gt 0 ]; do
    case $1 in
    --release) configuration=release ;;
    *) die "build: unknown option '$1' (only --release is known)" ;;
    esac
    shift
done
ensure_setup build

started=$EPOCHREALTIME
if [ "$configuration" = debug ]; then
    say "build: debug"
    TAIL_LINES=80 run_logged build 3000 swift build "${swift_flags[@]}" --product samd ||
        die "build: failed"
    note "build: $build_dir/debug/samd after $(seconds_since "$started") s"
    exit
fi

say "build: release, static Swift standard library"
# shellcheck source=scripts/release_flags.sh
. scripts/release_flags.sh
TAIL_LINES=80 run_logged build-release 3000 swift build "${release_flags[@]}" --product samd ||
    die "build: failed"
mkdir -p dist
# .swift_modhash serves incremental builds and is a hash over paths too.
strip --strip-all --remove-section=.swift_modhash -o dist/samd "$release_build_dir/release/samd"
if strings -n 6 dist/samd | grep -F -m 5 -e "$root" >"$logs/build-paths.log"; then
    cat "$logs/build-paths.log" >&2
    die "build: the binary names this checkout's path: it would differ in another checkout"
fi
note "build: dist/samd, $(($(stat -c %s dist/samd) / 1000000)) MB after $(seconds_since "$started") s"
