"""From image files to files of detections: annotated images, JSON, CSV, YOLO labels."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import ImageArray, load_image
from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.detection_report import DetectionReport, ImageDetections
from yolor_deploy.detector import Detector
from yolor_deploy.draw import annotate
from yolor_deploy.image_files import ImageFile

logger = logging.getLogger(__name__)

DetectionFormat = Literal["json", "csv", "yolo"]

_LOSSY_FORMATS = frozenset({"AVIF", "JPEG", "JPEG2000", "MPO", "WEBP"})
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """What is written, and where.

    Attributes:
        output: Folder; made if it is missing.
        formats: ``json`` is ``detections.json``, ``csv`` is ``detections.csv``, ``yolo`` is
            ``labels/<stem>.txt``.
        draw: Whether annotated images are written: ``<stem>.jpg`` for images that were compressed
            with loss, ``<stem>.png`` for the others.
    """

    output: Path
    formats: tuple[DetectionFormat, ...] = ("json",)
    draw: bool = True


def run_detection(
    detector: Detector,
    images: Sequence[ImageFile],
    config: DetectConfig,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> DetectionReport:
    """Detect in image files and write what was found.

    An image whose pixels turn out to be damaged does not stop the others: their files are written,
    and the damaged ones are reported at the end. Nothing is written if all of them are.

    Args:
        detector: A loaded model.
        images: From ``find_images``.
        config: What to write.
        progress: Called with the number of images done, and of all.

    Returns:
        What was found, in the order of ``images``.

    Raises:
        EvaluationError: An image is damaged, the output folder cannot be written to, or an
            annotated image would overwrite an image that was given.
    """
    _require_safe_output(images, config)
    begin = time.perf_counter()
    done: list[ImageDetections] = []
    damaged: list[EvaluationError] = []
    for start in range(0, len(images), detector.batch_size):
        batch = images[start : start + detector.batch_size]
        read = [(image, _read(image, damaged)) for image in batch]
        loaded = [(image, pixels) for image, pixels in read if pixels is not None]
        done += _detect_batch(detector, loaded, config)
        progress(min(start + detector.batch_size, len(images)), len(images))
    report = DetectionReport(
        model=detector.artifact.path.name,
        score_threshold=detector.nms.score_threshold,
        iou_threshold=detector.nms.iou_threshold,
        class_names=detector.class_names,
        images=tuple(done),
    )
    if done:
        _write_report(report, config)
    logger.info(
        "detect: %d detections in %d images, %.2f s",
        sum(len(item.detections) for item in done),
        len(done),
        time.perf_counter() - begin,
    )
    if damaged:
        raise _error_of_damaged(damaged, total=len(images))
    return report


def _read(image: ImageFile, damaged: list[EvaluationError]) -> ImageArray | None:
    """Return the pixels of an image; None, and its error listed, if it cannot be read."""
    try:
        return load_image(image.path)
    except EvaluationError as error:
        damaged.append(error)
        return None


def _detect_batch(
    detector: Detector, loaded: Sequence[tuple[ImageFile, ImageArray]], config: DetectConfig
) -> list[ImageDetections]:
    """Detect in a few images, and write the files that each of them has of its own."""
    results = []
    for (image, pixels), found in zip(
        loaded, detector.batch([pixels for _, pixels in loaded]), strict=True
    ):
        height, width = pixels.shape[:2]
        result = ImageDetections(image, height, width, found)
        if config.draw:
            picture = annotate(pixels, found, detector.class_names)
            _write_picture(config.output / _picture_name(image), picture)
        if "yolo" in config.formats:
            _write_text(config.output / "labels" / f"{image.stem}.txt", result.to_yolo())
        results.append(result)
    return results


def _write_report(report: DetectionReport, config: DetectConfig) -> None:
    if "json" in config.formats:
        text = json.dumps(report.to_json(), indent=1)
        _write_text(config.output / "detections.json", text + "\n")
    if "csv" in config.formats:
        _write_text(config.output / "detections.csv", report.to_csv())


def _write_text(path: Path, text: str) -> None:
    with _write_errors_reported(path), whole_file(path) as temporary:
        # A file name that is not UTF-8 gets its own bytes back
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))


def _write_picture(path: Path, picture: Image.Image) -> None:
    with _write_errors_reported(path), whole_file(path) as temporary:
        if path.suffix == ".jpg":
            # Without subsampling of colours: thin lines and letters stay sharp
            picture.save(temporary, quality=_JPEG_QUALITY, subsampling=0)
        else:
            picture.save(temporary)


def _picture_name(image: ImageFile) -> str:
    return image.stem + (".jpg" if image.format in _LOSSY_FORMATS else ".png")


def _require_safe_output(images: Sequence[ImageFile], config: DetectConfig) -> None:
    if config.output.exists() and not config.output.is_dir():
        raise EvaluationError(
            "output is a file, expected a folder",
            where=str(config.output),
            hint="give another name with --output",
        )
    if not config.draw:
        return
    inputs = {image.path.resolve() for image in images}
    for image in images:
        picture = config.output / _picture_name(image)
        if picture.resolve() in inputs:
            raise EvaluationError(
                "the annotated image would overwrite an image that was given",
                where=str(picture),
                hint="give another folder with --output",
            )


def _error_of_damaged(damaged: Sequence[EvaluationError], *, total: int) -> EvaluationError:
    first = damaged[0]
    if total == 1:
        return first
    files = ", ".join(error.where for error in damaged)
    return EvaluationError(
        f"{len(damaged)} of {total} images left out: {first.problem}",
        where=files,
        hint=first.hint,
    )


@contextmanager
def _write_errors_reported(path: Path) -> Iterator[None]:
    """Make the folder of a file, and turn a failure to write into our error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise EvaluationError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="check that the disk has room and that the folder may be written to",
        ) from error
