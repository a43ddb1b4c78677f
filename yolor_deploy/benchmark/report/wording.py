"""Figures as text: digits, units, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from yolor_deploy.benchmark.report.markup import shown
from yolor_deploy.measure.latency.summary import Estimate

NOT_MEASURED = "not measured"
_DIGITS = 4
_TINY = 1e-4
_MOST_DIGITS = 6
_UNITS = ("B", "kB", "MB", "GB", "TB")
_THOUSAND = 1000
_MS_PER_S = 1000.0


def figure(value: float, digits: int = _DIGITS) -> str:
    """Return a number with so many significant digits, without an exponent unless it is tiny."""
    if not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0:
        return "0"
    if abs(rounded) < _TINY:
        return f"{rounded:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def parts(estimate: Estimate, *, least: int | None = None) -> tuple[str, str]:
    """Return a figure and its interval, both with the decimals that the interval bears.

    Args:
        estimate: The figure.
        least: Decimals, of which one more may be shown; None for those of four to six digits.

    Returns:
        Such as ``1.93`` and ``[1.91, 1.95]``; the second is empty without an interval.
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if low is None or high is None:
        return (figure(value) if least is None else f"{value:,.{least}f}"), ""
    half = (high - low) / 2
    if not (math.isfinite(half) and math.isfinite(value) and value):
        return figure(value), f"[{figure(low)}, {figure(high)}]"
    size = math.floor(math.log10(abs(value)))
    fewest = max(0, _DIGITS - 1 - size) if least is None else least
    most = max(fewest, _MOST_DIGITS - 1 - size) if least is None else least + 1
    wanted = math.ceil(-math.log10(half)) if half > 0 else 0
    decimals = min(max(fewest, wanted), most)
    return f"{value:,.{decimals}f}", f"[{low:,.{decimals}f}, {high:,.{decimals}f}]"


def with_interval(estimate: Estimate, *, least: int | None = None, between: str = " ") -> str:
    """Return a figure and its interval as one text; ``least`` is that of ``parts``."""
    return between.join(part for part in parts(estimate, least=least) if part)


def duration(ms: float) -> str:
    """Return milliseconds with their unit: in seconds from one on."""
    return f"{figure(ms / _MS_PER_S)} s" if ms >= _MS_PER_S else f"{figure(ms)} ms"


def duration_with_interval(estimate: Estimate) -> str:
    """Return milliseconds with their unit and their interval, all in one unit."""
    unit, over = ("s", _MS_PER_S) if estimate.value >= _MS_PER_S else ("ms", 1.0)
    ends = (estimate.low, estimate.high)
    value, known = parts(
        Estimate(estimate.value / over, *(None if end is None else end / over for end in ends))
    )
    return f"{value} {unit} {known}".rstrip()


def interval(estimate: Estimate) -> str:
    """Return ``[low, high]``; empty where the samples are too few."""
    return parts(estimate)[1]


def ratio_parts(estimate: Estimate) -> tuple[str, str]:
    """Return a ratio and its interval: two decimals, three where the interval bears them."""
    return parts(estimate, least=2)


def percent(part: float, digits: int = 2) -> str:
    """Return a part of 1 in percent."""
    return f"{figure(100 * part, digits)} %"


def signed_percent(part: float) -> str:
    """Return a difference, a part of 1, in percent with its sign."""
    return f"{100 * part:+.2f} %"


def bytes_text(count: float) -> str:
    """Return bytes in decimal units."""
    size, unit = float(count), 0
    while abs(size) >= _THOUSAND and unit < len(_UNITS) - 1:
        size, unit = size / _THOUSAND, unit + 1
    return f"{figure(size, 3)} {_UNITS[unit]}"


def optional(value: float | None, unit: str = "", digits: int = _DIGITS) -> str:
    """Return a number with its unit, or that it was not measured."""
    if value is None:
        return NOT_MEASURED
    return f"{figure(value, digits)} {unit}".strip()


def yes_no(value: bool | None, unknown: str = "not known") -> str:
    """Return a truth as a word."""
    if value is None:
        return unknown
    return "yes" if value else "no"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number and its noun, in the plural where it has to be: with s, unless told."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def listed(words: Sequence[str]) -> str:
    """Return words with commas, the last with ``and``."""
    if len(words) < 2:  # noqa: PLR2004 - two make a list
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def span(values: Sequence[int]) -> str:
    """Return the least and the largest of some numbers; one where they are the same."""
    if not values:
        return NOT_MEASURED
    low, high = f"{min(values):,}", f"{max(values):,}"
    return low if low == high else f"{low} to {high}"


def shortened(name: str, length: int) -> str:
    """Return a name for a picture: harmless, its middle left out where it is too long."""
    name = shown(name)
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[-(length - 1 - head) :]}"
