#!/usr/bin/env bash
# bench NAME [--json] [OPTIONS]: runs Benchmarks/NAME.py, which prints its figures beside their bounds; exit 1 past one.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

names() { find Benchmarks -maxdepth 1 -name '*.py' -printf '%f\n' 2>/dev/null | sed -n 's/^\([a-z].*\)\.py$/\1/p' | LC_ALL=C sort; }

[ $# -gt 0 ] || die "bench: name one of: $(names | tr '\n' ' ')"
name=$1
shift
[ -f "Benchmarks/$name.py" ] || die "bench: no benchmark '$name'; there are: $(names | tr '\n' ' ')"

started=$EPOCHREALTIME
# Standard output belongs to the benchmark, so that --json gives JSON and nothing else.
{
    ensure_setup test
    if [ -z "${SAMD_DEB:-}" ]; then "$root/scripts/package.sh"; fi
    export_test_environment
    say "bench: $name, on the packaged binary"
} >&2
code=0
timeout --foreground --kill-after=20 1800 "$venv/bin/python" "Benchmarks/$name.py" "$@" || code=$?
note "bench: $name: exit $code after $(seconds_since "$started") s" >&2
exit "$code"
