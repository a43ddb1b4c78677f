"""Choosing the magnitude of the largest code, on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_deploy.measure.histogram import BINS, Histogram
from yolor_deploy.measure.ranges import METHODS, CalibrationMethod, largest_of

FloatArray = npt.NDArray[np.float32]


def histogram_of(values: npt.ArrayLike) -> Histogram:
    """Return the histogram of values."""
    result = Histogram()
    result.add(np.asarray(values, np.float32))
    return result


def gaussian(size: int = 200_000) -> FloatArray:
    """Return normally distributed values."""
    return np.random.default_rng(0).normal(0, 1, size).astype(np.float32)


def with_outlier(value: float = 100.0) -> FloatArray:
    """Return normally distributed values and a single large one."""
    return np.append(gaussian(), np.float32(value))


def squared_error(values: FloatArray, largest: float) -> float:
    """Return the mean squared error of 8 signed bits, of the values themselves."""
    scale = largest / 127
    rounded = np.clip(np.rint(np.abs(values) / scale), 0, 127) * scale
    return float(np.mean((np.abs(values) - rounded) ** 2))


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    values=st.lists(
        st.one_of(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.floats(-8, 8, width=32),
            st.just(0.0),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_result_is_above_zero_and_at_most_the_largest(
    method: CalibrationMethod, values: list[float]
) -> None:
    """Whatever was seen, the largest code stands for something that was not exceeded."""
    histogram = histogram_of(values)

    chosen = largest_of(histogram, method)

    assert 0 < chosen <= (histogram.largest or 1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[], [0.0] * 5, [np.nan, np.inf]], ids=["none", "0", "nan"])
def test_nothing_but_zeros_gives_one(method: CalibrationMethod, values: list[float]) -> None:
    """Where there is nothing to represent, any range will do."""
    assert largest_of(histogram_of(values), method) == 1.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [3.0, -0.1, 1.0, 65504.0])
def test_single_value_is_kept(method: CalibrationMethod, value: float) -> None:
    """A tensor of one value keeps it, within the width of a bin."""
    histogram = histogram_of([value] * 10)

    chosen = largest_of(histogram, method)

    width = histogram.limit / BINS
    assert abs(chosen - abs(float(np.float32(value)))) <= width


@pytest.mark.parametrize("method", METHODS)
def test_uniform_values_are_hardly_clipped(method: CalibrationMethod) -> None:
    """Where large values are as frequent as small ones, no more than 1 % of the range goes."""
    values = np.linspace(-6, 6, 100_001)

    assert largest_of(histogram_of(values), method) > 0.99 * 6


def test_max_keeps_an_outlier() -> None:
    """The largest magnitude is the exact one, of either sign."""
    assert largest_of(histogram_of(with_outlier(100.3)), "max") == float(np.float32(100.3))
    assert largest_of(histogram_of(with_outlier(-100.3)), "max") == float(np.float32(100.3))


@pytest.mark.parametrize(("method", "limit"), [("percentile", 5), ("entropy", 10), ("mse", 50)])
def test_an_outlier_is_clipped(method: CalibrationMethod, limit: float) -> None:
    """A value twenty times beyond all others does not decide; by mse its square has some weight."""
    chosen = largest_of(histogram_of(with_outlier()), method)

    assert 2 < chosen < limit


def test_percentile_is_the_one_of_the_values() -> None:
    """99.99 % of the magnitudes are not above it, but are above one bin less."""
    values = gaussian()
    histogram = histogram_of(values)

    chosen = largest_of(histogram, "percentile")

    assert np.mean(np.abs(values) <= chosen) >= 0.9999
    assert np.mean(np.abs(values) <= chosen - histogram.limit / BINS) < 0.9999


@pytest.mark.parametrize(
    ("outliers", "is_clipped"), [(1, True), (2, False)], ids=["1-in-10000", "2-in-10000"]
)
def test_percentile_clips_one_in_ten_thousand(outliers: int, is_clipped: bool) -> None:
    """What is exactly 0.01 % of the values is clipped, and what is more is not."""
    values = np.ones(10_000)
    values[:outliers] = 8.0

    chosen = largest_of(histogram_of(values), "percentile")

    assert chosen == (1.0 if is_clipped else 8.0)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(gaussian(20_000), id="gaussian"),
        pytest.param(with_outlier(30.0)[-20_001:], id="outlier"),
        pytest.param(np.random.default_rng(1).laplace(0, 1, 20_000).astype(np.float32), id="heavy"),
        pytest.param(np.random.default_rng(2).uniform(-3, 3, 20_000).astype(np.float32), id="flat"),
    ],
)
def test_mse_is_the_least_that_brute_force_finds(values: FloatArray) -> None:
    """No other of 400 ranges has an error of the values themselves that is 1 % smaller."""
    histogram = histogram_of(values)

    chosen = largest_of(histogram, "mse")

    candidates = histogram.largest * np.arange(1, 401) / 400
    least = min(squared_error(values, float(largest)) for largest in candidates)
    assert squared_error(values, chosen) <= 1.01 * least


def test_mse_of_a_gaussian_is_near_the_known_optimum() -> None:
    """For 8 bits the best clipping of a normal distribution lies between 3.5 and 4.3 sigma."""
    assert 3.5 < largest_of(histogram_of(gaussian()), "mse") < 4.3


def test_entropy_of_a_gaussian_clips_the_tail() -> None:
    """The divergence is smallest inside the tail, and clips less than one value in fifty."""
    values = gaussian()

    chosen = largest_of(histogram_of(values), "entropy")

    assert chosen < np.abs(values).max()
    assert np.mean(np.abs(values) > chosen) < 0.02


def test_entropy_considers_not_clipping() -> None:
    """Where the last values are as frequent as any, the range ends behind them, not before."""
    values = np.arange(1, BINS + 1) / BINS

    assert largest_of(histogram_of(values), "entropy") == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_scaling_the_values_scales_the_range(method: CalibrationMethod) -> None:
    """The choice does not depend on units: eight times the values, eight times the range."""
    values = with_outlier()

    small, large = (largest_of(histogram_of(values * k), method) for k in (1, 8))

    assert large == 8 * small


@pytest.mark.parametrize("method", METHODS)
def test_histogram_is_unchanged(method: CalibrationMethod) -> None:
    """Choosing leaves the counts as they are."""
    histogram = histogram_of(with_outlier())
    before = histogram.counts.copy()

    first, second = largest_of(histogram, method), largest_of(histogram, method)

    assert first == second
    np.testing.assert_array_equal(histogram.counts, before)
