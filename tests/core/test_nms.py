"""Non-maximum suppression in NumPy, against scalar loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_deploy.core.nms import iou_of_boxes, non_max_suppression
from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.core.spec import NmsConfig

FloatArray = npt.NDArray[np.float32]
f32 = np.float32

# Few values, so that equal scores, equal boxes and IoUs of exactly the threshold are frequent.
COORDINATES = st.sampled_from([0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 6.0, math.nan])
SIDES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0])
CONFIDENCES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.7, 1.0, math.nan])


@st.composite
def prediction_arrays(draw: st.DrawFn) -> FloatArray:
    """Draw float32 [n, boxes, 5 + classes]."""
    batch, boxes, classes = (
        draw(st.integers(1, 3)),
        draw(st.integers(0, 12)),
        draw(st.integers(1, 4)),
    )
    row = st.tuples(COORDINATES, COORDINATES, SIDES, SIDES, *[CONFIDENCES] * (1 + classes))
    rows = draw(st.lists(row, min_size=batch * boxes, max_size=batch * boxes))
    return np.array(rows, f32).reshape(batch, boxes, 5 + classes)


CONFIGS = st.builds(
    NmsConfig,
    score_threshold=st.sampled_from([0.0, 0.05, 0.25, 0.5]),
    iou_threshold=st.sampled_from([0.0, 1 / 3, 0.5, 0.6, 1.0]),
    max_detections=st.integers(1, 8),
    max_candidates=st.integers(1, 20),
    multi_label=st.booleans(),
    class_agnostic=st.booleans(),
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(predictions=prediction_arrays(), config=CONFIGS)
def test_suppression_is_that_of_scalar_loops(predictions: FloatArray, config: NmsConfig) -> None:
    """The vectorised code keeps the rows that the definition, written as loops, keeps."""
    result = non_max_suppression(predictions, config)

    for name, expected in _by_loops(predictions, config).items():
        assert result[name].dtype == expected.dtype
        np.testing.assert_array_equal(result[name], expected, err_msg=name)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(predictions=prediction_arrays(), config=CONFIGS)
def test_images_do_not_influence_each_other(predictions: FloatArray, config: NmsConfig) -> None:
    """A batch in reverse order gives the results in reverse order."""
    forward = non_max_suppression(predictions, config)

    backward = non_max_suppression(predictions[::-1], config)

    for name, values in forward.items():
        np.testing.assert_array_equal(backward[name], values[::-1])


def test_score_equal_to_the_threshold_is_dropped() -> None:
    """The score must be greater than the threshold."""
    predictions = _rows([0, 0, 2, 2, 0.5, 0.5], [9, 9, 2, 2, 0.5, 0.75])

    result = non_max_suppression(predictions, NmsConfig(score_threshold=0.25))

    np.testing.assert_array_equal(result["num_detections"], [[1]])
    assert result["scores"][0, 0] == 0.375


@pytest.mark.parametrize(
    ("iou_threshold", "num_kept"),
    [
        pytest.param(0.5, 2, id="equal-is-kept"),
        pytest.param(np.nextafter(f32(0.5), f32(0)), 1, id="just-below-is-suppressed"),
    ],
)
def test_overlap_equal_to_the_threshold_is_kept(iou_threshold: float, num_kept: int) -> None:
    """The IoU, here exactly one half, must be greater than the threshold to suppress."""
    predictions = _rows([12, 4, 24, 8, 1, 0.9], [20, 4, 24, 8, 1, 0.8])

    result = non_max_suppression(predictions, NmsConfig(iou_threshold=float(iou_threshold)))

    np.testing.assert_array_equal(result["num_detections"], [[num_kept]])


def test_equal_scores_keep_the_first() -> None:
    """Of equal boxes with equal scores the lower index survives, and classes rank by index."""
    predictions = _rows([0, 0, 2, 2, 0.5, 0.8, 0.8], [0, 0, 2.001, 2, 0.5, 0.8, 0.8])

    result = non_max_suppression(predictions, NmsConfig())

    np.testing.assert_array_equal(result["class_ids"][0, :3], [0, 1, 0])
    np.testing.assert_array_equal(result["boxes_xyxy"][0, :2], [[-1, -1, 1, 1]] * 2)
    np.testing.assert_array_equal(result["num_detections"], [[2]])


def test_best_class_takes_the_first_of_equal_classes() -> None:
    """Without multi-label a box gives one candidate, of the lowest of its best classes."""
    predictions = _rows([0, 0, 2, 2, 1, 0.3, 0.9, 0.9])

    result = non_max_suppression(predictions, NmsConfig(multi_label=False))

    np.testing.assert_array_equal(result["num_detections"], [[1]])
    assert result["class_ids"][0, 0] == 1


def test_candidates_beyond_the_limit_are_dropped() -> None:
    """Only the best candidates enter suppression, even if none of them is suppressed."""
    rows = [[10.0 * i, 0, 2, 2, 1, 0.3 + 0.01 * i] for i in range(20)]
    config = NmsConfig(max_candidates=3)

    result = non_max_suppression(_rows(*rows), config)

    np.testing.assert_array_equal(result["num_detections"], [[3]])
    np.testing.assert_array_equal(result["boxes_xyxy"][0, :3, 0], [189, 179, 169])


def test_no_box_gives_zeros() -> None:
    """An image without boxes has no detections, and all slots are zero."""
    result = non_max_suppression(np.zeros((2, 0, 8), f32), NmsConfig(max_detections=5))

    assert {name: values.shape for name, values in result.items()} == {
        "num_detections": (2, 1),
        "boxes_xyxy": (2, 5, 4),
        "scores": (2, 5),
        "class_ids": (2, 5),
    }
    assert not any(values.any() for values in result.values())


def test_many_candidates_of_one_place_leave_one() -> None:
    """Thousands of candidates on one spot are suppressed by the best."""
    rng = np.random.default_rng(0)
    predictions = np.ones((1, 5000, 6), f32) * f32(50)
    predictions[0, :, 4:] = rng.random((5000, 2))

    result = non_max_suppression(predictions, NmsConfig())

    np.testing.assert_array_equal(result["num_detections"], [[1]])
    assert result["scores"][0, 0] == np.prod(predictions[0, :, 4:], axis=1).max()


@pytest.mark.parametrize("multi_label", [True, False])
def test_nan_class_score_leaves_the_other_classes(multi_label: bool) -> None:
    """A NaN class score takes away its own pair only."""
    predictions = _rows([0, 0, 2, 2, 1, math.nan, 0.9])
    config = replace(NmsConfig(), multi_label=multi_label)

    result = non_max_suppression(predictions, config)

    np.testing.assert_array_equal(result["num_detections"], [[1]])
    assert result["class_ids"][0, 0] == 1


def test_iou_of_empty_boxes_is_zero() -> None:
    """Boxes without area share nothing, not even with themselves."""
    point = np.array([5, 5, 5, 5], f32)

    iou = iou_of_boxes(point, np.stack([point, np.array([0, 0, 9, 9], f32)]))

    np.testing.assert_array_equal(iou, [0, 0])


def test_iou_of_a_known_pair() -> None:
    """Squares of side 2 that share a square of side 1 have an IoU of one seventh."""
    others = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2]], f32)

    iou = iou_of_boxes(np.array([0, 0, 2, 2], f32), others)

    np.testing.assert_array_equal(iou, np.array([f32(1) / f32(7), 1, 0], f32))


def _rows(*rows: list[float]) -> FloatArray:
    return np.array([rows], f32)


def _by_loops(predictions: FloatArray, config: NmsConfig) -> RawOutput:
    batch, slots = len(predictions), config.max_detections
    result = {
        "num_detections": np.zeros((batch, 1), np.int32),
        "boxes_xyxy": np.zeros((batch, slots, 4), f32),
        "scores": np.zeros((batch, slots), f32),
        "class_ids": np.zeros((batch, slots), np.int32),
    }
    for image in range(batch):
        kept: list[tuple[f32, int, list[f32]]] = []
        for score, class_id, box in _candidates_by_loops(predictions[image], config):
            overlaps = [
                _iou(box, other) > f32(config.iou_threshold)
                for _, other_class, other in kept
                if config.class_agnostic or other_class == class_id
            ]
            if len(kept) < slots and not any(overlaps):
                kept.append((score, class_id, box))
        result["num_detections"][image] = len(kept)
        for slot, (score, class_id, box) in enumerate(kept):
            result["scores"][image, slot] = score
            result["class_ids"][image, slot] = class_id
            result["boxes_xyxy"][image, slot] = box
    return result


def _candidates_by_loops(
    rows: FloatArray, config: NmsConfig
) -> list[tuple[np.float32, int, list[np.float32]]]:
    found = []
    for index, row in enumerate(rows):
        if any(math.isnan(value) for value in row[:4]):
            continue
        scores = [(row[4] * value, class_id) for class_id, value in enumerate(row[5:])]
        above = [pair for pair in scores if pair[0] > f32(config.score_threshold)]
        if above and not config.multi_label:
            above = [max(above, key=lambda pair: (pair[0], -pair[1]))]
        cx, cy, w, h = row[:4]
        box = [cx - w / f32(2), cy - h / f32(2), cx + w / f32(2), cy + h / f32(2)]
        found += [(-score, index, class_id, box) for score, class_id in above]
    found.sort(key=lambda candidate: candidate[:3])
    return [(-score, class_id, box) for score, _, class_id, box in found[: config.max_candidates]]


def _iou(a: list[np.float32], b: list[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(intersection / (areas[0] + areas[1] - intersection))
