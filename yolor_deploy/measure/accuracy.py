"""Accuracy of detections: COCO average precision."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import EvaluationError

_MAX_DETECTIONS = 100  # per image, the best ones; as COCO defines it
_AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """Average precision as COCO defines it; each number is a fraction of 1.

    Attributes:
        ap: Mean over the IoU thresholds 0.50, 0.55, ... 0.95 and over the classes.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
        ap_small: Of objects below 32 x 32 pixels; None if there are none.
        ap_medium: Of objects from there to 96 x 96 pixels; None if there are none.
        ap_large: Of larger objects; None if there are none.
        per_class: ``ap`` of each class that occurs, by its name.
        images: Number of images.
        objects: Number of annotated objects, crowds not counted.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    per_class: Mapping[str, float]
    images: int
    objects: int

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and numbers."""
        return asdict(self)


def coco_ap(annotations: Path, results: Sequence[Mapping[str, Any]]) -> AccuracyReport:
    """Compare detections with COCO annotations.

    Args:
        annotations: File in COCO form: ``images``, ``categories``, ``annotations``.
        results: One mapping per detection, in the COCO result form: ``image_id``, ``category_id``,
            ``bbox`` (left, top, width, height in pixels of the original image), ``score``.

    Raises:
        EvaluationError: The file is not COCO annotations or holds no object; a detection refers to
            an image that is not in it; or pycocotools is not installed.

    Source: ``COCOeval`` of pycocotools: 101 recall points, at most 100 detections per image.
    """
    make_index, make_evaluator = _pycocotools()
    truth = _read(annotations)
    objects = sum(1 for item in truth["annotations"] if not item["iscrowd"])
    if not objects:
        raise EvaluationError(
            "no annotated object", where=str(annotations), hint="give annotations of these images"
        )
    found = _as_annotations(truth, results, where=str(annotations))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints, and cannot be told not to
        evaluator = make_evaluator(make_index(truth), make_index(found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    # float64 [iou threshold, recall, class, area, detections]; -1 where there is no object
    precision: npt.NDArray[np.float64] = evaluator.eval["precision"]
    at_most = list(evaluator.params.maxDets).index(_MAX_DETECTIONS)
    by_area = {area: precision[:, :, :, k, at_most] for k, area in enumerate(_AREAS)}
    names = {item["id"]: str(item["name"]) for item in truth["categories"]}
    classes = [_mean(by_area["all"][:, :, k]) for k in range(len(evaluator.params.catIds))]
    return AccuracyReport(
        ap=_mean(by_area["all"]) or 0.0,
        ap50=_mean(by_area["all"][0]) or 0.0,
        ap75=_mean(by_area["all"][5]) or 0.0,
        ap_small=_mean(by_area["small"]),
        ap_medium=_mean(by_area["medium"]),
        ap_large=_mean(by_area["large"]),
        per_class={
            names[category]: value
            for category, value in zip(evaluator.params.catIds, classes, strict=True)
            if value is not None
        },
        images=len(truth["images"]),
        objects=objects,
    )


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def _pycocotools() -> tuple[Callable[[dict[str, Any]], Any], Callable[[Any, Any, str], Any]]:
    """Import pycocotools late: only evaluation needs it."""
    try:
        from pycocotools.coco import COCO  # noqa: PLC0415
        from pycocotools.cocoeval import COCOeval  # noqa: PLC0415
    except ImportError as error:
        raise EvaluationError(
            "pycocotools is not installed",
            where="average precision",
            hint="pip install 'yolor-deploy[eval]'",
        ) from error

    def index(dataset: dict[str, Any]) -> Any:
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
        return coco

    return index, COCOeval


def _as_annotations(
    truth: dict[str, Any], results: Sequence[Mapping[str, Any]], *, where: str
) -> dict[str, Any]:
    """Return results in the form of annotations, which is what the evaluator compares."""
    images = {item["id"] for item in truth["images"]}
    rows = []
    for number, result in enumerate(results, start=1):
        if result["image_id"] not in images:
            raise EvaluationError(
                f"detection {number} is of image {result['image_id']!r}, which is not annotated",
                where=where,
                hint="give the annotations of the images that were detected on",
            )
        box = [float(value) for value in result["bbox"]]
        rows.append(
            {
                "id": number,
                "image_id": result["image_id"],
                "category_id": result["category_id"],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "score": float(result["score"]),
            }
        )
    return {"images": truth["images"], "categories": truth["categories"], "annotations": rows}


def _read(path: Path) -> dict[str, Any]:
    """Read an annotation file and check what the evaluator relies on."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: neither UTF-8 nor JSON
        raise EvaluationError(
            f"cannot be read as JSON: {error}", where=str(path), hint="give a COCO annotation file"
        ) from error
    for key, fields in _FIELDS.items():
        rows = value.get(key) if isinstance(value, dict) else None
        if not isinstance(rows, list):
            raise EvaluationError(
                f"has no list {key!r}", where=str(path), hint="give a COCO annotation file"
            )
        for number, row in enumerate(rows):
            missing = [name for name in fields if not isinstance(row, dict) or name not in row]
            if missing:
                raise EvaluationError(
                    f"{key}[{number}] has no {missing[0]!r}",
                    where=str(path),
                    hint=f"each entry needs {', '.join(fields)}",
                )
    _require_consistent(value, where=str(path))
    return dict(value)


_FIELDS = {
    "images": ("id",),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
}


def _require_consistent(value: dict[str, Any], *, where: str) -> None:
    """Check references and boxes, which pycocotools would take as they are."""
    images = {row["id"] for row in value["images"]}
    classes = {row["id"] for row in value["categories"]}
    for number, row in enumerate(value["annotations"]):
        for name, known in (("image_id", images), ("category_id", classes)):
            if row[name] not in known:
                raise EvaluationError(
                    f"annotations[{number}] has {name} {row[name]!r}, which is not listed",
                    where=where,
                    hint="complete `images` and `categories` of the file",
                )
        box = row["bbox"]
        if not _is_box(box):
            raise EvaluationError(
                f"annotations[{number}] has bbox {box!r}, expected [left, top, width, height]",
                where=where,
                hint="correct that box; width and height are not negative",
            )


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4  # noqa: PLR2004 - left, top, width, height
        and all(isinstance(v, int | float) and math.isfinite(v) for v in box)
        and min(box[2:]) >= 0
    )
