"""Figures of series whose answers are known, and how often their intervals hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.measure.latency.series import KINDS, correlated, pair, series
from yolor_deploy.measure.latency.statistics import (
    correlation,
    distribution,
    drift_by_chance,
    median_noise,
    noise_within_thirds,
    normal_half_width,
    paired_ratio,
    quantile_estimate,
    relative_drift,
    throughput_estimate,
)
from yolor_deploy.measure.latency.summary import Estimate

RUNS = 100


def holds(estimate: Estimate, value: float) -> bool:
    """Return whether an interval holds a value; one without ends holds all."""
    above = estimate.low is None or estimate.low <= value
    return above and (estimate.high is None or value <= estimate.high)


@pytest.mark.parametrize(
    ("q", "count", "ranks"),
    [
        # Ranks from 1 of the table of exact 95 % intervals of quantiles (binomial, two-sided).
        pytest.param(0.5, 6, (1, 6), id="median-of-6"),
        pytest.param(0.5, 20, (6, 15), id="median-of-20"),
        pytest.param(0.5, 100, (40, 61), id="median-of-100"),
        pytest.param(0.9, 100, (84, 96), id="p90-of-100"),
    ],
)
def test_interval_lies_between_the_ranks_of_the_binomial(
    q: float, count: int, ranks: tuple[int, int]
) -> None:
    """Independent samples give the classical interval of order statistics."""
    order = np.argsort(np.argsort(np.sin(1000 * np.arange(1, count + 1) ** 2)))
    samples = (order + 1.0).tolist()  # 1, 2, ... in an order without correlation

    found = quantile_estimate(samples, q)

    assert (found.low, found.high) == ranks


def test_value_is_the_quantile_of_the_samples() -> None:
    """The figure itself is no matter of the interval."""
    samples = [5.0, 1.0, 4.0, 2.0, 3.0]

    assert quantile_estimate(samples, 0.5).value == 3.0
    assert quantile_estimate(samples, 0.9).value == pytest.approx(4.6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_median_of_few_samples_has_no_interval(count: int) -> None:
    """Between the least and the greatest of five are fewer than 95 % of medians."""
    found = quantile_estimate(list(np.linspace(1, 2, count)), 0.5)

    assert (found.low, found.high) == (None, None)


def test_99th_percentile_of_twenty_samples_has_no_upper_end() -> None:
    """The greatest of twenty is below the 99th percentile more often than not."""
    found = quantile_estimate(series("stationary", 20, seed=4).tolist(), 0.99)

    assert found.high is None
    assert found.low is not None
    assert found.low <= found.value


def test_99th_percentile_of_many_samples_has_both_ends() -> None:
    """From 368 independent samples on, both can be told."""
    found = quantile_estimate(series("stationary", 2000, seed=4).tolist(), 0.99)

    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


@pytest.mark.parametrize("count", [20, 50, 300])
@pytest.mark.parametrize(("q", "normal"), [(0.5, 0.0), (0.9, 1.2815515655446004)])
@pytest.mark.parametrize("rho", [0.0, 0.5], ids=["independent", "correlated"])
def test_interval_of_a_quantile_holds_it(rho: float, q: float, normal: float, count: int) -> None:
    """At least 90 of 100 intervals of 95 % hold the true quantile, correlated samples or not."""
    random = np.random.default_rng(count)
    estimates = [
        quantile_estimate(correlated(random, count, rho=rho).tolist(), q) for _ in range(RUNS)
    ]

    assert sum(holds(estimate, normal) for estimate in estimates) >= 90


@pytest.mark.parametrize("kind", ["bimodal", "heavy-tailed"])
def test_interval_of_the_median_assumes_no_shape(kind: str) -> None:
    """At least 90 of 100 intervals hold the median of a series with a tail or two clusters."""
    true = float(np.median(series(kind, 200_000, seed=0)))
    estimates = [
        quantile_estimate(series(kind, 50, seed=seed).tolist(), 0.5) for seed in range(1, RUNS + 1)
    ]

    assert sum(holds(estimate, true) for estimate in estimates) >= 90


def test_correlated_samples_tell_less() -> None:
    """As many samples that repeat themselves have a wider interval."""
    random = np.random.default_rng(0)

    independent = median_noise((10 + correlated(random, 400, rho=0.0)).tolist())
    repeated = median_noise((10 + correlated(random, 400, rho=0.8)).tolist())

    assert independent is not None
    assert repeated is not None
    assert repeated > 1.8 * independent


def test_a_burst_of_slow_runs_is_one_event() -> None:
    """Slow runs in a row tell less of the 99th percentile than as many at their own times."""
    quiet = series("stationary", 1000, seed=1)
    scattered, burst = quiet.copy(), quiet.copy()
    scattered[25::50] += 5
    burst[500:520] += 5

    assert quantile_estimate(scattered.tolist(), 0.99).high is not None
    assert quantile_estimate(burst.tolist(), 0.99).high is None


def test_equal_samples_have_no_noise() -> None:
    """A clock that always says the same leaves nothing to doubt."""
    found = distribution([2.0] * 30)

    assert found.p50 == Estimate(2.0, 2.0, 2.0)
    assert (found.noise, found.drift, found.correlation, found.modes) == (0.0, 0.0, 0.0, 1)


def test_noise_is_half_the_interval_over_the_median() -> None:
    """It is what the stopping rule compares with its target."""
    samples = series("stationary", 100, seed=7).tolist()

    found = distribution(samples)

    assert found.p50.low is not None
    assert found.p50.high is not None
    assert found.noise == (found.p50.high - found.p50.low) / 2 / found.p50.value
    assert found.noise == median_noise(samples)


def test_figures_of_all_samples_are_kept() -> None:
    """Outliers are in the mean and in the maximum, and not in the median."""
    found = distribution([3.0, 1.0, 2.0, 2.0, 92.0])

    assert (found.count, found.mean, found.minimum, found.maximum) == (5, 20.0, 1.0, 92.0)
    assert found.p50.value == 2.0


def test_one_sample_is_a_distribution() -> None:
    """What cannot be told of one sample is not told."""
    found = distribution([4.0])

    assert found.p50 == Estimate(4.0, None, None)
    assert (found.noise, found.drift, found.correlation, found.modes) == (None, None, None, 1)


def test_drift_is_from_the_first_third_to_the_last() -> None:
    """The middle third has no say."""
    assert relative_drift([10.0, 10.0, 99.0, 99.0, 11.0, 11.0]) == pytest.approx(0.1)
    assert relative_drift([10.0, 11.0]) is None
    assert relative_drift([0.0, 1.0, 1.0]) is None


@pytest.mark.parametrize(("kind", "least", "most"), [("stationary", 0, 0.01), ("drifting", 0.1, 1)])
def test_drift_of_known_series(kind: str, least: float, most: float) -> None:
    """A rise of 20 % is seen, and noise of 1 % is not taken for one."""
    drift = distribution(series(kind, 100, seed=3).tolist()).drift

    assert drift is not None
    assert least <= abs(drift) <= most


def test_noise_within_thirds_leaves_a_drift_out() -> None:
    """A drift widens the interval of the median, and would hide behind it."""
    steady = series("stationary", 90, seed=5)
    rising = (steady * np.repeat([1.0, 1.1, 1.2], 30)).tolist()

    within, whole = noise_within_thirds(rising), median_noise(rising)

    assert within == pytest.approx(noise_within_thirds(steady.tolist()), rel=0.3)
    assert whole is None or (within is not None and whole > 5 * within)


DRAWN = 150


def share_that_drifts(count: int, *, rho: float, noise: float, drift: float = 0.0) -> float:
    """Return the share of drawn series whose drift is beyond chance, and beyond 2 %."""
    found = 0
    for seed in range(DRAWN):
        steady = correlated(np.random.default_rng(seed), count, rho=rho)
        drawn = (10 * (1 + noise * steady) * np.linspace(1, 1 + drift, count)).tolist()
        found += abs(relative_drift(drawn) or 0.0) > max(0.02, drift_by_chance(drawn))
    return found / DRAWN


@pytest.mark.parametrize("count", [6, 7, 10, 15, 19, 30])
@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.04), (0.5, 0.1)])
def test_series_without_drift_seldom_seem_to_drift(count: int, rho: float, most: float) -> None:
    """Nor if each sample is like the one before, which few samples hardly show."""
    assert share_that_drifts(count, rho=rho, noise=0.03) <= most


@pytest.mark.parametrize(("count", "least"), [(6, 0.75), (10, 0.8), (15, 0.8), (20, 0.9)])
def test_drift_well_above_the_noise_is_seen_in_few_samples(count: int, least: float) -> None:
    """From the first third to the last it is 10 %, ten times the noise of a sample."""
    assert share_that_drifts(count, rho=0.0, noise=0.01, drift=0.15) >= least


def test_drift_of_samples_that_tell_no_noise_is_judged_by_their_range() -> None:
    """Ones so like their neighbours that they count as too few; a noise of 0 would mark them."""
    alike = [10.5, 10.5, 10.6, 10.0, 9.9, 9.7, 9.4, 9.6, 10.0]

    found = drift_by_chance(alike)

    assert noise_within_thirds(alike) is None
    assert abs(relative_drift(alike) or 0.0) > 0.08
    assert found == pytest.approx(4.5 * (0.4 - -0.2) / 2 / 10.0)


def test_correlation_of_a_known_series() -> None:
    """It is that with which the series was made."""
    random = np.random.default_rng(2)

    found = correlation(correlated(random, 20_000, rho=0.5).tolist())

    assert found == pytest.approx(0.5, abs=0.03)
    assert correlation([1.0, 2.0]) is None
    assert correlation([1.0, 2.0] * 50) == pytest.approx(-1, abs=0.02)


@pytest.mark.parametrize("rounds", [20, 50, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_compared_with_itself_is_as_fast(kind: str, rounds: int) -> None:
    """The interval holds 1.00 in at least 95 of 100 runs, whatever the machine does."""
    estimates = [paired_ratio(*pair(kind, rounds, seed=seed)) for seed in range(RUNS)]

    assert sum(holds(estimate, 1.0) for estimate in estimates) >= 95


@pytest.mark.parametrize("kind", ["stationary", "drifting", "correlated"])
def test_a_small_difference_is_seen(kind: str) -> None:
    """Of 3 % at a noise of 1 %, fifty rounds exclude 1 in at least 95 of 100 runs."""
    estimates = [paired_ratio(*pair(kind, 50, seed=seed, speedup=1.03)) for seed in range(RUNS)]

    assert sum(e.low is not None and e.low > 1 for e in estimates) >= 95
    assert sum(holds(e, 1.03) for e in estimates) >= 95


def test_ratio_is_the_time_of_the_reference_over_that_of_the_subject() -> None:
    """A subject that takes half the time is twice as fast, outliers or not."""
    found = paired_ratio([10.0] * 19 + [500.0], [5.0] * 20)

    assert [found.value, found.low, found.high] == pytest.approx([2.0] * 3)


def test_what_slows_a_whole_round_cancels() -> None:
    """A clock that falls to a half leaves the ratio and its interval alone."""
    slow = np.repeat([1.0, 2.0, 1.5], 10)

    found = paired_ratio((12 * slow).tolist(), (10 * slow).tolist())

    assert [found.value, found.low, found.high] == pytest.approx([1.2] * 3)


@pytest.mark.parametrize(("rounds", "has_ends"), [(1, False), (5, False), (7, False), (8, True)])
def test_ratio_of_few_rounds_has_no_interval(rounds: int, *, has_ends: bool) -> None:
    """The range of seven rounds holds the median in 98.4 % of cases, not in 99."""
    found = paired_ratio([10.0] * rounds, [5.0] * rounds)

    assert found.value == pytest.approx(2.0)
    assert (found.low is not None, found.high is not None) == (has_ends, has_ends)


def test_rounds_without_a_positive_time_are_left_out() -> None:
    """A time of 0 has no logarithm."""
    assert paired_ratio([10.0, 0.0, 10.0], [5.0, 5.0, 0.0]).value == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("reference", "subject", "message"),
    [
        pytest.param([1.0, 2.0], [1.0], "2 and 1 times", id="lengths"),
        pytest.param([0.0], [1.0], "two positive", id="zero"),
        pytest.param([], [], "two positive", id="empty"),
    ],
)
def test_ratio_refuses_what_are_no_pairs(
    reference: list[float], subject: list[float], message: str
) -> None:
    """It says what is missing."""
    with pytest.raises(ValueError, match=message):
        paired_ratio(reference, subject)


def test_throughput_of_steady_runs_is_their_rate() -> None:
    """Four sessions that end a run every 10 ms each do 400 runs, and 800 images, a second."""
    ends = np.sort(np.concatenate([0.01 * np.arange(1, 101) + 0.0025 * i for i in range(4)]))

    found = throughput_estimate(ends.tolist(), 4, batch=2)

    assert found.value == pytest.approx(800)
    assert found.low == pytest.approx(800, rel=0.01)
    assert found.high == pytest.approx(800, rel=0.01)


def test_throughput_leaves_out_the_time_when_not_all_were_busy() -> None:
    """A session that begins late and one that ends late do not lower it."""
    steady = (1 + 0.01 * np.arange(101)).tolist()

    found = throughput_estimate([*steady, 9.0], 2, batch=1)

    assert found.value == pytest.approx(100)


def test_interval_of_throughput_holds_the_rate() -> None:
    """At least 90 of 100 intervals hold the rate at which runs were drawn."""
    random = np.random.default_rng(6)
    estimates = [
        throughput_estimate(np.cumsum(random.gamma(25, 0.01 / 25, 200)).tolist(), 1, batch=1)
        for _ in range(RUNS)
    ]

    assert sum(holds(estimate, 100.0) for estimate in estimates) >= 90
    assert all(estimate.low is not None for estimate in estimates)


@pytest.mark.parametrize(
    ("ends", "streams", "value"),
    [
        pytest.param([0.5], 1, 2.0, id="one-run"),
        pytest.param([0.5, 1.0], 2, 2.0, id="one-run-each"),
        pytest.param([0.5, 1.5, 2.5], 1, 1.0, id="three-runs"),
        pytest.param([0.0], 1, 0.0, id="no-time"),
        pytest.param([1.0] * 40, 1, 0.0, id="all-at-once"),
    ],
)
def test_throughput_of_few_runs_has_no_interval(
    ends: list[float], streams: int, value: float
) -> None:
    """The rate is given all the same."""
    assert throughput_estimate(ends, streams, batch=1) == Estimate(value, None, None)


def test_half_width_of_a_normal_median() -> None:
    """It is 1.96 standard errors of the median, which are 1.2533 of those of the mean."""
    assert normal_half_width(2.0, 100) == pytest.approx(1.96 * 1.2533 * 2 / 10, rel=1e-4)


@pytest.mark.parametrize("figure", [distribution, lambda s: paired_ratio(s, s[::-1])])
def test_figures_are_the_same_each_time(figure: Callable[[list[float]], object]) -> None:
    """Nothing is drawn: a replay gives the same report."""
    samples = series("heavy-tailed", 100, seed=9).tolist()

    assert figure(samples) == figure(samples)
