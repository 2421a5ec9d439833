#!/usr/bin/env bash
# fuzz NAME [SECONDS] | fuzz --replay [NAME]: runs a libFuzzer target (default 60 s), or every committed input once.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Each target is a folder Fuzz/NAME: Fuzz.swift, `sources` (patterns of the files it is compiled with), corpus/.
targets() { find Fuzz -mindepth 2 -maxdepth 2 -name Fuzz.swift -printf '%h\n' 2>/dev/null | sed 's|^Fuzz/||' | LC_ALL=C sort; }

# A crash of a sanitised Swift program can hang for minutes in its own backtrace.
export SWIFT_BACKTRACE=enable=no

build_target() {
    local name=$1 binary=$build_dir/fuzz/$1 pattern
    local -a files=()
    [ -f "Fuzz/$name/Fuzz.swift" ] || die "fuzz: no target '$name'; there are: $(targets | tr '\n' ' ')"
    [ -f "Fuzz/$name/sources" ] || die "fuzz: Fuzz/$name/sources is missing: the patterns of the files it is compiled with"
    while read -r pattern; do
        [[ -z $pattern || $pattern == '#'* ]] && continue
        # shellcheck disable=SC2206 # the pattern is meant to expand
        files+=($pattern)
    done <"Fuzz/$name/sources"
    files+=("Fuzz/$name/Fuzz.swift")
    if [ -x "$binary" ] && [ -z "$(find "${files[@]}" "Fuzz/$name/sources" -newer "$binary" -print -quit)" ]; then
        return
    fi
    mkdir -p "${binary%/*}"
    run_logged "fuzz-build-$name" 600 swiftc -parse-as-library -sanitize=fuzzer,address -g -O \
        -module-name Fuzz -package-name samd -swift-version 6 -Xcc -D_GNU_SOURCE \
        -enable-upcoming-feature ExistentialAny -enable-upcoming-feature MemberImportVisibility \
        -enable-upcoming-feature InternalImportsByDefault \
        "${files[@]}" -o "$binary" || die "fuzz: $name does not build"
}

# Every committed input once; libFuzzer runs files that it is given by name, and says nothing about an empty folder.
replay() {
    local name=$1
    local -a inputs
    build_target "$name"
    mapfile -d '' inputs < <(find "Fuzz/$name/corpus" -type f -print0 | LC_ALL=C sort -z)
    [ ${#inputs[@]} -gt 0 ] || die "fuzz: Fuzz/$name/corpus is empty: there is nothing to replay"
    run_logged "fuzz-replay-$name" 300 "$build_dir/fuzz/$name" -timeout=10 "${inputs[@]}" ||
        die "fuzz: $name fails on an input of its corpus"
    note "$name: ${#inputs[@]} inputs"
}

[ $# -gt 0 ] || die "fuzz: name a target: $(targets | tr '\n' ' ')"
ensure_setup build
started=$EPOCHREALTIME
if [ "$1" = --replay ]; then
    say "fuzz: replay the committed inputs"
    count=0
    for name in ${2:-$(targets)}; do
        replay "$name"
        count=$((count + 1))
    done
    [ "$count" -gt 0 ] || die "fuzz: there is no target in Fuzz/"
    note "fuzz: $count targets after $(seconds_since "$started") s"
    exit
fi

name=$1
seconds=${2:-60}
say "fuzz: $name for $seconds s"
build_target "$name"
found=$cache/fuzz/$name
mkdir -p "$found/corpus" "$found/failures"
if ! run_logged "fuzz-$name" $((seconds + 120)) "$build_dir/fuzz/$name" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/failures/" "$found/corpus" "Fuzz/$name/corpus"; then
    die "fuzz: $name failed; the input is in ${found#"$root"/}/failures; run it again with: $build_dir/fuzz/$name FILE"
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/fuzz-$name.log")
[ "${runs:-0}" -gt 0 ] || die "fuzz: $name ran no input"
note "fuzz: $name: $runs inputs, no failure, after $(seconds_since "$started") s; new ones in ${found#"$root"/}/corpus"
