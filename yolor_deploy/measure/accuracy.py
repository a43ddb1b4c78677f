"""Accuracy of detections: COCO average precision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.annotations import read_annotations

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
    require_pycocotools()
    truth = read_annotations(annotations)
    return accuracy_from_evaluator(coco_evaluator(truth, results, where=str(annotations)))


def coco_evaluator(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, where: str
) -> Any:
    """Match detections with objects, image by image, and accumulate.

    Args:
        truth: From ``read_annotations``; stays as it is.
        results: As of ``coco_ap``.
        where: The annotation file, for messages.

    Returns:
        ``COCOeval`` of pycocotools, after ``evaluate`` and ``accumulate``.

    Raises:
        EvaluationError: As of ``coco_ap``.
    """
    make_index, make_evaluator = _pycocotools()
    # Copies, because the evaluator writes into its rows; numbered from 1, because an object whose
    # id is 0 counts there as not found
    objects = [{**row, "id": k} for k, row in enumerate(truth["annotations"], start=1)]
    found = _as_annotations(truth, results, where=where)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints, and cannot be told not to
        evaluator = make_evaluator(
            make_index({**truth, "annotations": objects}), make_index(found), "bbox"
        )
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def accuracy_from_evaluator(evaluator: Any) -> AccuracyReport:
    """Return the averages of what ``coco_evaluator`` returned."""
    truth = evaluator.cocoGt.dataset
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
        objects=sum(1 for item in truth["annotations"] if not item["iscrowd"]),
    )


def require_pycocotools() -> None:
    """Find out before the long work whether its result can be scored.

    Raises:
        EvaluationError: pycocotools is not installed.
    """
    _pycocotools()


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
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, where: str
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
