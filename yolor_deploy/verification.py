"""``verify``: does an artifact still compute what its checkpoint computes?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolor_deploy.backends.onnxruntime.probe import RawMapProbe
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.image import letterbox, load_image
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.measure import parity
from yolor_deploy.measure.matching import Rows, compare_rows, rows_of_image
from yolor_deploy.measure.parity import OutputParity, all_passed
from yolor_deploy.proof import (
    Images,
    RawMaps,
    busy_nms,
    compare_head,
    compare_raw,
    fold_with_proof,
    raw_from_network,
    seeded_images,
    tensor_from_pixels,
)
from yolor_deploy.source import load_checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Every comparison of an artifact with its checkpoint.

    Attributes:
        parities: By stage, output and image.
        images: Names of the images that were run.
    """

    parities: tuple[OutputParity, ...]
    images: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all of them are within their tolerance."""
        return all_passed(self.parities)


def verify(
    artifact: Artifact,
    *,
    against: str,
    cfg: str | None = None,
    images: Sequence[Path] = (),
    note: Callable[[str], None] = logger.info,
) -> VerifyReport:
    """Compare an artifact with a checkpoint: folded, ONNX, head, detections.

    Args:
        artifact: A model that ``export`` wrote.
        against: Path of a checkpoint, or name of a published model for its random weights.
        cfg: Darknet description of the checkpoint.
        images: Files; without any, a drawn image is used.
        note: Told each step as it begins.

    Raises:
        CheckpointError, UnsupportedModelError: The checkpoint cannot be read.
        ArtifactError: It is of another model than the artifact.
        EvaluationError: An image cannot be read.
    """
    from yolor_deploy import families  # noqa: PLC0415 - torch

    spec = artifact.meta.spec
    kind, precision = artifact.meta.kind, artifact.meta.precision
    if (kind, precision) != ("model", "fp32"):
        raise ArtifactError(
            f"{kind} of precision {precision}, expected a model of fp32",
            where=str(artifact.path),
            hint="verify the model that it was built from; `diff` and `eval` tell what fewer bits "
            "cost",
        )
    note(f"reading {against}")
    seed = next((record.options.get("seed", 0) for record in artifact.meta.history), 0)
    checkpoint = load_checkpoint(against, cfg=cfg, seed=seed)
    checkpoint = replace(checkpoint, class_names=None)  # `export --names` may have mended them
    family = families.family_of(checkpoint)
    _require_same_model(artifact, family.spec(checkpoint), against)
    network = family.module(checkpoint)
    probe = RawMapProbe(artifact)
    results: list[OutputParity] = []
    names = []
    for name, image in _images(images, spec):
        note(f"running {name}")
        names.append(name)
        results += _verify_image(artifact, name, image, network, probe)
    note("folding")
    _, _, folding = fold_with_proof(network, spec, fold_implicit=True)
    return VerifyReport((*folding, *results), tuple(names))


def _verify_image(
    artifact: Artifact, name: str, image: Images, network: Any, probe: RawMapProbe
) -> list[OutputParity]:
    """Compare the artifact's maps, head and detections of one image with the checkpoint's.

    Detections are compared twice: with the thresholds that the file has inside, and with one that
    so many boxes pass that there is something to suppress.
    """
    expected = raw_from_network(network, image)
    images = image.repeat(artifact.meta.spec.input.batch.minimum, axis=0)
    tensor = tensor_from_pixels(images, artifact.meta.spec)
    own, busy = artifact.meta.nms or NmsConfig(), busy_nms(artifact, expected)

    outputs = _first(probe.run(tensor))
    results = compare_raw(f"ONNX, {name}", outputs, expected, artifact.meta.spec)
    results.append(_compare_detections(artifact, name, outputs, expected, own))
    outputs = _first(probe.run(tensor, busy))
    results += compare_head(f"head, {name}", artifact, outputs, busy)
    results.append(_compare_detections(artifact, name, outputs, expected, busy))
    return results


def _first(outputs: RawOutput) -> RawOutput:
    return {key: value[:1] for key, value in outputs.items()}


def _compare_detections(
    artifact: Artifact, name: str, outputs: RawOutput, expected: RawMaps, nms: NmsConfig
) -> OutputParity:
    predictions = predictions_from_raw(expected, artifact.meta.spec)
    return compare_rows(
        f"detections above {nms.score_threshold:.3g}, {name}",
        _detections(artifact, outputs, nms),
        rows_of_image(non_max_suppression(predictions, nms), 0),
        nms=nms,
        boxes_px=parity.BOXES_PX,
        scores=parity.SCORES,
    )


def _detections(artifact: Artifact, outputs: RawOutput, nms: NmsConfig) -> Rows:
    if artifact.meta.output == "detections":
        return rows_of_image(outputs, 0)
    spec = artifact.meta.spec
    maps = [outputs[f"raw_{level}"] for level in range(len(spec.levels))]
    predictions = outputs.get("predictions")
    if predictions is None:
        predictions = predictions_from_raw(maps, spec)
    return rows_of_image(non_max_suppression(predictions, nms), 0)


def _images(paths: Sequence[Path], spec: DetectorSpec) -> Iterator[tuple[str, Images]]:
    height, width = spec.input.height, spec.input.width
    if not paths:
        yield "drawn image", seeded_images(1, height, width)
    for path in paths:
        image, _ = letterbox(load_image(path), height, width, spec.letterbox)
        yield path.name, image[None]


def _require_same_model(artifact: Artifact, found: DetectorSpec, against: str) -> None:
    spec = artifact.meta.spec
    if found.levels == spec.levels and found.num_classes == spec.num_classes:
        return
    problem = f"made from {_in_short(spec)}, compared with {_in_short(found)}"
    if _in_short(spec) == _in_short(found):
        pairs = zip(spec.levels, found.levels, strict=True)
        ours, theirs = next((a, b) for a, b in pairs if a != b)
        problem = (
            f"has anchors {ours.anchors_px} at stride {ours.stride}, the checkpoint has "
            f"{theirs.anchors_px} at stride {theirs.stride}"
        )
    raise ArtifactError(
        problem,
        where=f"{artifact.path} against {against}",
        hint="give the checkpoint that the artifact was exported from",
    )


def _in_short(spec: DetectorSpec) -> str:
    return f"{spec.variant} ({spec.num_classes} classes, {len(spec.levels)} levels)"
