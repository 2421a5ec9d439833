#!/usr/bin/env bash
# lint [--built]: everything about the tree that is checked without running it. --built: only what needs the samd binary.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

only_built=
case ${1:-} in
--built) only_built=1 ;;
'') ;;
*) die "lint: unknown option '$1' (only --built is known)" ;;
esac
ensure_setup test
started=$EPOCHREALTIME
failures=0

# check NAME COMMAND…: the output only when it fails.
check() {
    local name=$1 from=$EPOCHREALTIME
    shift
    if TAIL_LINES=200 run_logged "lint-$name" 600 "$@"; then
        note "$name: ok ($(seconds_since "$from") s)"
    else
        failures=$((failures + 1))
    fi
}

format() {
    local paths=(Package.swift Sources Tests Benchmarks)
    [ ! -d Fuzz ] || paths+=(Fuzz)
    swift format lint --strict --parallel --recursive "${paths[@]}"
}

shell_scripts() {
    git ls-files -co --exclude-standard -- dev .ci 'scripts/*.sh' 'Tests/**/*.sh' 'Benchmarks/**/*.sh' \
        systemd/caddy-config packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm
}

shellcheck_all() {
    local files
    mapfile -t files < <(shell_scripts)
    shellcheck --external-sources --source-path=SCRIPTDIR "${files[@]}"
}

# What samd generates is what the tree holds, and samd accepts the configurations that we hand out.
generated() {
    local file samd=$build_dir/debug/samd
    "$samd" config reference | diff -u --label 'samd config reference' - docs/configuration.md ||
        { echo "write it anew: $samd config reference > docs/configuration.md"; return 1; }
    "$samd" config template | diff -u --label 'samd config template' - packaging/samd.toml ||
        { echo "write it anew: $samd config template > packaging/samd.toml"; return 1; }
    for file in packaging/samd.toml examples/*.toml; do
        "$samd" config check "$file" || return 1
    done
}
export -f format shell_scripts shellcheck_all generated
export build_dir

if [ -n "$only_built" ]; then
    say "lint: what samd generates is what the tree holds"
    check generated bash -euo pipefail -c generated
else
    say "lint: format, tree, shell scripts"
    check format bash -euo pipefail -c format
    check tree "$venv/bin/python" scripts/check_tree.py
    check shellcheck bash -euo pipefail -c shellcheck_all
    if [ -x "$build_dir/debug/samd" ]; then
        check generated bash -euo pipefail -c generated
    else
        note "generated: not checked here: samd is not built (./dev build)"
    fi
fi
[ "$failures" -eq 0 ] || die "lint: $failures of the checks failed"
note "lint: ok after $(seconds_since "$started") s"
