"""Waiting for what announces itself in no other way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL_SECONDS = 0.05
# Only against waiting for ever: what takes milliseconds may take seconds on a busy machine. What has to be in time says so.
TIMEOUT_SECONDS = 30.0


class NotYet(Exception):
    """Raised by a condition to say what it saw; the last one appears in the failure's text."""


def wait_for(
    condition: Callable[[], T],
    what: str,
    timeout: float = TIMEOUT_SECONDS,
    explain: Callable[[], str] | None = None,
    interval: float = INTERVAL_SECONDS,
) -> T:
    """The condition's first true value. After `timeout` seconds an AssertionError tells what was seen."""
    deadline = time.monotonic() + timeout
    seen: object = None
    while True:
        try:
            value = condition()
            if value:
                return value
            seen = value
        except (NotYet, AssertionError) as error:
            seen = error
        if time.monotonic() >= deadline:
            break
        time.sleep(interval)
    text = f"waited {timeout:g} s in vain until {what}; last seen: {seen!s:.2000}"
    if explain is not None:
        text += "\n" + explain()
    raise AssertionError(text)
