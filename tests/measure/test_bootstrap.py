"""Intervals of average precision."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_deploy.measure.accuracy import accuracy_from_evaluator, coco_evaluator
from yolor_deploy.measure.bootstrap import (
    ImageMatches,
    bootstrap_ap,
    matches_from_evaluator,
    percentile_interval,
)

IMAGES, CLASSES = 12, 3


def scene(seed: int, *, noise: float = 8) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return annotations with crowds and empty images, and detections of all qualities."""
    random = np.random.default_rng(seed)
    truth: dict[str, Any] = {
        "images": [{"id": image} for image in range(1, IMAGES + 1)],
        "categories": [{"id": kind, "name": f"class {kind}"} for kind in range(1, CLASSES + 1)],
        "annotations": [],
    }
    found: list[dict[str, Any]] = []
    for image in range(1, IMAGES):  # the last has no object
        for _ in range(int(random.integers(0, 7))):
            box = [*random.uniform(0, 300, 2), *random.uniform(10, 120, 2)]
            kind = int(random.integers(1, CLASSES))  # the last class has no object
            row = {"image_id": image, "category_id": kind, "bbox": [float(v) for v in box]}
            truth["annotations"].append(
                {
                    **row,
                    "id": len(truth["annotations"]) + 1,
                    "area": float(box[2] * box[3]),
                    "iscrowd": int(random.random() < 0.15),
                }
            )
            for _ in range(int(random.integers(0, 4))):
                shifted = np.array(box) + random.normal(0, noise, 4)
                shifted[2:] = np.maximum(shifted[2:], 1)
                found.append({**row, "bbox": shifted.tolist(), "score": float(random.random())})
    for image in range(1, IMAGES + 1):  # false ones everywhere, of every class
        for kind in range(1, CLASSES + 1):
            box = [*random.uniform(0, 300, 2), *random.uniform(10, 120, 2)]
            found.append(
                {
                    "image_id": image,
                    "category_id": kind,
                    "bbox": [float(value) for value in box],
                    "score": float(random.random()),
                }
            )
    return truth, found


def copied(
    truth: dict[str, Any], found: list[dict[str, Any]], multiplicities: Sequence[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a data set that holds each image so many times, under ids of their own."""
    result = {**truth, "images": [], "annotations": []}
    detections = []
    for image, count in enumerate(multiplicities, start=1):
        for number in range(count):
            new_id = image * 100 + number  # copies follow each other
            result["images"].append({"id": new_id})
            for row in truth["annotations"]:
                if row["image_id"] == image:
                    new_row = {**row, "image_id": new_id, "id": len(result["annotations"]) + 1}
                    result["annotations"].append(new_row)
            detections += [{**row, "image_id": new_id} for row in found if row["image_id"] == image]
    return result, detections


def matches_of(truth: dict[str, Any], found: list[dict[str, Any]]) -> ImageMatches:
    """Match detections with objects."""
    return matches_from_evaluator(coco_evaluator(truth, found, where="scene"))


def ap_of_pycocotools(truth: dict[str, Any], found: list[dict[str, Any]]) -> float:
    """Return AP as pycocotools itself computes it, from its own index of copies of all rows."""
    from pycocotools.coco import COCO  # noqa: PLC0415 - beside the one use
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415

    with redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = copy.deepcopy(truth)
        index.createIndex()
        evaluator = COCOeval(index, index.loadRes(copy.deepcopy(found)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


@pytest.mark.parametrize("seed", range(5))
def test_matches_give_the_ap_of_pycocotools(seed: int) -> None:
    """Every image once is AP as COCO defines it, crowds and absent classes included."""
    truth, found = scene(seed)

    ap = matches_of(truth, found).ap(np.ones(IMAGES, np.int64))

    assert ap == pytest.approx(ap_of_pycocotools(truth, found), abs=1e-12)
    assert 0.05 < ap < 0.95


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=IMAGES, max_size=IMAGES), st.integers(0, 3))
def test_matches_give_the_ap_of_copied_images(multiplicities: list[int], seed: int) -> None:
    """Counting an image several times is the same as copying its file and its rows."""
    truth, found = scene(seed)
    copies = copied(truth, found, multiplicities)

    ap = matches_of(truth, found).ap(np.array(multiplicities))

    if all(row["iscrowd"] for row in copies[0]["annotations"]):
        assert np.isnan(ap)
    else:
        assert ap == pytest.approx(ap_of_pycocotools(*copies), abs=1e-12)


def test_matches_look_at_100_detections_of_an_image() -> None:
    """A right box behind a hundred better false ones is not seen, as COCO has it."""
    truth, _ = scene(0)
    row = next(row for row in truth["annotations"] if not row["iscrowd"])
    right = {name: row[name] for name in ("image_id", "category_id", "bbox")}
    false = {**right, "bbox": [900.0, 900.0, 5.0, 5.0], "score": 0.9}

    seen = matches_of(truth, [false] * 99 + [{**right, "score": 0.5}])
    unseen = matches_of(truth, [false] * 100 + [{**right, "score": 0.5}])

    once = np.ones(IMAGES, np.int64)
    assert seen.ap(once) > 0
    assert unseen.ap(once) == 0


def test_bootstrap_of_a_model_with_itself_has_no_difference() -> None:
    """Both models see the same drawn images, so equal detections differ in no sample."""
    matches = matches_of(*scene(1))

    samples = bootstrap_ap([matches, matches], samples=20)

    assert samples.shape == (20, 2)
    assert np.array_equal(samples[:, 0], samples[:, 1])
    assert samples[:, 0].std() > 0


def test_bootstrap_is_repeatable_by_its_seed() -> None:
    """The same seed draws the same images, another one others."""
    matches = matches_of(*scene(1))

    first, again, other = (
        bootstrap_ap([matches], samples=5, seed=seed).tolist() for seed in (3, 3, 4)
    )

    assert first == again
    assert first != other


def test_bootstrap_draws_a_sample_without_objects_again() -> None:
    """Where one image of many has objects, every sample still has an AP."""
    truth, found = scene(1)
    image = truth["annotations"][0]["image_id"]
    truth["annotations"] = [row for row in truth["annotations"] if row["image_id"] == image]

    samples = bootstrap_ap([matches_of(truth, found)], samples=30)

    assert np.isfinite(samples).all()


def test_bootstrap_separates_a_good_model_from_a_bad_one() -> None:
    """The interval of a large difference is above 0, and tells how it was made."""
    truth, _ = scene(2)
    good, bad = scene(2, noise=1)[1], scene(2, noise=25)[1]
    done: list[tuple[int, int]] = []

    samples = bootstrap_ap(
        [matches_of(truth, bad), matches_of(truth, good)],
        samples=100,
        seed=7,
        progress=lambda *step: done.append(step),
    )
    interval = percentile_interval(samples[:, 1] - samples[:, 0], seed=7)

    assert 0 < interval.low < interval.high < 1
    assert (interval.level, interval.samples, interval.seed) == (0.95, 100, 7)
    assert done == [(step, 100) for step in range(1, 101)]


def test_percentile_interval_leaves_an_equal_part_on_either_side() -> None:
    """95 % of 0, 1, ... 1000 lie between 25 and 975."""
    interval = percentile_interval(np.arange(1001.0), seed=0)

    assert (interval.low, interval.high) == pytest.approx((25, 975))
    assert interval.to_json()["level"] == 0.95


def test_bootstrap_refuses_matches_of_different_data_sets() -> None:
    """Images cannot be drawn for two models that saw different ones."""
    with pytest.raises(ValueError, match="different data sets"):
        bootstrap_ap([matches_of(*scene(0)), matches_of(*scene(1))], samples=1)


def test_evaluator_leaves_annotations_as_they_are_and_counts_id_0() -> None:
    """An object whose id is 0, which pycocotools takes for none, is found like any other."""
    box = [10.0, 10.0, 40.0, 40.0]
    row = {"id": 0, "image_id": 1, "category_id": 1, "bbox": box, "area": 1600.0, "iscrowd": 0}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [row],
    }
    before = copy.deepcopy(truth)

    evaluator = coco_evaluator(
        truth, [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.5}], where="scene"
    )

    assert accuracy_from_evaluator(evaluator).ap == pytest.approx(1)
    assert truth == before
