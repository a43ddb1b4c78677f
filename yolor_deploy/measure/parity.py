"""How close the outputs of two stages are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest difference that counts as rounding: ``absolute + relative * |expected|``."""

    absolute: float
    relative: float

    def __str__(self) -> str:
        return f"{self.absolute:g} + {self.relative:g}*|x|"


RAW = Tolerance(1e-3, 1e-4)
"""Raw maps, float32 against float32: rounding differs with the order of the sums."""
BOXES_PX = Tolerance(0.2, 1e-4)
"""Boxes decoded from such maps, pixels."""
SCORES = Tolerance(1e-3, 0.0)
"""Objectness and class scores decoded from such maps."""
FOLDING = Tolerance(0.0, 1e-12)
"""Folded against unfolded in float64, relative to the largest value of the map."""
SAME_MAPS_SCORES = Tolerance(1e-6, 0.0)
"""Scores decoded from the very same maps: two sigmoids differ by a rounding."""
SAME_MAPS_BOXES_PX = Tolerance(1e-3, 2e-6)
"""Boxes decoded from the very same maps, pixels: a box of 5000 pixels is rounded to 0.0005."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output of one stage against what it should be.

    Attributes:
        stage: What was compared.
        output: Name of the output.
        values: How many were compared.
        max_error: Largest absolute difference.
        max_expected: Largest absolute value that was expected.
        tolerance: As text.
        passed: Whether every value is within the tolerance.
        note: What else must be known, such as pairs set aside; empty if nothing.
    """

    stage: str
    output: str
    values: int
    max_error: float
    max_expected: float
    tolerance: str
    passed: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; None for an error or a value that is NaN or infinite."""
        values = asdict(self)
        for key in ("max_error", "max_expected"):
            if not math.isfinite(values[key]):
                values[key] = None  # JSON has no NaN
        return values


def compare(
    stage: str, output: str, found: Array, expected: Array, tolerance: Tolerance
) -> OutputParity:
    """Compare two arrays of one shape, value by value.

    A value that is NaN or infinite on either side fails.

    Raises:
        ValueError: The shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"{output}: shape {found.shape}, expected {expected.shape}")
    scale = np.abs(expected.astype(np.float64))
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which fails as it should
        error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        within = np.isfinite(error) & (error <= tolerance.absolute + tolerance.relative * scale)
    return OutputParity(
        stage=stage,
        output=output,
        values=int(found.size),
        max_error=float(np.max(error, initial=0.0)),
        max_expected=float(np.max(scale, initial=0.0)),
        tolerance=str(tolerance),
        passed=bool(within.all()),
    )


def compare_to_largest(
    stage: str, output: str, found: Array, expected: Array, tolerance: Tolerance
) -> OutputParity:
    """Compare two arrays relative to the largest value of the expected one."""
    largest = float(np.max(np.abs(expected), initial=0.0))
    absolute = Tolerance(tolerance.absolute + tolerance.relative * largest, 0.0)
    result = compare(stage, output, found, expected, absolute)
    text = f"{tolerance.relative:g} of the largest"
    return replace(result, tolerance=text)


def all_passed(parities: Sequence[OutputParity]) -> bool:
    """Return whether every comparison passed; nothing compared is no proof."""
    return bool(parities) and all(parity.passed for parity in parities)
