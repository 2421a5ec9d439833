# The long runs of `./dev test --full`: sourced by test.sh, whose stage() and totals it uses.
# shellcheck shell=bash disable=SC2154 # set by test.sh

release_tests() {
    local -a flags=(--scratch-path "$build_dir-release-tests" --explicit-target-dependency-import-check error
        -c release -Xswiftc -enable-testing)
    say "release tests: the unit tests, optimised"
    TAIL_LINES=80 run_logged build-release-tests 3000 swift build "${flags[@]}" --build-tests &&
        swift_tests release-tests "${flags[@]}"
}

# Another checkout at another place must give the same package, to the byte.
same_package_elsewhere() {
    local elsewhere code=0 file
    elsewhere=$(mktemp -d)/another-checkout
    say "reproducible: the package from a second checkout at $elsewhere"
    mkdir "$elsewhere"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
        tar --null --files-from=- -cf - | tar -C "$elsewhere" -xf -
    # What setup installed may be shared: it is not part of the package.
    mkdir "$elsewhere/.cache"
    git -C "$elsewhere" init -q
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600) \
        run_logged package-elsewhere 3000 env -u SAMD_BUILD_DIR -u SAMD_DEB -u SAMD_BIN "$elsewhere/dev" package || code=$?
    if [ "$code" -eq 0 ]; then
        file=$(basename "$SAMD_DEB")
        if cmp "$SAMD_DEB" "$elsewhere/dist/$file"; then
            note "both checkouts gave $(sha256sum "$SAMD_DEB" | cut -d' ' -f1)"
            passed=$((passed + 1))
        else
            code=1
        fi
    fi
    rm -rf "$(dirname "$elsewhere")"
    return "$code"
}

fuzz_all() {
    local name
    for name in $(find Fuzz -mindepth 2 -maxdepth 2 -name Fuzz.swift -printf '%h\n' | sed 's|.*/||' | LC_ALL=C sort); do
        "$root/scripts/fuzz.sh" "$name" 60 || return 1
        passed=$((passed + 1))
    done
}

bench_all() {
    local name code=0
    for name in $(find Benchmarks -maxdepth 1 -name '[a-z]*.py' -printf '%f\n' | sed 's|\.py$||' | tr _ - | LC_ALL=C sort); do
        if "$root/scripts/bench.sh" "$name"; then passed=$((passed + 1)); else code=1; fi
    done
    return "$code"
}

stage 'release tests' release_tests || true
if [ -n "$packaged" ]; then
    stage reproducible same_package_elsewhere || true
    if is_root; then
        stage benches bench_all || true
    else
        note "benches: skipped: they boot machines, which needs root"
        skipped=$((skipped + 1))
    fi
else
    not_run reproducible 'no package'
    not_run benches 'no package'
fi
stage fuzz fuzz_all || true
stage 'long simulation' simulate_days 10000 2 7200 || true
