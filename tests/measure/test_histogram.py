"""Histograms that are filled a piece at a time: order, merging, extremes, sampling."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_deploy.measure.histogram import BINS, MOST_VALUES, SMALLEST_NORMAL_HALF, Histogram

FloatArray = npt.NDArray[np.float32]

# Powers of two are the ends of bins and of limits, where an order could matter.
VALUES = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(-45, 20).map(lambda power: 2.0**power),
    st.integers(-64, 64).map(lambda k: k / 64),
    st.just(0.0),
)


def array(values: object) -> FloatArray:
    """Return float32."""
    return np.array(values, np.float32)


def histogram_of(*tensors: FloatArray) -> Histogram:
    """Return the histogram of tensors, added one by one."""
    result = Histogram()
    for tensor in tensors:
        result.add(tensor)
    return result


def in_one_pass(values: FloatArray, limit: float) -> npt.NDArray[np.int64]:
    """Return counts by the definition: bin i holds what is above i and up to i + 1 widths."""
    width = limit / BINS
    magnitudes = np.abs(values.astype(np.float64))
    index = np.maximum(np.ceil(magnitudes / width).astype(np.int64) - 1, 0)
    return np.bincount(index, minlength=BINS)


def assert_same(found: Histogram, expected: Histogram) -> None:
    """Compare all that a histogram holds."""
    assert found.limit == expected.limit
    np.testing.assert_array_equal(found.counts, expected.counts)
    for name in ("minimum", "maximum", "seen", "nonfinite", "tiny"):
        assert getattr(found, name) == getattr(expected, name), name


@settings(deadline=None, max_examples=200, derandomize=True)
@given(values=st.lists(VALUES, min_size=1, max_size=40), data=st.data())
def test_order_and_split_do_not_matter(values: list[float], data: st.DataObject) -> None:
    """Any permutation, cut anywhere into tensors, gives the counts of one pass over all."""
    shuffled = array(data.draw(st.permutations(values)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))

    found = histogram_of(*np.split(shuffled, cuts))

    whole = histogram_of(array(values))
    assert_same(found, whole)
    np.testing.assert_array_equal(found.counts, in_one_pass(shuffled, found.limit))
    assert found.counts.sum() == found.seen == len(values)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    first=st.lists(VALUES, max_size=20),
    second=st.lists(st.one_of(VALUES, st.just(math.nan), st.just(math.inf)), max_size=20),
)
def test_merged_is_that_of_both(first: list[float], second: list[float]) -> None:
    """Merging is adding the values of the other, either way round, and changes neither."""
    one, other = histogram_of(array(first)), histogram_of(array(second))

    there, back = one.merged(other), other.merged(one)

    assert_same(there, histogram_of(array(first), array(second)))
    assert_same(back, there)
    assert_same(one, histogram_of(array(first)))
    assert_same(other, histogram_of(array(second)))


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        pytest.param([0.3, -0.7], 1.0, id="below-a-power"),
        pytest.param([1.0], 1.0, id="a-power"),
        pytest.param([np.nextafter(np.float32(1), np.float32(2))], 2.0, id="just-above-a-power"),
        pytest.param([np.nextafter(np.float32(1), np.float32(0))], 1.0, id="just-below-a-power"),
        pytest.param([3.4e38], 2.0**128, id="largest"),
        pytest.param([1e-45], 2.0**-40, id="denormal"),
        pytest.param([0.0, -0.0], 2.0**-40, id="zeros"),
    ],
)
def test_limit_is_the_power_of_two_that_holds_all(values: list[float], limit: float) -> None:
    """It is the least that is not below the largest magnitude, and 2**-40 at the least."""
    found = histogram_of(array(values))

    assert found.limit == limit
    assert found.counts.sum() == len(values)
    assert found.largest == float(np.abs(array(values)).max())


def test_bins_hold_their_upper_end() -> None:
    """A value at an end is in the bin below it, as its counterpart after growth is."""
    found = histogram_of(array([0.0, 1 / BINS, 2 / BINS, 1.0]))
    assert np.flatnonzero(found.counts).tolist() == [0, 1, BINS - 1]

    found.add(array([2.0]))

    assert np.flatnonzero(found.counts).tolist() == [0, BINS // 2 - 1, BINS - 1]
    assert found.counts[0] == 3


def test_growth_over_many_powers_keeps_the_counts() -> None:
    """From 2**-40 to 2**20 everything small ends in the first bin, and nothing is lost."""
    found = histogram_of(array(np.full(7, 1e-12)), array([1e6]), array([-5e5, 5e5]))

    assert found.limit == 2.0**20
    assert found.counts[0] == 7
    assert found.counts.sum() == found.seen == 10


def test_extremes_are_exact() -> None:
    """Lowest and highest value are those of all tensors, signs and all."""
    found = histogram_of(array([[0.1, -3.7]]), array([2.5]), array([-0.2]))

    assert (found.minimum, found.maximum) == (float(np.float32(-3.7)), 2.5)
    assert found.largest == float(np.float32(3.7))


def test_nonfinite_values_are_counted_apart() -> None:
    """NaN and infinities are in no bin and in no extreme."""
    found = histogram_of(array([1.0, np.nan, -np.inf, np.inf, 2.0]), array([np.nan]))

    assert (found.nonfinite, found.seen) == (4, 2)
    assert (found.minimum, found.maximum) == (1.0, 2.0)
    assert found.counts.sum() == 2


@pytest.mark.parametrize("values", [[], [np.nan, np.inf]], ids=["empty", "nothing-finite"])
def test_nothing_to_count_leaves_it_empty(values: list[float]) -> None:
    """Without a finite value there is no extreme, and the largest magnitude is 0."""
    found = histogram_of(array(values))

    assert (found.seen, found.largest, found.limit) == (0, 0.0, 0.0)
    assert not found.counts.any()
    assert found.nonfinite == len(values)


def test_tiny_values_are_those_in_which_half_loses_digits() -> None:
    """Below 2**-14 and not 0, denormals of float32 among them."""
    below = np.nextafter(SMALLEST_NORMAL_HALF, np.float32(0))

    found = histogram_of(array([0.0, 1e-45, -below, SMALLEST_NORMAL_HALF, 1.0]))

    assert found.tiny == 2


@pytest.mark.parametrize(
    ("size", "step"),
    [
        pytest.param(MOST_VALUES, 1, id="all"),
        pytest.param(MOST_VALUES + 1, 3, id="one-too-many"),
        pytest.param(3 * MOST_VALUES, 3, id="three"),
        pytest.param(3 * MOST_VALUES + 1, 5, id="four"),
    ],
)
def test_large_tensors_are_sampled_with_an_odd_step(size: int, step: int) -> None:
    """The bins get every third, fifth .. value of a large tensor, the extremes all of them."""
    values = (np.arange(size) % 1000 + 1).astype(np.float32)
    values[1], values[2] = -5000, 1e-6  # not in a sample of step 3 or 5

    found = histogram_of(values.reshape(1, -1))

    sample = np.abs(values[::step])
    assert sample.size <= MOST_VALUES
    assert (found.minimum, found.maximum, found.seen) == (-5000, 1000, size)
    np.testing.assert_array_equal(found.counts, in_one_pass(sample, 8192.0))
    assert found.tiny == (step == 1)


def test_sample_of_a_map_takes_every_column() -> None:
    """In a map whose sides are powers of two, no column is left out."""
    columns = np.tile(np.arange(1, 1025, dtype=np.float32), (1, 1, 1024, 1))

    found = histogram_of(columns)

    assert found.limit == 1024
    assert (found.counts[3::4] > 0).all()


def test_memory_order_does_not_matter_for_small_tensors() -> None:
    """A transposed view has the counts of its copy."""
    values = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 4)).astype(np.float32)

    assert_same(histogram_of(values.transpose(0, 2, 3, 1)), histogram_of(values))


def test_edges_and_centres_follow_the_limit() -> None:
    """Edges run from 0 to the limit in equal steps, centres between them."""
    found = histogram_of(array([3.0]))

    edges, centres = found.edges(), found.centres()

    assert (edges[0], edges[-1], edges.size) == (0.0, 4.0, BINS + 1)
    np.testing.assert_array_equal(centres, (edges[1:] + edges[:-1]) / 2)
    used = int(np.flatnonzero(found.counts)[0])
    assert edges[used] < 3.0 <= edges[used + 1]


def test_argument_is_unchanged() -> None:
    """Counting leaves the tensor as it is."""
    values = array([-1.0, np.nan, 2.0])
    values.flags.writeable = False

    found = histogram_of(values)

    assert found.seen == 2
