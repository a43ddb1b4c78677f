"""Whether times fall into separate clusters: a median between two of them is the time of no run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Series = npt.NDArray[np.float64]
_LEAST_SHARE = 0.07  # of a cluster: that of 10 % may have drawn fewer
_LEAST_SAMPLES = 5  # of a cluster: four outliers may agree by chance
_DEEPEST = 0.5  # density of a valley, as a part of the lower of its two peaks
_SEPARATION = 4.0  # distance of two clusters in their own spreads; 3.5 for a uniform cut in half
_NARROWEST = 0.01  # of the kernel: clusters closer than about 4 % are no matter for a benchmark
_COARSEST = 0.1  # of a clock's tick: a larger step between neighbours is one of the times
_POINTS = 400  # quantiles that stand for a longer series
_DECIMALS = 6  # of logarithms: equal ticks of a clock differ by rounding
_NORMAL_MAD = 1.4826  # standard deviation of a normal distribution over its median deviation
_NORMAL_IQR = 1.349  # its range of quartiles over its standard deviation


def number_of_modes(samples: Sequence[float]) -> int:
    """Return how many well separated clusters there are.

    The density of the logarithms is split at its valleys, as long as both sides hold 7 % of the
    samples and a peak twice as high as the valley. Neighbours that are less than four of their own
    spreads apart are one: a tail has a beginning, but no place.

    Args:
        samples: In any order. They are not split below ten, nor if one is not positive.

    Source: the width of the kernel is B. W. Silverman, Density Estimation, equation 3.31.
    """
    if len(samples) < 2 * _LEAST_SAMPLES or min(samples) <= 0:
        return 1
    logs = np.sort(np.log(np.asarray(samples, np.float64)))
    ticks = np.diff(np.unique(logs.round(_DECIMALS)))
    if not len(ticks):
        return 1
    if len(logs) > _POINTS:
        logs = np.quantile(logs, (np.arange(_POINTS) + 0.5) / _POINTS)
    tick = float(ticks.min())
    width = max(_kernel_width(logs), _NARROWEST, tick if tick <= _COARSEST else 0)
    parts = _split(
        logs,
        _density(logs, at=logs, width=width),
        _density(logs, at=(logs[1:] + logs[:-1]) / 2, width=width),
        least=max(_LEAST_SHARE * len(logs), _LEAST_SAMPLES),
    )
    clusters = [parts[0]]
    for part in parts[1:]:
        if _separation(clusters[-1], part) < _SEPARATION:
            clusters[-1] = np.concatenate([clusters[-1], part])
        else:
            clusters.append(part)
    return len(clusters)


def spread(values: _Series) -> float:
    """Return the standard deviation that a normal series of this median deviation has."""
    return _NORMAL_MAD * float(np.median(np.abs(values - np.median(values))))


def _kernel_width(ordered: _Series) -> float:
    quartiles = np.quantile(ordered, [0.25, 0.75])
    robust = float(quartiles[1] - quartiles[0]) / _NORMAL_IQR
    return float(0.9 * min(float(ordered.std()), robust) * len(ordered) ** -0.2)


def _density(ordered: _Series, *, at: _Series, width: float) -> _Series:
    """Return the density at some points, not scaled: float64 [points]."""
    kernels = np.exp(-0.5 * ((at[:, None] - ordered[None]) / width) ** 2)
    return np.asarray(kernels.sum(axis=1), np.float64)


def _split(ordered: _Series, peaks: _Series, valleys: _Series, *, least: float) -> list[_Series]:
    """Split sorted values at the deepest valley, and both sides again.

    Args:
        ordered: float64 [n].
        peaks: Density at each value, float64 [n].
        valleys: Density half-way between neighbours, float64 [n - 1].
        least: Values on either side of a valley.
    """
    left = np.arange(1, len(ordered))
    allowed = (left >= least) & (len(ordered) - left >= least)
    if not allowed.any():
        return [ordered]
    from_left = np.maximum.accumulate(peaks)[:-1]
    from_right = np.maximum.accumulate(peaks[::-1])[::-1][1:]
    depth = np.where(allowed, valleys / np.minimum(from_left, from_right), np.inf)
    cut = int(np.argmin(depth))
    if depth[cut] > _DEEPEST:
        return [ordered]
    after = cut + 1
    return [
        *_split(ordered[:after], peaks[:after], valleys[:cut], least=least),
        *_split(ordered[after:], peaks[after:], valleys[after:], least=least),
    ]


def _separation(lower: _Series, upper: _Series) -> float:
    """Return the distance of two clusters' medians, in the root mean square of their spreads.

    Source: K. M. Ashman et al., Astronomical Journal 108 (1994), equation 11, with medians.
    """
    distance = float(np.median(upper) - np.median(lower))
    width = float(np.hypot(spread(lower), spread(upper))) / np.sqrt(2)
    return distance / width if width > 0 else np.inf
