from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from yolor_deploy.core.detections import Detections

NAMES = ("circle", "square", "star")


def found(n: int = 3) -> Detections:
    """Return detections whose rows all differ."""
    return Detections(
        boxes_xyxy=np.arange(4 * n, dtype=np.float32).reshape(n, 4),
        scores=np.linspace(0.9, 0.5, n, dtype=np.float32),
        class_ids=np.arange(n, dtype=np.int32) % 3,
    )


def test_empty_has_no_rows() -> None:
    """Nothing found is a valid result of length 0, with no rows in JSON."""
    empty = Detections.empty()

    assert len(empty) == 0
    assert empty.boxes_xyxy.shape == (0, 4)
    assert empty.to_json(NAMES) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boxes_xyxy", np.zeros((2, 4), np.float32)),
        ("boxes_xyxy", np.zeros((3, 5), np.float32)),
        ("boxes_xyxy", np.zeros((3, 4), np.float64)),
        ("boxes_xyxy", np.full((3, 4), np.nan, np.float32)),
        ("scores", np.zeros((3, 1), np.float32)),
        ("scores", np.full(3, np.inf, np.float32)),
        ("class_ids", np.zeros(3, np.int64)),
        ("class_ids", np.array([0, -1, 0], np.int32)),
    ],
)
def test_detections_refuse(name: str, value: np.typing.NDArray[Any]) -> None:
    """A wrong shape or type, a number that is not finite and a negative class are refused."""
    arrays = {
        "boxes_xyxy": np.zeros((3, 4), np.float32),
        "scores": np.zeros(3, np.float32),
        "class_ids": np.zeros(3, np.int32),
    }

    with pytest.raises(ValueError, match=name):
        Detections(**{**arrays, name: value})


def test_mask_keeps_rows_together() -> None:
    """A mask takes the same rows of boxes, scores and classes."""
    all_of_them = found(4)

    some = all_of_them[all_of_them.scores < 0.8]

    assert len(some) == 3
    assert np.array_equal(some.boxes_xyxy, all_of_them.boxes_xyxy[1:])
    assert np.array_equal(some.scores, all_of_them.scores[1:])
    assert np.array_equal(some.class_ids, all_of_them.class_ids[1:])


def test_slice_takes_the_best() -> None:
    """A slice takes the first rows, and none of nothing."""
    assert found(4)[:2].class_ids.tolist() == [0, 1]
    assert len(Detections.empty()[:2]) == 0


def test_to_json_gives_names_and_short_numbers() -> None:
    """A float32 is written with the digits that it has, and a class by id and name."""
    one = Detections(
        np.array([[1, 2.5, 30.1, 4]], np.float32),
        np.array([0.87], np.float32),
        np.array([2], np.int32),
    )

    assert one.to_json(NAMES) == [
        {
            "class_id": 2,
            "class_name": "star",
            "score": 0.87,
            "box_xyxy": [1.0, 2.5, 30.1, 4.0],
        }
    ]


def test_to_json_keeps_every_bit() -> None:
    """Numbers of the JSON form, read as float32, are the numbers of the arrays."""
    random = np.random.default_rng(0)
    boxes = (random.random((50, 4)) * 2000).astype(np.float32)
    many = Detections(boxes, boxes[:, 0].copy(), np.zeros(50, np.int32))

    rows = many.to_json(NAMES)

    assert np.array_equal(np.array([row["box_xyxy"] for row in rows], np.float32), boxes)
