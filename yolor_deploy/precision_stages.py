"""The stages of `build` between a float model and one of fewer bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolor_deploy.calibration.file import Calibration, CalibrationManifest
from yolor_deploy.calibration.images import CalibrationImages, find_calibration_images
from yolor_deploy.calibration.run import calibrate, load_calibration
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.precision import GraphTarget, Precision, QuantisedKind
from yolor_deploy.measure.hazards import TensorRange, tensor_ranges
from yolor_deploy.measure.histogram import Histogram
from yolor_deploy.measure.ranges import CalibrationMethod, largest_of

if TYPE_CHECKING:
    import onnx_ir as ir

logger = logging.getLogger(__name__)

DEFAULT_METHODS: Mapping[QuantisedKind, CalibrationMethod] = {"int8": "mse", "fp8": "max"}
"""What lost least on two trained detectors, of int8 in the worst of six builds (``max`` lost as
little on average, within noise, and twice as much in the worst): benchmarks/results/precision.json.
"""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """Where the ranges of a network come from.

    Attributes:
        images: Files, folders, patterns; empty where the file holds a complete calibration.
        file: Distributions on disk: goes on where an earlier run stopped, serves later builds.
        method: How a range is chosen from a distribution; None for ``DEFAULT_METHODS``.
        limit: The most images to take; None for all.
    """

    images: tuple[str, ...] = ()
    file: Path | None = None
    method: CalibrationMethod | None = None
    limit: int | None = None

    def find_images(self) -> CalibrationImages | None:
        """List the images; None if there are none to read.

        Raises:
            EvaluationError: They cannot be listed.
        """
        return find_calibration_images(self.images, limit=self.limit) if self.images else None


@dataclass(frozen=True, slots=True)
class LoweredSites:
    """What became of the nodes of a network.

    Attributes:
        quantised: Names of the convolutions that run in 8 bits.
        kept: Name and reason of the convolutions that do not, where others do.
        float_nodes: Name and reason of nodes that stay float32 in a network of 16 bits.
        ranges: By quantised tensor: lowest and highest value that is represented.
        tensors: Every tensor of the network, the largest values first; empty if none were seen.
    """

    quantised: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    float_nodes: tuple[tuple[str, str], ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tensors: tuple[TensorRange, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def ranges_for(
    artifact: Artifact,
    precision: Precision,
    config: CalibrationConfig | None,
    images: CalibrationImages | None,
    progress: Progress,
) -> Calibration | None:
    """Return the distributions that a precision needs, or can use.

    - 8 bits need images, or a file with a complete calibration.
    - fp16 takes two drawn images where none are given, to see what would leave its range.
    - fp32 and bf16 need none; with images, the largest values are reported.

    Raises:
        BuildError: 8 bits, and neither images nor a file are given.
        EvaluationError: As ``calibrate`` and ``load_calibration``.
    """
    file = config.file if config else None
    if images is not None:
        return calibrate(artifact, images, file=file, progress=progress)
    if file is not None:
        return load_calibration(artifact, file)
    if precision.quantised:
        raise BuildError(
            f"{precision.quantised} needs ranges, and no images are given",
            where="--calibration",
            hint="give a folder with some hundred images like those that the model will see",
        )
    return observe_drawn_images(artifact) if precision.base == "fp16" else None


def observe_drawn_images(artifact: Artifact, *, count: int = 2) -> Calibration:
    """Return the distributions over drawn images: a rough guide to the largest values."""
    from yolor_deploy.backends.onnxruntime.observer import Observer  # noqa: PLC0415 - slow
    from yolor_deploy.proof import seeded_images, tensor_from_pixels  # noqa: PLC0415 - beside use

    spec = artifact.meta.spec
    manifest = CalibrationManifest(
        sha256_of_file(artifact.path), {"kind": "drawn"}, (("drawn", "seed 0"),) * count
    )
    histograms: dict[str, Histogram] = {}
    observer = Observer(artifact)
    for image in seeded_images(count, spec.input.height, spec.input.width):
        for name, values in observer.run(tensor_from_pixels(image[None], spec)):
            histograms.setdefault(name, Histogram()).add(values)
    return Calibration(manifest, histograms)


def lower(
    network: ir.Model,
    precision: Precision,
    *,
    target: GraphTarget | None,
    calibration: Calibration | None,
    method: CalibrationMethod | None = None,
    keep: Collection[str] = (),
    float_outputs: bool = False,
) -> tuple[ir.Model, LoweredSites]:
    """Bring a network to a precision.

    Args:
        network: Without head, in float32; used up.
        precision: What it becomes.
        target: Runtime whose layout of Q/DQ pairs is written.
        calibration: Distributions of its values; 8 bits need it, 16 bits use it to find what would
            leave their range.
        method: How ranges are chosen; None for ``DEFAULT_METHODS``.
        keep: Names of nodes that are not quantised.
        float_outputs: Whether outputs of 16 bits are cast back to float32.

    Returns:
        The network, and what became of its nodes.

    Raises:
        BuildError: 8 bits without calibration, or a name in ``keep`` is of no node.
    """
    from yolor_deploy.graph.half import to_half  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.type_check import require_typed  # noqa: PLC0415 - onnx

    _require_nodes(network, keep)
    chosen = method or DEFAULT_METHODS[precision.quantised or "int8"]
    tensors = tuple(tensor_ranges(calibration.histograms)) if calibration else ()
    hazardous = {item.name for item in tensors if item.overflows}
    float_nodes = _nodes_around(network, hazardous) if precision.base == "fp16" else {}
    sites = LoweredSites()
    if precision.quantised:
        network, sites = _quantise(network, precision, target, calibration, chosen, keep)
    if precision.base != "fp32":
        too_large = to_half(
            network, precision.base, keep_float=float_nodes, float_outputs=float_outputs
        )
        float_nodes |= {site.node: site.reason for site in too_large}
    require_typed(network)
    return network, replace(sites, float_nodes=tuple(float_nodes.items()), tensors=tensors)


def _quantise(
    network: ir.Model,
    precision: Precision,
    target: GraphTarget | None,
    calibration: Calibration | None,
    method: CalibrationMethod,
    keep: Collection[str],
) -> tuple[ir.Model, LoweredSites]:
    from yolor_deploy.backends.onnxruntime.quantize import quantise_for_cpu  # noqa: PLC0415
    from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq  # noqa: PLC0415 - onnx

    assert precision.quantised is not None
    if calibration is None:
        raise BuildError(
            "8 bits need ranges", where="--calibration", hint="give a folder of images"
        )

    def clipped(name: str) -> tuple[float, float]:
        histogram = calibration.merged((name,))
        largest = largest_of(histogram, method)
        return (
            min(0.0, max(histogram.minimum, -largest)),
            max(0.0, min(histogram.maximum, largest)),
        )

    if target == "onnxruntime":
        network, sites = quantise_for_cpu(network, clipped, keep=keep)
        return network, LoweredSites(sites.convolutions, sites.kept, ranges=sites.ranges)
    plan = plan_qdq(network, keep=keep)
    chosen = {group: largest_of(calibration.merged(group), method) for group in plan.groups}
    insert_qdq(network, plan, lambda names: chosen[tuple(names)], kind=precision.quantised)
    ranges = {name: (-largest, largest) for group, largest in chosen.items() for name in group}
    return network, LoweredSites(plan.convolutions, plan.kept, ranges=ranges)


def _nodes_around(network: ir.Model, values: Collection[str]) -> dict[str, str]:
    """Return the nodes that give or read one of these values, with the reason."""
    found: dict[str, str] = {}
    for node in network.graph:
        touched = [
            str(value.name)
            for value in (*node.inputs, *node.outputs)
            if value is not None and value.name in values
        ]
        if touched:
            found[str(node.name)] = f"{touched[0]} may leave the range of half precision"
    return found


def _require_nodes(network: ir.Model, names: Collection[str]) -> None:
    known = {str(node.name) for node in network.graph}
    unknown = sorted(set(names) - known)
    if unknown:
        convolutions = [str(node.name) for node in network.graph if node.op_type == "Conv"]
        raise BuildError(
            f"no layer is named {unknown[0]!r}",
            where="--keep",
            hint=f"layers are named as in the checkpoint, such as {', '.join(convolutions[:3])}",
        )
