"""Variants of samd's package."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def version_of(package: Path) -> str:
    """The version in a package's control file."""
    result = subprocess.run(
        ["dpkg-deb", "--field", package, "Version"], check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def repacked_as_newer(package: Path, directory: Path) -> Path:
    """The same package with a higher version, as an upgrade brings it."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    version = f"{version_of(package)}+test1"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    newer = directory / "samd-newer.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, newer],
        check=True,
        capture_output=True,
    )
    return newer
