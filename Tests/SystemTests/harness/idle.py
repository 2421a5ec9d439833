"""What samd says about the machine's use, held against what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.observation import Line, Observation

Answer = dict[str, Any]
Signal = dict[str, Any]

# Within this samd must show a change.
PROMPT_SECONDS = 1.0
# So much later a failure's text still tells how late it was.
_PATIENCE_SECONDS = 10.0


def signals(answer: Answer, kind: str | None = None) -> list[Signal]:
    """The signals of an answer, or those of one kind."""
    return [signal for signal in answer["signals"] if kind in (None, signal["kind"])]


def shows(
    seen: Observation,
    what: str,
    condition: Callable[[Answer], bool],
    since: float,
    within: float = PROMPT_SECONDS,
) -> float:
    """Asserts that samd says something at most so many seconds after an instant, and returns how long it took."""

    def find(lines: list[Line]) -> list[float]:
        before = [line for line in lines if "idle" in line and line["at"] < since][-1:]
        after = [line for line in lines if "idle" in line and line["at"] >= since]
        return [max(0.0, line["at"] - since) for line in before + after if condition(line["idle"])][:1]

    took = seen.wait(find, f"samd shows {what}", within + _PATIENCE_SECONDS)[0]
    assert took <= within, f"samd shows {what} only after {took:.2f} s"
    return took
