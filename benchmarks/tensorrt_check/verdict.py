"""A target, what was measured, and whether that meets it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["passed", "missed", "stated", "not measured"]
"""What has no limit is stated."""

Report = dict[str, Any]
"""What a step found; its verdicts are under ``verdicts``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target.

    Attributes:
        target: What was to be shown.
        state: What came of it.
        figure: What was measured; None where nothing was, or it is no number.
        limit: What was to be reached, in words; empty where nothing was.
        unit: Of the figure.
        note: What else must be known; why nothing was measured.
    """

    target: str
    state: State
    figure: float | None
    limit: str
    unit: str = ""
    note: str = ""


def at_most(target: str, figure: float, limit: float, unit: str = "", note: str = "") -> Verdict:
    """Return the verdict of a figure that must not be larger; what is no number is too large."""
    return _verdict(target, figure, f"at most {limit:g}", unit, note, is_met=figure <= limit)


def at_least(target: str, figure: float, limit: float, unit: str = "", note: str = "") -> Verdict:
    """Return the verdict of a figure that must not be smaller; what is no number is too small."""
    return _verdict(target, figure, f"at least {limit:g}", unit, note, is_met=figure >= limit)


def holds(
    target: str, figure: float, interval: tuple[float, float], expected: float, note: str = ""
) -> Verdict:
    """Return the verdict of an interval that must hold a value; an end without number does not."""
    low, high = interval
    limit = f"an interval that holds {expected:g}"
    note = f"{low:.4f} to {high:.4f}{', ' if note else ''}{note}"
    return _verdict(target, figure, limit, "", note, is_met=low <= expected <= high)


def stated(target: str, figure: float, unit: str = "", note: str = "") -> Verdict:
    """Return a figure that has no limit."""
    value = float(figure) if math.isfinite(figure) else None
    return Verdict(target, "stated", value, "", unit, note)


def not_measured(target: str, why: str) -> Verdict:
    """Return the verdict of a target that nothing was measured for."""
    return Verdict(target, "not measured", None, "", note=why)


def report(verdicts: Sequence[Verdict], **figures: Any) -> Report:
    """Return plain values: verdicts first, then what they are drawn from."""
    return {"verdicts": [asdict(verdict) for verdict in verdicts], **figures}


def is_met(found: Report) -> bool:
    """Return whether no target was missed."""
    return all(verdict["state"] != "missed" for verdict in found["verdicts"])


def line(verdict: dict[str, Any]) -> str:
    """Return a verdict of a report as a line of text."""
    if verdict["figure"] is None and verdict["state"] == "not measured":
        return f"{verdict['state']}: {verdict['target']}: {verdict['note']}"
    figure = "no number" if verdict["figure"] is None else f"{verdict['figure']:.4g}"
    unit = f" {verdict['unit']}" if verdict["unit"] else ""
    note = f" ({verdict['note']})" if verdict["note"] else ""
    limit = f", {verdict['limit']}" if verdict["limit"] else ""
    return f"{verdict['state']}: {verdict['target']}: {figure}{unit}{limit}{note}"


def _verdict(
    target: str, figure: float, limit: str, unit: str, note: str, *, is_met: bool
) -> Verdict:
    value = float(figure) if math.isfinite(figure) else None
    return Verdict(target, "passed" if is_met else "missed", value, limit, unit, note)
