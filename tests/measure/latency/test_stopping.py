"""When a warm-up ends, and when sampling does. Nothing here takes time."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest

from tests.measure.latency.series import Series, series
from yolor_deploy.measure.latency import stopping
from yolor_deploy.measure.latency.record import Settings
from yolor_deploy.measure.latency.statistics import median_noise
from yolor_deploy.measure.latency.stopping import StoppingRule, WarmUp

SETTINGS = Settings(noise_target=0.01, min_samples=20, max_samples=1000, time_limit_s=60)


def runs_until_over(warm_up: WarmUp, times_ms: Iterable[float]) -> tuple[int, float]:
    """Feed a warm-up until it is over; return the number of runs, and when the last began."""
    at_s, count = 0.0, 0
    for ms in times_ms:
        warm_up.add(at_s, ms)
        count += 1
        if warm_up.settled or warm_up.gave_up:
            break
        at_s += ms / 1000
    return count, at_s


def test_warm_up_ends_when_its_time_has_passed() -> None:
    """Steady times need no more than the least time."""
    warm_up = WarmUp(1.0)

    _, at_s = runs_until_over(warm_up, series("stationary", 1000, seed=1))

    assert warm_up.settled
    assert not warm_up.gave_up
    assert 1.0 <= at_s <= 1.1


def test_warm_up_goes_on_while_times_fall() -> None:
    """Times that halve every 0.5 s are not settled after 1 s, and are in the end."""
    warm_up = WarmUp(1.0)
    falling = 10 + 40 * 0.5 ** (np.arange(2000) / 30)

    _, at_s = runs_until_over(warm_up, falling)

    assert warm_up.settled
    assert 2.0 < at_s < 10.0


@pytest.mark.parametrize(
    "times_ms",
    [
        pytest.param(10 * np.exp(0.002 * np.arange(4000)), id="slower"),
        pytest.param(3000 / (10 + np.arange(4000)), id="faster"),
    ],
)
def test_warm_up_gives_up_on_a_machine_that_never_settles(times_ms: Series) -> None:
    """At ten times the least time it is over, and says that times had not settled."""
    warm_up = WarmUp(1.0)

    _, at_s = runs_until_over(warm_up, times_ms)

    assert warm_up.gave_up
    assert not warm_up.settled
    assert at_s == pytest.approx(10.0, abs=0.5)


def test_warm_up_sees_a_slow_trend() -> None:
    """A trend of 20 % over the whole warm-up is none of two neighbouring runs."""
    warm_up = WarmUp(2.0, most_s=4.0)

    runs_until_over(warm_up, series("stationary", 400, seed=2) * np.linspace(1, 1.2, 400))

    assert warm_up.gave_up


def test_warm_up_allows_for_noise() -> None:
    """A noise of 10 % moves medians of short windows by more than 2 %, which is no trend."""
    ends = [
        runs_until_over(WarmUp(1.0), series("stationary", 1200, seed=seed, noise=0.1))[1]
        for seed in range(50)
    ]

    assert sum(at_s < 1.02 for at_s in ends) >= 45  # at the first look


def test_warm_up_of_a_slow_model_takes_three_runs() -> None:
    """The first run is left out, and the next two agree."""
    warm_up = WarmUp(1.0)

    count, _ = runs_until_over(warm_up, [90_000.0, 20_000.0, 20_500.0, 20_000.0])

    assert count == 3
    assert warm_up.settled


def test_warm_up_of_a_slow_model_gives_up_after_three_runs() -> None:
    """Runs that each take longer than the cap are no reason to go on for hours."""
    warm_up = WarmUp(1.0)

    count, _ = runs_until_over(warm_up, [90_000.0, 40_000.0, 20_000.0, 20_000.0])

    assert count == 3
    assert warm_up.gave_up


def test_warm_up_without_a_time_takes_three_runs() -> None:
    """A least time of 0 leaves the comparison of two runs."""
    warm_up = WarmUp(0.0)

    assert runs_until_over(warm_up, [5.0, 1.0, 1.0, 1.0])[0] == 3
    assert warm_up.settled


def test_what_has_settled_stays_settled() -> None:
    """A slow run afterwards is a sample, not a warm-up."""
    warm_up = WarmUp(0.0)
    runs_until_over(warm_up, [1.0] * 5)

    for _ in range(100):
        warm_up.add(100.0, 50.0)

    assert warm_up.settled
    assert not warm_up.gave_up


def test_warm_up_rarely_looks_at_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand runs are looked at some two hundred times."""
    looks: list[int] = []
    monkeypatch.setattr(WarmUp, "_windows_agree", lambda _: looks.append(1))
    warm_up = WarmUp(0.0, most_s=1e9)

    for _ in range(100_000):
        warm_up.add(1.0, 1.0)

    assert 20 < len(looks) < 250


def test_sampling_stops_when_the_noise_is_reached() -> None:
    """It stops at the first look at which the median is known well, and says how well."""
    rule = StoppingRule(SETTINGS)
    samples = series("stationary", 1000, seed=3, noise=0.03).tolist()

    count = next(n for n in range(1, 1001) if rule.reason(samples[:n], 1.0))

    assert rule.reason(samples[:count], 1.0) == "noise"
    assert rule.noise is not None
    assert rule.noise <= SETTINGS.noise_target
    assert rule.noise == median_noise(samples[:count])
    assert 20 < count < 300


def test_sampling_takes_the_least_number_of_samples() -> None:
    """Times without any noise are sampled until there are as many as were asked for."""
    rule = StoppingRule(SETTINGS)

    reasons = [rule.reason([1.0] * n, 1.0) for n in range(1, 22)]

    assert reasons == [None] * 19 + ["noise"] * 2


def test_sampling_stops_at_the_most_samples() -> None:
    """A noise that is never reached does not go on for ever."""
    rule = StoppingRule(SETTINGS)
    samples = series("bimodal", 1000, seed=3, noise=0.2).tolist()

    assert rule.reason(samples[:999], 1.0) is None
    assert rule.reason(samples, 1.0) == "samples"


def test_sampling_stops_at_the_time_limit() -> None:
    """It ends at the limit whatever the noise is, and says that it was the limit."""
    rule = StoppingRule(SETTINGS)
    samples = series("stationary", 30, seed=3, noise=0.2).tolist()

    assert rule.reason(samples, 59.9) is None
    assert rule.reason(samples, 60.0) == "timeout"


def test_time_limit_ends_without_samples_too() -> None:
    """A model so slow that nothing is known of it is stopped as well."""
    rule = StoppingRule(SETTINGS)

    assert rule.reason([], 61.0) == "timeout"
    assert rule.reason([1.0], 61.0) == "timeout"
    assert rule.noise is None


def test_reaching_the_noise_goes_before_other_reasons() -> None:
    """At the time limit and with all samples, a reached target is a good end."""
    rule = StoppingRule(SETTINGS)

    assert rule.reason([1.0] * 1000, 100.0) == "noise"


@pytest.mark.parametrize(
    "factors",
    [
        pytest.param(np.linspace(1, 1.2, 60), id="drift"),
        pytest.param(1 + 0.3 * (np.sin(np.arange(60) ** 2) > 0), id="two-clusters"),
    ],
)
def test_sampling_goes_on_while_the_median_is_not_known(factors: Series) -> None:
    """A drift of 20 %, and two halves 30 % apart, leave open what noise of 1 % does not."""
    rule = StoppingRule(SETTINGS)
    samples = (factors * series("stationary", 60, seed=1)).tolist()

    reasons = {rule.reason(samples[:n], 1.0) for n in range(20, 61)}

    assert reasons == {None}


def test_noise_is_known_before_the_least_number_of_samples() -> None:
    """The line of progress tells it from six samples on."""
    rule = StoppingRule(SETTINGS)
    samples = series("stationary", 6, seed=1).tolist()

    rule.reason(samples[:5], 1.0)
    assert rule.noise is None

    rule.reason([10.0] * 6, 1.0)
    assert rule.noise == 0.0


def test_the_median_is_looked_at_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked after each of 2,000 rounds, the rule computes some hundred intervals."""
    looks: list[int] = []
    monkeypatch.setattr(stopping, "median_noise", lambda s: looks.append(len(s)))
    rule = StoppingRule(Settings(max_samples=10_000))

    for count in range(1, 2001):
        rule.reason([1.0] * count, 1.0)

    assert looks[0] == 6
    assert len(looks) < 130
    assert all(later <= earlier + max(1, earlier / 20) for earlier, later in pairwise(looks))
