"""Looks up in the table what a log says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from yolor_deploy.backends.tensorrt.catalogue.entry import Entry, Severity
from yolor_deploy.backends.tensorrt.catalogue.table import ENTRIES

_MOST_QUOTED = 200  # characters
_CUT = "..."
_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,30}[ -/]{0,5}[@-~]|[@-Z\\-_])")
_MARKS = tuple((mark, entry) for entry in ENTRIES for mark in entry.marks)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A message of a log that is known.

    Attributes:
        key: Of its entry.
        severity: ``error``, ``warning`` or ``harmless``.
        line: Where it is first, from 1.
        text: The line, or the telling part of a long one: at most 200 printable characters.
        cause: What it means, in one sentence.
        remedy: What to do about it.
    """

    key: str
    severity: Severity
    line: int
    text: str
    cause: str
    remedy: str


def diagnose(text: str) -> tuple[Diagnosis, ...]:
    """Return the messages of a log that are known, each once.

    First come errors in the order of the log, then errors that only follow from others, then
    warnings, then what is harmless. A warning that explains one of the errors counts as an error.
    """
    return diagnose_lines(text.split("\n"))


def diagnose_lines(lines: Iterable[str]) -> tuple[Diagnosis, ...]:
    """Do what ``diagnose`` does, with a log that is read line by line.

    Args:
        lines: With or without their ends.
    """
    found: dict[str, tuple[Entry, Diagnosis]] = {}
    for number, line in enumerate(lines, 1):
        for part in line.split("\r"):  # a progress bar writes over its own line
            recognised = _recognise(part, number)
            if recognised is not None:
                found.setdefault(recognised[0].key, recognised)
    return _in_order(found)


def first_error(text: str) -> Diagnosis | None:
    """Return the first error of a log, or None if it has none that is known."""
    return next((item for item in diagnose(text) if item.severity == "error"), None)


def _recognise(line: str, number: int) -> tuple[Entry, Diagnosis] | None:
    if "\x1b" in line:
        line = _ANSI.sub("", line)
    for entry in [entry for mark, entry in _MARKS if mark in line]:
        match = entry.pattern.search(line)
        if match is not None:
            values = {name: _value(name, value) for name, value in match.groupdict("?").items()}
            return entry, Diagnosis(
                entry.key,
                entry.severity,
                number,
                _quoted(line, match),
                entry.cause.format_map(values),
                entry.remedy.format_map(values),
            )
    return None


def _in_order(found: dict[str, tuple[Entry, Diagnosis]]) -> tuple[Diagnosis, ...]:
    ranked: list[tuple[int, Diagnosis]] = []
    for entry, diagnosis in found.values():
        if entry.severity == "error" or any(key in found for key in entry.explains):
            ranked.append((int(entry.follows), replace(diagnosis, severity="error")))
        else:
            ranked.append((2 if entry.severity == "warning" else 3, diagnosis))
    ranked.sort(key=lambda item: item[0])  # keeps the order of the log among equals
    return tuple(diagnosis for _, diagnosis in ranked)


def _value(name: str, value: str) -> str:
    """Return a group of a pattern as it is told."""
    return f"{int(value) / 2**30:.1f} GiB" if name == "bytes" else _printable(value)


def _quoted(line: str, match: re.Match[str]) -> str:
    """Return a line, or as much of it from the match on as may be quoted."""
    text = _printable(line.strip())
    if len(text) <= _MOST_QUOTED:
        return text
    if match.end() + len(_CUT) > _MOST_QUOTED:
        text = _CUT + _printable(line[match.start() : match.start() + _MOST_QUOTED])
    return text if len(text) <= _MOST_QUOTED else text[: _MOST_QUOTED - len(_CUT)] + _CUT


def _printable(text: str) -> str:
    """Return text whose control characters are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
