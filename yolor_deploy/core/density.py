"""How much a post-processing has to do: candidates above the threshold, and objects among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

_HINT = "give CANDIDATES:OBJECTS, such as 1000:100"
_MOST_DIGITS = 9
_LEAST_THRESHOLD = 1e-4  # an anchor that is meant to be nothing has a score of some 1e-6
_HIGHEST_THRESHOLD = 0.999  # the best score that is planted is little above it


@dataclass(frozen=True, slots=True)
class Density:
    """What is to come out of an image.

    Attributes:
        candidates: Pairs (anchor, class) with a score above the threshold, as ``NmsConfig`` says.
        objects: Detections that are left of them.

    Raises:
        BuildError: A number is below 0, or there are more objects than candidates, or candidates
            without an object.
    """

    candidates: int = 1000
    objects: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.objects <= self.candidates:
            raise _refused(f"{self} is not 0 <= OBJECTS <= CANDIDATES")
        if self.candidates and not self.objects:
            raise _refused(f"{self}: the best candidate is an object, and none is asked for")

    def __str__(self) -> str:
        return f"{self.candidates}:{self.objects}"

    @staticmethod
    def parse(text: str) -> Density:
        """Read ``CANDIDATES:OBJECTS``, which ``str`` of a density gives.

        Raises:
            BuildError: The text is not that, or the numbers contradict each other.
        """
        parts = text.split(":")
        is_read = all(p.isdecimal() and p.isascii() and len(p) <= _MOST_DIGITS for p in parts)
        if len(parts) != 2 or not is_read:  # noqa: PLR2004 - two numbers
            raise _refused(f"{text!r} is not CANDIDATES:OBJECTS")
        return Density(int(parts[0]), int(parts[1]))


def require_density(density: Density, spec: DetectorSpec, nms: NmsConfig) -> None:
    """Refuse a density that a detector cannot have.

    Raises:
        BuildError: More candidates than anchors, more objects than rows, or a score threshold that
            everything passes, or nothing.
    """
    if density.candidates > spec.num_boxes:
        raise _refused(
            f"{density.candidates} candidates, {spec.variant} has {spec.num_boxes} anchors at "
            f"{spec.input.height}x{spec.input.width}",
            "give fewer, or a larger --size",
        )
    if density.objects > nms.max_detections:
        raise _refused(
            f"{density.objects} objects, the artifact gives at most {nms.max_detections} an image",
            "give fewer, or export with more --max-detections",
        )
    if not _LEAST_THRESHOLD <= nms.score_threshold <= _HIGHEST_THRESHOLD:
        raise _refused(
            f"score threshold {nms.score_threshold}, candidates are planted for "
            f"{_LEAST_THRESHOLD} to {_HIGHEST_THRESHOLD}",
            "export with another --score-threshold",
        )


def candidates_in(raw_maps: Sequence[Array], spec: DetectorSpec, nms: NmsConfig) -> tuple[int, ...]:
    """Count what enters the post-processing, of each image.

    Args:
        raw_maps: As ``predictions_from_raw`` takes them.
        spec: The detector.
        nms: Threshold, and whether an anchor counts once or with every class.
    """
    return candidates_of(predictions_from_raw(raw_maps, spec), nms)


def candidates_of(predictions: Array, nms: NmsConfig) -> tuple[int, ...]:
    """Count what enters the post-processing, of each image.

    Args:
        predictions: As ``non_max_suppression`` takes them.
        nms: As of ``candidates_in``.
    """
    counts = []
    for rows in predictions:  # one image at a time: all pairs of a large one are 70 MB
        is_candidate = rows[:, 4:5] * rows[:, 5:] > np.float32(nms.score_threshold)
        is_candidate &= ~np.isnan(rows[:, :4]).any(axis=1, keepdims=True)
        pairs = is_candidate if nms.multi_label else is_candidate.any(axis=1)
        counts.append(int(np.count_nonzero(pairs)))
    return tuple(counts)


def objects_in(outputs: RawOutput) -> tuple[int, ...]:
    """Return the detections of each image, of the outputs of an artifact that detects."""
    return tuple(int(count) for count in outputs["num_detections"].reshape(-1))


def objects_of(predictions: Array, nms: NmsConfig) -> tuple[int, ...]:
    """Count what is left of each image by the reference of the post-processing.

    Args:
        predictions: As ``non_max_suppression`` takes them.
        nms: Thresholds and limits.
    """
    return objects_in(non_max_suppression(predictions, nms))


def _refused(problem: str, hint: str = _HINT) -> BuildError:
    return BuildError(problem, where="--density", hint=hint)
