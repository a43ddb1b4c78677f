"""Two artifacts, run on the same images and compared by what they detect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from yolor_deploy.core.detections import Detections
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import load_image
from yolor_deploy.core.runtime import Session
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.detector import Detector, open_session
from yolor_deploy.draw import Colour, LabelledBox, draw_boxes
from yolor_deploy.image_files import ImageFile
from yolor_deploy.measure.difference import BoxPair, DetectionMatch, match_detections
from yolor_deploy.measure.difference_report import (
    DifferenceLimits,
    DifferenceReport,
    ImageDifference,
)

logger = logging.getLogger(__name__)

_GREY: Colour = (150, 150, 150)
_RED: Colour = (225, 40, 40)
_BLUE: Colour = (40, 100, 235)
_ORANGE: Colour = (245, 150, 20)
_PURPLE: Colour = (165, 60, 200)


@dataclass(frozen=True, slots=True)
class DiffConfig:
    """What counts as the same object, and what is drawn.

    Attributes:
        score_threshold: Boxes above it count; None: the threshold of the model before.
        margin: Both models run this far below the threshold, so that a score that barely crosses
            it loses or adds no object.
        iou_threshold: From which boxes are taken for the same object.
        limits: A pair beyond them is drawn as moved or rescored.
        draw: Folder for a picture of each of the worst images; None: nothing is drawn.
        worst: How many images are drawn at most.
        trust: Whether engines given by path are opened that are not the one of their passport.

    Raises:
        EvaluationError: A number is out of its range.
        BuildError: The score threshold is not within 0..1.
    """

    score_threshold: float | None = None
    margin: float = 0.05
    iou_threshold: float = 0.5
    limits: DifferenceLimits = field(default_factory=DifferenceLimits)
    draw: Path | None = None
    worst: int = 10
    trust: bool = False

    def __post_init__(self) -> None:
        if self.score_threshold is not None:
            NmsConfig(score_threshold=self.score_threshold)  # refuses what the models would refuse
        for option, value, is_right, expected in (
            ("--margin", self.margin, 0 <= self.margin <= 1, "0 to 1"),
            ("--iou", self.iou_threshold, 0 < self.iou_threshold <= 1, "above 0, at most 1"),
            ("--worst", self.worst, self.worst >= 0, "0 or more"),
        ):
            if not is_right:
                raise EvaluationError(
                    f"{option[2:]} is {value}, expected {expected}",
                    where=option,
                    hint="leave it out for the default",
                )


class _Case(NamedTuple):
    """One image with all that a picture of it needs."""

    difference: ImageDifference
    image: ImageFile
    before: Detections
    after: Detections
    match: DetectionMatch


def compare_artifacts(
    a: Path | str | Session,
    b: Path | str | Session,
    images: Sequence[ImageFile],
    config: DiffConfig,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> DifferenceReport:
    """Run two models on images, one at a time, and compare what they detect.

    The models may differ in input size, precision and runtime, as boxes are compared in pixels of
    the original image. Each suppresses by its own IoU threshold. An image whose pixels turn out to
    be damaged does not stop the others: it is named in the report, and is one of its violations.

    Args:
        a: The model that is trusted: an artifact, or a session, which is not closed.
        b: The model that would replace it, likewise.
        images: From ``find_images``.
        config: What counts as the same, and what is drawn.
        progress: Called with the number of images done, and of all.

    Returns:
        Differences, in the order of ``images``.

    Raises:
        EvaluationError: The classes differ; no image can be read; a picture cannot be written or
            would overwrite an image that was given.
        ArtifactError: Not a file that this project wrote, or a network computed NaN.
        BackendUnavailableError: The runtime of a model is not installed.
    """
    if config.draw is not None:
        _require_safe_folder(images, config.draw)
    begin = time.perf_counter()
    with _opened(a, config) as before, _opened(b, config) as after:
        _require_same_classes(before, after)
        report, worst = _compare(before, after, images, config, progress)
        class_names = before.artifact.meta.spec.class_names
    if config.draw is not None:
        for case in worst:
            picture = _picture(case, class_names, config.limits)
            _write_picture(_picture_path(config.draw, case.image), picture)
    logger.info(
        "diff: %d boxes before, %d lost, %d added in %d images, %.2f s",
        report.boxes_before,
        report.lost,
        report.added,
        len(report.images),
        time.perf_counter() - begin,
    )
    return report


def _compare(
    a: Session,
    b: Session,
    images: Sequence[ImageFile],
    config: DiffConfig,
    progress: Callable[[int, int], None],
) -> tuple[DifferenceReport, list[_Case]]:
    """Return the differences, and of the worst images what they were made from."""
    threshold = config.score_threshold
    if threshold is None:
        threshold = (a.artifact.meta.nms or NmsConfig()).score_threshold
    # One run at the lower threshold is enough: suppression never lets a box drop a better one,
    # so that its boxes above the higher threshold are those of a run at that.
    low = max(0.0, threshold - config.margin)
    before, after = (Detector(session, score_threshold=low) for session in (a, b))
    differences: list[ImageDifference] = []
    damaged: list[EvaluationError] = []
    worst: list[_Case] = []
    for done, image in enumerate(images, start=1):
        try:
            pixels = load_image(image.path)
        except EvaluationError as error:
            damaged.append(error)
        else:
            case = _case(image, before(pixels), after(pixels), threshold, config)
            differences.append(case.difference)
            if any(case.difference.severity):
                worst.append(case)
                worst.sort(key=lambda item: item.difference.severity, reverse=True)
                del worst[config.worst if config.draw else 0 :]
        progress(done, len(images))
    if damaged and not differences:
        raise _error_of_damaged(damaged)
    report = DifferenceReport(
        before=str(a.artifact.path),
        after=str(b.artifact.path),
        score_threshold=threshold,
        margin=config.margin,
        iou_threshold=config.iou_threshold,
        images=tuple(differences),
        left_out=tuple(error.where for error in damaged),
    )
    return report, worst


def _case(
    image: ImageFile, before: Detections, after: Detections, threshold: float, config: DiffConfig
) -> _Case:
    match = match_detections(
        before, after, score_threshold=threshold, iou_threshold=config.iou_threshold
    )
    return _Case(ImageDifference.of_match(str(image.path), match), image, before, after, match)


@contextmanager
def _opened(model: Path | str | Session, config: DiffConfig) -> Iterator[Session]:
    """Load an artifact for as long as the block runs; a session is only passed on."""
    if not isinstance(model, (str, Path)):
        yield model
        return
    session = open_session(model, for_accuracy=True, trust=config.trust)
    try:
        yield session
    finally:
        session.close()


def _require_same_classes(a: Session, b: Session) -> None:
    names = [session.artifact.meta.spec.class_names for session in (a, b)]
    for class_id, (first, second) in enumerate(zip_longest(*names)):
        if first != second:
            found = "missing" if second is None else repr(second)
            expected = "none" if first is None else repr(first)
            raise EvaluationError(
                f"class {class_id} is {found}, expected {expected} as in {a.artifact.path}",
                where=str(b.artifact.path),
                hint="compare models of the same classes in the same order",
            )


def _error_of_damaged(damaged: Sequence[EvaluationError]) -> EvaluationError:
    first = damaged[0]
    if len(damaged) == 1:
        return first
    return EvaluationError(
        f"none of {len(damaged)} images can be read: {first.problem}",
        where=", ".join(error.where for error in damaged),
        hint=first.hint,
    )


def _picture(case: _Case, class_names: Sequence[str], limits: DifferenceLimits) -> Image.Image:
    """Draw what changed in colours, and what did not as thin grey boxes."""
    match = case.match
    boxes = [
        *(_labelled(case.before, row, _RED, "lost ", class_names) for row in match.lost),
        *(_labelled(case.after, row, _BLUE, "added ", class_names) for row in match.added),
        *(
            _labelled(
                case.after,
                pair.after,
                _PURPLE,
                f"{class_names[case.before.class_ids[pair.before]]} > ",
                class_names,
            )
            for pair in match.relabelled
        ),
    ]
    quiet = []
    for pair in match.pairs:
        note = _beyond(pair, limits)
        if note:
            name = class_names[case.after.class_ids[pair.after]]
            box = case.after.boxes_xyxy[pair.after].tolist()
            boxes.append(LabelledBox(box, _ORANGE, name, note))
        box = case.before.boxes_xyxy[pair.before].tolist()
        quiet.append(LabelledBox(box, _GREY, is_thin=True))
    return draw_boxes(load_image(case.image.path), [*boxes, *quiet])


def _labelled(
    detections: Detections, row: int, colour: Colour, prefix: str, class_names: Sequence[str]
) -> LabelledBox:
    name = prefix + class_names[detections.class_ids[row]]
    box = detections.boxes_xyxy[row].tolist()
    return LabelledBox(box, colour, name, f" {detections.scores[row]:.2f}")


def _beyond(pair: BoxPair, limits: DifferenceLimits) -> str:
    """Return how a pair exceeds the limits that are set to most pairs; empty if it does not."""
    note = ""
    if limits.max_moved_px is not None and pair.moved_px > limits.max_moved_px:
        note += f" {pair.moved_px:.1f} px"
    if limits.max_iou_loss is not None and 1 - pair.iou > limits.max_iou_loss:
        note += f" IoU {pair.iou:.2f}"
    if limits.max_rescored is not None and abs(pair.score_change) > limits.max_rescored:
        note += f" {pair.score_change:+.2f}"
    return note


def _picture_path(folder: Path, image: ImageFile) -> Path:
    return folder / f"{image.stem}.png"


def _require_safe_folder(images: Sequence[ImageFile], folder: Path) -> None:
    """Refuse a folder for pictures before the models run, not after."""
    if folder.exists() and not folder.is_dir():
        raise EvaluationError(
            "a file, expected a folder", where=str(folder), hint="give another name with --draw"
        )
    inputs = {image.path.resolve() for image in images}
    for image in images:
        path = _picture_path(folder, image)
        if path.resolve() in inputs:
            raise EvaluationError(
                "the picture would overwrite an image that was given",
                where=str(path),
                hint="give another folder with --draw",
            )


def _write_picture(path: Path, picture: Image.Image) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise EvaluationError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="check that the disk has room and that the folder may be written to",
        ) from error
