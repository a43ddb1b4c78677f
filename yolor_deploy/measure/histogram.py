"""How the values of a tensor are distributed, seen a piece at a time, in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BINS = 4096
MOST_VALUES = 1 << 18  # of one tensor of one image that go into the bins; extremes see all
SMALLEST_NORMAL_HALF = np.float32(2.0**-14)
_SMALLEST_LIMIT = 2.0**-40


@dataclass(slots=True)
class Histogram:
    """Magnitudes in equal bins from 0 to a power of two, and the exact extremes.

    A bin holds its upper end and not its lower one; 0 is in the first.

    When a larger value comes, the power of two grows and neighbouring bins are added up: the counts
    are those that one pass with the final limit would have given, whatever the order.

    Attributes:
        limit: Upper end of the last bin; a power of two, or 0 before anything was seen.
        counts: int64 [BINS].
        minimum: Of all values.
        maximum: Of all values.
        seen: Number of values that the extremes are of.
        nonfinite: Number of NaN and infinite values; they are in nothing else.
        tiny: Of the values in the bins, those that are not 0 and below 2**-14, where half precision
            begins to lose digits.
    """

    limit: float = 0.0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    minimum: float = math.inf
    maximum: float = -math.inf
    seen: int = 0
    nonfinite: int = 0
    tiny: int = 0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count the values of a tensor: all for the extremes, at most 262,144 for the bins.

        Of a larger one every third, fifth .. value is taken, never every second, so that the sample
        does not stay in a column of a map.
        """
        flat = values.reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = flat[np.isfinite(flat)]
            self.nonfinite += flat.size - finite.size
            self.add(finite)
            return
        self.seen += flat.size
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self._grow(max(abs(low), abs(high)))
        step = -(-flat.size // MOST_VALUES) | 1
        sample = np.abs(flat[::step])
        self.tiny += int(np.count_nonzero((sample < SMALLEST_NORMAL_HALF) & (sample > 0)))
        # Exact: the factor is a power of two. The upper end is inside, or a value that is the
        # limit today were in another bin once the limit has grown.
        index = np.ceil(sample * np.float32(BINS / self.limit)).astype(np.int32)
        counts = np.bincount(index, minlength=BINS + 1)
        self.counts += counts[1:]
        self.counts[0] += counts[0]

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of both."""
        total = Histogram(self.limit, self.counts.copy(), self.minimum, self.maximum)
        addend = Histogram(other.limit, other.counts.copy())
        if self.limit or other.limit:
            total._grow(other.limit)
            addend._grow(total.limit)
        total.counts += addend.counts
        total.minimum = min(self.minimum, other.minimum)
        total.maximum = max(self.maximum, other.maximum)
        total.seen = self.seen + other.seen
        total.nonfinite = self.nonfinite + other.nonfinite
        total.tiny = self.tiny + other.tiny
        return total

    @property
    def largest(self) -> float:
        """Largest magnitude; 0 before anything was seen."""
        return max(abs(self.minimum), abs(self.maximum)) if self.seen else 0.0

    def edges(self) -> npt.NDArray[np.float64]:
        """Return the BINS + 1 ends of the bins."""
        return np.arange(BINS + 1, dtype=np.float64) * (self.limit / BINS)

    def centres(self) -> npt.NDArray[np.float64]:
        """Return the middle of each bin."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (self.limit / BINS)

    def _grow(self, largest: float) -> None:
        needed = max(2.0 ** math.ceil(math.log2(largest)) if largest else 0.0, _SMALLEST_LIMIT)
        if self.limit == 0.0:
            self.limit = needed
        while self.limit < needed:
            halves = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([halves, np.zeros(BINS // 2, np.int64)])
            self.limit *= 2
