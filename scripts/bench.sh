#!/usr/bin/env bash
# bench NAME [--json] [OPTIONS]: runs Benchmarks/NAME.py (with _ for -), which prints its figures beside their bounds; exit 1 past one.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

names() { find Benchmarks -maxdepth 1 -name '*.py' -printf '%f\n' 2>/dev/null | sed -n 's/^\([a-z].*\)\.py$/\1/p' | tr _ - | LC_ALL=C sort; }

# build_driver PRODUCT: a program in Swift that a benchmark runs, built as samd is.
build_driver() {
    # shellcheck source=scripts/release_flags.sh
    . scripts/release_flags.sh
    TAIL_LINES=80 run_logged "build-$1" 3000 swift build "${release_flags[@]}" --product "$1" ||
        die "bench: $1 does not build"
}

[ $# -gt 0 ] || die "bench: name one of: $(names | tr '\n' ' ')"
name=$1
file=Benchmarks/${name//-/_}.py
shift
[ -f "$file" ] || die "bench: no benchmark '$name'; there are: $(names | tr '\n' ' ')"

started=$EPOCHREALTIME
# Standard output belongs to the benchmark, so that --json gives JSON and nothing else.
{
    ensure_setup test
    if [ -z "${SAMD_DEB:-}" ]; then "$root/scripts/package.sh"; fi
    export_test_environment
    if [ "$name" = idle-cost ]; then
        build_driver parse-bench
        export SAMD_PARSE_BENCH=$release_build_dir/release/parse-bench
    fi
    say "bench: $name, on the packaged binary"
} >&2
code=0
timeout --foreground --kill-after=20 1800 "$venv/bin/python" "$file" "$@" || code=$?
note "bench: $name: exit $code after $(seconds_since "$started") s" >&2
exit "$code"
