"""Where a network would leave the range of half precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from yolor_deploy.measure.histogram import Histogram

LARGEST_HALF = 65504.0
MARGIN = 2.0  # other images than those seen may give larger values
_MOST_TINY = 0.01


@dataclass(frozen=True, slots=True)
class TensorRange:
    """How large the values of a tensor are, and how they fit half precision.

    Attributes:
        name: Of the tensor.
        largest: Largest magnitude seen.
        tiny_share: Share of the values that are not 0 and below 2**-14, where half precision loses
            digits.
        overflows: Whether the largest magnitude, with a margin of 2, is beyond 65,504, or a value
            is NaN or infinite in float32 already.
    """

    name: str
    largest: float
    tiny_share: float
    overflows: bool

    @property
    def is_lossy(self) -> bool:
        """Whether more than 1 % of the values lose digits in half precision."""
        return self.tiny_share > _MOST_TINY

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def tensor_ranges(histograms: Mapping[str, Histogram]) -> list[TensorRange]:
    """Return every tensor of a network, the largest values first."""
    ranges = [
        TensorRange(
            name,
            histogram.largest,
            histogram.tiny / max(1, int(histogram.counts.sum())),
            histogram.largest * MARGIN > LARGEST_HALF or histogram.nonfinite > 0,
        )
        for name, histogram in histograms.items()
    ]
    return sorted(ranges, key=lambda item: -item.largest)
