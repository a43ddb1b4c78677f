"""The shapes data set and the training that stands on it."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.shapes.data import Batch, Pictures
from benchmarks.shapes.evaluate import result_rows
from benchmarks.shapes.generate import SPLITS, Split, generate, scene
from benchmarks.shapes.loss import complete_iou, detection_loss, match_objects
from benchmarks.shapes.render import CLASS_NAMES, PAINTS, Shape, paint_shape
from benchmarks.shapes.scene import MIN_VISIBLE, Annotation, draw_scene
from benchmarks.shapes.train import Trainer, network_from_cfg, prepare, save_as_authors
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.spec import DetectorSpec, HeadLevel, InputSpec
from yolor_deploy.measure.accuracy import coco_ap

LEVEL = HeadLevel(stride=8, anchors_px=((10.0, 10.0), (40.0, 40.0)))

TINY_CFG = """
[net]
width=32
height=32

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=silu

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=silu

[implicit_add]
filters=16

[implicit_mul]
filters=14

[route]
layers=1

[shift_channels]
from=2

[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[control_channels]
from=3

[yolo]
mask=0,1
anchors=8,8, 16,16
classes=2
num=2
"""


@pytest.fixture
def tiny_trainer(tmp_path: Path) -> Trainer:
    cfg = tmp_path / "tiny.cfg"
    cfg.write_text(TINY_CFG)
    torch.manual_seed(0)
    network = network_from_cfg(cfg)
    prepare(network, 32)
    return Trainer(network)


@pytest.fixture
def two_images() -> Batch:
    images = torch.zeros(2, 3, 32, 32)
    images[0, 0, 4:14, 6:16] = 1
    images[1, 1, 10:26, 8:24] = 1
    return Batch(images, torch.tensor([[0, 0, 11.0, 9, 10, 10], [1, 1, 16.0, 18, 16, 16]]))


@pytest.mark.parametrize("split", SPLITS)
def test_scene_is_the_same_for_the_same_seed(split: Split) -> None:
    """A picture drawn twice has the same pixels and the same annotations."""
    first, second = scene(split, 3, seed=7), scene(split, 3, seed=7)

    np.testing.assert_array_equal(first.picture, second.picture)
    assert first.annotations == second.annotations


def test_scene_differs_between_splits_seeds_and_indices() -> None:
    """No two pictures of any splits, seeds and indices are the same."""
    keys = list(product(SPLITS, (0, 1), (0, 1)))

    drawn = {scene(split, index, seed=seed).picture.tobytes() for split, seed, index in keys}

    assert len(drawn) == len(keys)


@pytest.mark.parametrize("kind", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
@pytest.mark.parametrize("hole", [0.0, 0.6], ids=["filled", "hollow"])
def test_painted_pixels_touch_the_sides_of_the_annotated_box(kind: int, hole: float) -> None:
    """A lone shape changes the pixels of its box, up to its sides, and none beyond the rim."""
    rng = np.random.default_rng(kind)
    for paint in PAINTS:
        shape = Shape(
            kind=kind,
            centre=(rng.uniform(40, 60), rng.uniform(40, 60)),
            radius=rng.uniform(8, 36),
            stretch=1.1,
            angle=rng.uniform(0, 2 * math.pi),
            hole=hole,
            paint=paint,
            colours=((200, 20, 20), (255, 0, 90)),
        )
        picture = np.zeros((100, 100, 3), np.uint8)

        paint_shape(picture, shape)

        # Half of a red of 200 to 255: what is as opaque as the annotation asks for
        rows, columns = np.nonzero(picture[..., 0] >= 100)
        touched = np.nonzero(picture.any(axis=2))
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        rim = np.array([touched[1].min(), touched[0].min(), touched[1].max(), touched[0].max()])
        assert np.abs(box - rim - [0, 0, 1, 1]).max() <= 1
        assert np.abs(box - _box_of_outline(shape)).max() <= 1.5


def _box_of_outline(shape: Shape) -> np.ndarray[Any, Any]:
    """Return the extent of the outline in real numbers, from the circle it is inscribed in."""
    picture = np.zeros((400, 400, 3), np.uint8)
    # Four times the size, so that a pixel of rounding is a quarter of one here
    paint_shape(
        picture,
        Shape(
            kind=shape.kind,
            centre=(4 * shape.centre[0], 4 * shape.centre[1]),
            radius=4 * shape.radius,
            stretch=shape.stretch,
            angle=shape.angle,
            colours=((255, 255, 255),) * 2,
        ),
    )
    rows, columns = np.nonzero(picture[..., 0])
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return np.array(box) / 4


def test_scene_annotates_exactly_the_visible_pixels() -> None:
    """Each box is inside the picture and is the extent of the pixels whose top is that shape."""
    for index in range(12):
        drawn = draw_scene(np.random.default_rng(index))
        height, width = drawn.owner.shape

        assert drawn.picture.shape == (height, width, 3)
        assert drawn.owner.max() + 1 == len(drawn.annotations)
        for number, found in enumerate(drawn.annotations):
            left, top, w, h = found.box_xywh
            assert 0 <= left < left + w <= width
            assert 0 <= top < top + h <= height
            mine = drawn.owner == number
            inside = mine[top : top + h, left : left + w]
            assert found.area == mine.sum() == inside.sum()
            sides = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            assert all(side.any() for side in sides)


def test_scene_hides_no_shape_almost_entirely() -> None:
    """What overlaps leaves enough of every shape to recognise it by."""
    areas = [a for i in range(30) for a in scene("train", i).annotations]

    smallest_disc = math.pi * (12 / 2) ** 2
    solid = [a.area for a in areas if CLASS_NAMES[a.kind] == "circle"]
    assert solid
    assert min(solid) >= 0.9 * MIN_VISIBLE * smallest_disc


def test_generate_writes_coco(tmp_path: Path) -> None:
    """The folder is a COCO data set: ids are unique, references hold, sizes are those of files."""
    path = generate(tmp_path / "set", "val", count=5, seed=1)

    value = json.loads(path.read_text())
    names = [item["name"] for item in value["categories"]]
    sizes = {item["id"]: (item["width"], item["height"]) for item in value["images"]}
    assert tuple(names) == CLASS_NAMES
    assert len(sizes) == len(value["images"]) == 5
    assert len({item["id"] for item in value["annotations"]}) == len(value["annotations"]) > 0
    for image in value["images"]:
        with Image.open(tmp_path / "set" / "images" / image["file_name"]) as file:
            assert file.size == sizes[image["id"]]
            picture = np.asarray(file)
        np.testing.assert_array_equal(picture, scene("val", image["id"] - 1, seed=1).picture)
    for item in value["annotations"]:
        width, height = sizes[item["image_id"]]
        left, top, w, h = item["bbox"]
        assert left >= 0
        assert top >= 0
        assert left + w <= width
        assert top + h <= height
        assert 0 < item["area"] <= w * h
        assert item["iscrowd"] == 0
        assert 1 <= item["category_id"] <= len(names)


def test_perfect_detections_of_the_data_set_score_1(tmp_path: Path) -> None:
    """Detections equal to the annotations have an AP of 1, and no detections one of 0."""
    path = generate(tmp_path, "calibration", count=6)
    rows: list[dict[str, Any]] = []
    for item in json.loads(path.read_text())["annotations"]:
        left, top, w, h = item["bbox"]
        box = np.array([[left, top, left + w, top + h]], np.float32)
        score = np.ones(1, np.float32)
        rows += result_rows(item["image_id"], box, score, [item["category_id"] - 1])

    assert coco_ap(path, rows).ap == pytest.approx(1.0)
    assert coco_ap(path, []).ap == 0.0


def test_batches_keep_boxes_on_their_shapes() -> None:
    """However a picture is turned, its only bright pixels fill its box."""
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[0, 4:10, 20:30] = 255
    boxes = np.array([[3, 25, 7, 10, 6]], np.float32)
    pictures = Pictures(picture, (boxes,))
    rng = np.random.default_rng(0)
    seen = set()

    for _ in range(40):
        (batch,) = pictures.batches(rng, batch=1)
        image, kind, x, y, w, h = batch.targets[0].tolist()
        filled = torch.zeros(32, 32)
        filled[int(y - h / 2) : int(y + h / 2), int(x - w / 2) : int(x + w / 2)] = 1

        assert (image, kind) == (0, 3)
        torch.testing.assert_close(batch.images[0, 0], filled)
        seen.add((x, y, w, h))
    assert len(seen) == 8


def test_match_objects_takes_the_cell_and_the_two_nearest() -> None:
    """An object belongs to anchors of its size, in its cell and in the neighbours it is close to."""
    target = torch.tensor([[0, 2, 8 * 3.2, 8 * 1.9, 12, 9]])

    match = match_objects(target, LEVEL, height=6, width=6)

    found = set(zip(match.anchor.tolist(), match.column.tolist(), match.row.tolist(), strict=True))
    assert found == {(0, 3, 1), (0, 2, 1), (0, 3, 2)} | {
        (1, column, row) for _, column, row in [] if column
    } or found == {(anchor, c, r) for anchor in (0, 1) for c, r in [(3, 1), (2, 1), (3, 2)]}
