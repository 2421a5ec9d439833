#!/usr/bin/env bash
# verify_units TREE: what systemd itself says about the unit files of a package's tree.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tree=$1
if ! command -v systemd-analyze >/dev/null; then
    note "units: not verified: systemd-analyze is not installed"
    exit
fi
view=$(mktemp -d)
trap 'rm -rf "$view"' EXIT
# The units that ours name come with other packages, as do the programs.
mkdir -p "$view/usr/lib/systemd" "$view/usr/bin"
cp -r /usr/lib/systemd/system "$view/usr/lib/systemd/"
old_caddy=$cache/caddy-2.6/lib/systemd/system/caddy.service
[ ! -e "$old_caddy" ] || cp "$old_caddy" "$view/usr/lib/systemd/system/"
cp -r "$tree/usr" "$view/"
for program in sh kill caddy; do install -m 755 /dev/null "$view/usr/bin/$program"; done
ln -s usr/bin "$view/bin"
units=(samd.service samd.socket)
[ ! -e "$old_caddy" ] || units+=(caddy.service)
if ! systemd-analyze verify --root="$view" --man=no "${units[@]/#/$view/usr/lib/systemd/system/}" \
    >"$logs/verify-units.log" 2>&1 || [ -s "$logs/verify-units.log" ]; then
    cat "$logs/verify-units.log" >&2
    die "units: systemd-analyze verify complains"
fi
exposure=$(systemd-analyze security --offline=yes --root="$view" --threshold=100 --no-pager \
    "$view/usr/lib/systemd/system/samd.service" 2>/dev/null | sed -n 's/.*exposure level for [^:]*: //p')
note "units: verified; systemd-analyze security: $exposure"
