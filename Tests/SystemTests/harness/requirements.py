"""What tests need from their surroundings: without it a test is skipped with the reason; in CI it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

HOST_TOOLS = ("dpkg-deb", "ip", "mmdebstrap", "nsenter", "setpriv", "systemd-nspawn")


def missing(reason: str) -> NoReturn:
    """Skips the test, or fails it in CI, where nothing may be skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"must not be skipped in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def require_machines() -> None:
    """The rights and the tools that booting a machine takes."""
    if os.geteuid() != 0:
        missing("booting a throw-away machine needs root")
    absent = [tool for tool in HOST_TOOLS if shutil.which(tool) is None]
    if absent:
        missing(f"not installed: {', '.join(absent)}; `./dev setup` installs them")


def file_from_environment(variable: str, meaning: str) -> Path:
    """The file that an environment variable names."""
    value = os.environ.get(variable)
    if not value:
        missing(f"{variable} is not set to {meaning}; `./dev test` sets it")
    path = Path(value).absolute()
    if not path.is_file():
        missing(f"{variable} names {path}, which is no file")
    return path
