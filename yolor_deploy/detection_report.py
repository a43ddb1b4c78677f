"""What was detected in a set of images, and its three forms: JSON, CSV and YOLO labels."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

from yolor_deploy.core.detections import Detections, shortest_float
from yolor_deploy.image_files import ImageFile

FORMAT = 1
_CSV_COLUMNS = ("file", "class_id", "class_name", "score", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class ImageDetections:
    """One image and what was found in it.

    Attributes:
        image: The file.
        height: Pixels, after the EXIF orientation is applied.
        width: Pixels, likewise.
        detections: In pixels of that image.
    """

    image: ImageFile
    height: int
    width: int
    detections: Detections

    def to_yolo(self) -> str:
        """Return a line per detection: class id, centre x, centre y, width, height, score.

        Coordinates are fractions of the image's width and height; the score comes last.
        """
        lines = []
        for box, score, class_id in zip(
            self.detections.boxes_xyxy.tolist(),
            self.detections.scores,
            self.detections.class_ids,
            strict=True,
        ):
            left, top, right, bottom = box
            values = (
                (left + right) / 2 / self.width,
                (top + bottom) / 2 / self.height,
                (right - left) / self.width,
                (bottom - top) / self.height,
                score,
            )
            lines.append(f"{class_id} " + " ".join(f"{value:.6f}" for value in values) + "\n")
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """Detections of several images by one model.

    Attributes:
        model: File name of the artifact.
        score_threshold: In force.
        iou_threshold: In force.
        class_names: By class id.
        images: In the order given.
    """

    model: str
    score_threshold: float
    iou_threshold: float
    class_names: tuple[str, ...]
    images: tuple[ImageDetections, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers; boxes are left, top, right, bottom in pixels."""
        return {
            "format": FORMAT,
            "model": self.model,
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "class_names": list(self.class_names),
            "images": [
                {
                    "file": str(item.image.path),
                    "stem": item.image.stem,
                    "width": item.width,
                    "height": item.height,
                    "detections": item.detections.to_json(self.class_names),
                }
                for item in self.images
            ],
        }

    def to_csv(self) -> str:
        """Return a line per detection, under a line of column names; boxes are in pixels."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_CSV_COLUMNS)
        for item in self.images:
            found = item.detections
            for box, score, class_id in zip(
                found.boxes_xyxy, found.scores, found.class_ids, strict=True
            ):
                name = self.class_names[class_id]
                numbers = [shortest_float(value) for value in (score, *box)]
                writer.writerow([str(item.image.path), class_id, name, *numbers])
        return text.getvalue()
