"""What to change in the head of a network without training, so that it finds something.

The heads of such a network say nearly the same of every anchor. Scaled and shifted, channel by
channel, they tell anchors apart as those of a trained one do: some are candidates, each of one
class, in groups of neighbours, and the others are far from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.decode import predictions_from_raw, sigmoid
from yolor_deploy.core.density import Density, candidates_of, objects_of, require_density
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

FloatArray = npt.NDArray[np.float64]

_OBJECTNESS = 4
_FIRST_CLASS = 5
_DEVIATIONS = (0.25, 0.25, 0.1, 0.1, 2.0)  # of x, y, w, h, objectness: logits over the cells
_CLASS_DEVIATION = 0.25
_REACHES = (2.0, 2.0, 1.0, 1.0, math.inf)  # the same, of the cell that is farthest from the mean
_CLASS_REACH = 2.0
_SURE = 4.0  # logits from a class to the threshold, at least
_SMALLEST_AREA, _LARGEST_AREA = 0.05, 3.2  # side of a box, in those of its anchor; up to 4
_TILTS = (0.0, 1.0, 2.0, 4.0, 8.0, 32.0)  # logits that each coarser level is ahead of the finer
_OBJECTS_PER_CLASS = 4
_BISECTIONS = 14
_NEAR = 0.05  # of the asked objects, from which on there are fewer classes
_WITH_BORDER = 6  # cells a side from which the outermost are left out of mean and deviation
_CONSTANT = 1e-7  # deviation of a channel, as a part of its mean, that is rounding


@dataclass(frozen=True, slots=True, eq=False)
class ChannelChange:
    """What a raw map becomes: ``scale * raw + shift``, channel by channel.

    Attributes:
        scale: float64 [channels], none 0.
        shift: float64 [channels], logits.
    """

    scale: FloatArray
    shift: FloatArray

    def of(self, raw: Array) -> npt.NDArray[np.float32]:
        """Return the changed map of a raw one, float [n, channels, h, w]."""
        changed: npt.NDArray[np.float32] = (
            raw * self.scale[:, None, None] + self.shift[:, None, None]
        ).astype(np.float32)
        return changed


@dataclass(frozen=True, slots=True)
class PlantedHead:
    """Changes of a head, and what comes out of it then by the reference in NumPy.

    Attributes:
        changes: One per level.
        candidates: Of each image.
        objects: Of each image.
    """

    changes: tuple[ChannelChange, ...]
    candidates: tuple[int, ...]
    objects: tuple[int, ...]


def planted_head(
    raw_maps: Sequence[Array], spec: DetectorSpec, nms: NmsConfig, density: Density
) -> PlantedHead:
    """Choose changes of a head by its raw maps of some images.

    - Objectness gets a deviation of 2 over the cells, and the shift with which exactly the asked
      number of all anchors pass: midway between the last that does and the first that does not.
      Where a border of the map stands out, the channel is turned over: candidates at the edge of
      the image alone would be none of a detector. Anchors of equal values pass together.
    - One class of each anchor of a level is sure, the others are far below the threshold.
    - The size of the boxes decides how many objects are left. Where even large ones leave too many,
      the coarser levels, whose boxes are larger, get a larger share of the candidates, and at last
      there are fewer classes.

    Args:
        raw_maps: One per level, float [n, anchors * (5 + classes), h, w].
        spec: The detector.
        nms: Of the artifact.
        density: Per image, as a mean over these.

    Raises:
        BuildError: The detector cannot have that density.
    """
    require_density(density, spec, nms)
    levels = [
        _Level.of(raw, level.num_anchors) for raw, level in zip(raw_maps, spec.levels, strict=True)
    ]
    num_classes, choice = _nearest_choice(levels, spec, nms, density)
    classes = _classes_of_anchors(spec, num_classes)
    changes = tuple(
        level.change(_centres(level, number, choice, classes[number], nms))
        for number, level in enumerate(levels)
    )
    changed = [change.of(raw) for change, raw in zip(changes, raw_maps, strict=True)]
    predictions = predictions_from_raw(changed, spec)
    return PlantedHead(changes, candidates_of(predictions, nms), objects_of(predictions, nms))


class _Level(NamedTuple):
    """A raw map, and mean and signed factor of each of its channels.

    Attributes:
        raw: float [n, anchors, 5 + classes, h, w].
        mean: float64 [anchors, 5 + classes], without the border.
        scale: float64 [anchors, 5 + classes], to the deviation that is wanted.
    """

    raw: Array
    mean: FloatArray
    scale: FloatArray

    @staticmethod
    def of(raw: Array, num_anchors: int) -> _Level:
        batch, channels, height, width = raw.shape
        raw = raw.reshape(batch, num_anchors, channels // num_anchors, height, width)
        has_border = min(height, width) >= _WITH_BORDER
        inner = raw[..., 1:-1, 1:-1] if has_border else raw
        mean = inner.mean((0, 3, 4), dtype=np.float64)
        deviation = inner.std((0, 3, 4), dtype=np.float64)
        classes = mean.shape[1] - _FIRST_CLASS
        wanted = np.array([*_DEVIATIONS, *[_CLASS_DEVIATION] * classes])
        reach = np.array([*_REACHES, *[_CLASS_REACH] * classes])
        farthest = np.maximum(raw.max((0, 3, 4)) - mean, mean - raw.min((0, 3, 4)))
        is_constant = deviation <= _CONSTANT * (1 + np.abs(mean))
        deviation, farthest = np.where(is_constant, wanted, [deviation, farthest])
        scale = np.minimum(wanted / deviation, reach / farthest)
        border_is_above = raw.mean((0, 3, 4), dtype=np.float64) > mean
        scale[:, _OBJECTNESS] *= np.where(border_is_above[:, _OBJECTNESS], -1.0, 1.0)
        return _Level(raw, mean, scale)

    def centred(self, channel: int | npt.NDArray[np.intp]) -> FloatArray:
        """Return a channel of each anchor, scaled, around 0: float64 [n, anchors, h, w]."""
        anchor = np.arange(len(self.mean))
        mean, scale = self.mean[anchor, channel], self.scale[anchor, channel]
        values = self.raw[:, anchor, channel].astype(np.float64)
        centred: FloatArray = (values - mean[:, None, None]) * scale[:, None, None]
        return centred

    def change(self, centres: FloatArray) -> ChannelChange:
        """Return what brings the channels to these centres, float64 [anchors, 5 + classes]."""
        return ChannelChange(self.scale.ravel(), (centres - self.scale * self.mean).ravel())


class _Anchors(NamedTuple):
    """All anchors of all images: float64 [n, boxes] each, in the order of predictions.

    Attributes:
        objectness: Logits around 0.
        class_score: 0..1, of the class that is sure.
        class_id: int [boxes], among the classes in use.
        level: int [boxes].
        offset_xy: [2, n, boxes]: from the image's corner, input pixels.
        logit_wh: [2, n, boxes], around 0.
        anchor_wh: [2, boxes], input pixels.
    """

    objectness: FloatArray
    class_score: FloatArray
    class_id: npt.NDArray[np.intp]
    level: npt.NDArray[np.intp]
    offset_xy: FloatArray
    logit_wh: FloatArray
    anchor_wh: FloatArray


class _Choice(NamedTuple):
    """What the changes are made of.

    Attributes:
        bias: Of objectness, of every level.
        tilt: Of objectness, times the level.
        size: Of width and height.
        too_many: Objects of all images beyond what was asked for.
    """

    bias: float
    tilt: float
    size: float
    too_many: int


def _most_classes(density: Density, spec: DetectorSpec) -> int:
    """Return a number of classes that leaves the boxes, not the classes, to make the objects."""
    most = min(spec.num_classes, sum(level.num_anchors for level in spec.levels))
    return max(1, min(most, density.objects // _OBJECTS_PER_CLASS))


def _classes_of_anchors(spec: DetectorSpec, num_classes: int) -> list[npt.NDArray[np.intp]]:
    """Return the class that is sure, by level and anchor: spread over all classes."""
    step = spec.num_classes // num_classes
    return [ids * step for ids in _ids_of_anchors(spec, num_classes)]


def _ids_of_anchors(spec: DetectorSpec, num_classes: int) -> list[npt.NDArray[np.intp]]:
    """Return which of the classes in use is sure, by level and anchor."""
    counts = [level.num_anchors for level in spec.levels]
    ends = np.cumsum(counts)
    return [
        np.arange(end - count, end, dtype=np.intp) % num_classes
        for count, end in zip(counts, ends, strict=True)
    ]


def _anchors_of(
    levels: Sequence[_Level], spec: DetectorSpec, num_classes: int, *, sure: float
) -> _Anchors:
    classes = _classes_of_anchors(spec, num_classes)
    ids = _ids_of_anchors(spec, num_classes)
    parts: dict[str, list[Any]] = {name: [] for name in _Anchors._fields}
    for number, (level, head) in enumerate(zip(levels, spec.levels, strict=True)):
        height, width = level.raw.shape[-2:]
        shape = (head.num_anchors, height, width)
        cells = np.broadcast_to(np.indices(shape[1:])[::-1, None], (2, *shape))
        xy = sigmoid(np.stack([level.centred(0), level.centred(1)])) * 2 - 0.5
        sides = np.array(head.anchors_px).T[:, :, None, None]
        logits = level.centred(_FIRST_CLASS + classes[number])
        values = {
            "objectness": level.centred(_OBJECTNESS),
            "class_score": sigmoid(logits + sure),
            "class_id": np.broadcast_to(ids[number][:, None, None], shape),
            "level": np.full(shape, number),
            "offset_xy": (xy + cells[:, None]) * head.stride,
            "logit_wh": np.stack([level.centred(2), level.centred(3)]),
            "anchor_wh": np.broadcast_to(sides, (2, *shape)),
        }
        for name, value in values.items():
            parts[name].append(value.reshape(*value.shape[:-3], -1))
    return _Anchors(**{name: np.concatenate(part, axis=-1) for name, part in parts.items()})


def _nearest_choice(
    levels: Sequence[_Level], spec: DetectorSpec, nms: NmsConfig, density: Density
) -> tuple[int, _Choice]:
    """Return a number of classes, and what brings the number of objects nearest to the asked one.

    There are fewer classes only where more leave too many objects.
    """
    tried: list[tuple[int, _Choice]] = []
    num_classes = _most_classes(density, spec)
    while num_classes:
        anchors = _anchors_of(levels, spec, num_classes, sure=_sure(nms))
        choice = _choose(anchors, nms, density, num_classes)
        tried.append((num_classes, choice))
        if choice.too_many <= _NEAR * density.objects * len(anchors.objectness):
            break
        num_classes //= 2
    return min(tried, key=lambda one: abs(one[1].too_many))


def _choose(anchors: _Anchors, nms: NmsConfig, density: Density, num_classes: int) -> _Choice:
    """Return the choice whose number of objects is nearest to the asked one."""
    asked = density.objects * len(anchors.objectness)

    def counted(bias: float, tilt: float, size: float) -> _Choice:
        choice = _Choice(bias, tilt, size, 0)
        objects = sum(_objects(anchors, choice, nms, num_classes))
        return choice._replace(too_many=objects - asked)

    high = _size(_LARGEST_AREA)
    tilted: list[_Choice] = []
    for tilt in _TILTS:
        tilted.append(counted(_bias(anchors, tilt, density, nms), tilt, high))
        if tilted[-1].too_many <= 0:
            break
    best = nearest = min(tilted, key=lambda choice: choice.too_many)
    low = _size(_SMALLEST_AREA)
    for _ in range(_BISECTIONS if best.too_many < 0 else 0):
        choice = counted(best.bias, best.tilt, (low + high) / 2)
        nearest = min(nearest, choice, key=lambda choice: abs(choice.too_many))
        if nearest.too_many == 0:
            break
        low, high = (choice.size, high) if choice.too_many > 0 else (low, choice.size)
    return nearest


def _bias(anchors: _Anchors, tilt: float, density: Density, nms: NmsConfig) -> float:
    """Return the shift of objectness with which that many anchors pass, of all images together."""
    needed = _logit(np.minimum(nms.score_threshold / anchors.class_score, 1 - 1e-9))
    needed = np.sort((needed - anchors.objectness - tilt * anchors.level).ravel())
    count = density.candidates * len(anchors.objectness)
    if count == 0:
        return float(needed[0]) - _SURE
    if count == len(needed):
        return float(needed[-1]) + _SURE
    return float(needed[count - 1] + needed[count]) / 2


def _objects(
    anchors: _Anchors, choice: _Choice, nms: NmsConfig, num_classes: int
) -> tuple[int, ...]:
    """Count the objects of each image."""
    logits = anchors.objectness + choice.tilt * anchors.level + choice.bias
    scores = sigmoid(logits)
    counts: list[int] = []
    for image, is_candidate in enumerate(scores * anchors.class_score > nms.score_threshold):
        wh = (2 * sigmoid(anchors.logit_wh[:, image, is_candidate] + choice.size)) ** 2
        rows = np.zeros((1, np.count_nonzero(is_candidate), _FIRST_CLASS + num_classes), np.float32)
        rows[0, :, 0:2] = anchors.offset_xy[:, image, is_candidate].T
        rows[0, :, 2:4] = (wh * anchors.anchor_wh[:, is_candidate]).T
        rows[0, :, _OBJECTNESS] = scores[image, is_candidate]
        row = np.arange(rows.shape[1])
        rows[0, row, _FIRST_CLASS + anchors.class_id[is_candidate]] = anchors.class_score[
            image, is_candidate
        ]
        counts += objects_of(rows, nms)
    return tuple(counts)


def _centres(
    level: _Level, number: int, choice: _Choice, classes: npt.NDArray[np.intp], nms: NmsConfig
) -> FloatArray:
    """Return what the channels are around, float64 [anchors, 5 + classes], logits."""
    centres = np.zeros_like(level.mean)
    centres[:, 2:4] = choice.size
    centres[:, _OBJECTNESS] = choice.bias + choice.tilt * number
    centres[:, _FIRST_CLASS:] = min(-_SURE, _logit_of(nms.score_threshold)) - _SURE
    centres[np.arange(len(classes)), _FIRST_CLASS + classes] = _sure(nms)
    return centres


def _sure(nms: NmsConfig) -> float:
    return max(0.0, _logit_of(nms.score_threshold)) + _SURE


def _size(area: float) -> float:
    """Return the logit of a box that is ``area`` times as wide and high as its anchor."""
    return _logit_of(math.sqrt(area) / 2)


def _logit_of(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _logit(probabilities: FloatArray) -> FloatArray:
    values: FloatArray = np.log(probabilities / (1 - probabilities))
    return values
