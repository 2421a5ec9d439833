#!/usr/bin/env bash
# simulate [OPTIONS]: the idle policy through seeded machine-days (--help names the options); exit 1 on a violation.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ensure_setup build
# Built as samd is, in the same folder: what they share is built once.
# shellcheck source=scripts/release_flags.sh
. scripts/release_flags.sh
TAIL_LINES=80 run_logged build-simulation 3000 swift build "${release_flags[@]}" --product idle-simulation ||
    die "simulate: idle-simulation does not build"
exec "$release_build_dir/release/idle-simulation" "$@"
