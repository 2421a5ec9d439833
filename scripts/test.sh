#!/usr/bin/env bash
# test [--full] [--filter X]: the CI tier, in which nothing may be skipped; --full adds the long runs; --filter runs only
# the unit and system tests that match X. Ends with the line `N passed, M failed, K skipped`.
# shellcheck disable=SC2317 # most functions are run by stage()
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

full='' filter=''
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=1 ;;
    --filter) filter=${2:?test: --filter needs a value}; shift ;;
    *) die "test: unknown option '$1'" ;;
    esac
    shift
done

if [ -n "$filter" ]; then
    say "test: what matches \"$filter\""
else
    say "test: the CI tier${full:+ and the long runs}"
fi
"$root/scripts/setup.sh" test
export_test_environment
# Only an ordinary user without CI may leave out what needs root.
strict=1
is_root || [ "${CI:-}" = true ] || strict=

passed=0 failed=0 skipped=0
report=()

# stage NAME COMMAND…: runs a part, remembers its time; a part that fails without counted tests counts as one failure.
stage() {
    local name=$1 from=$EPOCHREALTIME before=$failed code=0 word=ok
    shift
    "$@" || code=$?
    if [ "$code" -ne 0 ]; then
        word=failed
        [ "$failed" -gt "$before" ] || failed=$((failed + 1))
    fi
    report+=("$(printf '%-16s %8s s  %s' "$name" "$(seconds_since "$from")" "$word")")
    return "$code"
}

# not_run NAME REASON: a part that cannot run because an earlier one failed.
not_run() {
    report+=("$(printf '%-16s %8s    %s' "$1" - "not run: $2")")
    failed=$((failed + 1))
}

# count RESULTS [LOG]: adds a result file to the totals and names what failed or was skipped.
count() {
    local -a lines
    local p f s
    if ! mapfile -t lines < <("$venv/bin/python" scripts/count_tests.py "$@") || [ ${#lines[@]} -eq 0 ]; then
        note "no results in ${1#"$root"/}: the test process did not end properly"
        failed=$((failed + 1))
        return 1
    fi
    read -r p f s <<<"${lines[0]}"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    note "$p passed, $f failed, $s skipped"
    [ ${#lines[@]} -eq 1 ] || printf '    %s\n' "${lines[@]:1}"
    if [ $((p + f)) -eq 0 ] && [ -n "$strict" ]; then
        note "no test ran"
        failed=$((failed + 1))
        return 1
    fi
    [ "$f" -eq 0 ]
}

# with_tracefs COMMAND…: as root, runs it in a mount namespace of its own that has tracefs at $SAMD_TEST_TRACEFS.
with_tracefs() {
    local folder code=0
    if ! is_root; then
        "$@"
        return
    fi
    folder=$(mktemp -d)
    # shellcheck disable=SC2016 # expanded by the inner shell
    SAMD_TEST_TRACEFS=$folder unshare --mount --propagation private \
        bash -c 'mount -t tracefs tracefs "$SAMD_TEST_TRACEFS" || unset SAMD_TEST_TRACEFS; exec "$@"' with_tracefs "$@" ||
        code=$?
    rmdir "$folder"
    return "$code"
}
export -f with_tracefs is_root

build_tests() {
    say "build: samd and its tests, debug"
    TAIL_LINES=80 run_logged build-tests 3000 swift build "${swift_flags[@]}" --build-tests
}

# swift_tests NAME FLAG…: runs the built unit tests. A filter that matches nothing is left to the system tests.
swift_tests() {
    local name=$1 code=0
    local results=$logs/$1.xml
    shift
    say "$name: unit tests"
    rm -f "$results"
    TAIL_LINES=80 run_logged "$name" 900 bash -c 'with_tracefs "$@"' with_tracefs \
        swift test "$@" --skip-build --disable-xctest --xunit-output "$results" ${filter:+--filter "$filter"} || code=$?
    if [ -n "$filter" ] && [ "$code" -eq 0 ] && ! grep -q '<testcase' "$results" 2>/dev/null; then
        note "no unit test matches"
        return 0
    fi
    count "$results" "$logs/$name.log" && [ "$code" -eq 0 ]
}

replay_corpus() {
    "$root/scripts/fuzz.sh" --replay || return 1
    passed=$((passed + $(find Fuzz -mindepth 2 -maxdepth 2 -name Fuzz.swift | wc -l)))
}

# simulate_days DAYS SEED SECONDS: the idle policy through so many machine-days; the same seed is the same machines.
simulate_days() {
    local log=$logs/simulation-$1-$2.log
    say "simulation: the idle policy through $1 machine-days, seed $2"
    TAIL_LINES=80 run_logged "simulation-$1-$2" "$3" "$root/scripts/simulate.sh" \
        --days "$1" --seed "$2" --jobs "$(nproc)" || return 1
    sed -n '1,8s/^/    /p' "$log"
    passed=$((passed + 1))
}

# The root file system of the test machines takes a minute, more than a single test may take.
root_file_system() {
    is_root || return 0
    say "machines: the root file system that the system tests boot"
    run_logged rootfs 1200 env -C Tests/SystemTests "$venv/bin/python" -m harness.rootfs
}

# system_tests NAME MARKERS PROCESSES
system_tests() {
    local name=$1 code=0
    local results=$logs/$1.xml
    say "$name: the package on booted machines"
    rm -f "$results"
    TAIL_LINES=120 run_logged "$name" 1800 "$venv/bin/python" -m pytest -n "$3" -p no:cacheprovider \
        --junitxml="$results" -m "$2" ${filter:+-k "$filter"} Tests/SystemTests || code=$?
    # pytest's "nothing to do": a filter need not match in both lanes.
    if [ -n "$filter" ] && [ "$code" -eq 5 ]; then return 0; fi
    count "$results" && [ "$code" -eq 0 ]
}

# What puts load on a machine and says how it bears it runs when nothing else does.
all_system_tests() {
    local long=' and not full' code=0
    [ -z "$full" ] || long=''
    stage 'system tests' system_tests system-tests "not alone$long" "$(nproc)" || code=1
    stage 'load tests' system_tests load-tests "alone$long" 0 || code=1
    return "$code"
}

filter_matches_system_tests() {
    "$venv/bin/python" -m pytest -p no:cacheprovider --collect-only -q -k "$filter" Tests/SystemTests \
        >"$logs/collect.log" 2>&1 </dev/null
}

unit_flags=("${swift_flags[@]}")
simulated='^SimulationTests\.'
packaged=''
if [ -z "$filter" ]; then
    stage lint "$root/scripts/lint.sh" || true
    if stage build build_tests; then
        stage generated "$root/scripts/lint.sh" --built || true
        # The simulated machines compute for a minute on all threads of Swift's pool: whoever ran beside them would stand still.
        stage 'unit tests' swift_tests unit-tests "${unit_flags[@]}" --skip "$simulated" || true
        stage 'policy checks' swift_tests policy-checks "${unit_flags[@]}" --filter "$simulated" || true
    else
        not_run generated 'samd is not built'
        not_run 'unit tests' 'samd is not built'
        not_run 'policy checks' 'samd is not built'
    fi
    stage 'fuzz corpus' replay_corpus || true
    stage simulation simulate_days 500 1 3600 || true
    if stage package "$root/scripts/package.sh"; then packaged=1; fi
    if [ -n "$packaged" ] && stage 'root fs' root_file_system; then
        all_system_tests || true
    else
        not_run 'system tests' 'no package, or no root file system'
        not_run 'load tests' 'no package, or no root file system'
    fi
else
    if stage build build_tests; then
        stage 'unit tests' swift_tests unit-tests "${unit_flags[@]}" || true
    fi
    if filter_matches_system_tests; then
        if stage package "$root/scripts/package.sh" && stage 'root fs' root_file_system; then
            all_system_tests || true
        fi
    elif [ $((passed + failed + skipped)) -eq 0 ]; then
        note "no test matches \"$filter\""
        failed=1
    fi
fi
if [ -n "$full" ] && [ -z "$filter" ]; then
    # shellcheck source=scripts/test_full.sh
    . scripts/test_full.sh
fi

say "test: stages"
printf '    %s\n' "${report[@]}"
code=0
[ "$failed" -eq 0 ] || code=1
if [ "$skipped" -gt 0 ]; then
    if [ -n "$strict" ]; then
        note "nothing may be skipped here: see the reasons above"
        code=1
    else
        note "what was skipped needs root: sudo ./dev test"
    fi
fi
note "logs: .cache/logs"
echo "$passed passed, $failed failed, $skipped skipped"
exit "$code"
