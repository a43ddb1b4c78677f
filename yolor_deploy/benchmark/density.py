"""How long the post-processing takes by the number of candidates: the density curve."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from yolor_deploy.core.density import objects_in
from yolor_deploy.core.errors import BackendUnavailableError, BuildError
from yolor_deploy.core.planted_maps import planted_maps
from yolor_deploy.core.runtime import Instruments
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.measure.latency.record import DensityPoint

logger = logging.getLogger(__name__)

CURVE_COUNTS = (0, 10, 100, 1000, 10_000, 30_000)
"""Candidates per image."""

_CANDIDATES_PER_OBJECT = 10
_MOST_OBJECTS = 300
_FEWEST = 3  # runs of a point, however slow
_MOST_MS = 1000.0  # of a point: a slow processor runs each fewer times


def density_curve(
    instruments: Instruments,
    spec: DetectorSpec,
    nms: NmsConfig,
    *,
    counts: Sequence[int] = CURVE_COUNTS,
    repeats: int = 20,
    seed: int = 0,
) -> tuple[DensityPoint, ...]:
    """Time the post-processing alone on planted raw maps.

    An object has ten candidates, but there are at most 300 objects, or as many as the artifact has
    rows. The maps are repeated where a batch of one image is not taken.

    Args:
        instruments: Of a session that is open.
        spec: Of its artifact.
        nms: Thresholds in force, and the artifact's limits.
        counts: Candidates per image; those that do not fit the detector are left out.
        repeats: Timed runs for each, fewer where they take more than a second together; one more,
            before them, is not kept.
        seed: Of the places of objects.

    Returns:
        A point for each count, in their order; none where the post-processing cannot be run alone.
    """
    points = []
    for count in counts:
        try:
            point = _point(instruments, spec, nms, count=count, repeats=repeats, seed=seed)
        except BuildError as error:
            logger.info("density of %d candidates left out: %s", count, error.problem)
            continue
        except BackendUnavailableError as error:
            logger.info("no density curve: %s", error.problem)
            return ()
        points.append(point)
    return tuple(points)


def objects_for(count: int, nms: NmsConfig) -> int:
    """Return how many objects that many candidates are planted as."""
    return min(math.ceil(count / _CANDIDATES_PER_OBJECT), _MOST_OBJECTS, nms.max_detections)


def _point(
    instruments: Instruments,
    spec: DetectorSpec,
    nms: NmsConfig,
    *,
    count: int,
    repeats: int,
    seed: int,
) -> DensityPoint:
    maps = planted_maps(spec, candidates=count, objects=objects_for(count, nms), seed=seed, nms=nms)
    batch = spec.input.batch.minimum
    if batch > 1:
        maps = [np.repeat(raw, batch, axis=0) for raw in maps]
    _, outputs = instruments.run_nms(maps)
    samples: list[float] = []
    while len(samples) < repeats and (len(samples) < _FEWEST or sum(samples) < _MOST_MS):
        samples.append(instruments.run_nms(maps)[0])
    return DensityPoint(count, objects_in(outputs)[0], tuple(samples))
