"""The Debian 12 root file system that every throw-away machine boots, built once and cached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

SUITE = "bookworm"

# What a Debian 12 cloud image has that matters here, Caddy, what samd's package depends on, podman with what it takes
# to give containers networks of their own, and what people sit at: OpenSSH and tmux.
PACKAGES = (
    "aardvark-dns",
    "ca-certificates",
    "caddy",
    "catatonit",
    "conmon",
    "crun",
    "curl",
    "dbus",
    "iproute2",
    "iptables",
    "libpam-systemd",
    "libssl3",
    "netavark",
    "openssh-client",
    "openssh-server",
    "podman",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
    "tmux",
    "util-linux",
)

# Run in the new root; $1 is its path. The workspace owner is the first ordinary user, as cloud-init makes it.
CUSTOMISE = (
    # mmdebstrap leaves the host's own; a machine has a name of its own and no name server.
    "echo vm1 > $1/etc/hostname",
    "printf '127.0.0.1 localhost\\n::1 localhost\\n127.0.1.1 vm1\\n' > $1/etc/hosts",
    "rm -f $1/etc/resolv.conf",
    "chroot $1 useradd --create-home --uid 1000 --shell /bin/bash dev",
    "chroot $1 useradd --create-home --uid 1001 --shell /bin/bash guest",
    # No test waits for timers, and no machine here has a console or a disk of its own.
    "chroot $1 systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer"
    " fstrim.timer systemd-tmpfiles-clean.timer console-getty.service getty.target systemd-networkd.service",
    # A test that logs in starts it; to others it would be one more listener.
    "chroot $1 systemctl disable ssh.service",
    # Tests start containers by podman's command, which needs none of its services.
    "chroot $1 systemctl mask podman.service podman.socket podman-restart.service podman-auto-update.service"
    " podman-auto-update.timer",
    # The journal in memory is flushed with the machine; limits on messages would hide some of them.
    "mkdir -p $1/etc/systemd/journald.conf.d && printf '[Journal]\\nStorage=volatile\\nRateLimitBurst=0\\n'"
    " > $1/etc/systemd/journald.conf.d/tests.conf",
    "rm -rf $1/usr/share/doc/* $1/usr/share/locale/* $1/var/cache/apt/archives/*.deb",
)

BUILD_TIMEOUT_SECONDS = 900


def recipe_hash() -> str:
    """Changes whenever the recipe does, so that an old root is never used for a new recipe."""
    recipe = json.dumps([SUITE, PACKAGES, CUSTOMISE]).encode()
    return hashlib.sha256(recipe).hexdigest()[:12]


def cache_directory() -> Path:
    """`SAMD_CACHE`, else `.cache` in the repository."""
    repository = Path(__file__).resolve().parents[3]
    return Path(os.environ.get("SAMD_CACHE") or repository / ".cache").absolute()


def ensure_rootfs() -> Path:
    """The cached root, built first when it is missing; parallel callers wait for the one that builds."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"rootfs-{recipe_hash()}"
    if root.exists():
        return root
    with open(cache / "rootfs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _build(root)
    return root


def _build(root: Path) -> None:
    unfinished = root.with_name(root.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    log = root.with_name(root.name + ".log")
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--mode=root",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--customize-hook={step}" for step in CUSTOMISE),
        SUITE,
        str(unfinished),
    ]
    with open(log, "wb") as output:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=BUILD_TIMEOUT_SECONDS,
        )
    if result.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"mmdebstrap failed ({result.returncode}); the whole log is {log}\n{tail}")
    unfinished.rename(root)


if __name__ == "__main__":
    print(ensure_rootfs())
