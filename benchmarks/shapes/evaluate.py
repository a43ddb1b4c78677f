"""Average precision of a network in training; that of an exported file is in ``score``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.shapes.generate import IMAGES, generate
from benchmarks.shapes.render import CLASS_NAMES, Picture
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.image import letterbox, load_image, tensor_from_images
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import FloatArray
from yolor_deploy.core.spec import DetectorSpec, HeadLevel, InputSpec, NmsConfig
from yolor_deploy.measure.accuracy import AccuracyReport, coco_ap

# How the authors measure AP: every class of a box counts, and nearly every score.
SCORING = NmsConfig(score_threshold=0.001, iou_threshold=0.65, max_detections=300)


def spec_of(levels: tuple[HeadLevel, ...], size: int) -> DetectorSpec:
    """Describe a shapes detector."""
    return DetectorSpec(
        family="darknet",
        variant="custom",
        class_names=CLASS_NAMES,
        levels=levels,
        input=InputSpec(height=size, width=size),
    )


def result_rows(
    image_id: int, boxes_xyxy: FloatArray, scores: FloatArray, class_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return detections in the COCO result form; class 0 is category 1."""
    return [
        {
            "image_id": image_id,
            "category_id": int(kind) + 1,
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "score": float(score),
        }
        for (x1, y1, x2, y2), score, kind in zip(boxes_xyxy, scores, class_ids, strict=True)
    ]


class Validation:
    """The validation split, and how well a network does on it.

    Args:
        spec: Of the network.
        folder: Where the split is written.
        seed: Of the split.
        count: Number of pictures; None for the usual number.
    """

    def __init__(
        self, spec: DetectorSpec, folder: Path, *, seed: int, count: int | None = None
    ) -> None:
        self._spec = spec
        self._annotations = generate(folder, "val", count=count, seed=seed)
        listed = json.loads(self._annotations.read_text(encoding="utf-8"))["images"]
        self._pictures: list[Picture] = [
            load_image(folder / IMAGES / item["file_name"]) for item in listed
        ]

    def report(self, network: nn.Module, *, nms: NmsConfig = SCORING) -> AccuracyReport:
        """Run a network in evaluation mode over the split, in float32."""
        rows: list[dict[str, Any]] = []
        side = self._spec.input.height
        for index, picture in enumerate(self._pictures):
            square, placed = letterbox(picture, side, side, self._spec.letterbox)
            images = tensor_from_images([square], self._spec.input)
            with torch.inference_mode():
                raw = [head.numpy() for head in network(torch.from_numpy(images))]
            found = non_max_suppression(predictions_from_raw(raw, self._spec), nms)
            count = int(found["num_detections"][0, 0])
            boxes = placed.to_original(found["boxes_xyxy"][0, :count].astype(np.float32))
            rows += result_rows(
                index + 1, boxes, found["scores"][0, :count], found["class_ids"][0, :count].tolist()
            )
        return coco_ap(self._annotations, rows)
