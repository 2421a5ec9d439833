"""A strict reader of Prometheus' text exposition format 0.0.4."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\\\|\\"|\\n)*)"(,|$)')
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|Inf)|NaN")

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """One metric: how it behaves, and its samples by their labels."""

    help: str
    type: str = ""
    samples: dict[Labels, float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """The sum of the samples that have these labels, 0 without any."""
        return sum(value for found, value in self.samples.items() if labels.items() <= dict(found).items())


def parse(page: str) -> dict[str, Family]:
    """The families of a page; an AssertionError names what breaks the format or its conventions."""
    assert page.endswith("\n"), "the last line ends with a line feed"
    families: dict[str, Family] = {}
    current = ""
    for line in page[:-1].split("\n"):
        if match := _HELP.fullmatch(line):
            current = match.group(1)
            assert current not in families, f"{current} appears twice"
            families[current] = Family(match.group(2))
        elif match := _TYPE.fullmatch(line):
            family = families[current]
            assert match.group(1) == current and not family.type and not family.samples, line
            family.type = match.group(2)
            assert current.endswith("_total") == (family.type == "counter"), f"{current} is a {family.type}"
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, f"no line of the format: {line!r}"
            assert match.group(1) == current, f"{line!r} does not stand with its family"
            family, labels = families[current], _labels(match.group(2))
            assert family.type and labels not in family.samples, line
            assert _NUMBER.fullmatch(match.group(3)), line
            family.samples[labels] = float(match.group(3))
            assert family.type != "counter" or family.samples[labels] >= 0, line
    return families


def _labels(text: str | None) -> Labels:
    found: dict[str, str] = {}
    rest = text or ""
    while rest:
        match = _LABEL.match(rest)
        assert match is not None, f"no labels: {text!r}"
        assert match.group(1) not in found, f"a label twice: {text!r}"
        found[match.group(1)] = match.group(2)
        rest = rest[match.end() :]
    return frozenset(found.items())
