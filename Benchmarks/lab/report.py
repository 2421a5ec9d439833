"""Figures beside their bounds, as a table or as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value and, where there is one, what it must not exceed."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    note: str = ""

    @property
    def is_within(self) -> bool:
        """Whether the bound holds; always true without one."""
        return self.bound is None or self.value <= self.bound


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of all samples does not exceed (nearest rank)."""
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


def report(benchmark: str, figures: Sequence[Figure], as_json: bool) -> int:
    """Prints the figures and returns the exit code: 1 when one is past its bound."""
    if as_json:
        print(json.dumps(_as_values(benchmark, figures), indent=2))
    else:
        _print_table(benchmark, figures)
    past = [figure.name for figure in figures if not figure.is_within]
    if past:
        print(f"{benchmark}: past the bound: {', '.join(past)}", file=sys.stderr)
    return 1 if past else 0


def _as_values(benchmark: str, figures: Sequence[Figure]) -> dict[str, object]:
    return {
        "benchmark": benchmark,
        "machine": {"cores": os.cpu_count(), "kernel": platform.release()},
        "figures": [
            {
                "name": figure.name,
                "value": round(figure.value, 3),
                "unit": figure.unit,
                "bound": figure.bound,
                "within": figure.is_within,
                "note": figure.note,
            }
            for figure in figures
        ],
    }


def _print_table(benchmark: str, figures: Sequence[Figure]) -> None:
    rows = [("", "value", "bound", "", "")]
    for figure in figures:
        bound = "" if figure.bound is None else f"≤ {figure.bound:g} {figure.unit}"
        verdict = "" if figure.bound is None else "ok" if figure.is_within else "PAST"
        rows.append((figure.name, f"{_as_text(figure.value)} {figure.unit}", bound, verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    print(f"{benchmark} ({os.cpu_count()} cores, Linux {platform.release()})")
    for name, value, bound, verdict, note in rows:
        cells = [
            name.ljust(widths[0]),
            value.rjust(widths[1]),
            bound.rjust(widths[2]),
            verdict.ljust(4),
            note,
        ]
        print("  ".join(cells).rstrip())


def _as_text(value: float) -> str:
    return f"{value:.1f}" if value >= 10 or value == 0 else f"{value:.3g}"
