"""Value by value: what counts as the same."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from yolor_deploy.measure.parity import (
    OutputParity,
    Tolerance,
    all_passed,
    compare,
    compare_to_largest,
)

SAME = OutputParity("stage", "out", 1, 0.0, 1.0, "0", passed=True)


def test_compare_tells_what_it_saw() -> None:
    """Count, largest difference and largest expected value are of these arrays."""
    found = np.array([[1.0, -2.0], [3.0, 4.5]], np.float32)
    expected = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)

    result = compare("ONNX", "raw_0", found, expected, Tolerance(0.1, 0.01))

    assert result == OutputParity("ONNX", "raw_0", 4, 0.5, 4.0, "0.1 + 0.01*|x|", passed=False)


@pytest.mark.parametrize(
    ("error", "passed"),
    [(0.0, True), (0.0624, True), (0.0625, True), (-0.0625, True), (0.0626, False)],
)
def test_compare_allows_absolute_and_relative_error_together(error: float, passed: bool) -> None:
    """At 2 the limit of 1/32 + 1/64 of the value is 1/16, which itself is within."""
    expected = np.array([2.0])

    result = compare("s", "o", expected + error, expected, Tolerance(1 / 32, 1 / 64))

    assert result.passed is passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["found", "expected", "both"])
def test_compare_fails_a_value_that_is_not_finite(bad: float, side: str) -> None:
    """NaN and infinity are never the same as anything, themselves included."""
    found, expected = np.zeros(3, np.float32), np.zeros(3, np.float32)
    if side != "expected":
        found[1] = bad
    if side != "found":
        expected[1] = bad

    assert not compare("s", "o", found, expected, Tolerance(1.0, 1.0)).passed
    assert not compare_to_largest("s", "o", found, expected, Tolerance(1.0, 1.0)).passed


def test_compare_of_nothing_is_the_same() -> None:
    """Empty arrays of one shape agree; how many values were compared says it."""
    empty = np.zeros((0, 4), np.float32)

    result = compare("s", "o", empty, empty, Tolerance(0.0, 0.0))

    assert result.passed
    assert result.values == 0


def test_compare_refuses_other_shapes() -> None:
    """Broadcasting would compare what does not belong together."""
    with pytest.raises(ValueError, match=r"raw_0: shape \(1, 3\), expected \(2, 3\)"):
        compare("s", "raw_0", np.zeros((1, 3)), np.zeros((2, 3)), Tolerance(0.0, 0.0))


def test_compare_does_not_wrap_small_types() -> None:
    """Half precision is widened before the difference: 60000 against -60000 does not overflow."""
    found, expected = np.array([60000.0], np.float16), np.array([-60000.0], np.float16)

    assert compare("s", "o", found, expected, Tolerance(0.0, 0.0)).max_error == 120_000.0


@pytest.mark.parametrize(("error", "passed"), [(0.9e-12, True), (1.1e-12, False)])
def test_compare_to_largest_is_relative_to_the_map(error: float, passed: bool) -> None:
    """A small value may carry the rounding of the largest one."""
    expected = np.array([1e-6, -100.0])
    found = expected + np.array([100 * error, 0.0])

    result = compare_to_largest("s", "o", found, expected, Tolerance(0.0, 1e-12))

    assert result.passed is passed
    assert result.tolerance == "1e-12 of the largest"


def test_all_passed_needs_every_one_and_at_least_one() -> None:
    """Nothing compared is no proof."""
    assert all_passed([SAME, SAME])
    assert not all_passed([SAME, replace(SAME, passed=False)])
    assert not all_passed([])


def test_json_has_no_nan() -> None:
    """What failed by NaN is null in JSON, which any reader takes."""
    result = replace(SAME, max_error=math.nan, max_expected=math.inf)

    text = json.dumps(result.to_json(), allow_nan=False)

    assert json.loads(text) == {
        "stage": "stage",
        "output": "out",
        "values": 1,
        "max_error": None,
        "max_expected": None,
        "tolerance": "0",
        "passed": True,
        "note": "",
    }
