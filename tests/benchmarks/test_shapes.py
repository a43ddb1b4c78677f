"""The shapes data set and the training that stands on it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from benchmarks.shapes.data import Batch, Pictures
from benchmarks.shapes.evaluate import Validation, result_rows, spec_of
from benchmarks.shapes.generate import SPLITS, Split, generate, scene
from benchmarks.shapes.loss import complete_iou, detection_loss, match_objects
from benchmarks.shapes.render import CLASS_NAMES, Picture, Shape, paint_shape
from benchmarks.shapes.scene import MIN_VISIBLE, draw_scene
from benchmarks.shapes.train import CFG, SIZE, Trainer, network_from_cfg, prepare, save_as_authors
from yolor_deploy.checkpoint import read_checkpoint
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
    """A network of three convolutions that has learned nothing."""
    cfg = tmp_path / "tiny.cfg"
    cfg.write_text(TINY_CFG)
    torch.manual_seed(0)
    network = network_from_cfg(cfg)
    prepare(network, 32)
    return Trainer(network)


@pytest.fixture
def two_images() -> Batch:
    """A small red and a large green square."""
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


def test_box_is_tight_around_the_pixels_that_the_shape_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The box of the topmost shape is that of the pixels that painting it changed, within one."""
    for index in range(24):
        changes: list[npt.NDArray[np.bool_]] = []

        def paint(
            picture: Picture, shape: Shape, changes: list[npt.NDArray[np.bool_]] = changes
        ) -> None:
            before = picture.copy()
            paint_shape(picture, shape)
            changes.append((picture != before).any(axis=2))

        monkeypatch.setattr("benchmarks.shapes.scene.paint_shape", paint)

        drawn = scene("train", index)

        rows, columns = np.nonzero(changes[-1])
        changed = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        left, top, w, h = drawn.annotations[-1].box_xywh
        assert len(changes) == len(drawn.annotations)
        # A rim pixel that is covered by less than half is changed, but not annotated
        assert np.abs(np.array(changed) - [left, top, left + w, top + h]).max() <= 1


@pytest.mark.parametrize("kind", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_hollow_shape_leaves_its_middle(kind: int) -> None:
    """What is behind the hole of a shape is still seen; a filled one covers it."""
    shape = Shape(kind=kind, centre=(32.0, 32.0), radius=24, colours=((255, 9, 9), (255, 9, 9)))
    filled, hollow = np.zeros((2, 64, 64, 3), np.uint8)

    paint_shape(filled, shape)
    paint_shape(hollow, replace(shape, hole=0.5))

    assert filled[32, 32].tolist() == [255, 9, 9]
    assert hollow[32, 32].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(hollow[hollow.any(axis=2)].max(axis=0), [255, 9, 9])


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
    """An object belongs to anchors of its size, in its cell and the two neighbours it is near."""
    target = torch.tensor([[0, 2, 8 * 3.2, 8 * 1.9, 12, 9]])

    match = match_objects(target, LEVEL, height=6, width=6)

    found = set(zip(match.anchor.tolist(), match.column.tolist(), match.row.tolist(), strict=True))
    assert found == {(0, 3, 1), (0, 2, 1), (0, 3, 2)}
    torch.testing.assert_close(match.box[:, 2:], torch.tensor([[12 / 8, 9 / 8]] * 3))
    centres = match.box[:, :2] + torch.stack([match.column, match.row], 1)
    torch.testing.assert_close(centres, torch.tensor([[3.2, 1.9]] * 3))


def test_match_objects_stays_inside_the_map() -> None:
    """An object at the rim has no cells beyond it, and one of another size has no anchor."""
    targets = torch.tensor([[0, 0, 47.9, 0.1, 11, 11], [0, 0, 24, 24, 2, 10]])

    match = match_objects(targets, LEVEL, height=6, width=6)

    cells = list(zip(match.anchor.tolist(), match.column.tolist(), match.row.tolist(), strict=True))
    assert cells == [(0, 5, 0), (1, 5, 0)]


def test_complete_iou_is_1_for_equal_and_negative_for_distant_boxes() -> None:
    """Equal boxes score 1, touching ones less than their IoU, and distant ones below 0."""
    first = torch.tensor([[5.0, 5, 4, 2], [0, 0, 2, 2], [0, 0, 2, 2]])
    second = torch.tensor([[5.0, 5, 4, 2], [1, 0, 2, 2], [9, 9, 2, 2]])

    found = complete_iou(first, second).tolist()

    # Shifted by half a width: IoU 1/3; distance 1 of a hull 3 x 2, whose squared diagonal is 13
    assert found == pytest.approx([1, 1 / 3 - 1 / 13, -162 / 242], abs=1e-5)


def test_perfect_maps_lose_less_than_any_others() -> None:
    """Maps that decode to the objects have almost no error, and decode as the project decodes."""
    targets = torch.tensor([[0, 1, 21.0, 27.0, 12, 9]])
    match = match_objects(targets, LEVEL, height=6, width=6)
    values = torch.full((1, 2, 7, 6, 6), -12.0)
    for a, row, column, box in zip(match.anchor, match.row, match.column, match.box, strict=True):
        anchor = torch.tensor(LEVEL.anchors_px[int(a)]) / LEVEL.stride
        logits = torch.cat([(box[:2] + 0.5) / 2, (box[2:] / anchor).sqrt() / 2]).logit()
        values[0, a, :, row, column] = torch.cat([logits, torch.tensor([12.0, -12, 12])])
    spec = DetectorSpec("darknet", "custom", ("a", "b"), (LEVEL,), InputSpec(48, 48))

    raw = values.reshape(1, 14, 6, 6)
    loss = detection_loss([raw], targets, (LEVEL,))
    predictions = predictions_from_raw([raw.numpy()], spec)[0]

    assert float(loss.total) < 1e-4
    assert float(detection_loss([raw + 1], targets, (LEVEL,)).total) > 1e-3
    sure = predictions[predictions[:, 4] > 0.5]
    np.testing.assert_allclose(sure[:, :4], [[21, 27, 12, 9]] * 3, rtol=1e-5)


def test_loss_of_a_picture_without_objects_is_finite() -> None:
    """Where nothing is to be found, only objectness has an error."""
    raw = torch.zeros(1, 14, 6, 6)

    loss = detection_loss([raw], torch.zeros(0, 6), (LEVEL,))

    assert float(loss.total) > 0
    assert float(loss.box) == float(loss.classes) == 0.0


def test_training_lowers_the_loss_and_moves_the_implicit_vectors(
    tiny_trainer: Trainer, two_images: Batch
) -> None:
    """Some steps on two images halve the loss, and implicit knowledge is learned like the rest."""
    before = {n: v.clone() for n, v in tiny_trainer.network.state_dict().items() if "implicit" in n}

    losses = [tiny_trainer.step(two_images, done=0.0)[0] for _ in range(250)]

    after = tiny_trainer.network.state_dict()
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert before.keys() == {"module_list.2.implicit", "module_list.3.implicit"}
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_trainer_goes_on_where_it_was(
    tiny_trainer: Trainer, two_images: Batch, tmp_path: Path
) -> None:
    """A state that was stored and read gives the same next step."""
    tiny_trainer.step(two_images, done=0.0)
    tiny_trainer.save(tmp_path / "state.pt")
    expected = tiny_trainer.step(two_images, done=0.0)
    (tmp_path / "same.cfg").write_text(TINY_CFG)
    other = Trainer(network_from_cfg(tmp_path / "same.cfg"))

    other.load(tmp_path / "state.pt")
    found = other.step(two_images, done=0.0)

    assert found == pytest.approx(expected, rel=1e-6)
    assert other.progress.steps == tiny_trainer.progress.steps == 2


def test_checkpoint_is_read_back_as_a_state_dict(tiny_trainer: Trainer, tmp_path: Path) -> None:
    """The file has the authors' keys, and the project's reader finds every weight in it."""
    path = tmp_path / "tiny.pt"
    save_as_authors(path, tiny_trainer.average, fitness=0.5)

    stored = torch.load(path, weights_only=True)
    found = read_checkpoint(path)

    keys = {"epoch", "best_fitness", "training_results", "model", "optimizer", "wandb_id"}
    assert stored.keys() == keys
    weights = tiny_trainer.average.state_dict()
    used = {name for name in weights if not name.endswith("num_batches_tracked")}
    assert used <= set(found.tensors) <= set(weights)
    assert all(torch.equal(found.tensors[name], weights[name]) for name in used)


def test_shipped_checkpoint_detects(tmp_path: Path) -> None:
    """The checkpoint in ``examples`` fits its cfg, is at most 4 MB, and finds what is drawn."""
    path = CFG.with_suffix(".pt")
    network = network_from_cfg(CFG)

    network.load_state_dict(torch.load(path, weights_only=True)["model"])
    validation = Validation(spec_of(network.plan.levels, SIZE), tmp_path, seed=0, count=24)
    report = validation.report(network)

    # 0.647 on all 200 pictures; fewer scatter, and other processors round otherwise
    assert report.ap > 0.5
    assert path.stat().st_size <= 4_000_000
