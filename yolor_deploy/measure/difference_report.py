"""Differences of detections over many images, and the limits that a sign-off sets them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.difference import DetectionMatch

FORMAT = 1

_DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread; all 0 where there are none.

    Attributes:
        p50: Median.
        p99: 99th percentile, interpolated between neighbours.
        maximum: The largest.
    """

    p50: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class ScoreShift:
    """How scores changed; all 0 where there are no pairs.

    Attributes:
        bias: Mean change with its sign: below 0 where scores fell.
        mean: Of the absolute change.
        p99: 99th percentile of the absolute change.
        maximum: Largest absolute change.
    """

    bias: float
    mean: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True, eq=False)
class ImageDifference:
    """What changed in one image: counts, and one number per pair.

    Attributes:
        name: The file, as it was given.
        boxes_before: Above the score threshold.
        boxes_after: Above the score threshold.
        kept: Pairs of the same class, both above the threshold.
        at_threshold: Pairs of the same class, one of them not far below the threshold.
        relabelled: Pairs of different classes.
        lost: Boxes before without a partner.
        added: Boxes after without a partner.
        moved_px: float64 [kept + at_threshold], largest change of a coordinate.
        iou_loss: float64 [kept + at_threshold], 1 - IoU.
        score_change: float64 [kept + at_threshold], after minus before.
    """

    name: str
    boxes_before: int
    boxes_after: int
    kept: int
    at_threshold: int
    relabelled: int
    lost: int
    added: int
    moved_px: _DoubleArray
    iou_loss: _DoubleArray
    score_change: _DoubleArray

    @staticmethod
    def of_match(name: str, match: DetectionMatch) -> ImageDifference:
        """Count what became of the boxes of one image."""
        columns = np.array([pair[2:] for pair in match.pairs], np.float64).reshape(-1, 3)
        return ImageDifference(
            name=name,
            boxes_before=match.boxes_before,
            boxes_after=match.boxes_after,
            kept=len(match.kept),
            at_threshold=len(match.at_threshold),
            relabelled=len(match.relabelled),
            lost=len(match.lost),
            added=len(match.added),
            moved_px=columns[:, 2],
            iou_loss=1 - columns[:, 0],
            score_change=columns[:, 1],
        )

    @property
    def severity(self) -> tuple[int, float, float]:
        """What images are ranked by: changed boxes, largest 1 - IoU, largest change of score."""
        return (
            self.lost + self.added + self.relabelled,
            float(self.iou_loss.max(initial=0.0)),
            float(np.abs(self.score_change).max(initial=0.0)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "file": self.name,
            "boxes_before": self.boxes_before,
            "boxes_after": self.boxes_after,
            "kept": self.kept,
            "at_threshold": self.at_threshold,
            "relabelled": self.relabelled,
            "lost": self.lost,
            "added": self.added,
            "max_moved_px": float(self.moved_px.max(initial=0.0)),
            "max_iou_loss": self.severity[1],
            "max_rescored": self.severity[2],
        }


@dataclass(frozen=True, slots=True)
class DifferenceReport:
    """Two models compared on several images.

    Attributes:
        before: File name of the artifact that is trusted.
        after: File name of the other.
        score_threshold: Boxes above it count.
        margin: A box this far below it is still taken for the same object as one above it.
        iou_threshold: From which boxes are taken for the same object.
        images: In the order given.
        left_out: Files that could not be read.
    """

    before: str
    after: str
    score_threshold: float
    margin: float
    iou_threshold: float
    images: tuple[ImageDifference, ...]
    left_out: tuple[str, ...] = ()

    @property
    def boxes_before(self) -> int:
        """Boxes before above the score threshold: kept, at the threshold, relabelled or lost."""
        return sum(image.boxes_before for image in self.images)

    @property
    def boxes_after(self) -> int:
        """Boxes after above the score threshold: kept, at the threshold, relabelled or added."""
        return sum(image.boxes_after for image in self.images)

    @property
    def kept(self) -> int:
        """Boxes found both times, as the same class, above the score threshold."""
        return sum(image.kept for image in self.images)

    @property
    def at_threshold(self) -> int:
        """Boxes found both times as the same class, once not far below the score threshold."""
        return sum(image.at_threshold for image in self.images)

    @property
    def relabelled(self) -> int:
        """Boxes found both times, as different classes."""
        return sum(image.relabelled for image in self.images)

    @property
    def lost(self) -> int:
        """Boxes found before only."""
        return sum(image.lost for image in self.images)

    @property
    def added(self) -> int:
        """Boxes found after only."""
        return sum(image.added for image in self.images)

    def fraction(self, count: int) -> float:
        """Return a count relative to the boxes before, of which one is assumed if there is none."""
        return count / max(self.boxes_before, 1)

    @property
    def moved_px(self) -> Spread:
        """How far boxes moved, pixels of the original image: the largest change of a coordinate."""
        return _spread([image.moved_px for image in self.images])

    @property
    def iou_loss(self) -> Spread:
        """How far boxes moved for their size: 1 - IoU."""
        return _spread([image.iou_loss for image in self.images])

    @property
    def rescored(self) -> ScoreShift:
        """How the scores of the pairs changed."""
        change = np.concatenate([np.zeros(0), *(image.score_change for image in self.images)])
        if not change.size:
            return ScoreShift(0.0, 0.0, 0.0, 0.0)
        size = np.abs(change)
        return ScoreShift(
            bias=float(change.mean()),
            mean=float(size.mean()),
            p99=float(np.percentile(size, 99)),
            maximum=float(size.max()),
        )

    def worst(self, count: int) -> tuple[ImageDifference, ...]:
        """Return the images that changed most, the worst first; none that did not change."""
        changed = [image for image in self.images if any(image.severity)]
        return tuple(sorted(changed, key=lambda image: image.severity, reverse=True)[:count])

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers; the images in the order given."""
        return {
            "format": FORMAT,
            "before": self.before,
            "after": self.after,
            "score_threshold": self.score_threshold,
            "margin": self.margin,
            "iou_threshold": self.iou_threshold,
            "boxes_before": self.boxes_before,
            "boxes_after": self.boxes_after,
            "kept": self.kept,
            "at_threshold": self.at_threshold,
            "relabelled": self.relabelled,
            "lost": self.lost,
            "added": self.added,
            "relabelled_fraction": self.fraction(self.relabelled),
            "lost_fraction": self.fraction(self.lost),
            "added_fraction": self.fraction(self.added),
            "moved_px": asdict(self.moved_px),
            "iou_loss": asdict(self.iou_loss),
            "rescored": asdict(self.rescored),
            "images": [image.to_json() for image in self.images],
            "left_out": list(self.left_out),
        }


def _spread(values: list[_DoubleArray]) -> Spread:
    joined = np.concatenate([np.zeros(0), *values])
    if not joined.size:
        return Spread(0.0, 0.0, 0.0)
    p50, p99, maximum = np.percentile(joined, [50, 99, 100]).tolist()
    return Spread(p50, p99, maximum)


@dataclass(frozen=True, slots=True)
class DifferenceLimits:
    """How much may change; None is no limit.

    The defaults let a change of runtime or of precision to half pass, where boxes and scores differ
    by rounding, and stop one that a user would notice: 1 box in 100 lost, added or of another
    class; 99 of 100 boxes within 2 pixels and 0.05 of score.

    Attributes:
        max_lost_fraction: Of the boxes before.
        max_added_fraction: Relative to the boxes before.
        max_relabelled_fraction: Of the boxes before.
        max_moved_px: For the 99th percentile of the largest change of a coordinate.
        max_iou_loss: For the 99th percentile of 1 - IoU, which does not depend on the size of
            the image.
        max_rescored: For the 99th percentile of the absolute change of score.

    Raises:
        EvaluationError: A limit is negative or NaN.
    """

    max_lost_fraction: float | None = 0.01
    max_added_fraction: float | None = 0.01
    max_relabelled_fraction: float | None = 0.01
    max_moved_px: float | None = 2.0
    max_iou_loss: float | None = None
    max_rescored: float | None = 0.05

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value >= 0:  # NaN fails too
                raise EvaluationError(
                    f"limit is {value}, expected 0 or more",
                    where=_option(name),
                    hint="give a positive number, or inf for no limit",
                )


def _option(name: str) -> str:
    return "--" + name.removesuffix("_fraction").removesuffix("_px").replace("_", "-")


def violations(report: DifferenceReport, limits: DifferenceLimits) -> list[str]:
    """Return a sentence for each reason not to sign off; none if all is well.

    Beside the limits, images that were left out are a reason, and a comparison in which neither
    model found a box: it says nothing.
    """
    found = []
    if report.left_out:
        total = len(report.images) + len(report.left_out)
        found.append(f"{len(report.left_out)} of {total} images cannot be read")
    if not report.boxes_before and not report.boxes_after:
        found.append(f"neither model finds a box above score {report.score_threshold:g}")
    for word, count, limit in (
        ("lost", report.lost, limits.max_lost_fraction),
        ("added", report.added, limits.max_added_fraction),
        ("relabelled", report.relabelled, limits.max_relabelled_fraction),
    ):
        if limit is not None and report.fraction(count) > limit:
            found.append(
                f"boxes {word}: {count}, {report.fraction(count):.2%} of the "
                f"{report.boxes_before} before, allowed {limit:.2%}"
            )
    for words, value, limit, unit in (
        ("boxes moved by", report.moved_px.p99, limits.max_moved_px, " px"),
        ("boxes lost IoU of", report.iou_loss.p99, limits.max_iou_loss, ""),
        ("scores changed by", report.rescored.p99, limits.max_rescored, ""),
    ):
        if limit is not None and value > limit:
            found.append(
                f"{words} {value:.4g}{unit} at the 99th percentile, allowed {limit:g}{unit}"
            )
    return found
