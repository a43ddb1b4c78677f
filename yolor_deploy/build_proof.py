"""What fewer bits have cost: a built model against the one that it was built from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolor_deploy.backends import open_for_accuracy
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.detections import Detections
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.measure.difference import agreement_ap
from yolor_deploy.measure.matching import rows_of_image
from yolor_deploy.measure.parity import OutputParity, all_passed
from yolor_deploy.proof import compare_head

if TYPE_CHECKING:
    from yolor_deploy.calibration.images import CalibrationImages

_MOST_IMAGES = 16
_MOST_PIXELS = 16 * 640 * 640  # of all of them: some seconds of a large model's time


@dataclass(frozen=True, slots=True)
class LoweringCost:
    """How far a model of fewer bits is from its float original, on a few images.

    Attributes:
        images: Number of images.
        signal_to_noise_db: Of each raw map; infinite where it is equal.
        agreement_ap: Average precision of its detections with the original's as the truth, 0..1.
        boxes: Detections of the original on these images.
        head: Post-processing against NumPy's of the same raw maps, image by image.
    """

    images: int
    signal_to_noise_db: tuple[float, ...]
    agreement_ap: float
    boxes: int
    head: tuple[OutputParity, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        value = asdict(self)
        value["head"] = [parity.to_json() for parity in self.head]
        decibels = self.signal_to_noise_db
        value["signal_to_noise_db"] = [v if np.isfinite(v) else None for v in decibels]
        return value


def sample_tensors(artifact: Artifact, images: CalibrationImages | None) -> Iterator[Array]:
    """Yield some inputs: up to 16 calibration images spread over the set, or two drawn ones.

    Of large inputs fewer are taken, but never less than 2.
    """
    from yolor_deploy.proof import seeded_images, tensor_from_pixels  # noqa: PLC0415 - beside use

    spec = artifact.meta.spec
    if images is None:
        for image in seeded_images(2, spec.input.height, spec.input.width):
            yield tensor_from_pixels(image[None], spec)
        return
    pixels = spec.input.height * spec.input.width
    most = max(2, min(_MOST_IMAGES, _MOST_PIXELS // pixels))
    step = max(1, len(images) // most)
    skipped = {name for name, _ in images.skipped}
    for index in range(0, min(len(images), step * most), step):
        if images.names[index] not in skipped:
            yield images.tensor(index, spec)


def cost_of_lowering(
    built: Artifact,
    source: Artifact,
    tensors: Sequence[Array],
    *,
    note: Callable[[str], None],
) -> LoweringCost:
    """Run both models on the same inputs and compare what they give.

    The built model runs with every rounding of its target in place; see ``open_for_accuracy``.

    Args:
        built: The model of fewer bits.
        source: The float model.
        tensors: Inputs of one image each.
        note: Told what is running.

    Raises:
        BuildError: The built model computes NaN or infinity, or its post-processing is not that of
            its raw maps.
    """
    spec = source.meta.spec
    names = output_names("raw", num_levels=len(spec.levels))
    nms = source.meta.nms or NmsConfig()
    signal, noise = np.zeros(len(names)), np.zeros(len(names))
    truth: list[Detections] = []
    found: list[Detections] = []
    head: list[OutputParity] = []
    note(f"comparing it with {source.path.name} on {len(tensors)} images")
    original = open_for_accuracy(source, with_raw=True)
    lowered = open_for_accuracy(built, with_raw=True)
    for tensor in tensors:
        batch = np.repeat(tensor, spec.input.batch.minimum, axis=0)
        expected, outputs = _first(original.run(batch)), _first(lowered.run(batch))
        for level, name in enumerate(names):
            _require_finite(outputs[name], name, built)
            signal[level] += float(np.square(expected[name], dtype=np.float64).sum())
            noise[level] += float(
                np.square(outputs[name].astype(np.float64) - expected[name]).sum()
            )
        truth.append(_detections(expected, names, source, nms))
        found.append(_detections(outputs, names, built, nms))
        head += compare_head("built", built, outputs, built.meta.nms or nms)
    _require_head(head, built)
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(signal / noise)
    return LoweringCost(
        len(tensors),
        tuple(float(value) for value in decibels),
        agreement_ap(truth, found, spec.num_classes),
        sum(map(len, truth)),
        tuple(head),
    )


def _first(outputs: RawOutput) -> RawOutput:
    return {name: value[:1] for name, value in outputs.items()}


def _detections(
    outputs: RawOutput, names: Sequence[str], artifact: Artifact, nms: NmsConfig
) -> Detections:
    predictions = predictions_from_raw([outputs[name] for name in names], artifact.meta.spec)
    rows = rows_of_image(non_max_suppression(predictions, nms), 0)
    return Detections(rows.boxes_xyxy, rows.scores, rows.class_ids)


def _require_finite(values: Array, name: str, built: Artifact) -> None:
    if not np.isfinite(values).all():
        raise BuildError(
            f"{name} holds NaN or infinity: a tensor leaves the range of {built.meta.precision}",
            where=str(built.path.name),
            hint="give images with --calibration: layers that leave the range stay float32 then; "
            "or build with --bf16",
        )


def _require_head(head: Sequence[OutputParity], built: Artifact) -> None:
    if head and not all_passed(head):
        worst = next(parity for parity in head if not parity.passed)
        raise BuildError(
            f"post-processing differs from that of its own raw maps: {worst.note}",
            where=str(built.path.name),
            hint="no file was written; report this model",
        )
