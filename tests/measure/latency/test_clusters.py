"""Clusters of times, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.measure.latency.series import Series, correlated, series
from yolor_deploy.measure.latency.clusters import number_of_modes, spread

SEEDS = range(20)


def two_clusters(count: int, *, share: float, noise: float, seed: int) -> Series:
    """Return times about 10 ms, of which a share is 3 ms longer, in any order."""
    random = np.random.default_rng(seed)
    is_slow = random.permutation(count) < share * count
    return np.asarray(10 + noise * random.normal(size=count) + 3 * is_slow, np.float64)


@pytest.mark.parametrize("count", [50, 300, 3000])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("noise", [0.1, 0.3], ids=["1-percent", "3-percent"])
def test_two_clusters_are_two(count: int, share: float, noise: float) -> None:
    """10 and 13 ms are told apart as soon as each is a tenth of the samples."""
    found = [
        number_of_modes(two_clusters(count, share=share, noise=noise, seed=s).tolist())
        for s in SEEDS
    ]

    assert found == [2] * len(SEEDS)


def test_three_clusters_are_three() -> None:
    """They are counted, not only noticed."""
    random = np.random.default_rng(0)
    samples = 10 + 2 * random.integers(0, 3, 300) + 0.1 * random.normal(size=300)

    assert number_of_modes(samples.tolist()) == 3


@pytest.mark.parametrize("count", [20, 300, 3000])
@pytest.mark.parametrize("kind", ["stationary", "drifting", "heavy-tailed", "correlated"])
def test_what_has_one_cluster_has_one(kind: str, count: int) -> None:
    """Noise, a drift, a tail and outliers are no clusters of their own."""
    found = [number_of_modes(series(kind, count, seed=seed).tolist()) for seed in SEEDS]

    assert found == [1] * len(SEEDS)


def test_tails_have_no_place_of_their_own() -> None:
    """Neither lognormal nor Pareto times, nor a uniform range, fall into clusters."""
    random = np.random.default_rng(3)
    shapes = (
        10 * np.exp(0.3 * random.normal(size=1000)),
        10 * (1 + 0.05 * random.pareto(1.5, 1000)),
        10 + 3 * random.random(1000),
        10 + 0.5 * random.exponential(size=1000),
    )

    assert [number_of_modes(shape.tolist()) for shape in shapes] == [1, 1, 1, 1]


def test_outliers_with_a_least_delay_are_a_tail() -> None:
    """Nine percent of runs that wait for at least 1 ms are spread over too much to be a place."""
    random = np.random.default_rng(4)
    late = (random.permutation(1000) < 90) * (1 + 10 * random.pareto(1.5, 1000))
    samples = 10 + 0.1 * random.normal(size=1000) + late

    assert number_of_modes(samples.tolist()) == 1


def test_a_wandering_machine_has_one_cluster() -> None:
    """A slow walk stays at some places longer than at others."""
    random = np.random.default_rng(5)
    samples = 10 + 0.3 * correlated(random, 300, rho=0.9)

    assert number_of_modes(samples.tolist()) == 1


def test_ticks_of_a_coarse_clock_are_no_clusters() -> None:
    """Times of 20 ticks differ by one or two, and by nothing in between."""
    random = np.random.default_rng(6)
    samples = np.round(0.02 + 0.0007 * random.normal(size=3000), 3)

    assert number_of_modes(samples.tolist()) == 1


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([10.0], id="one"),
        pytest.param([10.0, 13.0] * 4, id="eight"),
        pytest.param([10.0] * 50, id="equal"),
        pytest.param([0.0] * 25 + [10.0] * 25, id="zeros"),
        pytest.param([-1.0] * 25 + [10.0] * 25, id="negative"),
    ],
)
def test_what_cannot_be_told_is_one(samples: list[float]) -> None:
    """Few samples, equal ones, and those of a broken clock are not split."""
    assert number_of_modes(samples) == 1


def test_exact_times_of_two_kinds_are_two() -> None:
    """Clusters without any spread are separate."""
    assert number_of_modes([10.0, 13.0] * 10) == 2


def test_spread_is_the_deviation_of_a_normal_series() -> None:
    """One outlier in twenty does not change it much."""
    samples = series("stationary", 2000, seed=1)
    samples[::20] += 100

    assert spread(samples) == pytest.approx(0.1, rel=0.15)
