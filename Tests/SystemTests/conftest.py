"""Fixtures that the system tests share."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import leftovers, naming, packages, requirements
from harness.machine import Machine
from harness.samd import Samd

CADDY_VERSIONS = {"2.6": "SAMD_TEST_CADDY_2_6", "2.11": "SAMD_TEST_CADDY_2_11"}
CURRENT_CADDY = "2.11"


def pytest_configure(config: pytest.Config) -> None:
    """Removes what killed runs left behind, once and before anything is made."""
    if os.geteuid() != 0 or hasattr(config, "workerinput"):
        return
    leftovers.RUN_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with open(leftovers.RUN_DIRECTORY.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in leftovers.sweep():
            print(f"swept leftovers of {name}, whose owner is gone")


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Torn down last: whatever this process made on the host must be gone by then."""
    yield
    if os.geteuid() == 0:
        left = leftovers.find(naming.owned_here)
        assert not left, "left behind:\n" + "\n".join(map(str, left))


@pytest.fixture(scope="session")
def deb() -> Path:
    """The package under test."""
    requirements.require_machines()
    return requirements.file_from_environment("SAMD_DEB", "samd's .deb")


@pytest.fixture(scope="session")
def newer_deb(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package under test with a higher version."""
    return packages.repacked_as_newer(deb, tmp_path_factory.mktemp("newer"))


def caddy_binds(version: str) -> dict[Path, str]:
    """What puts a Caddy of a version in the place of the machine's own."""
    variable = CADDY_VERSIONS[version]
    return {requirements.file_from_environment(variable, f"a Caddy {version} binary"): "/usr/bin/caddy"}


@pytest.fixture(scope="module", params=list(CADDY_VERSIONS))
def caddy_version(request: pytest.FixtureRequest) -> str:
    """Every version of Caddy that samd supports, one after the other."""
    return str(request.param)


@pytest.fixture(scope="module")
def any_caddy(deb: Path, caddy_version: str) -> Iterator[Samd]:
    """A machine of the module's own with samd installed, once for every version of Caddy."""
    with Machine(binds=caddy_binds(caddy_version)) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


@pytest.fixture(scope="module")
def samd(deb: Path) -> Iterator[Samd]:
    """A machine of the module's own with samd and the current Caddy."""
    with Machine(binds=caddy_binds(CURRENT_CADDY)) as machine:
        samd = Samd(machine)
        samd.install(deb, {"workspace": {"owners": ["dev"]}})
        yield samd


@pytest.fixture
def bare_machine(deb: Path) -> Iterator[Machine]:
    """A machine of the test's own without samd."""
    with Machine(binds=caddy_binds(CURRENT_CADDY)) as machine:
        yield machine
