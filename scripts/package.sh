#!/usr/bin/env bash
# package [--version V] [--output DIR]: builds dist/samd_VERSION_ARCH.deb; the same commit, toolchain and package versions give the same bytes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=$(<VERSION)
output=$root/dist
while [ $# -gt 0 ]; do
    case $1 in
    --version) version=${2:?package: --version needs a value}; shift ;;
    --output) output=${2:?package: --output needs a folder}; shift ;;
    *) die "package: unknown option '$1'" ;;
    esac
    shift
done
ensure_setup test
"$root/scripts/build.sh" --release

started=$EPOCHREALTIME
say "package: reproducible Debian package"
umask 022
architecture=$(dpkg --print-architecture)
# Without commits, or in a copy without .git, a fixed time: never the clock.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}
export SOURCE_DATE_EPOCH
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
tree=$staging/tree

place() { install -D -m "$1" "$2" "$tree/$3"; }

place 755 dist/samd usr/bin/samd
place 644 systemd/samd.service usr/lib/systemd/system/samd.service
place 644 systemd/samd.socket usr/lib/systemd/system/samd.socket
place 644 systemd/caddy.service.d/50-samd.conf usr/lib/systemd/system/caddy.service.d/50-samd.conf
place 755 systemd/caddy-config usr/lib/samd/caddy-config
place 644 systemd/sysctl.d/50-samd.conf usr/lib/sysctl.d/50-samd.conf
place 644 systemd/sysusers.d/samd.conf usr/lib/sysusers.d/samd.conf
place 644 systemd/tmpfiles.d/samd.conf usr/lib/tmpfiles.d/samd.conf
place 644 systemd/samd.catalog usr/lib/systemd/catalog/samd.catalog
place 644 packaging/samd.toml etc/samd/samd.toml
place 644 packaging/debian/copyright usr/share/doc/samd/copyright
place 644 README.md usr/share/doc/samd/README.md
place 644 docs/configuration.md usr/share/doc/samd/configuration.md
place 644 docs/idle.md usr/share/doc/samd/idle.md
place 644 docs/api.yaml usr/share/doc/samd/api.yaml
place 644 docs/notifications.md usr/share/doc/samd/notifications.md
gzip -9 -n -c CHANGELOG.md >"$staging/changelog.gz"
place 644 "$staging/changelog.gz" usr/share/doc/samd/changelog.gz

# dpkg-shlibdeps wants to stand in a source package.
mkdir "$staging/debian"
printf 'Source: samd\n\nPackage: samd\nArchitecture: any\n' >"$staging/debian/control"
libraries=$(cd "$staging" && dpkg-shlibdeps -O -e tree/usr/bin/samd 2>"$logs/shlibdeps.log" |
    sed -n 's/^shlibs:Depends=//p')
[ -n "$libraries" ] || die "package: dpkg-shlibdeps found no libraries; see .cache/logs/shlibdeps.log"

mkdir "$tree/DEBIAN"
# The sum of the files' sizes in KiB: `du` would depend on the file system.
size=$(find "$tree" -path "$tree/DEBIAN" -prune -o -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$architecture|" -e "s|@INSTALLED_SIZE@|$size|" \
    -e "s|@SHLIBS@|$libraries|" packaging/debian/control.in >"$tree/DEBIAN/control"
install -m 644 packaging/debian/conffiles "$tree/DEBIAN/conffiles"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$tree/DEBIAN/"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) \
    >"$tree/DEBIAN/md5sums"
chmod 644 "$tree/DEBIAN/control" "$tree/DEBIAN/md5sums"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

"$root/scripts/verify_units.sh" "$tree"

mkdir -p "$output"
package=$output/samd_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$tree" "$package" >"$logs/dpkg-deb.log" ||
    die "package: dpkg-deb failed; see .cache/logs/dpkg-deb.log"
note "package: ${package#"$root"/}, $(($(stat -c %s "$package") / 1000)) kB," \
    "sha256 $(sha256sum "$package" | cut -c1-16)…, after $(seconds_since "$started") s"
