"""Decoding, against scalar arithmetic and against outputs of the authors' code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.graph.tiny_graphs import random_maps, tiny_spec
from yolor_deploy.core.decode import predictions_from_raw, sigmoid
from yolor_deploy.core.spec import DetectorSpec, HeadLevel, InputSpec

REFERENCES = Path(__file__).parents[1] / "data" / "references"

CSP_ANCHORS = (
    ((12, 16), (19, 36), (40, 28)),
    ((36, 75), (76, 55), (72, 146)),
    ((142, 110), (192, 243), (459, 401)),
)
P6_ANCHORS = (
    ((19, 27), (44, 40), (38, 94)),
    ((96, 68), (86, 152), (180, 137)),
    ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)
ZOO_ANCHORS = (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (60, 40)))


def reference_spec(
    anchors: tuple[tuple[tuple[float, float], ...], ...], *, num_classes: int
) -> DetectorSpec:
    """Return a detector with these anchors at strides 8, 16, ..."""
    return DetectorSpec(
        family="test",
        variant="custom",
        class_names=tuple(map(str, range(num_classes))),
        levels=tuple(HeadLevel(8 << i, level) for i, level in enumerate(anchors)),
        input=InputSpec(64, 96),
    )


@pytest.mark.parametrize(
    ("name", "anchors", "num_classes"),
    [
        pytest.param("implicit_zoo", ZOO_ANCHORS, 2, id="two-levels-batch-2"),
        pytest.param("yolor-p6_nc1", P6_ANCHORS, 1, id="four-levels-batch-2"),
        pytest.param("yolor_csp_cfg_fp16", CSP_ANCHORS, 1, id="three-levels"),
    ],
)
def test_predictions_are_those_of_the_authors(
    name: str, anchors: tuple[tuple[tuple[float, float], ...], ...], num_classes: int
) -> None:
    """Decoding the authors' raw maps gives the authors' predictions, in their order."""
    with np.load(REFERENCES / f"{name}.npz") as reference:
        expected = reference["pred"]
        cells = [reference[f"raw{level}"] for level in range(len(anchors))]
    maps = [
        raw.transpose(0, 1, 4, 2, 3).reshape(len(raw), -1, raw.shape[2], raw.shape[3])
        for raw in cells
    ]

    predictions = predictions_from_raw(maps, reference_spec(anchors, num_classes=num_classes))

    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions, expected, rtol=1e-5, atol=1e-3)


def test_predictions_follow_the_formula() -> None:
    """Every row is the formula of its level, anchor, row and column, in this nesting."""
    spec = tiny_spec(num_classes=2, levels=3)
    maps = [raw.astype(np.float64) for raw in random_maps(spec, batch=2, rng=_rng())]

    predictions = predictions_from_raw(maps, spec)

    expected = [
        [
            _scalar_row(raw[image, a * 7 : a * 7 + 7, y, x], level.stride, anchor, (x, y))
            for raw, level in zip(maps, spec.levels, strict=True)
            for a, anchor in enumerate(level.anchors_px)
            for y in range(raw.shape[2])
            for x in range(raw.shape[3])
        ]
        for image in range(2)
    ]
    assert predictions.shape == (2, spec.num_boxes, 7)
    np.testing.assert_allclose(predictions, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_keep_the_type_of_the_maps(dtype: type[np.floating]) -> None:
    """Arithmetic is done in the type of the maps."""
    spec = tiny_spec()
    maps = [raw.astype(dtype) for raw in random_maps(spec, batch=1, rng=_rng())]

    predictions = predictions_from_raw(maps, spec)

    assert predictions.dtype == dtype


def test_predictions_of_another_size_than_the_spec() -> None:
    """The grid is that of the map, whatever input size the spec names."""
    spec = tiny_spec(num_classes=1, levels=1)

    predictions = predictions_from_raw([np.zeros((1, 12, 2, 3), np.float32)], spec)

    assert predictions.shape == (1, 12, 6)
    np.testing.assert_array_equal(predictions[0, :6, 0], [4, 12, 20, 4, 12, 20])
    np.testing.assert_array_equal(predictions[0, :6, 1], [4, 4, 4, 12, 12, 12])


def test_predictions_leave_the_maps_alone() -> None:
    """The raw maps are not changed."""
    spec = tiny_spec()
    maps = random_maps(spec, batch=1, rng=_rng())
    before = [raw.copy() for raw in maps]

    predictions_from_raw(maps, spec)

    for raw, copy in zip(maps, before, strict=True):
        np.testing.assert_array_equal(raw, copy)


def test_predictions_refuse_a_missing_level() -> None:
    """One map less than levels is an error, not a shorter result."""
    spec = tiny_spec(levels=2)
    maps = random_maps(spec, batch=1, rng=_rng())

    with pytest.raises(ValueError, match="zip"):
        predictions_from_raw(maps[:1], spec)


def test_sigmoid_of_extreme_logits() -> None:
    """Infinities give 0 and 1, NaN stays NaN, and nothing overflows."""
    logits = np.array([-np.inf, -1000, 0, 1000, np.inf, np.nan], np.float32)

    values = sigmoid(logits)

    np.testing.assert_array_equal(values, np.array([0, 0, 0.5, 1, 1, np.nan], np.float32))


def _scalar_row(
    values: np.ndarray, stride: int, anchor: tuple[float, float], cell: tuple[int, int]
) -> list[float]:
    t = [1 / (1 + math.exp(-float(value))) for value in values]
    centre = [(2 * t[i] - 0.5 + cell[i]) * stride for i in (0, 1)]
    extent = [(2 * t[2 + i]) ** 2 * anchor[i] for i in (0, 1)]
    return [*centre, *extent, *t[4:]]


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)
