"""COCO average precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.accuracy import coco_ap

SMALL, LARGE = [10, 20, 20, 20], [100, 100, 120, 110]


def _dataset() -> dict[str, Any]:
    """Two images: a small cat on the first, a large dog on the second."""
    boxes = [(1, 1, SMALL), (2, 2, LARGE)]
    return {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (image, category, box) in enumerate(boxes, start=1)
        ],
    }


def _found(image: int, category: int, box: list[int], score: float = 0.9) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


@pytest.fixture
def annotation_file(tmp_path: Path) -> Path:
    """Two images with an object each."""
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(_dataset()))
    return path


def test_coco_ap_of_perfect_detections(
    annotation_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal boxes give 1 everywhere, None for sizes that do not occur, and nothing is printed."""
    report = coco_ap(annotation_file, [_found(1, 1, SMALL), _found(2, 2, LARGE)])

    assert (report.ap, report.ap50, report.ap75) == pytest.approx((1, 1, 1))
    assert (report.ap_small, report.ap_large) == pytest.approx((1, 1))
    assert report.ap_medium is None
    assert report.per_class == pytest.approx({"cat": 1, "dog": 1})
    assert (report.images, report.objects) == (2, 2)
    assert capsys.readouterr().out == ""
    assert json.loads(json.dumps(report.to_json()))["per_class"].keys() == {"cat", "dog"}


def test_coco_ap_without_detections_is_0(annotation_file: Path) -> None:
    """Nothing found is an AP of 0, not an error."""
    report = coco_ap(annotation_file, [])

    assert report.ap == report.ap50 == report.ap75 == 0
    assert report.per_class == {"cat": 0, "dog": 0}


def test_coco_ap_counts_iou_thresholds(annotation_file: Path) -> None:
    """A box of IoU 0.8 is right at 7 of the 10 thresholds; a missing class halves the mean."""
    report = coco_ap(annotation_file, [_found(1, 1, [10, 20, 20, 16])])

    assert report.per_class == pytest.approx({"cat": 0.7, "dog": 0})
    assert report.ap == pytest.approx(0.35)
    assert report.ap50 == report.ap75 == pytest.approx(0.5)


def test_coco_ap_ranks_by_score(annotation_file: Path) -> None:
    """A false box costs half of the precision if it is better than the true one, else nothing."""
    false = [200, 200, 20, 20]

    before = coco_ap(annotation_file, [_found(1, 1, SMALL, 0.5), _found(1, 1, false, 0.8)])
    after = coco_ap(annotation_file, [_found(1, 1, SMALL, 0.5), _found(1, 1, false, 0.2)])

    assert before.per_class["cat"] == pytest.approx(0.5)
    assert after.per_class["cat"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("{", "cannot be read as JSON", id="not-json"),
        pytest.param("[]", "no list 'images'", id="not-an-object"),
        pytest.param('{"images": []}', "no list 'categories'", id="incomplete"),
        pytest.param(
            '{"images": [3], "categories": [], "annotations": []}',
            r"images\[0\] has no 'id'",
            id="row-is-no-object",
        ),
        pytest.param(
            '{"images": [], "categories": [], "annotations": []}', "no annotated object", id="empty"
        ),
    ],
)
def test_coco_ap_refuses_files_of_another_form(tmp_path: Path, text: str, problem: str) -> None:
    """A file that is not COCO annotations is named, with what is wrong with it."""
    path = tmp_path / "bad.json"
    path.write_text(text)

    with pytest.raises(EvaluationError, match=problem) as caught:
        coco_ap(path, [])

    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        pytest.param("image_id", 9, r"annotations\[1\] has image_id 9", id="unknown-image"),
        pytest.param("category_id", 7, "category_id 7, which is not listed", id="unknown-class"),
        pytest.param("bbox", [1, 2, 3], r"bbox \[1, 2, 3\], expected", id="three-numbers"),
        pytest.param("bbox", [1, 2, -3, 4], "expected .left, top, width", id="negative-width"),
        pytest.param("bbox", [1, 2, float("nan"), 4], "expected .left, top", id="nan"),
        pytest.param("bbox", "box", "bbox 'box'", id="text"),
        pytest.param("bbox", [1, 2, 10**400, 4], "expected .left, top", id="huge"),
        pytest.param("area", "large", "area 'large', expected a number", id="area"),
        pytest.param("area", -1, "area -1, expected a number", id="negative-area"),
        pytest.param("iscrowd", 2, "iscrowd 2, expected 0 or 1", id="crowd"),
        pytest.param("image_id", [1], r"image_id \[1\], which is not listed", id="list-as-id"),
        pytest.param("id", 1, r"id 1, which annotations\[0\] has already", id="id-twice"),
        pytest.param("id", True, "id True, expected a whole number", id="id-is-no-number"),
    ],
)
def test_coco_ap_refuses_bad_annotations(
    tmp_path: Path, field: str, value: object, problem: str
) -> None:
    """An annotation that refers to nothing, or whose box is none, is named by its position."""
    dataset = _dataset()
    dataset["annotations"][1][field] = value
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(dataset))

    with pytest.raises(EvaluationError, match=problem):
        coco_ap(path, [])


def test_coco_ap_refuses_a_missing_file(tmp_path: Path) -> None:
    """A path without a file is an error of the user."""
    with pytest.raises(EvaluationError, match="No such file"):
        coco_ap(tmp_path / "none.json", [])


def test_coco_ap_refuses_detections_of_other_images(annotation_file: Path) -> None:
    """Detections on an image that the file does not list are not silently dropped."""
    with pytest.raises(EvaluationError, match="detection 2 is of image 3"):
        coco_ap(annotation_file, [_found(1, 1, SMALL), _found(3, 1, SMALL)])


def test_coco_ap_of_crowds_alone_is_refused(tmp_path: Path) -> None:
    """Crowds are regions to ignore: there is nothing to find."""
    dataset = _dataset()
    for row in dataset["annotations"]:
        row["iscrowd"] = 1
    path = tmp_path / "crowds.json"
    path.write_text(json.dumps(dataset))

    with pytest.raises(EvaluationError, match="no annotated object"):
        coco_ap(path, [])
