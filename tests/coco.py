"""A small data set in COCO form, and a session that finds what a test plants in its images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.sessions import CLASS_NAMES, Answer, FakeSession, artifact
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.evaluation.run import EvalConfig

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the image."""

Planted = tuple[Box, float, int]
"""Box, score, class id."""

SIDE = 32  # of the images and of the input: gain 1, no border
OBJECTS: tuple[tuple[Box, int], ...] = (((4, 4, 24, 14), 0), ((2, 6, 22, 30), 1))
SCENES = (OBJECTS, (OBJECTS[1],), (), (OBJECTS[0],))
"""Four images with two objects of each of two classes."""


@dataclass(frozen=True)
class Coco:
    """Files of a data set.

    Attributes:
        folder: Holds ``annotations.json`` and ``images``.
        value: What was written to the annotation file.
    """

    folder: Path
    value: dict[str, Any]

    @property
    def annotations(self) -> Path:
        """The annotation file."""
        return self.folder / "annotations.json"

    @property
    def images(self) -> Path:
        """The folder of images."""
        return self.folder / "images"

    def save(self) -> None:
        """Write what a test changed in ``value``."""
        self.annotations.write_text(json.dumps(self.value), encoding="utf-8")


def write_coco(
    folder: Path,
    objects: Sequence[Sequence[tuple[Box, int]]],
    *,
    names: Sequence[str] = CLASS_NAMES,
    size: tuple[int, int] = (SIDE, SIDE),
) -> Coco:
    """Write images and their annotations; image ``k`` has id ``10 + k`` and the grey level ``k``.

    Args:
        folder: Made here.
        objects: Per image, boxes and class ids; class ``i`` is category ``5 + 2 * i``.
        names: Of the categories.
        size: Height and width of the images.
    """
    (folder / "images").mkdir(parents=True)
    for number in range(len(objects)):
        grey = np.full((*size, 3), number, np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"{number}.png")
    rows = [(10 + k, box, kind) for k, found in enumerate(objects) for box, kind in found]
    value = {
        "images": [
            {"id": 10 + k, "file_name": f"{k}.png", "height": size[0], "width": size[1]}
            for k in range(len(objects))
        ],
        "categories": [{"id": 5 + 2 * k, "name": name} for k, name in enumerate(names)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 5 + 2 * kind,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]),
                "iscrowd": 0,
            }
            for number, (image, box, kind) in enumerate(rows)
        ],
    }
    result = Coco(folder, value)
    result.save()
    return result


def planting(found: Mapping[int, Sequence[Planted]], *, slots: int = 100) -> Answer:
    """Return an answer that finds planted boxes, given in input pixels, by the image's grey."""

    def answer(images: Array) -> RawOutput:
        n = len(images)
        count = np.zeros((n, 1), np.int32)
        boxes = np.zeros((n, slots, 4), np.float32)
        scores = np.zeros((n, slots), np.float32)
        class_ids = np.zeros((n, slots), np.int32)
        for k, image in enumerate(images):
            middle = image[:, image.shape[1] // 2, image.shape[2] // 2]
            rows = found.get(round(float(middle[0]) * 255), ())
            count[k] = len(rows)
            for row, (box, score, class_id) in enumerate(rows):
                boxes[k, row], scores[k, row], class_ids[k, row] = box, score, class_id
        return {
            "num_detections": count,
            "boxes_xyxy": boxes,
            "scores": scores,
            "class_ids": class_ids,
        }

    return answer


def perfect(objects: Sequence[Sequence[tuple[Box, int]]], *, score: float = 0.9) -> Answer:
    """Return an answer that finds every object exactly."""
    return planting({k: [(box, score, kind) for box, kind in row] for k, row in enumerate(objects)})


def session_of(answer: Answer, like: Artifact | None = None) -> FakeSession:
    """Return a session of the tiny artifact, or of another."""
    return FakeSession(like or artifact(), answer)


def eval_config(data: Coco, **options: Any) -> EvalConfig:
    """Return a configuration without samples, unless they are asked for."""
    return EvalConfig(data.annotations, data.images, **{"bootstrap": 0, **options})
