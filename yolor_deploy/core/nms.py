"""Non-maximum suppression in NumPy: what ``yolor_deploy::YolorNMS`` means.

Used where an artifact has no post-processing of its own, and as the reference of those that have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.runtime import Array, FloatArray, RawOutput
from yolor_deploy.core.spec import NmsConfig

THRESHOLD_INPUTS = ("score_threshold", "iou_threshold")
"""Inputs of a graph that detects, float32 [1]; also the names of these fields of ``NmsConfig``."""

_IndexArray = npt.NDArray[np.int64]


def non_max_suppression(predictions: Array, config: NmsConfig) -> RawOutput:
    """Keep the best boxes of each image, and drop those that overlap a better one.

    1. A pair (box, class) is a candidate if ``objectness * class_score > score_threshold``, in
       float32, and no coordinate of the box is NaN. A NaN score is never a candidate. Without
       ``multi_label`` only the best class of a box is looked at, the first of equals.
    2. Candidates are ranked: higher score first, then lower box index, then lower class. The best
       ``max_candidates`` go on.
    3. In order of rank, a candidate is kept unless its IoU with a kept one of the same class (of
       any class if ``class_agnostic``) is ``> iou_threshold``.
    4. The first ``max_detections`` kept are returned.

    Images do not influence each other.

    Args:
        predictions: Float [n, boxes, 5 + classes]: centre x, centre y, width, height, objectness,
            class scores; computed with as float32.
        config: Thresholds and limits.

    Returns:
        The outputs of the graph, ordered by rank, unused slots 0: ``num_detections`` int32 [n, 1],
        ``boxes_xyxy`` float32 [n, max_detections, 4] in the unit of the predictions,
        ``scores`` float32 [n, max_detections], ``class_ids`` int32 [n, max_detections].

    Source: ``non_max_suppression`` of the authors' repositories, without its offset of boxes by
    class, which rounds coordinates; ``max_candidates`` is ours.
    """
    batch = len(predictions)
    num_detections = np.zeros((batch, 1), np.int32)
    boxes_xyxy = np.zeros((batch, config.max_detections, 4), np.float32)
    scores = np.zeros((batch, config.max_detections), np.float32)
    class_ids = np.zeros((batch, config.max_detections), np.int32)
    for image, rows in enumerate(predictions):
        ranked = _ranked_candidates(rows.astype(np.float32, copy=False), config)
        kept = _kept_ranks(ranked, config)
        num_detections[image] = len(kept)
        boxes_xyxy[image, : len(kept)] = ranked.boxes_xyxy[kept]
        scores[image, : len(kept)] = ranked.scores[kept]
        class_ids[image, : len(kept)] = ranked.class_ids[kept]
    return {
        "num_detections": num_detections,
        "boxes_xyxy": boxes_xyxy,
        "scores": scores,
        "class_ids": class_ids,
    }


def iou_of_boxes(box_xyxy: FloatArray, others_xyxy: FloatArray) -> FloatArray:
    """Return the intersection over union of one box with others; 0 where they share no area.

    Args:
        box_xyxy: float32 [4].
        others_xyxy: float32 [n, 4].

    Returns:
        float32 [n]: ``intersection / (area + other_area - intersection)``, in this order of
        operations, which decides on which side of a threshold a close pair falls.
    """
    low = np.maximum(box_xyxy[:2], others_xyxy[:, :2])
    high = np.minimum(box_xyxy[2:], others_xyxy[:, 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box_xyxy[2:] - box_xyxy[:2])
    other_areas = np.prod(others_xyxy[:, 2:] - others_xyxy[:, :2], axis=1)
    union = area + other_areas - intersection
    iou = np.zeros(len(others_xyxy), np.float32)
    np.divide(intersection, union, out=iou, where=intersection > 0)
    return iou


class _Candidates(NamedTuple):
    """Ranked candidates of one image: float32 [k, 4], float32 [k], int64 [k]."""

    boxes_xyxy: FloatArray
    scores: FloatArray
    class_ids: _IndexArray


def _ranked_candidates(rows: FloatArray, config: NmsConfig) -> _Candidates:
    scores = rows[:, 4:5] * rows[:, 5:]
    is_candidate = scores > np.float32(config.score_threshold)  # false for NaN
    is_candidate &= ~np.isnan(rows[:, :4]).any(axis=1, keepdims=True)
    if not config.multi_label:
        best = np.where(is_candidate, scores, 0).argmax(axis=1)  # the first of equals
        is_candidate &= np.arange(scores.shape[1]) == best[:, None]
    box_ids, class_ids = np.nonzero(is_candidate)  # by box, then class: a stable sort keeps that
    order = np.argsort(-scores[box_ids, class_ids], kind="stable")[: config.max_candidates]
    box_ids, class_ids = box_ids[order], class_ids[order]
    centre, half = rows[box_ids, :2], rows[box_ids, 2:4] * np.float32(0.5)
    return _Candidates(
        np.concatenate([centre - half, centre + half], axis=1),
        scores[box_ids, class_ids],
        class_ids,
    )


def _kept_ranks(ranked: _Candidates, config: NmsConfig) -> _IndexArray:
    alive = np.arange(len(ranked.scores))
    kept: list[int] = []
    while len(alive) > 0 and len(kept) < config.max_detections:
        best, alive = int(alive[0]), alive[1:]
        kept.append(best)
        iou = iou_of_boxes(ranked.boxes_xyxy[best], ranked.boxes_xyxy[alive])
        suppressed = iou > np.float32(config.iou_threshold)
        if not config.class_agnostic:
            suppressed &= ranked.class_ids[alive] == ranked.class_ids[best]
        alive = alive[~suppressed]
    return np.array(kept, np.int64)
