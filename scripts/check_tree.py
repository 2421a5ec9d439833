#!/usr/bin/env python3
"""What must hold about the tree beyond what compiler and formatter check; one line per violation, exit 1 if any."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAXIMUM_LINES = 500
# Come with Swift or the C library; any module may use them.
ALWAYS_ALLOWED = {"Dispatch", "FoundationEssentials", "Glibc", "Swift", "Synchronization", "_Concurrency"}
FORBIDDEN = {"Foundation": "links ICU (+41 MB); FoundationEssentials has what is needed"}
IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
    r"(?:(?:struct|class|enum|protocol|func|var|let|typealias|actor)\s+)?([A-Za-z_]\w*)",
    re.MULTILINE,
)
# Names of places that exist on one machine only; written so that this file does not match itself.
FOREIGN = re.compile(r"/(?:wor[k]|far[m])/[A-Za-z.]|\.\./share[d]\b")
MESSAGE_ID = re.compile(r"\b[0-9a-f]{32}\b")


def main() -> int:
    files = tracked_files()
    checks = [
        check_imports(files),
        check_dependencies_are_used(files),
        check_catalog(),
        check_version(),
        check_sizes(files),
        check_test_names(files),
        check_foreign_paths(files),
        check_python_parses(files),
    ]
    violations = [violation for check in checks for violation in check]
    for violation in violations:
        print(violation)
    print(f"tree: {len(files)} files, {len(violations)} violations")
    return 1 if violations else 0


def tracked_files() -> list[Path]:
    """Files that are or would be committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    names = sorted({name for name in listing.decode().split("\0") if name})
    return [Path(name) for name in names if (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    text = text_of(path)
    for match in IMPORT.finditer(text):
        yield match.group(1), line_of(text, match.start(1))


def check_imports(files: Iterable[Path]) -> Iterator[str]:
    """Each module imports only what the table of docs/ARCHITECTURE.md allows it."""
    table = import_table()
    if table is None:
        yield "docs/ARCHITECTURE.md: no import table between <!-- imports:begin --> and <!-- imports:end -->"
        return
    used: dict[str, set[str]] = {module: set() for module in table}
    for path in files:
        if path.suffix != ".swift":
            continue
        module = path.parts[1] if path.parts[0] == "Sources" and len(path.parts) > 2 else None
        for name, line in imports_of(path):
            if name in FORBIDDEN:
                yield f"{path}:{line}: import {name}: {FORBIDDEN[name]}"
            elif module is None or module == "CInterop":
                continue
            elif module not in table:
                yield f"{path}:{line}: module {module} has no row in the import table of docs/ARCHITECTURE.md"
            else:
                used[module].add(name)
                if name not in table[module] and name not in ALWAYS_ALLOWED:
                    yield f"{path}:{line}: {module} may not import {name} (docs/ARCHITECTURE.md)"
    for module, allowed in table.items():
        if not (ROOT / "Sources" / module).is_dir():
            yield f"docs/ARCHITECTURE.md: the import table names {module}, which is not in Sources/"
            continue
        for name in sorted(allowed - used[module] - ALWAYS_ALLOWED):
            yield f"docs/ARCHITECTURE.md: {module} may import {name}, but does not"


def import_table() -> dict[str, set[str]] | None:
    path = ROOT / "docs/ARCHITECTURE.md"
    if not path.is_file():
        return None
    match = re.search(r"<!-- imports:begin -->(.*?)<!-- imports:end -->", path.read_text(), re.DOTALL)
    if match is None:
        return None
    table: dict[str, set[str]] = {}
    for line in match.group(1).strip().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < 2 or cells[0] in ("Module", "") or set(cells[0]) <= set("-: "):
            continue
        table[cells[0].strip("`")] = set(re.findall(r"[A-Za-z_]\w*", cells[1])) - {"nothing"}
    return table


def check_dependencies_are_used(files: Iterable[Path]) -> Iterator[str]:
    """Every dependency that Package.swift gives a Swift target is imported there."""
    dump = subprocess.run(
        ["swift", "package", "--disable-sandbox", "dump-package"], cwd=ROOT, capture_output=True, text=True
    )
    if dump.returncode != 0:
        yield f"Package.swift: {dump.stderr.strip() or 'swift package dump-package failed'}"
        return
    package = json.loads(dump.stdout)
    files = list(files)
    products: set[str] = set()
    for target in package["targets"]:
        folder = Path(target.get("path") or Path("Tests" if target["type"] == "test" else "Sources") / target["name"])
        sources = [path for path in files if path.suffix == ".swift" and path.is_relative_to(folder)]
        imported = {name for path in sources for name, _ in imports_of(path)}
        for dependency in target["dependencies"]:
            kind, value = next(iter(dependency.items()))
            name = value[0]
            if kind == "product":
                products.add((value[1] or "").lower())
            if sources and name not in imported:
                yield f"Package.swift: {target['name']} depends on {name}, but no file of it imports that"
    for dependency in package["dependencies"]:
        for source in dependency.values():
            identity = source[0]["identity"]
            if identity.lower() not in products:
                yield f"Package.swift: no target uses the package {identity}"


def check_catalog() -> Iterator[str]:
    """Each MESSAGE_ID has its catalog entry and back; substituted fields are written somewhere."""
    source = ROOT / "Sources/SamdCore/JournalMessages.swift"
    catalog = ROOT / "systemd/samd.catalog"
    if not source.is_file() or not catalog.is_file():
        yield f"{source.relative_to(ROOT)} and {catalog.relative_to(ROOT)} must both exist"
        return
    identifiers = MESSAGE_ID.findall(source.read_text())
    entries = re.findall(r"^-- ([0-9a-f]{32})", catalog.read_text(), re.MULTILINE)
    for name, values in (("JournalMessages.swift", identifiers), ("samd.catalog", entries)):
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"{name}: {value} stands there twice"
    for value in sorted(set(identifiers) - set(entries)):
        yield f"systemd/samd.catalog: no entry for MESSAGE_ID {value} of JournalMessages.swift"
    for value in sorted(set(entries) - set(identifiers)):
        yield f"systemd/samd.catalog: {value} is no MESSAGE_ID of JournalMessages.swift"
    swift = "\n".join(path.read_text() for path in sorted((ROOT / "Sources/SamdCore").rglob("*.swift")))
    keys = {re.sub(r"[^A-Z0-9]", "_", key.upper()) for key in re.findall(r'"([A-Za-z][\w.-]*)"', swift)}
    for field in sorted(set(re.findall(r"@SAMD_(\w+?)@", catalog.read_text())) - keys):
        yield f"systemd/samd.catalog: @SAMD_{field}@: no file of SamdCore writes such a field"


def check_version() -> Iterator[str]:
    version = (ROOT / "VERSION").read_text().strip()
    source = ROOT / "Sources/SamdCore/Version.swift"
    if f'"{version}"' not in source.read_text():
        yield f"{source.relative_to(ROOT)}: does not say {version}, as VERSION does"
    changelog = ROOT / "CHANGELOG.md"
    if changelog.is_file() and version not in changelog.read_text():
        yield f"CHANGELOG.md: says nothing about {version}"


def is_program(path: Path) -> bool:
    return path.suffix in (".swift", ".py", ".sh", ".c", ".h") or path in (Path("dev"), Path(".ci/run"))


def check_sizes(files: Iterable[Path]) -> Iterator[str]:
    for path in filter(is_program, files):
        lines = text_of(path).count("\n")
        if lines > MAXIMUM_LINES:
            yield f"{path}: {lines} lines; a file has at most {MAXIMUM_LINES}"


def check_test_names(files: Iterable[Path]) -> Iterator[str]:
    """The name of a test is a sentence of behaviour: at least three words."""
    for path in files:
        if path.parts[0] != "Tests":
            continue
        text = text_of(path)
        if path.suffix == ".swift":
            # Attribute, then the function, whose name is a raw identifier or comes with a display name.
            for match in re.finditer(r"@Test\b(?P<between>.*?)\bfunc\s+(?P<name>`[^`]+`|\w+)", text, re.DOTALL):
                display = re.match(r'\(\s*"([^"]+)"', match["between"])
                name = display.group(1) if display else match["name"].strip("`")
                if len(name.split()) < 3:
                    yield f"{path}:{line_of(text, match.start('name'))}: '{name}' is no sentence of behaviour"
        elif path.suffix == ".py":
            for match in re.finditer(r"^\s*def (test_\w+)", text, re.MULTILINE):
                if match.group(1).count("_") < 3:
                    yield f"{path}:{line_of(text, match.start(1))}: '{match.group(1)}' is no sentence of behaviour"


def check_foreign_paths(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        text = text_of(path)
        for match in FOREIGN.finditer(text):
            yield f"{path}:{line_of(text, match.start())}: {match.group(0)}…: a path of one machine"


def check_python_parses(files: Iterable[Path]) -> Iterator[str]:
    """Python that does not even parse is found here, not in the middle of a test run."""
    for path in files:
        if path.suffix == ".py":
            try:
                compile(text_of(path), str(path), "exec")
            except SyntaxError as error:
                yield f"{path}:{error.lineno}: {error.msg}"


if __name__ == "__main__":
    sys.exit(main())
