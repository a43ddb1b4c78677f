"""Agreement of two models as average precision, and that of pycocotools beside it."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.measure.test_difference import A, B, C, detections, found, shifted
from yolor_deploy.core.detections import Detections
from yolor_deploy.measure.difference import agreement_ap


def random_images(rng: np.random.Generator, *, images: int, classes: int) -> list[Detections]:
    """Return up to 12 boxes an image, 5 to 60 pixels wide; some images have none."""
    result = []
    for _ in range(images):
        n = int(rng.integers(0, 13))
        corners = rng.uniform(0, 100, (n, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 60, (n, 2))], axis=1)
        # Few values, so that there are equal scores
        rounded = rng.integers(1, 20, n) / 20
        result.append(
            Detections(
                boxes.astype(np.float32),
                rounded.astype(np.float32),
                rng.integers(0, classes, n).astype(np.int32),
            )
        )
    return result


def jittered(images: list[Detections], rng: np.random.Generator) -> list[Detections]:
    """Return the boxes moved, rescored, and a fifth of them dropped or of another class."""
    result = []
    for one in images:
        stays = rng.random(len(one)) > 0.1
        boxes = one.boxes_xyxy + rng.normal(0, 2, one.boxes_xyxy.shape)
        class_ids = np.where(rng.random(len(one)) < 0.1, 0, one.class_ids)
        changed = np.clip(one.scores + rng.normal(0, 0.1, len(one)), 0, 1)
        result.append(
            Detections(
                boxes.astype(np.float32), changed.astype(np.float32), class_ids.astype(np.int32)
            )[stays]
        )
    return result


def coco_rows(images: list[Detections]) -> list[dict[str, object]]:
    """Return detections as annotations of COCO."""
    rows: list[dict[str, object]] = []
    for image_id, one in enumerate(images, start=1):
        for box, score, class_id in zip(one.boxes_xyxy, one.scores, one.class_ids, strict=True):
            left, top, right, bottom = map(float, box)
            area = (right - left) * (bottom - top)
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image_id,
                    "category_id": int(class_id),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": area,
                    "iscrowd": 0,
                    "score": float(score),
                }
            )
    return rows


def coco_ap_of(reference: list[Detections], others: list[Detections], classes: int) -> float:
    """Return the average precision that pycocotools computes."""
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for images in (reference, others):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": number + 1} for number in range(len(images))],
                "categories": [{"id": number} for number in range(classes)],
                "annotations": coco_rows(images),
            }
            coco.createIndex()
            sides.append(coco)
        evaluator = COCOeval(*sides, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


@pytest.mark.parametrize("seed", range(6))
def test_agreement_is_the_ap_of_pycocotools(seed: int) -> None:
    """On moved and rescored boxes the number is that of COCOeval, but for its epsilon of 2e-16."""
    rng = np.random.default_rng(seed)
    reference = random_images(rng, images=15, classes=4)
    others = jittered(reference, rng)

    value = agreement_ap(reference, others, 5)

    assert 0.1 < value < 0.9
    assert value == pytest.approx(coco_ap_of(reference, others, 5), abs=1e-9)


def test_agreement_of_unrelated_boxes_is_the_ap_of_pycocotools() -> None:
    """Classes that one side lacks, and images without boxes on one side, are counted alike."""
    rng = np.random.default_rng(7)
    reference = random_images(rng, images=30, classes=2)
    others = random_images(rng, images=30, classes=3)

    value = agreement_ap(reference, others, 4)

    assert value > 0
    assert value == pytest.approx(coco_ap_of(reference, others, 4), abs=1e-9)


def test_agreement_gives_the_last_of_equals_away() -> None:
    """A box between two objects takes the last, as in COCOeval: the first stays for its own box."""
    first, last = (0, 0, 20, 10, 0.5, 0), (10, 0, 30, 10, 0.5, 0)
    reference = [found(first, last)]
    others = [found((5, 0, 25, 10, 0.75, 0), first)]

    value = agreement_ap(reference, others, 1)

    assert value > 0.3  # 1.0 below IoU 0.6, and above it one right of two
    assert value == pytest.approx(coco_ap_of(reference, others, 1), abs=1e-9)


@given(st.lists(detections, max_size=3))
@settings(deadline=None)
def test_agreement_with_itself_is_1(images: list[Detections]) -> None:
    """Exactly 1.0, with ties, boxes without area, and without any box too."""
    assert agreement_ap(images, images, 3) == 1.0


def test_agreement_counts_more_boxes_than_coco() -> None:
    """The 101st box of an image counts as the others do."""
    crowd = found(*((20.0 * i, 0.0, 20.0 * i + 10, 10.0, 0.5, 0) for i in range(120)))

    assert agreement_ap([crowd], [crowd], 1) == 1.0
    assert agreement_ap([crowd], [crowd[:60]], 1) == pytest.approx(51 / 101)


def test_agreement_of_exact_cases() -> None:
    """A box too many ranked first halves the precision; one of IoU 17/23 is right at 5 of 10."""
    assert agreement_ap([found(A)], [found(shifted(C, score=0.5), A)], 2) == 0.5
    assert agreement_ap([found(A)], [found(shifted(A, x=3))], 1) == pytest.approx(0.5)
    assert agreement_ap([found(A, B)], [found(A)], 2) == 0.5


def test_agreement_where_one_side_is_empty() -> None:
    """Finding something where there is nothing, or nothing where there is something, is 0."""
    assert agreement_ap([found()], [found(A)], 1) == 0.0
    assert agreement_ap([found(A)], [found()], 1) == 0.0
    assert agreement_ap([found()], [found()], 1) == 1.0


def test_agreement_refuses_what_does_not_belong_together() -> None:
    """Different numbers of images, and a class that the detector lacks, are bugs of a caller."""
    with pytest.raises(ValueError, match="2 images, expected 1"):
        agreement_ap([found(A)], [found(A), found(A)], 1)
    with pytest.raises(ValueError, match="class id 1, expected < 1"):
        agreement_ap([found(A)], [found(B)], 1)
