"""What tuning is scored by: AP on annotated images, or agreement with the float model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from yolor_deploy.calibration.images import CalibrationImages
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.detections import Detections
from yolor_deploy.core.errors import ArtifactError, EvaluationError
from yolor_deploy.core.image import load_image
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, Session
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.detector import Detector
from yolor_deploy.evaluation.data import (
    ClassMatching,
    EvaluationData,
    match_classes,
    read_data,
    result_rows,
)
from yolor_deploy.evaluation.protocol import YOLOR_NMS
from yolor_deploy.measure.accuracy import (
    accuracy_from_evaluator,
    coco_evaluator,
    require_pycocotools,
)
from yolor_deploy.measure.bootstrap import (
    LEVEL,
    bootstrap_ap,
    matches_from_evaluator,
    percentile_interval,
)
from yolor_deploy.measure.difference import agreement_ap, match_detections
from yolor_deploy.measure.matching import rows_of_image

# A tenth of what agreement loses: over 40 builds of two detectors on 200 annotated images, AP lost
# 0.093 times as much (r = 0.95; benchmarks/results/tuning.json). Agreement punishes every pixel
# that a box moves, annotations only those that move it away.
AP_OF_AGREEMENT = 0.1
TRUTH_THRESHOLD = 0.25
DEFAULT_IMAGES = 64
# Of the other boxes: lower ones change nothing (0.001 gives the same r), higher ones lose recall
_FOUND_THRESHOLD = 0.01
_SAMPLES = 200  # of the bootstrap
_GROUPS = 16  # of the jackknife
_Z = 1.96  # of a normal distribution, for LEVEL


class DropInterval(NamedTuple):
    """How sure a drop of AP is.

    Attributes:
        low: Fraction of 1.
        high: Likewise.
        level: Confidence, 0..1.
    """

    low: float
    high: float
    level: float


class Scorer(Protocol):
    """Images, and a number for what a model finds in them."""

    @property
    def kind(self) -> str:
        """``AP``, or ``AP-equivalent`` where there are no annotations."""
        ...

    @property
    def description(self) -> str:
        """What the score is, in words."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the score depends on, JSON values."""
        ...

    def detect(self, session: Session) -> list[Detections]:
        """Find objects in each image.

        Raises:
            ArtifactError: The network computed NaN.
            EvaluationError: An image cannot be read.
        """
        ...

    def score(self, reference: Sequence[Detections], found: Sequence[Detections]) -> float:
        """Return the score of what was found, 0..1, where the float model found ``reference``."""
        ...

    def drop_interval(
        self, reference: Sequence[Detections], found: Sequence[Detections]
    ) -> DropInterval:
        """Return the interval of the drop against the float model, 0..1; the images are paired."""
        ...


class AnnotatedScorer:
    """AP against annotations, as ``eval`` measures it.

    Args:
        artifact: The float model.
        annotations: File in COCO form.
        images: Folder of its images.
        matching: How categories find classes.
        limit: The most images, spread evenly; None for all.

    Raises:
        EvaluationError: They cannot be used, or pycocotools is not installed.
    """

    kind = "AP"

    def __init__(
        self,
        artifact: Artifact,
        annotations: Path,
        images: Path,
        *,
        matching: ClassMatching = "name",
        limit: int | None = None,
    ) -> None:
        require_pycocotools()
        self._data = _part_of(read_data(annotations, images), limit)
        names = artifact.meta.spec.class_names
        self._category_ids = match_classes(self._data, names, by=matching).category_ids
        self._matching = matching

    @property
    def description(self) -> str:
        """What the score is."""
        return f"AP on {len(self._data.images)} annotated images, score > 0.001, IoU 0.65"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it depends on."""
        return {
            "score": self.kind,
            "annotations_sha256": sha256_of_file(self._data.annotations),
            "score_images": [image.id for image in self._data.images],
            "match_classes": self._matching,
        }

    def detect(self, session: Session) -> list[Detections]:
        """Find objects, letterboxed as ``detect`` does."""
        detector = Detector(
            session,
            score_threshold=YOLOR_NMS.score_threshold,
            iou_threshold=YOLOR_NMS.iou_threshold,
        )
        found: list[Detections] = []
        paths = [image.path for image in self._data.images]
        for begin in range(0, len(paths), detector.batch_size):
            found += detector.batch(
                [load_image(path) for path in paths[begin : begin + detector.batch_size]]
            )
        return found

    def score(self, reference: Sequence[Detections], found: Sequence[Detections]) -> float:
        """Return AP; it does not depend on the reference."""
        del reference
        return accuracy_from_evaluator(self._evaluator(found)).ap

    def drop_interval(
        self, reference: Sequence[Detections], found: Sequence[Detections]
    ) -> DropInterval:
        """Draw images again, the same for both."""
        matches = [matches_from_evaluator(self._evaluator(item)) for item in (reference, found)]
        samples = bootstrap_ap(matches, samples=_SAMPLES)
        interval = percentile_interval(samples[:, 0] - samples[:, 1], seed=0)
        return DropInterval(interval.low, interval.high, interval.level)

    def _evaluator(self, found: Sequence[Detections]) -> Any:
        rows = [
            row
            for image, detections in zip(self._data.images, found, strict=True)
            for row in result_rows(image.id, detections, self._category_ids)
        ]
        return coco_evaluator(self._data.truth, rows, where=str(self._data.annotations))


class AgreementScorer:
    """Agreement with the float model, as far as a tenth of its loss is a loss of AP.

    Args:
        artifact: The float model.
        images: Without annotations.
        truth_threshold: Boxes of the float model above it are the truth, 0..1.

    Raises:
        EvaluationError: More than 5 % of the images cannot be read.
    """

    kind = "AP-equivalent"

    def __init__(
        self, artifact: Artifact, images: CalibrationImages, *, truth_threshold: float
    ) -> None:
        self._images = images
        self._spec = artifact.meta.spec
        self._truth_threshold = truth_threshold
        self._nms = replace(
            artifact.meta.nms or NmsConfig(),
            score_threshold=min(_FOUND_THRESHOLD, truth_threshold),
        )

    @property
    def description(self) -> str:
        """What the score is."""
        return (
            f"AP-equivalent on {len(self._images)} images without annotations: 1 - "
            f"{AP_OF_AGREEMENT:g} * (1 - agreement), agreement being AP with the float model's "
            f"boxes of score > {self._truth_threshold:g} as the truth"
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it depends on."""
        return {
            "score": self.kind,
            "score_images_sha256": self._images.digest(),
            "truth_threshold": self._truth_threshold,
            "ap_of_agreement": AP_OF_AGREEMENT,
        }

    def detect(self, session: Session) -> list[Detections]:
        """Find objects, in pixels of the network's input."""
        return [
            _detections(session, item.tensor, self._nms)
            for item in self._images.tensors(self._spec)
        ]

    def score(self, reference: Sequence[Detections], found: Sequence[Detections]) -> float:
        """Return 1 less a tenth of what agreement lacks.

        Raises:
            EvaluationError: The float model found nothing above the truth threshold.
        """
        truth = self._truth(reference)
        if not any(map(len, truth)):
            raise EvaluationError(
                f"the float model finds nothing of score > {self._truth_threshold:g} in "
                f"{len(truth)} images",
                where="images to score on",
                hint="give images with objects by --calibration, annotated ones by --data, or a "
                "lower --truth-threshold",
            )
        return 1 - AP_OF_AGREEMENT * (1 - self._agreement(truth, found))

    def drop_interval(
        self, reference: Sequence[Detections], found: Sequence[Detections]
    ) -> DropInterval:
        """Leave out one group of images after the other: agreement is too slow for a bootstrap.

        Source: the delete-a-group jackknife; Efron and Tibshirani, "An Introduction to the
        Bootstrap", chapter 11.
        """
        truth, n = self._truth(reference), len(reference)
        groups = [range(k, n, _GROUPS) for k in range(min(_GROUPS, n))]
        rest = [[row for row in range(n) if row not in group] for group in groups]
        drops = np.array(
            [
                AP_OF_AGREEMENT
                * (1 - self._agreement([truth[row] for row in rows], [found[row] for row in rows]))
                for rows in rest
                if any(len(truth[row]) for row in rows)
            ]
        )
        m = len(drops)
        error = float(np.sqrt((m - 1) / m * np.square(drops - drops.mean()).sum())) if m else 0.0
        drop = AP_OF_AGREEMENT * (1 - self._agreement(truth, found))
        return DropInterval(drop - _Z * error, drop + _Z * error, LEVEL)

    def _agreement(self, truth: Sequence[Detections], found: Sequence[Detections]) -> float:
        return agreement_ap(truth, found, self._spec.num_classes)

    def _truth(self, reference: Sequence[Detections]) -> list[Detections]:
        return [item[item.scores > self._truth_threshold] for item in reference]


def changes_between(
    reference: Sequence[Detections], found: Sequence[Detections], *, score_threshold: float
) -> dict[str, float]:
    """Return what became of the boxes of the float model, as counts and means of matched pairs."""
    match = partial(match_detections, score_threshold=score_threshold)
    matches = [match(before, after) for before, after in zip(reference, found, strict=True)]
    pairs = [pair for item in matches for pair in item.pairs]
    return {
        "boxes": sum(item.boxes_before for item in matches),
        "matched": len(pairs),
        "lost": sum(len(item.lost) for item in matches),
        "added": sum(len(item.added) for item in matches),
        "relabelled": sum(len(item.relabelled) for item in matches),
        "mean_iou": float(np.mean([pair.iou for pair in pairs])) if pairs else 1.0,
        "mean_score_shift": (
            float(np.mean([abs(pair.score_change) for pair in pairs])) if pairs else 0.0
        ),
    }


def _detections(session: Session, tensor: Array, nms: NmsConfig) -> Detections:
    artifact = session.artifact
    batch = np.repeat(tensor, artifact.meta.spec.input.batch.minimum, axis=0)
    if artifact.meta.output == "detections":
        outputs = session.run(
            batch, score_threshold=nms.score_threshold, iou_threshold=nms.iou_threshold
        )
    else:
        maps = [session_output[:1] for session_output in _own(session, batch)]
        predictions = maps[0]
        if artifact.meta.output == "raw":
            predictions = predictions_from_raw(maps, artifact.meta.spec)
        outputs = non_max_suppression(predictions, nms)
    rows = rows_of_image(outputs, 0)
    if not (np.isfinite(rows.boxes_xyxy).all() and np.isfinite(rows.scores).all()):
        raise ArtifactError(
            "the network computed boxes or scores that are NaN or infinite",
            where=f"{artifact.path.name} in {artifact.meta.precision}",
            hint="tune with --base fp32, or export the model again",
        )
    return Detections(rows.boxes_xyxy, rows.scores, rows.class_ids)


def _own(session: Session, batch: Array) -> list[Array]:
    outputs = session.run(batch)
    return [outputs[name] for name in session.artifact.output_names]


def _part_of(data: EvaluationData, limit: int | None) -> EvaluationData:
    """Return images spread evenly over the list, with the annotations of these."""
    total = len(data.images)
    if limit is None or limit >= total:
        return data
    rows = [number * total // limit for number in range(limit)]
    images = tuple(data.images[row] for row in rows)
    ids = {image.id for image in images}
    truth = {
        **data.truth,
        "images": [data.truth["images"][row] for row in rows],
        "annotations": [row for row in data.truth["annotations"] if row["image_id"] in ids],
    }
    if not truth["annotations"]:
        raise EvaluationError(
            f"the {limit} images that are scored have no annotated object",
            where=str(data.annotations),
            hint="take more of them with --score-images",
        )
    return EvaluationData(data.annotations, truth, images)
