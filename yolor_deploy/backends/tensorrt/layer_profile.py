"""What TensorRT's profiler tells of many runs, as one time for each layer."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from yolor_deploy.core.runtime import LayerTime

Told = Sequence[tuple[str, float]]
"""Name and milliseconds of each layer of one run, in order."""


def layer_times(runs: Iterable[Told]) -> tuple[LayerTime, ...]:
    """Return the median of each layer over the runs, in the order in which they ran first.

    A name that comes several times in a run, such as of a loop's body, is added up.

    Args:
        runs: What was told of each.
    """
    samples: dict[str, list[float]] = {}
    for told in runs:
        sums: dict[str, float] = {}
        for name, ms in told:
            sums[name] = sums.get(name, 0.0) + ms
        for name, ms in sums.items():
            samples.setdefault(name, []).append(ms)
    return tuple(LayerTime(name, statistics.median(values)) for name, values in samples.items())
