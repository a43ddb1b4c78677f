"""Average precision of an exported shapes detector on its validation split.

From the root of the repository::

    python -m benchmarks.shapes.score shapes.onnx --data out/shapes/val --json out/score.json

``--data`` is a folder that ``benchmarks.shapes.generate`` wrote. The threshold inputs of the file
are set as the authors measure AP; the other limits are those that it was exported with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.shapes.evaluate import SCORING, result_rows
from benchmarks.shapes.generate import ANNOTATIONS, IMAGES
from yolor_deploy.cli.progress import progress
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.errors import EvaluationError, YolorDeployError
from yolor_deploy.detector import Detector
from yolor_deploy.measure.accuracy import AccuracyReport, coco_ap


def score(
    model: Path, data: Path, *, progress: Callable[[int, int], None] | None = None
) -> tuple[AccuracyReport, dict[str, Any]]:
    """Detect on every picture of a folder and compare with its annotations.

    Args:
        model: An artifact.
        data: Folder with ``images`` and ``annotations.json``.
        progress: Called with the number of pictures done and their total.

    Returns:
        The accuracy, and the post-processing that it was measured with.

    Raises:
        ArtifactError: ``model`` is not a file of this project.
        EvaluationError: ``data`` cannot be used.
    """
    annotations = data / ANNOTATIONS
    images = _images(annotations)
    rows: list[dict[str, Any]] = []
    with Detector(
        model, score_threshold=SCORING.score_threshold, iou_threshold=SCORING.iou_threshold
    ) as detector:
        for done, image in enumerate(images, start=1):
            found = detector.batch([data / IMAGES / str(image["file_name"])])[0]
            rows += result_rows(
                image["id"], found.boxes_xyxy, found.scores, found.class_ids.tolist()
            )
            if progress:
                progress(done, len(images))
        nms = asdict(detector.nms)
    return coco_ap(annotations, rows), nms


def _images(annotations: Path) -> list[dict[str, Any]]:
    try:
        listed = json.loads(annotations.read_text(encoding="utf-8"))["images"]
        return [{"id": item["id"], "file_name": item["file_name"]} for item in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"no COCO annotations with file names: {error!r}",
            where=str(annotations),
            hint="write the folder with `python -m benchmarks.shapes.generate FOLDER`",
        ) from error


def main() -> int:
    """Run from the command line; 1 if the user can mend what failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    try:
        with progress("scoring") as advance:
            report, nms = score(given.model, given.data, progress=advance)
    except YolorDeployError as error:
        print(
            f"error: {error.problem}\n  where: {error.where}\n  hint:  {error.hint}",
            file=sys.stderr,
        )
        return 1
    print(
        f"AP {report.ap:.4f}  AP50 {report.ap50:.4f}  AP75 {report.ap75:.4f}  "
        f"({report.images} pictures, {report.objects} objects)"
    )
    if given.json:
        value = {"model_sha256": sha256_of_file(given.model), "nms": nms, **report.to_json()}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
