"""Box by box: which differences are rounding, and which are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.measure.matching import Rows, compare_rows, rows_of_image
from yolor_deploy.measure.parity import OutputParity, Tolerance

NMS = NmsConfig(score_threshold=0.25, iou_threshold=0.5, max_detections=100)


def rows(*values: tuple[float, float, float, float, float, int]) -> Rows:
    """Return rows of (left, top, right, bottom, score, class)."""
    table = np.array(values, np.float64).reshape(-1, 6)
    return Rows(
        table[:, :4].astype(np.float32),
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.int32),
    )


def compared(found: Rows, expected: Rows, nms: NmsConfig = NMS) -> OutputParity:
    """Compare with a tolerance of 0.2 pixels and 0.001 of score."""
    return compare_rows(
        "s", found, expected, nms=nms, boxes_px=Tolerance(0.2, 1e-4), scores=Tolerance(1e-3, 0.0)
    )


A = (10.0, 10.0, 30.0, 50.0, 0.9, 0)
B = (100.0, 20.0, 160.0, 60.0, 0.8, 1)
C = (200.0, 200.0, 240.0, 260.0, 0.7, 0)


def test_same_rows_pass() -> None:
    """The largest movement and the largest coordinate are told."""
    result = compared(rows(A, B, C), rows(A, B, C))

    assert result.passed
    assert (result.values, result.max_error, result.max_expected) == (3, 0.0, 260.0)
    assert result.note == "3 matched, scores within 0.0e+00"


def test_no_rows_pass() -> None:
    """An image without objects agrees with an image without objects."""
    result = compared(rows(), rows())

    assert result.passed
    assert result.values == 0


def test_order_does_not_matter() -> None:
    """Equal scores may change places by rounding."""
    assert compared(rows(B, A), rows(A, B)).passed


def test_movement_within_tolerance_is_told() -> None:
    """Moved and rescored rows are matched, and by how much is in the result."""
    moved = (10.0, 10.125, 30.0, 50.0, 0.9005, 0)

    result = compared(rows(moved, B), rows(A, B))

    assert result.passed
    assert result.max_error == 0.125
    assert "scores within 5.0e-04" in result.note


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((10.0, 10.0, 30.0, 50.5, 0.9, 0), id="box"),
        pytest.param((10.0, 10.0, 30.0, 50.0, 0.898, 0), id="score"),
        pytest.param((10.0, 10.0, 30.0, 50.0, 0.9, 1), id="class"),
        pytest.param((float("nan"), 10.0, 30.0, 50.0, 0.9, 0), id="nan-box"),
        pytest.param((10.0, 10.0, 30.0, 50.0, float("nan"), 0), id="nan-score"),
    ],
)
def test_row_that_differs_fails(other: tuple[float, float, float, float, float, int]) -> None:
    """It counts as one lost and one added, and neither is at a threshold."""
    result = compared(rows(other, B), rows(A, B))

    assert not result.passed
    assert result.note.endswith("1 lost, 1 added, 0 of them at a threshold")


@pytest.mark.parametrize(
    ("found", "expected", "counts"),
    [
        pytest.param(rows(A), rows(A, B), "1 lost, 0 added", id="lost"),
        pytest.param(rows(A, B), rows(A), "0 lost, 1 added", id="added"),
        pytest.param(rows(), rows(A, B, C), "3 lost, 0 added", id="nothing-found"),
        pytest.param(rows(A, A), rows(A), "0 lost, 1 added", id="twice"),
    ],
)
def test_missing_and_surplus_rows_fail(found: Rows, expected: Rows, counts: str) -> None:
    """Each row is matched with one other at most."""
    result = compared(found, expected)

    assert not result.passed
    assert counts in result.note


def test_row_at_the_score_threshold_is_set_aside() -> None:
    """0.2505 is above 0.25 by less than rounding, 0.26 by more."""
    near, far = (*B[:4], 0.2505, 1), (*B[:4], 0.26, 1)

    aside = compared(rows(A), rows(A, near))

    assert aside.passed
    assert "1 lost, 0 added, 1 of them at a threshold" in aside.note
    assert not compared(rows(A), rows(A, far)).passed


def test_row_at_the_iou_threshold_is_set_aside() -> None:
    """Two boxes of one class that overlap by the threshold: rounding decides which one stays."""
    first = (0.0, 0.0, 30.0, 10.0, 0.9, 0)
    at_threshold = (10.0, 0.0, 40.0, 10.0, 0.8, 0)  # 200 of 400 square pixels
    beyond = (15.0, 0.0, 45.0, 10.0, 0.8, 0)
    other_class = (10.0, 0.0, 40.0, 10.0, 0.8, 1)

    assert compared(rows(first), rows(first, at_threshold)).passed
    assert not compared(rows(first), rows(first, beyond)).passed
    assert not compared(rows(first), rows(first, other_class)).passed
    agnostic = replace(NMS, class_agnostic=True)
    assert compared(rows(first), rows(first, other_class), agnostic).passed


def test_row_is_no_rival_of_itself() -> None:
    """At a threshold of 1 a box overlaps itself by just that, which excuses nothing."""
    everything = replace(NMS, iou_threshold=1.0)

    assert not compared(rows(A), rows(A, B), everything).passed


def test_row_of_the_last_rank_is_set_aside_only_if_both_are_full() -> None:
    """Of equal scores at the end of a full list, rounding decides which one fits."""
    last, other = (*B[:4], 0.7, 1), (*C[:4], 0.7, 0)
    full = replace(NMS, max_detections=2)

    assert compared(rows(A, last), rows(A, other), full).passed
    assert not compared(rows(A, last), rows(A, other)).passed
    assert not compared(rows(A, B), rows(A, C), full).passed


def test_rows_of_image_are_the_used_ones() -> None:
    """Slots behind the count are not read."""
    outputs = {
        "num_detections": np.array([[1], [2]], np.int32),
        "boxes_xyxy": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "scores": np.array([[0.9, 0.0, 0.0], [0.8, 0.7, 0.0]], np.float32),
        "class_ids": np.array([[3, 0, 0], [1, 2, 0]], np.int32),
    }

    used = rows_of_image(outputs, 1)

    assert used.boxes_xyxy.tolist() == [[12, 13, 14, 15], [16, 17, 18, 19]]
    np.testing.assert_allclose(used.scores, [0.8, 0.7], rtol=1e-6)
    assert used.class_ids.tolist() == [1, 2]
