"""What an evaluation found: the average precision of an artifact, or of two compared."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.evaluation.data import ClassMatching
from yolor_deploy.evaluation.protocol import Protocol
from yolor_deploy.measure.accuracy import AccuracyReport
from yolor_deploy.measure.bootstrap import ImageMatches, Interval


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well an artifact does on a data set, and under which conditions.

    Attributes:
        model: Path of the artifact.
        model_sha256: Of that file; None if it is not on disk.
        precision: Of its weights and activations.
        annotations: Path of the annotation file.
        annotations_sha256: Of that file.
        protocol: How images were brought to the input size.
        match_classes: How categories found the classes of the model: ``name`` or ``order``.
        nms: Post-processing in force.
        accuracy: Average precision.
        interval: Of ``accuracy.ap``; None if no samples were drawn.
        notes: What limits the result, or was left out of it.
        image_seconds: Per image in the order of the file, reading it not counted; the images of a
            batch share its time.
        rows: Detections in the COCO result form.
        matches: Which of them found which objects.
    """

    model: str
    model_sha256: str | None
    precision: str
    annotations: str
    annotations_sha256: str
    protocol: Protocol
    match_classes: ClassMatching
    nms: NmsConfig
    accuracy: AccuracyReport
    interval: Interval | None
    notes: tuple[str, ...]
    image_seconds: tuple[float, ...] = field(repr=False)
    rows: tuple[dict[str, Any], ...] = field(repr=False)
    matches: ImageMatches = field(repr=False)

    @property
    def median_seconds(self) -> float:
        """Of an image."""
        return statistics.median(self.image_seconds)

    def to_json(self) -> dict[str, Any]:
        """Return plain values by the names of the fields, without ``rows`` and ``matches``."""
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "precision": self.precision,
            "annotations": self.annotations,
            "annotations_sha256": self.annotations_sha256,
            "protocol": self.protocol.to_json(),
            "match_classes": self.match_classes,
            "nms": asdict(self.nms),
            "accuracy": self.accuracy.to_json(),
            "interval": self.interval.to_json() if self.interval else None,
            "notes": list(self.notes),
            "image_seconds": list(self.image_seconds),
        }


@dataclass(frozen=True, slots=True)
class PairEvaluation:
    """Two artifacts on the same images.

    Attributes:
        a: The first.
        b: The second.
        ap_difference: AP of B less that of A, fraction of 1.
        interval: Of that difference, over the same drawn images for both; None if no samples were
            drawn.
    """

    a: Evaluation
    b: Evaluation
    ap_difference: float
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """What the difference means, as a sentence; in points, hundredths of AP."""
        points = f"{abs(self.ap_difference) * 100:.2f} points"
        if self.interval is None:
            if self.ap_difference == 0:
                return "A and B have the same AP"
            word = "better" if self.ap_difference > 0 else "worse"
            return f"B is {word} by {points}; without an interval this may be chance"
        low, high = self.interval.low * 100, self.interval.high * 100
        if low <= 0 <= high:
            return f"no difference can be seen: the interval [{low:.2f}, {high:.2f}] holds 0"
        word = "better" if low > 0 else "worse"
        nearest, farthest = sorted((abs(low), abs(high)))
        return f"B is {word} by {points} [{nearest:.2f}, {farthest:.2f}]"

    def to_json(self) -> dict[str, Any]:
        """Return plain values by the names of the fields, and the verdict."""
        return {
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "ap_difference": self.ap_difference,
            "interval": self.interval.to_json() if self.interval else None,
            "verdict": self.verdict,
        }
