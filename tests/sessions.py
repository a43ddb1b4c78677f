"""A session that returns what a test tells it to: the seam between detector and runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from yolor_deploy.core.artifact import Artifact, ArtifactMeta
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import (
    BatchRange,
    DetectorSpec,
    HeadLevel,
    InputSpec,
    NmsConfig,
    OutputKind,
)

Answer = Callable[[Array], RawOutput]
"""From the input tensor to the outputs."""

CLASS_NAMES = ("circle", "square", "star")


def artifact(
    output: OutputKind = "detections",
    *,
    image: InputSpec | None = None,
    random_weights: bool = False,
) -> Artifact:
    """Return an artifact that is not on disk, of a detector with one level of stride 8."""
    spec = DetectorSpec(
        family="darknet",
        variant="custom",
        class_names=CLASS_NAMES,
        levels=(HeadLevel(8, ((16.0, 16.0), (24.0, 8.0))),),
        input=image or InputSpec(height=32, width=32),
        random_weights=random_weights,
    )
    nms = NmsConfig(max_detections=5) if output == "detections" else None
    return Artifact(
        Path("tiny.onnx"),
        ArtifactMeta("model", spec, "fp32", output, nms, target=None, history=()),
    )


def batch_range(minimum: int, optimum: int, maximum: int) -> InputSpec:
    """Return an input of 32 x 32 pixels that takes so many images."""
    return InputSpec(height=32, width=32, batch=BatchRange(minimum, optimum, maximum))


@dataclass
class FakeSession:
    """Answers each batch by a function, and remembers what it was given.

    Attributes:
        artifact: What it pretends to have loaded.
        answer: What it computes.
        inputs: Tensors, in the order of runs.
        thresholds: (score, IoU) of each run.
        closed: Whether ``close`` was called.
    """

    artifact: Artifact
    answer: Answer
    inputs: list[Array] = field(default_factory=list)
    thresholds: list[tuple[float | None, float | None]] = field(default_factory=list)
    closed: bool = False

    def run(
        self,
        images: Array,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> RawOutput:
        """Check the batch as a runtime does, and answer."""
        taken = self.artifact.meta.spec.input
        batch = taken.batch
        if (
            not batch.minimum <= len(images) <= batch.maximum
            or images.shape != taken.shape(len(images))
            or images.dtype != taken.dtype
        ):
            raise ArtifactError(
                f"{images.dtype} {images.shape} given", where="images", hint="mend the detector"
            )
        self.inputs.append(images)
        self.thresholds.append((score_threshold, iou_threshold))
        return self.answer(images)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def one_box_each(boxes_xyxy: Sequence[float], *, score: float = 0.87, class_id: int = 2) -> Answer:
    """Return an answer that finds the same box in every image, in input pixels."""

    def answer(images: Array) -> RawOutput:
        n = len(images)
        boxes = np.zeros((n, 5, 4), np.float32)
        scores = np.zeros((n, 5), np.float32)
        class_ids = np.zeros((n, 5), np.int32)
        boxes[:, 0], scores[:, 0], class_ids[:, 0] = boxes_xyxy, score, class_id
        return {
            "num_detections": np.ones((n, 1), np.int32),
            "boxes_xyxy": boxes,
            "scores": scores,
            "class_ids": class_ids,
        }

    return answer
