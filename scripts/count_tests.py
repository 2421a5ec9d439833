#!/usr/bin/env python3
"""count_tests.py RESULTS.xml [LOG]: prints "PASSED FAILED SKIPPED", then a line for each test that failed or was skipped.

Reads what `swift test --xunit-output` and `pytest --junitxml` write. Swift Testing's file counts a test that cancelled
itself as passed; its LOG tells.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main() -> None:
    results = Path(sys.argv[1])
    passed: list[str] = []
    failed: list[str] = []
    skipped: list[str] = []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}: {case.get('name', '').strip('`()')}"
        reason = case.find("skipped")
        if reason is not None:
            skipped.append(f"{name}: {reason.get('message') or (reason.text or '').strip() or 'no reason given'}")
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        else:
            passed.append(name)
    log = Path(sys.argv[2]).read_text(errors="replace") if len(sys.argv) > 2 else ""
    # A cancelled parametrised test tells each case; only the test as a whole counts.
    cancelled = re.findall(r'^\S+ Test "?(.+?)"? (?:with \d+ test cases? )?was cancelled after .*?: "(.*)"$', log, re.MULTILINE)
    skipped += [f"{name}: {reason}" for name, reason in cancelled]
    print(len(passed) - len(cancelled), len(failed), len(skipped))
    for name in failed:
        print(f"failed: {name}")
    for name in skipped:
        print(f"skipped: {name}")


if __name__ == "__main__":
    main()
