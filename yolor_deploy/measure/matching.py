"""How close two sets of detections are, box by box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolor_deploy.core.nms import iou_of_boxes
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.measure.parity import OutputParity, Tolerance

_EDGE_IOU = 1e-3  # what 0.2 pixels of a box of a few hundred change


@dataclass(frozen=True, slots=True)
class Rows:
    """Detections of one image, best first.

    Attributes:
        boxes_xyxy: float32 [n, 4], pixels.
        scores: float32 [n].
        class_ids: int32 [n].
    """

    boxes_xyxy: Array
    scores: Array
    class_ids: Array


def rows_of_image(outputs: RawOutput, image: int) -> Rows:
    """Return the used rows of one image of the outputs of an artifact that detects."""
    used = slice(0, int(outputs["num_detections"][image].reshape(-1)[0]))
    return Rows(*(outputs[key][image, used] for key in ("boxes_xyxy", "scores", "class_ids")))


def compare_rows(
    stage: str,
    found: Rows,
    expected: Rows,
    *,
    nms: NmsConfig,
    boxes_px: Tolerance,
    scores: Tolerance,
) -> OutputParity:
    """Match detections of one image with the expected ones.

    A row matches one of its class whose coordinates and score are within the tolerances. A row
    without a match is set aside, and counted, where rounding alone decides: its score is at the
    threshold, or at the last rank that fits, or a box of its class overlaps it by the IoU
    threshold. Any other row without a match fails.
    """
    pairs = _matches(found, expected, boxes_px, scores)
    lost = [row for row in range(len(expected.scores)) if row not in pairs.values()]
    added = [row for row in range(len(found.scores)) if row not in pairs]
    both = _joined(found, expected)
    alone = [*added, *(len(found.scores) + row for row in lost)]
    aside = sum(_is_at_edge(both, row, nms, scores) for row in alone)
    failed = len(lost) + len(added) - aside
    moved = [
        float(np.abs(found.boxes_xyxy[a] - expected.boxes_xyxy[b]).max()) for a, b in pairs.items()
    ]
    rescored = [abs(float(found.scores[a]) - float(expected.scores[b])) for a, b in pairs.items()]
    note = f"{len(pairs)} matched, scores within {max(rescored, default=0.0):.1e}"
    if lost or added:
        note += f", {len(lost)} lost, {len(added)} added, {aside} of them at a threshold"
    return OutputParity(
        stage=stage,
        output="detections",
        values=len(expected.scores),
        max_error=max(moved, default=0.0),
        max_expected=float(np.max(np.abs(expected.boxes_xyxy), initial=0.0)),
        tolerance=f"{boxes_px} px",
        passed=failed == 0,
        note=note,
    )


def _matches(found: Rows, expected: Rows, boxes_px: Tolerance, scores: Tolerance) -> dict[int, int]:
    """Return, by row of ``found``, the row of ``expected`` that it is."""
    pairs: dict[int, int] = {}
    free = np.ones(len(expected.scores), bool)
    for row in range(len(found.scores)):
        moved = np.abs(expected.boxes_xyxy - found.boxes_xyxy[row])
        # Relative to the box's largest coordinate: an edge near 0 carries the rounding of its width
        largest = np.abs(expected.boxes_xyxy).max(axis=1, keepdims=True)
        limit = boxes_px.absolute + boxes_px.relative * largest
        fits = free & (moved <= limit).all(axis=1)
        fits &= expected.class_ids == found.class_ids[row]
        fits &= np.abs(expected.scores - found.scores[row]) <= scores.absolute
        if fits.any():
            match = int(np.argmin(np.where(fits, moved.sum(axis=1), np.inf)))
            pairs[row] = match
            free[match] = False
    return pairs


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.class_ids, second.class_ids]),
    )


def _is_at_edge(both: Rows, row: int, nms: NmsConfig, scores: Tolerance) -> bool:
    """Return whether rounding alone may decide if a row is there.

    Args:
        both: The rows of both sides.
        row: One of them.
        nms: Thresholds and limits.
        scores: Largest difference of two scores that counts as rounding.
    """
    score = float(both.scores[row])
    if abs(score - nms.score_threshold) <= scores.absolute:
        return True
    is_full = len(both.scores) >= 2 * nms.max_detections
    if is_full and score <= float(both.scores.min()) + scores.absolute:
        return True
    rivals = np.full(len(both.scores), nms.class_agnostic)
    rivals |= both.class_ids == both.class_ids[row]
    rivals[row] = False
    iou = iou_of_boxes(both.boxes_xyxy[row], both.boxes_xyxy[rivals])
    return bool((np.abs(iou - nms.iou_threshold) <= _EDGE_IOU).any())
