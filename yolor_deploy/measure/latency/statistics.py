"""Figures of a series of times, with intervals that hold for series as machines make them.

Times of a machine are neither normal nor independent: they have a long tail, they wander, and each
is like the one before it. So intervals are read off the sorted samples, which assumes no shape, and
a series that repeats itself counts as a shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from yolor_deploy.measure.latency.clusters import number_of_modes
from yolor_deploy.measure.latency.summary import LEVEL, RATIO_LEVEL, Distribution, Estimate

_Series = npt.NDArray[np.float64]
_THIRDS = 3
_INNER = 0.25  # quantiles from here to 1 - 0.25 move with the ranks of all samples
_BATCHES = 10  # of batch means: fewer tell little of the spread, more are like their neighbours
_T_OF_BATCHES = 2.262  # Student's t, 9 degrees of freedom, two-sided 95 %
_LEAST_PER_BATCH = 2
_NOISES_OF_DRIFT = 3.0  # of many samples; 2 % of independent series without drift go beyond
_MOST_NOISES = 4.5  # of few: with more of them, six samples could show no drift at all
_FEW = 8  # samples that raise the factor to twice as much, but for the cap
_DECIMALS = 12  # of a logarithm: equal ratios differ by rounding, which has an order of its own


def quantile_estimate(samples: Sequence[float], q: float, *, level: float = LEVEL) -> Estimate:
    """Return a quantile, and the interval between two of the sorted samples that holds it.

    How many of n independent samples are below a quantile is binomial, whatever their distribution
    is. Correlated samples tell as much as fewer independent ones: the two ranks are taken for that
    smaller number. Of simulated 95 % intervals of the median 95 to 98 % hold it, for independent
    samples and, from 50 on, for AR(1) with coefficient 0.5; 92 % at 20. A slow wander below the
    noise is not fully seen: of 300 samples with a fifth of their variance in AR(1) of 0.95, 83 %.

    Args:
        samples: In the order measured, at least one, finite.
        q: 0..1; 0.5 for the median.
        level: Part of such intervals that hold the true quantile.

    Returns:
        The quantile in the unit of the samples. An end is None where it would lie beyond the
        samples: the upper one of a 99th percentile below 368 independent samples.

    Source: H. A. David, H. N. Nagaraja, Order Statistics, 3rd edition, section 7.1.
    """
    series = np.asarray(samples, np.float64)
    count = len(series)
    ordered = np.sort(series)
    told = int(count / _inflation(series, q))
    below = _binomial_cdf(told, q)
    tail = (1 - level) / 2
    from_bottom = int(np.searchsorted(below, tail, side="right"))
    from_top = told - int(np.searchsorted(below, 1 - tail, side="left"))
    low, high = (rank * count // told if told else 0 for rank in (from_bottom, from_top))
    return Estimate(
        float(np.quantile(ordered, q)),
        float(ordered[low - 1]) if low > 0 else None,
        float(ordered[count - high]) if high > 0 else None,
    )


def median_noise(samples: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of the median, as a part of the median.

    Args:
        samples: In the order measured, at least one.

    Returns:
        None where the samples are too few to tell, or their median is not positive.
    """
    return _relative_noise(quantile_estimate(samples, 0.5))


def noise_within_thirds(samples: Sequence[float]) -> float | None:
    """Return what ``median_noise`` would be without any drift from third to third.

    A drift widens the interval of the median, as it should; measured against that noise it would
    hide itself.

    Args:
        samples: In the order measured, at least three.
    """
    return median_noise(_without_thirds(samples).tolist())


def drift_by_chance(samples: Sequence[float]) -> float:
    """Return how large a ``relative_drift`` chance explains, as a part of the median; 0..

    It is a multiple of the noise within the thirds, which is larger for few samples: few show only
    a part of their correlation, so that their noise comes out too small. Where they are too few for
    that noise, half their range stands for it. Of simulated series without drift one in fifty goes
    beyond it, and from 6 samples on less than a tenth of those in AR(1) with coefficient 0.5; a
    drift of 15 % in noise of 1 % is beyond it in most series of 9 and nearly all from 12 on.

    Args:
        samples: In the order measured, at least three.
    """
    noise = noise_within_thirds(samples)
    if noise is None:
        whole = _without_thirds(samples)
        level = float(np.median(whole))
        noise = float(np.ptp(whole)) / 2 / level if level > 0 else 0.0
    return noise * min(_MOST_NOISES, _NOISES_OF_DRIFT * (1 + _FEW / len(samples)))


def relative_drift(samples: Sequence[float]) -> float | None:
    """Return how far the median of the last third is above that of the first, as a part of it.

    Args:
        samples: In the order measured.

    Returns:
        None below three samples, or where the first median is not positive.
    """
    third = len(samples) // _THIRDS
    if not third:
        return None
    first, last = float(np.median(samples[:third])), float(np.median(samples[-third:]))
    return (last - first) / first if first > 0 else None


def correlation(samples: Sequence[float]) -> float | None:
    """Return the correlation of each sample with the one before it, -1..1.

    Args:
        samples: In the order measured.

    Returns:
        None below three samples; 0 where all are equal.
    """
    if len(samples) < _THIRDS:
        return None
    centred = np.asarray(samples, np.float64) - np.mean(samples)
    power = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / power if power > 0 else 0.0


def distribution(samples: Sequence[float]) -> Distribution:
    """Return all figures of a series.

    Args:
        samples: Milliseconds in the order measured, at least one, finite.
    """
    p50 = quantile_estimate(samples, 0.5)
    return Distribution(
        count=len(samples),
        mean=float(np.mean(samples)),
        p50=p50,
        p90=quantile_estimate(samples, 0.9),
        p99=quantile_estimate(samples, 0.99),
        minimum=float(np.min(samples)),
        maximum=float(np.max(samples)),
        noise=_relative_noise(p50),
        drift=relative_drift(samples),
        modes=number_of_modes(samples),
        correlation=correlation(samples),
    )


def paired_ratio(reference_ms: Sequence[float], subject_ms: Sequence[float]) -> Estimate:
    """Return how many times as fast a subject is, from rounds in which both were run.

    Each round gives one ratio: what slows a whole round, such as a clock that falls, is in both of
    its times and cancels. The interval is that of ``quantile_estimate`` over the logarithms of
    these ratios. Of 100 simulated comparisons of a thing with itself, 97 or more hold 1, for
    independent, drifting, bimodal, heavy-tailed and correlated (AR(1), 0.5) series of 20 rounds or
    more.

    Args:
        reference_ms: One time a round.
        subject_ms: Of the same rounds. Rounds in which a time is not positive are left out.

    Returns:
        Time of the reference over time of the subject: median, and its ``RATIO_LEVEL`` interval.
        That has no ends below eight rounds: even from the least to the greatest of seven holds the
        median in 98.4 % only.

    Raises:
        ValueError: The series have different lengths, or no round has two positive times.
    """
    reference, subject = np.asarray(reference_ms, np.float64), np.asarray(subject_ms, np.float64)
    if len(reference) != len(subject):
        raise ValueError(f"{len(reference)} and {len(subject)} times given, expected pairs")
    used = (reference > 0) & (subject > 0)
    if not used.any():
        raise ValueError("no round has two positive times, expected at least one")
    logs = (np.log(reference[used]) - np.log(subject[used])).round(_DECIMALS)
    found = quantile_estimate(logs.tolist(), 0.5, level=RATIO_LEVEL)
    return Estimate(
        float(np.exp(found.value)),
        None if found.low is None else float(np.exp(found.low)),
        None if found.high is None else float(np.exp(found.high)),
    )


def throughput_estimate(finished_s: Sequence[float], streams: int, *, batch: int) -> Estimate:
    """Return images a second over the time when all sessions were busy.

    That is from the end of the ``streams``-th run, before which some session may not have begun,
    to the end of the first of the last ``streams`` runs, after which some session may have nothing
    left to do. The interval is by batch means: ten parts, whose means are nearly independent even
    where runs end in bursts.

    Args:
        finished_s: When each run ended, seconds since the start, sorted, at least one.
        streams: Sessions at once.
        batch: Images a run.

    Returns:
        Images a second. Without an interval below twenty such runs; with fewer than one, over all
        runs from the start. 0 where no time has passed.
    """
    ends = np.asarray(finished_s, np.float64)
    steady = ends[streams - 1 : len(ends) - streams + 1]
    runs = len(steady) - 1
    if runs < 1:
        return Estimate(_rate(len(ends) * batch, float(ends[-1])), None, None)
    images_per_s = _rate(runs * batch, float(steady[-1] - steady[0]))
    if runs < _BATCHES * _LEAST_PER_BATCH or images_per_s == 0:
        return Estimate(images_per_s, None, None)
    edges = np.linspace(0, runs, _BATCHES + 1).astype(np.int64)
    s_per_run = np.diff(steady[edges]) / np.diff(edges)
    half = _T_OF_BATCHES * float(np.std(s_per_run, ddof=1)) / np.sqrt(_BATCHES)
    mean = batch / images_per_s
    return Estimate(
        images_per_s,
        batch / (mean + half),
        batch / (mean - half) if mean > half else None,
    )


def normal_half_width(deviation: float, count: int, *, level: float = LEVEL) -> float:
    """Return half the interval of a median of independent, about normal samples.

    Args:
        deviation: Standard deviation of the samples.
        count: How many there are.
        level: Of the interval.

    Source: the asymptotic variance of the median, pi / 2 times that of the mean.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    return z * deviation * float(np.sqrt(np.pi / (2 * count)))


def _rate(images: int, seconds: float) -> float:
    return images / seconds if seconds > 0 else 0.0


def _without_thirds(samples: Sequence[float]) -> _Series:
    """Return samples as if each third had the median of all: float64 [n]."""
    series = np.asarray(samples, np.float64)
    level = np.median(series)
    parts = np.array_split(series, _THIRDS)
    return np.concatenate([part - np.median(part) + level for part in parts])


def _relative_noise(median: Estimate) -> float | None:
    if median.low is None or median.high is None or median.value <= 0:
        return None
    return (median.high - median.low) / 2 / median.value


def _binomial_cdf(count: int, q: float) -> _Series:
    """Return the chance of at most 0 to ``count`` hits of chance ``q``: float64 [count + 1]."""
    hits = np.arange(count + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    log_choices = log_factorial[-1] - log_factorial - log_factorial[::-1]
    chances = np.exp(log_choices + hits * np.log(q) + (count - hits) * np.log1p(-q))
    return np.asarray(np.cumsum(chances), np.float64)


def _inflation(series: _Series, q: float) -> float:
    """Return by how much correlation widens the variance of a quantile; at least 1.

    It is 1 plus twice the sum of the autocorrelations, up to the first that uncorrelated samples
    could show as well (one standard deviation of theirs): a longer sum adds noise alone. What is
    correlated are the ranks for the quantiles in the middle, so that outliers weigh no more than
    other samples, and for those in the tails whether a sample is beyond the quantile: a burst of
    slow runs is one event.
    """
    if _INNER <= q <= 1 - _INNER:
        marks = _ranks(series)
    else:
        marks = (series > np.quantile(series, q)).astype(np.float64)
    count = len(marks)
    centred = marks - marks.mean()
    power = float(centred @ centred)
    if power <= 0:
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * count)
    lagged = np.fft.irfft(spectrum * np.conj(spectrum))[: 1 + count // _THIRDS] / power
    lagged += 1 / count  # taking off the mean of so few samples lowers them by about this
    within_noise = np.flatnonzero(lagged <= 1 / np.sqrt(count))
    end = int(within_noise[0]) if len(within_noise) else len(lagged)
    return max(1.0, 1 + 2 * float(lagged[1:end].sum()))


def _ranks(series: _Series) -> _Series:
    """Return the rank of each sample; equal samples share the mean of theirs."""
    _, which, counts = np.unique(series, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(ranks[which], np.float64)
