"""Raw maps that hold exactly so many candidates, in exactly so many objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.density import Density, require_density
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.nms import iou_of_boxes
from yolor_deploy.core.runtime import FloatArray
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

_BACKGROUND = -14.0  # logits: a score of some 1e-12
_IOU_MARGIN = 0.02  # from the threshold, for what rounds to half precision
_NEAREST_AREA, _FARTHEST_AREA = 0.02, 3.8  # side of a box, in those of its anchor; the limit is 4
_NEAREST_CELL, _FARTHEST_CELL = -0.45, 1.45  # centre of a box, in cells from its own; -0.5 to 1.5
_BEST_SCORES = (0.95, 0.85)  # of what is above the threshold, from the first object to the last
_OTHER_SCORES = (0.8, 0.1)  # the same, from the first candidate to the last
_SIZES = (0.5, 1.0, 2.0, 3.0)  # sides of objects, in those of an anchor


def planted_maps(
    spec: DetectorSpec, *, candidates: int, objects: int, seed: int, nms: NmsConfig
) -> list[FloatArray]:
    """Make raw maps of one image with objects as a trained network sees them.

    Each object is a group of anchors of neighbouring cells and of several levels whose boxes
    overlap, of one class, with falling scores; the groups are spread over the image, in several
    sizes. All other anchors are far below the threshold.

    Args:
        spec: The detector.
        candidates: Above the score threshold.
        objects: That ``non_max_suppression`` leaves of them, if no candidate is dropped before.
        seed: Of places and sizes.
        nms: Thresholds; an object is as far from them as half precision needs.

    Returns:
        One per level, float32 [1, anchors * (5 + classes), h, w].

    Raises:
        BuildError: That does not fit the detector: more candidates than anchors, more objects than
            rows, or not so many anchors about so many objects.
    """
    density = Density(candidates, objects)
    require_density(density, spec, nms)
    anchors = _anchors_of(spec)
    rows = np.full((len(anchors.stride), 5 + spec.num_classes), _BACKGROUND, np.float64)
    rows[:, :4] = 0.0
    if objects:
        groups = _groups(anchors, density, spec, nms, np.random.default_rng(seed))
        _fill(rows, groups, anchors, spec, nms)
    return _maps_of(rows, spec)


class _Anchors(NamedTuple):
    """Every anchor of every cell, in the order of predictions; float64.

    Attributes:
        cell_xy: [boxes, 2], cells.
        stride: [boxes], input pixels.
        anchor_wh: [boxes, 2], input pixels.
    """

    cell_xy: npt.NDArray[np.float64]
    stride: npt.NDArray[np.float64]
    anchor_wh: npt.NDArray[np.float64]

    def about(self, box: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which anchors may overlap a box, cxcywh: bool [boxes]."""
        distance = np.abs((self.cell_xy + 0.5) * self.stride[:, None] - box[:2])
        return np.asarray((distance <= box[2:] + self.stride[:, None]).all(axis=1))

    def nearest(
        self, box: npt.NDArray[np.float64], among: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """Return the box of each of these anchors that comes nearest to one, cxcywh.

        Returns:
            float64 [among, 4].
        """
        cell, stride, anchor = self.cell_xy[among], self.stride[among, None], self.anchor_wh[among]
        low, high = (cell + _NEAREST_CELL) * stride, (cell + _FARTHEST_CELL) * stride
        sides = np.clip(box[2:], _NEAREST_AREA * anchor, _FARTHEST_AREA * anchor)
        return np.concatenate([np.clip(box[:2], low, high), sides], axis=1)


class _Group(NamedTuple):
    """The anchors of an object, the best first.

    Attributes:
        members: Indices of anchors.
        boxes: float64 [members, 4], cxcywh, input pixels.
    """

    members: npt.NDArray[np.intp]
    boxes: npt.NDArray[np.float64]


def _anchors_of(spec: DetectorSpec) -> _Anchors:
    cells, strides, sides = [], [], []
    for level in spec.levels:
        _, height, width = spec.head_shape(level)
        shape = (level.num_anchors, height, width)
        grid = np.broadcast_to(np.indices(shape[1:])[::-1].transpose(1, 2, 0), (*shape, 2))
        cells.append(grid.reshape(-1, 2))
        strides.append(np.full(math.prod(shape), level.stride))
        anchor = np.array(level.anchors_px)[:, None, None, :]
        sides.append(np.broadcast_to(anchor, (*shape, 2)).reshape(-1, 2))
    return _Anchors(
        *(np.concatenate(part).astype(np.float64) for part in (cells, strides, sides)),
    )


def _groups(
    anchors: _Anchors,
    density: Density,
    spec: DetectorSpec,
    nms: NmsConfig,
    rng: np.random.Generator,
) -> list[_Group]:
    """Give each object its anchors, those whose boxes come nearest to it."""
    free = np.ones(len(anchors.stride), np.bool_)
    groups: list[_Group] = []
    places = _places(density.objects, spec, rng)
    sizes = [
        (factor * w, factor * h)
        for level in spec.levels
        for w, h in level.anchors_px
        for factor in _SIZES
    ]
    for number, place in enumerate(places):
        members = density.candidates // density.objects
        members += number < density.candidates % density.objects
        order = rng.permutation(len(sizes))
        found = (_group(anchors, free, place, sizes[i], members, nms) for i in order)
        group = next(
            (g for g in found if g is not None and _is_apart(g, groups, nms)),
            None,
        )
        if group is None:
            raise BuildError(
                f"{density} candidates and objects: there are not {members} free anchors about "
                f"object {number + 1}",
                where=f"{spec.variant} at {spec.input.height}x{spec.input.width}",
                hint="give fewer candidates, or more objects",
            )
        free[group.members] = False
        groups.append(group)
    return groups


def _places(objects: int, spec: DetectorSpec, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Yield centres of objects, float32 [2], input pixels: on a grid, in any order."""
    height, width = spec.input.height, spec.input.width
    columns = max(1, math.ceil(math.sqrt(objects * width / height)))
    rows = math.ceil(objects / columns)
    for index in rng.permutation(columns * rows)[:objects]:
        x = (index % columns + 0.5) * width / columns
        y = (index // columns + 0.5) * height / rows
        yield np.array([x, y], np.float32)


def _group(
    anchors: _Anchors,
    free: npt.NDArray[np.bool_],
    place: FloatArray,
    size: tuple[float, float],
    members: int,
    nms: NmsConfig,
) -> _Group | None:
    """Return the free anchors whose boxes overlap one of a size most; None if there are too few."""
    target = np.array([*place, *size], np.float64)
    near = np.flatnonzero(free & anchors.about(target))
    if len(near) < members:
        return None
    boxes = anchors.nearest(target, near)
    order = np.argsort(-_iou(target, boxes), kind="stable")[:members]
    near, boxes = near[order], boxes[order]
    if (_iou(boxes[0], boxes[1:]) <= nms.iou_threshold + _IOU_MARGIN).any():
        return None
    return _Group(near, boxes)


def _is_apart(group: _Group, others: list[_Group], nms: NmsConfig) -> bool:
    """Whether the best box of a group suppresses, and is suppressed by, that of no other."""
    if not others:
        return True
    best = np.stack([other.boxes[0] for other in others])
    return bool((_iou(group.boxes[0], best) < nms.iou_threshold - _IOU_MARGIN).all())


def _iou(box: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the IoU of a box with others, all cxcywh."""
    return iou_of_boxes(_corners(box[None])[0], _corners(others))


def _corners(boxes: npt.NDArray[np.float64]) -> FloatArray:
    half = boxes[:, 2:] / 2
    corners: FloatArray = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1).astype(
        np.float32
    )
    return corners


def _fill(
    rows: npt.NDArray[np.float64],
    groups: list[_Group],
    anchors: _Anchors,
    spec: DetectorSpec,
    nms: NmsConfig,
) -> None:
    """Write the logits of the groups; the best of each is above all that are not."""
    others = sum(len(group.members) - 1 for group in groups)
    best_scores = _scores(_BEST_SCORES, len(groups), nms)
    other_scores = _scores(_OTHER_SCORES, others, nms)
    position = 0
    for number, group in enumerate(groups):
        end = position + len(group.members) - 1
        scores = np.concatenate([best_scores[number : number + 1], other_scores[position:end]])
        position = end
        members = group.members
        stride = anchors.stride[members, None]
        offset = group.boxes[:, :2] / stride - anchors.cell_xy[members]
        rows[members, 0:2] = _logit((offset + 0.5) / 2)
        rows[members, 2:4] = _logit(np.sqrt(group.boxes[:, 2:] / anchors.anchor_wh[members]) / 2)
        rows[members, 4] = _logit(np.sqrt(scores))
        rows[members, 5 + number % spec.num_classes] = _logit(np.sqrt(scores))


def _scores(limits: tuple[float, float], count: int, nms: NmsConfig) -> npt.NDArray[np.float64]:
    """Return falling scores between two parts of what is above the threshold."""
    parts = np.linspace(*limits, count)
    scores: npt.NDArray[np.float64] = nms.score_threshold + (1 - nms.score_threshold) * parts
    return scores


def _logit(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = np.log(probabilities / (1 - probabilities))
    return values


def _maps_of(rows: npt.NDArray[np.float64], spec: DetectorSpec) -> list[FloatArray]:
    """Return rows in the order of predictions as raw maps."""
    maps = []
    begin = 0
    for level in spec.levels:
        channels, height, width = spec.head_shape(level)
        end = begin + level.num_anchors * height * width
        cells = rows[begin:end].reshape(level.num_anchors, height, width, -1)
        raw = cells.transpose(0, 3, 1, 2).reshape(1, channels, height, width)
        maps.append(np.ascontiguousarray(raw, np.float32))
        begin = end
    return maps
