"""The magnitude that the largest code of an 8-bit type stands for: four ways to choose it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from yolor_deploy.measure.histogram import Histogram

CalibrationMethod = Literal["max", "percentile", "entropy", "mse"]
METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)
PERCENTILE = 99.99
_LEVELS = 128  # of the magnitude in 8 signed bits
_STEPS = 200
_FloatArray = npt.NDArray[np.float64]


def largest_of(histogram: Histogram, method: CalibrationMethod) -> float:
    """Return the magnitude that is represented by the largest code; larger ones are clipped to it.

    - ``max``: The largest magnitude seen: nothing is clipped.
    - ``percentile``: The one that 99.99 % of the magnitudes do not exceed.
    - ``entropy``: The one that loses least information about the distribution (smallest
      Kullback-Leibler divergence between the clipped distribution and the same in 128 levels).
    - ``mse``: The one with the smallest mean squared error, rounding and clipping together.

    Args:
        histogram: Of the values.
        method: One of the four.

    Returns:
        Above 0, and at most the largest magnitude seen; that one, or 1, for a tensor of zeros.

    Source: Migacz, "8-bit inference with TensorRT", GTC 2017, for ``entropy``; Wu et al.,
    arXiv:2004.09602, section 3 and 5, for the others.
    """
    if not histogram.largest or not histogram.counts.sum():
        return 1.0
    choose: dict[CalibrationMethod, Callable[[Histogram], float]] = {
        "max": lambda seen: seen.largest,
        "percentile": _percentile,
        "entropy": _entropy,
        "mse": _mse,
    }
    return min(choose[method](histogram), histogram.largest)


def _percentile(histogram: Histogram) -> float:
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    return float(histogram.edges()[int(np.searchsorted(share, PERCENTILE / 100)) + 1])


def _mse(histogram: Histogram) -> float:
    used = histogram.counts > 0
    values, counts = histogram.centres()[used], histogram.counts[used].astype(np.float64)
    best, least = histogram.largest, np.inf
    for step in range(_STEPS, 0, -1):  # the widest first: of equal ones it clips least
        largest = histogram.largest * step / _STEPS
        scale = largest / (_LEVELS - 1)
        rounded = np.minimum(np.rint(values / scale), _LEVELS - 1) * scale
        # Within a bin the values are spread; their mean square about the centre is the same for all
        error = float((counts * (values - rounded) ** 2).sum())
        if error < least:
            best, least = largest, error
    return best


def _entropy(histogram: Histogram) -> float:
    counts = histogram.counts.astype(np.float64)
    last = int(np.flatnonzero(counts)[-1]) + 1
    best, least = histogram.largest, np.inf
    step = max(1, (last - _LEVELS) // _STEPS)
    for width in range(last, _LEVELS - 1, -step):  # the widest first: of equal ones it clips least
        divergence = _divergence(counts[:last], width)
        if divergence < least:
            best, least = float(histogram.edges()[width]), divergence
    return best


def _divergence(counts: _FloatArray, width: int) -> float:
    """Return how far the first ``width`` bins are from the same in 128 levels.

    The reference has the clipped tail in its last bin; the candidate has not, so clipping costs.
    """
    reference = counts[:width].copy()
    reference[-1] += counts[width:].sum()
    level = np.arange(width) * _LEVELS // width
    sums = np.bincount(level, weights=counts[:width], minlength=_LEVELS)
    occupied = np.bincount(level, weights=counts[:width] > 0, minlength=_LEVELS)
    spread = np.divide(sums, occupied, out=np.zeros(_LEVELS), where=occupied > 0)[level]
    candidate = np.where(counts[:width] > 0, spread, 0.0)
    p, q = reference / reference.sum(), candidate / max(candidate.sum(), 1e-12)
    inside = p > 0
    # Where the candidate is empty and the reference is not, the loss is large but finite
    return float((p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-9))).sum())
