"""Proof that an artifact computes what its checkpoint computes, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.backends.onnxruntime.probe import RawMapProbe
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.measure import parity
from yolor_deploy.measure.matching import compare_rows, rows_of_image
from yolor_deploy.measure.parity import OutputParity, compare, compare_to_largest

if TYPE_CHECKING:
    from torch import fx, nn

    from yolor_deploy.nn.fold_affine import FoldSite

Images = npt.NDArray[np.uint8]
RawMaps = list[npt.NDArray[np.float32]]
_MOST_IMAGES = 2  # of a dynamic batch: enough to see one image's result in another's place
_BUSY_CANDIDATES = 500
_FOLD_PROOF_CELLS = 2  # of the coarsest level: borders and an interior, at little cost


def seeded_images(count: int, height: int, width: int, *, seed: int = 0) -> Images:
    """Draw images with large areas, edges and noise, the same for the same seed.

    Returns:
        uint8 [count, height, width, 3].
    """
    generator = np.random.default_rng(seed)
    images = np.empty((count, height, width, 3), np.uint8)
    for image in images:
        coarse = generator.integers(0, 256, (height // 32 + 1, width // 32 + 1, 3))
        blocks = coarse.repeat(32, axis=0).repeat(32, axis=1)[:height, :width]
        noise = generator.integers(-40, 41, (height, width, 3))
        image[:] = np.clip(blocks + noise, 0, 255)
    return images


def raw_from_network(network: nn.Module, images: Images) -> RawMaps:
    """Run a checkpoint's own network on images, one at a time, in the type of its weights.

    Args:
        network: ``forward(float [n, 3, h, w])`` returns raw maps.
        images: uint8 [n, h, w, 3].

    Returns:
        One array [n, channels, h, w] per level.
    """
    import torch  # noqa: PLC0415 - a target without torch can still read artifacts

    kind = next(network.parameters()).dtype
    results = []
    with torch.inference_mode():
        for image in images:
            x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(kind) / 255
            results.append([raw.numpy() for raw in network(x)])
    return [np.concatenate(maps) for maps in zip(*results, strict=True)]


def fold_with_proof(
    network: nn.Module, spec: DetectorSpec, *, fold_implicit: bool, seed: int = 0
) -> tuple[fx.GraphModule, list[FoldSite], list[OutputParity]]:
    """Fold a network, and compare it in float64 with what it was.

    The comparison takes a small image: folding does not depend on the size.

    Args:
        network: Used up.
        spec: Its type of input decides whether 1 / 255 is folded too.
        fold_implicit: As ``nn.fold``.
        seed: Of the image.

    Returns:
        The folded graph in float64, what became of each site, one comparison per level.
    """
    from yolor_deploy.nn.fold import fold  # noqa: PLC0415 - torch

    side = _FOLD_PROOF_CELLS * spec.max_stride
    images = seeded_images(1, side, side, seed=seed)
    expected = raw_from_network(network.double(), images)
    scale = 1 / 255 if spec.input.dtype == "uint8" else 1.0
    folded, sites = fold(network, fold_implicit=fold_implicit, input_scale=scale)
    found = _raw_from_folded(folded, images, is_scaled=scale != 1.0)
    names = output_names("raw", num_levels=len(spec.levels))
    stage = "folded, float64"
    return (
        folded,
        sites,
        [
            compare_to_largest(stage, name, a, b, parity.FOLDING)
            for name, a, b in zip(names, found, expected, strict=True)
        ],
    )


def _raw_from_folded(folded: fx.GraphModule, images: Images, *, is_scaled: bool) -> list[Any]:
    import torch  # noqa: PLC0415 - torch

    x = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    with torch.inference_mode():
        return [raw.numpy() for raw in folded(x if is_scaled else x / 255)]


def prove_artifact(
    artifact: Artifact, images: Images, expected: RawMaps, *, note: Callable[[str], None]
) -> list[OutputParity]:
    """Run an ONNX artifact, and compare its raw maps and its head with what they should be.

    The raw maps are compared with those of the checkpoint's network; predictions and detections
    with what NumPy makes of the artifact's own raw maps, so that no rounding of the network can
    hide a fault of the head. The score threshold is set so that there is something to suppress.

    Args:
        artifact: A model.
        images: uint8 [n, h, w, 3] of its input size.
        expected: Raw maps of these images.
        note: Told what is running.

    Returns:
        Comparisons by output.
    """
    spec = artifact.meta.spec
    results: list[OutputParity] = []
    probe = RawMapProbe(artifact)
    nms = busy_nms(artifact, expected)
    limits = spec.input.batch
    for batch in sorted({limits.minimum, max(limits.minimum, min(limits.maximum, _MOST_IMAGES))}):
        note(f"running the file in ONNX Runtime, batch {batch}")
        order = np.arange(batch) % len(images)
        outputs = probe.run(tensor_from_pixels(images[order], spec), nms)
        stage = f"ONNX, batch {batch}"
        results += compare_raw(stage, outputs, [maps[order] for maps in expected], spec)
        results += compare_head(stage, artifact, outputs, nms)
    return results


def busy_nms(artifact: Artifact, raw_maps: Sequence[Array]) -> NmsConfig:
    """Return the artifact's post-processing with a score threshold that some hundred pass.

    Args:
        artifact: Its own configuration, or the default if it does not detect.
        raw_maps: Of one or more images; the first decides.
    """
    nms = artifact.meta.nms or NmsConfig()
    predictions = predictions_from_raw([maps[:1] for maps in raw_maps], artifact.meta.spec)
    scores = (predictions[..., 4:5] * predictions[..., 5:]).reshape(-1)
    if scores.size <= _BUSY_CANDIDATES:
        return replace(nms, score_threshold=0.0)
    rank = scores.size - _BUSY_CANDIDATES
    threshold = float(np.partition(scores, rank)[rank])
    return replace(nms, score_threshold=min(max(threshold, 0.0), 1.0))


def compare_raw(
    stage: str, outputs: RawOutput, expected: Sequence[Array], spec: DetectorSpec
) -> list[OutputParity]:
    """Compare raw maps with those of the checkpoint's network, one comparison per level."""
    names = output_names("raw", num_levels=len(spec.levels))
    return [
        compare(stage, name, outputs[name], maps, parity.RAW)
        for name, maps in zip(names, expected, strict=True)
    ]


def compare_head(
    stage: str, artifact: Artifact, outputs: RawOutput, nms: NmsConfig
) -> list[OutputParity]:
    """Compare what the head made of raw maps with what NumPy makes of the same maps."""
    spec = artifact.meta.spec
    if artifact.meta.output == "raw":
        return []
    names = output_names("raw", num_levels=len(spec.levels))
    predictions = predictions_from_raw([outputs[name] for name in names], spec)
    if artifact.meta.output == "predictions":
        found = outputs["predictions"]
        limits = {"boxes": parity.SAME_MAPS_BOXES_PX, "scores": parity.SAME_MAPS_SCORES}
        parts = {"boxes": slice(0, 4), "scores": slice(4, None)}
        return [
            compare(stage, name, found[..., part], predictions[..., part], limits[name])
            for name, part in parts.items()
        ]
    results = []
    for image in range(len(predictions)):
        result = compare_rows(
            f"{stage}, image {image}",
            rows_of_image(outputs, image),
            rows_of_image(non_max_suppression(predictions[image : image + 1], nms), 0),
            nms=nms,
            boxes_px=parity.SAME_MAPS_BOXES_PX,
            scores=parity.SAME_MAPS_SCORES,
        )
        rows = outputs["scores"].shape[1]
        if rows != nms.max_detections:
            note = f"{rows} rows, expected {nms.max_detections}; {result.note}"
            result = replace(result, passed=False, note=note)
        results.append(result)
    return results


def tensor_from_pixels(images: Images, spec: DetectorSpec) -> npt.NDArray[Any]:
    """Return images that have the input size as the tensor that an artifact takes."""
    pixels = images if spec.input.layout == "NHWC" else images.transpose(0, 3, 1, 2)
    if spec.input.dtype == "uint8":
        return np.ascontiguousarray(pixels)
    scaled: npt.NDArray[np.float32] = np.ascontiguousarray(pixels, np.float32) / np.float32(255)
    return scaled
