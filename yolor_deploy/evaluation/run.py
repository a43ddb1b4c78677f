"""From an artifact and annotated images to its average precision, and that of two compared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import load_image
from yolor_deploy.core.runtime import Session
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.detector import Detector, open_session
from yolor_deploy.evaluation.data import (
    ClassMatching,
    EvaluationData,
    match_classes,
    read_data,
    result_rows,
)
from yolor_deploy.evaluation.protocol import (
    YOLOR_NMS,
    Protocol,
    ProtocolName,
    letterbox_protocol,
    yolor_protocol,
)
from yolor_deploy.evaluation.report import Evaluation, PairEvaluation
from yolor_deploy.measure.accuracy import (
    accuracy_from_evaluator,
    coco_evaluator,
    require_pycocotools,
)
from yolor_deploy.measure.bootstrap import (
    bootstrap_ap,
    matches_from_evaluator,
    percentile_interval,
)

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of steps done, and of all."""

_Advance = Callable[[int], None]
"""Called with the number of steps that were done since the last call."""

_COCO_DETECTIONS = 100  # per image and class; COCO looks at no more
_FEWEST_IMAGES = 2  # fewer cannot be drawn in different ways


def _silent(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """What is evaluated on, and how.

    Attributes:
        annotations: File in COCO form.
        images: Folder of the images that it lists.
        score_threshold: 0..1; low, because AP is over all scores.
        iou_threshold: 0..1, of suppression.
        protocol: ``letterbox`` is the artifact's own way to detect, ``yolor`` the authors' AP test.
        match_classes: How categories find the classes of the model.
        bootstrap: Samples that intervals are from; 0 for none.
        seed: Of these samples.
        device: What models given by path run on; None for the runtime's own choice.
        trust: Whether engines given by path are opened that are not the one of their passport.

    Raises:
        EvaluationError: The number of samples is negative, or ``yolor`` is asked for with other
            thresholds than its own.
    """

    annotations: Path
    images: Path
    score_threshold: float = YOLOR_NMS.score_threshold
    iou_threshold: float = YOLOR_NMS.iou_threshold
    protocol: ProtocolName = "letterbox"
    match_classes: ClassMatching = "name"
    bootstrap: int = 500
    seed: int = 0
    device: RuntimeDevice | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        if self.bootstrap < 0:
            raise EvaluationError(
                f"bootstrap is {self.bootstrap}, expected 0 or more samples",
                where="--bootstrap",
                hint="give a number such as 500, or 0 for no interval",
            )
        given = (self.score_threshold, self.iou_threshold)
        expected = (YOLOR_NMS.score_threshold, YOLOR_NMS.iou_threshold)
        if self.protocol == "yolor" and given != expected:
            raise EvaluationError(
                f"thresholds are {given[0]} (score) and {given[1]} (IoU), expected {expected[0]} "
                f"and {expected[1]}",
                where="--protocol yolor",
                hint="leave the thresholds out, or use --protocol letterbox",
            )


def evaluate(
    model: Path | Session,
    config: EvalConfig,
    *,
    progress: Progress = _silent,
) -> Evaluation:
    """Detect in annotated images, and compare with their annotations.

    Args:
        model: Path of an artifact, or a session; a session that is handed in is not closed.
        config: What to evaluate on, and how.
        progress: Called with the number of steps done, and of all: images, then samples.

    Raises:
        EvaluationError: The annotations or images cannot be used, do not fit each other or the
            model, the protocol does not fit the artifact, or pycocotools is not installed.
        ArtifactError: ``model`` is not a file of this project or not for the device, or the
            network computed NaN.
        BackendUnavailableError: Its runtime is not installed, or cannot use the device.
        BuildError: A threshold is not within 0..1.
        RunError: The device has not enough memory, or failed.
    """
    (evaluation,), _ = _evaluated_together([model], config, progress=progress)
    return evaluation


def evaluate_pair(
    a: Path | Session,
    b: Path | Session,
    config: EvalConfig,
    *,
    progress: Progress = _silent,
) -> PairEvaluation:
    """Evaluate two artifacts on the same images, and say how sure their difference is.

    Args:
        a: As ``model`` of ``evaluate``.
        b: Likewise.
        config: For both.
        progress: Called with the number of steps done, and of all: images of A, of B, samples.

    Raises:
        As of ``evaluate``.
    """
    (first, second), samples = _evaluated_together([a, b], config, progress=progress)
    return PairEvaluation(
        a=first,
        b=second,
        ap_difference=second.accuracy.ap - first.accuracy.ap,
        interval=(
            None
            if samples is None
            else percentile_interval(samples[:, 1] - samples[:, 0], seed=config.seed)
        ),
    )


def _evaluated_together(
    models: Sequence[Path | Session], config: EvalConfig, *, progress: Progress
) -> tuple[list[Evaluation], npt.NDArray[np.float64] | None]:
    """Return evaluations with their intervals, and the samples that these are from."""
    require_pycocotools()
    data = read_data(config.annotations, config.images)
    draws = config.bootstrap if len(data.images) >= _FEWEST_IMAGES else 0
    steps, total = 0, len(models) * len(data.images) + draws

    def advance(more: int) -> None:
        nonlocal steps
        steps += more
        progress(steps, total)

    evaluations = [_evaluated(model, data, config, advance=advance) for model in models]
    if not draws:
        return evaluations, None
    samples = bootstrap_ap(
        [evaluation.matches for evaluation in evaluations],
        samples=draws,
        seed=config.seed,
        progress=lambda _done, _total: advance(1),
    )
    return [
        replace(evaluation, interval=percentile_interval(column, seed=config.seed))
        for evaluation, column in zip(evaluations, samples.T, strict=True)
    ], samples


class _Run(NamedTuple):
    """What running a model over a data set gave, and under which conditions."""

    artifact: Artifact
    protocol: Protocol
    nms: NmsConfig
    notes: tuple[str, ...]
    rows: list[dict[str, Any]]
    image_seconds: list[float]


def _evaluated(
    model: Path | Session, data: EvaluationData, config: EvalConfig, *, advance: _Advance
) -> Evaluation:
    """Return an evaluation without its interval."""
    begin = time.perf_counter()
    run = _run(model, data, config, advance=advance)
    evaluator = coco_evaluator(data.truth, run.rows, where=str(data.annotations))
    accuracy = accuracy_from_evaluator(evaluator)
    logger.info(
        "eval: AP %.4f, %d detections in %d images, %.2f s",
        accuracy.ap,
        len(run.rows),
        accuracy.images,
        time.perf_counter() - begin,
    )
    path = run.artifact.path
    return Evaluation(
        model=str(path),
        model_sha256=sha256_of_file(path) if path.is_file() else None,
        precision=run.artifact.meta.precision,
        annotations=str(data.annotations),
        annotations_sha256=sha256_of_file(data.annotations),
        protocol=run.protocol,
        match_classes=config.match_classes,
        nms=run.nms,
        accuracy=accuracy,
        interval=None,
        notes=run.notes,
        image_seconds=tuple(run.image_seconds),
        rows=tuple(run.rows),
        matches=matches_from_evaluator(evaluator),
    )


def _run(
    model: Path | Session, data: EvaluationData, config: EvalConfig, *, advance: _Advance
) -> _Run:
    """Check that model, protocol and classes fit each other, and detect in all images."""
    with _opened(model, config) as session:
        artifact = session.artifact
        protocol = _protocol(artifact, config.protocol)
        detector = Detector(
            session,
            score_threshold=config.score_threshold,
            iou_threshold=config.iou_threshold,
            place=protocol.placement(),
        )
        match = match_classes(data, detector.class_names, by=config.match_classes)
        warnings = [note for note in (*_limits(detector.nms), match.note) if note]
        for note in warnings:
            logger.warning("%s: %s", artifact.path.name, note)
        numerics = _numerics(artifact, config.device if isinstance(model, Path) else None)
        notes = tuple([*warnings, numerics] if numerics else warnings)
        rows, seconds = _detected(detector, data, match.category_ids, advance=advance)
    return _Run(artifact, protocol, detector.nms, notes, rows, seconds)


def _numerics(artifact: Artifact, device: RuntimeDevice | None) -> str | None:
    """Return what computed a model if not the runtime's own choice, and how if not as it is."""
    meta = artifact.meta
    if device is not None and device.kind == "cuda":
        return f"computed on {device.name}"
    if meta.kind != "model" or meta.precision == "fp32" or meta.target == "onnxruntime":
        return None
    return f"computed on the CPU with every rounding to {meta.precision}; its speed says nothing"


def _opened(model: Path | Session, config: EvalConfig) -> AbstractContextManager[Session]:
    if isinstance(model, Path):
        return closing(
            open_session(model, for_accuracy=True, device=config.device, trust=config.trust)
        )
    return nullcontext(model)


def _protocol(artifact: Artifact, name: ProtocolName) -> Protocol:
    if name == "yolor":
        return yolor_protocol(artifact.meta, where=str(artifact.path))
    return letterbox_protocol(artifact.meta.spec)


def _detected(
    detector: Detector,
    data: EvaluationData,
    category_ids: Sequence[int | None],
    *,
    advance: _Advance,
) -> tuple[list[dict[str, Any]], list[float]]:
    """Return result rows of all images, and the seconds that each took."""
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    for start in range(0, len(data.images), detector.batch_size):
        batch = data.images[start : start + detector.batch_size]
        pixels = [load_image(image.path) for image in batch]
        begin = time.perf_counter()
        found = detector.batch(pixels)
        seconds += [(time.perf_counter() - begin) / len(batch)] * len(batch)
        for image, detections in zip(batch, found, strict=True):
            rows += result_rows(image.id, detections, category_ids)
        advance(len(batch))
    return rows, seconds


def _limits(nms: NmsConfig) -> Iterator[str]:
    """Yield what of the post-processing keeps AP lower than the network would allow."""
    if nms.max_detections < _COCO_DETECTIONS:
        yield (
            f"returns {nms.max_detections} detections of an image, where COCO looks at "
            f"{_COCO_DETECTIONS}: AP may be too low; export with --max-detections 300"
        )
    if nms.max_candidates < YOLOR_NMS.max_candidates:
        yield (
            f"only the best {nms.max_candidates} candidates of an image enter suppression: at low "
            f"scores AP may be too low; export with --max-candidates {YOLOR_NMS.max_candidates}"
        )
    if not nms.multi_label:
        yield "only the best class of a box counts: AP may be too low; export with --multi-label"
    if nms.class_agnostic:
        yield "boxes of different classes suppress each other: AP may be too low"
