"""When a warm-up has warmed, and when there are samples enough. Fed with numbers; no clock here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolor_deploy.measure.latency.clusters import spread
from yolor_deploy.measure.latency.record import Settings, StoppedBy
from yolor_deploy.measure.latency.statistics import median_noise, normal_half_width

FEWEST = 6
"""Samples below which nothing is said of a median: between the least and the greatest of five are
94 % of such medians, not 95 %."""

_TOLERANCE = 0.02  # between windows: a drift that `drifted` would mark as well
_TOLERANCE_OF_FEW = 0.03  # single runs of a quiet machine differ by as much
_FEW = 5  # runs of a window whose spread says nothing
_FEWEST_WARM = 3  # runs: the first, which pays for all that is lazy, and two to compare
_PATIENCE = 10.0  # the cap, in least times
_LEAST_CAP_S = 10.0  # clocks of a GPU take some seconds to rise, whatever time was asked for
_GROWTH = 20  # a twentieth more values than at the last look are looked at again


class WarmUp:
    """Ends a warm-up when its time has passed and times have settled, or when they never will.

    Times have settled when the medians of two windows agree within 2 % and what their own noise
    explains, within 3 % where a window has fewer than five runs. The windows are the second and the
    last third of all runs but the first: they grow with the warm-up, so that a slow trend is seen
    as well as a fast one.

    Args:
        least_s: Seconds that have to pass.
        most_s: Seconds after which it gives up; None for ten times the least, or ten seconds if
            that is more. Three runs are waited for in any case.
    """

    def __init__(self, least_s: float, *, most_s: float | None = None) -> None:
        self._least_s = least_s
        self._most_s = max(_LEAST_CAP_S, _PATIENCE * least_s) if most_s is None else most_s
        self._runs: list[float] = []
        self._look_at = _FEWEST_WARM
        self._settled = False
        self._gave_up = False

    @property
    def settled(self) -> bool:
        """Whether sampling may begin; once it may, it may."""
        return self._settled

    @property
    def gave_up(self) -> bool:
        """Whether the cap was reached before times had settled."""
        return self._gave_up

    def add(self, at_s: float, ms: float) -> None:
        """Take a run into account.

        Args:
            at_s: Seconds since the warm-up began.
            ms: Milliseconds that the run took.
        """
        self._runs.append(ms)
        if self._settled or self._gave_up or at_s < self._least_s:
            return
        is_late = at_s >= self._most_s and len(self._runs) >= _FEWEST_WARM
        if len(self._runs) >= self._look_at or is_late:
            self._look_at = _next_look(len(self._runs))
            self._settled = self._windows_agree()
            self._gave_up = is_late and not self._settled

    def _windows_agree(self) -> bool:
        warm = np.asarray(self._runs[1:], np.float64)
        width = max(1, len(warm) // 3)
        before, last = warm[-2 * width : -width], warm[-width:]
        level = float(np.median(before))
        difference = abs(float(np.median(last)) - level)
        if width < _FEW:
            return difference <= _TOLERANCE_OF_FEW * level
        noise = normal_half_width(float(np.hypot(spread(before), spread(last))), width)
        return difference <= _TOLERANCE * level + noise


class StoppingRule:
    """Says when one artifact has been sampled enough; several are to be stopped when all are.

    It is meant to be asked after every round: the interval of the median is computed when there are
    a twentieth more samples than the last time, or at an end by another reason, so that a million
    samples cost as much as some twenty sorts of them all.

    The rule stops at a moment when the noise happens to look small, so that intervals at the end
    are a little too narrow; ``min_samples`` and the rare looks keep that small.

    Args:
        settings: The targets.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._look_at = FEWEST
        self._noise: float | None = None

    @property
    def noise(self) -> float | None:
        """Noise of the median at the last look; None while the samples are too few to tell."""
        return self._noise

    def reason(self, samples: Sequence[float], elapsed_s: float) -> StoppedBy | None:
        """Return why sampling may stop, or None if it is to go on.

        Args:
            samples: All of one artifact, in the order measured, milliseconds.
            elapsed_s: Since the benchmark began; it is compared with ``time_limit_s``.

        Returns:
            ``noise`` where the target has been reached, though there may be other reasons too.
        """
        count, limits = len(samples), self._settings
        is_full = count >= limits.max_samples
        is_late = elapsed_s >= limits.time_limit_s
        if count >= FEWEST and (count >= self._look_at or is_full or is_late):
            self._look_at = _next_look(count)
            self._noise = median_noise(samples)
        is_quiet = self._noise is not None and self._noise <= limits.noise_target
        if is_quiet and count >= limits.min_samples:
            return "noise"
        if is_full:
            return "samples"
        return "timeout" if is_late else None


def _next_look(count: int) -> int:
    return count + max(1, count // _GROWTH)
