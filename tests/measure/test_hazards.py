"""Tensors that would leave the range of half precision."""

from __future__ import annotations

import json

import numpy as np
import pytest

from yolor_deploy.measure.hazards import LARGEST_HALF, TensorRange, tensor_ranges
from yolor_deploy.measure.histogram import Histogram


def histogram_of(*values: float) -> Histogram:
    """Return the histogram of values."""
    result = Histogram()
    result.add(np.array(values, np.float32))
    return result


@pytest.mark.parametrize(
    ("value", "overflows"),
    [
        pytest.param(LARGEST_HALF / 2, False, id="half-of-the-range"),
        pytest.param(-LARGEST_HALF / 2, False, id="negative"),
        pytest.param(LARGEST_HALF / 2 + 1, True, id="within-the-margin"),
        pytest.param(-300_000.0, True, id="beyond"),
        pytest.param(0.0, False, id="zero"),
    ],
)
def test_values_beyond_half_of_the_range_overflow(value: float, overflows: bool) -> None:
    """There is a margin of two for images that were not seen."""
    (found,) = tensor_ranges({"x": histogram_of(value, 1.0)})

    assert found.overflows == overflows
    assert found.largest == max(abs(value), 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_overflow(value: float) -> None:
    """What is infinite in float32 is a hazard, though it is in no extreme."""
    (found,) = tensor_ranges({"x": histogram_of(value, 1.0)})

    assert found.overflows
    assert found.largest == 1.0


@pytest.mark.parametrize(
    ("tiny", "is_lossy"), [(0, False), (1, False), (2, True)], ids=["0", "1-percent", "2-percent"]
)
def test_more_than_one_percent_of_tiny_values_is_lossy(tiny: int, is_lossy: bool) -> None:
    """Zeros are exact in half, and are not counted."""
    values = [1e-6] * tiny + [0.0] * 50 + [1.0] * (50 - tiny)

    (found,) = tensor_ranges({"x": histogram_of(*values)})

    assert found.tiny_share == tiny / 100
    assert found.is_lossy == is_lossy
    assert not found.overflows


def test_the_largest_values_come_first() -> None:
    """Every tensor is listed, by its largest magnitude."""
    found = tensor_ranges({"a": histogram_of(1.0), "b": histogram_of(-9.0), "c": histogram_of(4.0)})

    assert [item.name for item in found] == ["b", "c", "a"]


def test_a_tensor_without_values_is_harmless() -> None:
    """A histogram that saw nothing has nothing to lose."""
    assert tensor_ranges({"x": Histogram()}) == [TensorRange("x", 0.0, 0.0, overflows=False)]


def test_range_is_written_as_json() -> None:
    """All that was measured is in the report."""
    (found,) = tensor_ranges({"x": histogram_of(40_000.0, 1e-6)})

    assert json.loads(json.dumps(found.to_json())) == {
        "name": "x",
        "largest": 40_000.0,
        "tiny_share": 0.5,
        "overflows": True,
    }
