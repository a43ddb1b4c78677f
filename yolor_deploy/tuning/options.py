"""What `tune` is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.precision import GraphTarget, Precision
from yolor_deploy.evaluation.data import ClassMatching
from yolor_deploy.measure.ranges import CalibrationMethod
from yolor_deploy.precision_stages import DEFAULT_METHODS, CalibrationConfig
from yolor_deploy.tuning.scores import TRUTH_THRESHOLD
from yolor_deploy.tuning.units import Grouping


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """What ``tune`` is told.

    Attributes:
        model: What ``export`` wrote, in float32.
        calibration: Images and method, as of ``build``.
        output: JSON file; None for ``<model>.tune.json``. An earlier one goes on. The picture lies
            beside it.
        precision: Quantised, and what the kept layers are.
        target: Runtime that the result is for.
        annotations: File in COCO form; None to score by agreement on the calibration images.
        images: Folder of the annotated images.
        match_classes: How categories find the classes of the model.
        score_images: The most images to score on; None for 64, or for all annotated ones.
        truth_threshold: Boxes of the float model above it are the truth where there are no
            annotations.
        max_ap_drop: Most that AP may drop by against the float model, in points.
        by: What is kept or quantised as one.
        budget_minutes: Of this run, calibration included; None for no limit. The float model, all
            in 8 bits, and the verification are run whatever it is.
        max_trials: Of this run; None for no limit.
        picture: Whether to draw.

    Raises:
        EvaluationError: A number is out of its range, or only one of the annotations and their
            images is given.
    """

    model: Path
    calibration: CalibrationConfig
    output: Path | None = None
    precision: Precision = field(default_factory=lambda: Precision("fp16", "int8"))
    target: GraphTarget = "tensorrt"
    annotations: Path | None = None
    images: Path | None = None
    match_classes: ClassMatching = "name"
    score_images: int | None = None
    truth_threshold: float = TRUTH_THRESHOLD
    max_ap_drop: float = 0.3
    by: Grouping = "layer"
    budget_minutes: float | None = None
    max_trials: int | None = None
    picture: bool = True

    def __post_init__(self) -> None:
        for option, value, is_right, expected in (
            ("--max-ap-drop", self.max_ap_drop, 0 <= self.max_ap_drop <= 100, "0 to 100 points"),  # noqa: PLR2004
            ("--budget", self.budget_minutes, _is_above_0(self.budget_minutes), "minutes above 0"),
            ("--max-trials", self.max_trials, _is_above_0(self.max_trials), "1 or more"),
            ("--score-images", self.score_images, _is_above_0(self.score_images), "1 or more"),
            ("--truth-threshold", self.truth_threshold, 0 < self.truth_threshold < 1, "0 to 1"),
        ):
            if not is_right:
                raise EvaluationError(
                    f"{value} given, expected {expected}", where=option, hint="give such a number"
                )
        if (self.annotations is None) != (self.images is None):
            raise EvaluationError(
                "one of annotations and images is given without the other",
                where="--annotations, --images",
                hint="give both, or --data",
            )

    @property
    def method(self) -> CalibrationMethod:
        """How ranges are chosen: as asked for, else as is best for the 8-bit type."""
        return self.calibration.method or DEFAULT_METHODS[self.precision.quantised or "int8"]

    @property
    def output_file(self) -> Path:
        """The JSON file."""
        return self.output or self.model.with_suffix(".tune.json")

    @property
    def picture_file(self) -> Path:
        """The picture, beside it."""
        return self.output_file.with_suffix(".png")


def _is_above_0(value: float | None) -> bool:
    return value is None or value > 0
