"""How far two sets of detections of the same images differ: box by box, and as one number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.detections import Detections

_DoubleArray = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]

# The same values as COCOeval, to the last bit: a recall of 0.07 must fall on the same side
_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


class BoxPair(NamedTuple):
    """A box before, and the box after that is taken for the same object.

    Attributes:
        before: Its row in the detections before.
        after: Its row in the detections after.
        iou: Of the two boxes.
        score_change: Score after, minus score before.
        moved_px: Largest difference of a coordinate.
    """

    before: int
    after: int
    iou: float
    score_change: float
    moved_px: float


@dataclass(frozen=True, slots=True)
class DetectionMatch:
    """What became of each box of one image; a box above the score threshold is in one place only.

    Attributes:
        kept: Pairs of which both are above the score threshold.
        at_threshold: Pairs of which one is above it, and the other below.
        relabelled: Pairs of which both are above it, that overlap, and that differ in class.
        lost: Rows of the other boxes before that are above it.
        added: Rows of the other boxes after that are above it.
        boxes_before: Boxes above it.
        boxes_after: Boxes above it.
    """

    kept: tuple[BoxPair, ...]
    at_threshold: tuple[BoxPair, ...]
    relabelled: tuple[BoxPair, ...]
    lost: tuple[int, ...]
    added: tuple[int, ...]
    boxes_before: int
    boxes_after: int

    @property
    def pairs(self) -> tuple[BoxPair, ...]:
        """What was found both times, as the same class."""
        return self.kept + self.at_threshold


def match_detections(
    before: Detections,
    after: Detections,
    *,
    score_threshold: float | None = None,
    iou_threshold: float = 0.5,
    class_aware: bool = True,
) -> DetectionMatch:
    """Pair the boxes of one image, each with one other at most.

    Pairs are taken greedily: the higher IoU first, of equal ones the higher sum of scores, then the
    lower sum of rows. That order is the same from both sides: exchanging ``before`` and ``after``
    exchanges ``lost`` and ``added``, and changes nothing else.

    A score of 0.251 that becomes 0.249 is no loss of an object. Where both models were run below
    ``score_threshold``, pairs are taken in three rounds, each of what the one before left over:

    1. both above the threshold, of the same class: ``kept``;
    2. one above and one below, of the same class: ``at_threshold``;
    3. both above, of different classes: ``relabelled``.

    Boxes below the threshold thus never take a partner from a box above it, and are in no count of
    their own.

    Args:
        before: Boxes of one image.
        after: Boxes of the same image, in the same pixels.
        score_threshold: A box is above it if its score is ``>`` this, in float32, as in
            suppression. None: all are.
        iou_threshold: Boxes of a pair have at least this IoU. Equal boxes have IoU 1, those
            without area too.
        class_aware: Whether only boxes of the same class are ``kept`` or ``at_threshold``.
            Otherwise the class is not looked at, and nothing is ``relabelled``.
    """
    threshold = np.float32(-np.inf if score_threshold is None else score_threshold)
    is_above = before.scores > threshold, after.scores > threshold
    iou = _ious(before.boxes_xyxy, after.boxes_xyxy)
    overlaps = iou >= iou_threshold
    same_class = (before.class_ids[:, None] == after.class_ids) | (not class_aware)
    both_above = is_above[0][:, None] & is_above[1]
    one_above = is_above[0][:, None] ^ is_above[1]
    free = np.ones(len(before), bool), np.ones(len(after), bool)
    kept, at_threshold, relabelled = (
        tuple(
            _pair(before, after, row, column, float(iou[row, column]))
            for row, column in _taken(before, after, iou, allowed, free)
        )
        for allowed in (
            overlaps & same_class & both_above,
            overlaps & same_class & one_above,
            overlaps & ~same_class & both_above,
        )
    )
    return DetectionMatch(
        kept=kept,
        at_threshold=at_threshold,
        relabelled=relabelled,
        lost=tuple(np.flatnonzero(is_above[0] & free[0]).tolist()),
        added=tuple(np.flatnonzero(is_above[1] & free[1]).tolist()),
        boxes_before=int(is_above[0].sum()),
        boxes_after=int(is_above[1].sum()),
    )


def agreement_ap(
    reference: Sequence[Detections], found: Sequence[Detections], num_classes: int
) -> float:
    """Return the average precision of detections, with other detections as the truth.

    Where there are no annotations, it tells what a change of a model costs: 1.0 if both are equal.
    All boxes count, however many there are.

    Args:
        reference: By image.
        found: By image, in the same order; ranked by score, of equal scores the earlier first.
        num_classes: Of the detector.

    Returns:
        Mean over the IoU thresholds 0.50, 0.55, ... 0.95 and over the classes that occur in the
        reference, 0..1. Where it has no box at all: 1 if nothing is found either, else 0.

    Raises:
        ValueError: Different numbers of images, or a class id that is not below ``num_classes``.

    Source: ``COCOeval`` of pycocotools, without its limit of 100 detections; equal boxes without
        area have IoU 1 here, or detections would not agree with themselves.
    """
    if len(reference) != len(found):
        raise ValueError(f"{len(found)} images, expected {len(reference)}")
    for detections in (*reference, *found):
        if len(detections) and detections.class_ids.max() >= num_classes:
            raise ValueError(f"class id {detections.class_ids.max()}, expected < {num_classes}")
    if not any(map(len, reference)):
        return 0.0 if any(map(len, found)) else 1.0
    classes: dict[int, _ClassHits] = {}
    for truth, detections in zip(reference, found, strict=True):
        for class_id in np.union1d(truth.class_ids, detections.class_ids).tolist():
            hits = classes.setdefault(class_id, _ClassHits([], [], []))
            true_boxes = truth.boxes_xyxy[truth.class_ids == class_id]
            rows = detections[detections.class_ids == class_id]
            rows = rows[np.argsort(-rows.scores, kind="stable")]
            hits.objects.append(len(true_boxes))
            hits.scores.append(rows.scores)
            hits.is_hit.append(_hits(_ious(rows.boxes_xyxy, true_boxes)))
    aps = [_average_precision(hits) for hits in classes.values() if sum(hits.objects)]
    return float(np.mean(aps))


class _ClassHits(NamedTuple):
    """Of one class, by image: numbers of objects, scores [n], hits [iou threshold, n]."""

    objects: list[int]
    scores: list[npt.NDArray[np.float32]]
    is_hit: list[_Mask]


def _ious(
    first_xyxy: npt.NDArray[np.float32], second_xyxy: npt.NDArray[np.float32]
) -> _DoubleArray:
    """Return float64 [n, m], the same from both sides; 1 for equal boxes, even without area.

    In float64 only equal boxes come to 1, so that a box is always paired with itself first.
    """
    first = first_xyxy.astype(np.float64)[:, None]
    second = second_xyxy.astype(np.float64)[None]
    overlap = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    intersection = np.maximum(overlap, 0).prod(axis=-1)
    areas = [np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1) for boxes in (first, second)]
    union = areas[0] + areas[1] - intersection
    iou: _DoubleArray = (first == second).all(axis=-1).astype(np.float64)
    np.divide(intersection, union, out=iou, where=intersection > 0)
    return iou


def _taken(
    before: Detections,
    after: Detections,
    iou: _DoubleArray,
    allowed: _Mask,
    free: tuple[_Mask, _Mask],
) -> Iterator[tuple[int, int]]:
    """Yield pairs among the boxes that are free, which then are not free any more."""
    rows, columns = np.nonzero(allowed & free[0][:, None] & free[1])
    scores = before.scores.astype(np.float64)[rows] + after.scores.astype(np.float64)[columns]
    # Pairs that share a box differ in the sum of rows: what is still equal does not compete
    order = np.lexsort((rows + columns, -scores, -iou[rows, columns]))
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if free[0][row] and free[1][column]:
            free[0][row] = free[1][column] = False
            yield row, column


def _pair(before: Detections, after: Detections, row: int, column: int, iou: float) -> BoxPair:
    moved = after.boxes_xyxy[column].astype(np.float64) - before.boxes_xyxy[row]
    change = float(after.scores[column]) - float(before.scores[row])
    return BoxPair(row, column, iou, change, float(np.abs(moved).max()))


def _hits(iou: _DoubleArray) -> _Mask:
    """Return which detections hit an object that no better one hit.

    Args:
        iou: float64 [detections, objects], the best detection first.

    Returns:
        bool [iou threshold, detections].
    """
    is_hit = np.zeros((len(_IOU_THRESHOLDS), len(iou)), bool)
    is_taken = np.zeros((len(_IOU_THRESHOLDS), iou.shape[1]), bool)
    for row in np.flatnonzero((iou >= _IOU_THRESHOLDS[0]).any(axis=1)):
        left = np.where(is_taken, -1.0, iou[row])
        best = left.shape[1] - 1 - left[:, ::-1].argmax(axis=1)  # the last of equals, as COCOeval
        is_hit[:, row] = left.max(axis=1) >= _IOU_THRESHOLDS
        is_taken[is_hit[:, row], best[is_hit[:, row]]] = True
    return is_hit


def _average_precision(hits: _ClassHits) -> float:
    """Return the mean precision over 101 recalls and all IoU thresholds."""
    order = np.argsort(-np.concatenate(hits.scores), kind="stable")
    true_positives = np.concatenate(hits.is_hit, axis=1)[:, order].cumsum(axis=1)
    recalls = true_positives / sum(hits.objects)
    precisions = true_positives / np.arange(1, len(order) + 1)
    best_from_here = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(best_from_here, ((0, 0), (0, 1)))  # 0 where a recall is not reached
    at_recalls = [
        row[np.searchsorted(recall, _RECALLS)] for row, recall in zip(padded, recalls, strict=True)
    ]
    return float(np.mean(at_recalls))
