"""The order of the stages, written down once.

``export``: load, describe, fold, ONNX, head, proof.
"""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolor_deploy import __version__
from yolor_deploy.core.artifact import METADATA_KEY, Artifact, ArtifactMeta, StageRecord
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.spec import (
    BatchRange,
    DetectorSpec,
    InputDtype,
    InputLayout,
    NmsConfig,
    OutputKind,
)
from yolor_deploy.measure.environment import memory_bytes
from yolor_deploy.measure.parity import OutputParity, all_passed
from yolor_deploy.output_file import (
    default_output,
    move_into_place,
    require_writable,
    temporary_folder,
)
from yolor_deploy.proof import (
    fold_with_proof,
    prove_artifact,
    raw_from_network,
    seeded_images,
)
from yolor_deploy.source import load_checkpoint, read_class_names

if TYPE_CHECKING:
    import onnx_ir as ir

    from yolor_deploy.checkpoint import Checkpoint
    from yolor_deploy.nn.fold_affine import FoldSite

logger = logging.getLogger(__name__)

_PROOF_IMAGES = 2
_MOST_ROWS = 1_000_000  # of detections of an image: 24 MB an image
_MOST_CANDIDATES = 2**31 - 1
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What ``export`` is told.

    Attributes:
        source: Path of a checkpoint, or name of a published model for random weights.
        output: ONNX file; None for the name of the source with ``.onnx``.
        cfg: Darknet description: a file, or the name of a published one.
        names: File with one class name a line.
        size: (height, width) in pixels; None for the model's own.
        batch: Batch sizes.
        output_kind: What the artifact ends in.
        dtype: Of the image input.
        layout: Of the image input.
        nms: Post-processing, for detections.
        fold_implicit: Whether implicit knowledge is folded into convolutions.
        seed: Of random weights, and of the images of the proof.
    """

    source: str
    output: Path | None = None
    cfg: str | None = None
    names: Path | None = None
    size: tuple[int, int] | None = None
    batch: BatchRange = field(default_factory=BatchRange)
    output_kind: OutputKind = "detections"
    dtype: InputDtype = "float32"
    layout: InputLayout = "NCHW"
    nms: NmsConfig = field(default_factory=NmsConfig)
    fold_implicit: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What ``export`` made, and its proof.

    Attributes:
        artifact: The file.
        sites: What became of each thing that could fold.
        parities: Every comparison; all have passed.
        nodes: Operators of the graph by kind.
        seconds: Of each stage: ``read``, ``run``, ``fold``, ``write``, ``prove``.
    """

    artifact: Artifact
    sites: tuple[FoldSite, ...]
    parities: tuple[OutputParity, ...]
    nodes: dict[str, int]
    seconds: dict[str, float]


def export(config: ExportConfig, *, note: Note = logger.info) -> ExportResult:
    """Turn a checkpoint into one proven ONNX file.

    Args:
        config: What to do.
        note: Told each stage as it begins.

    Raises:
        CheckpointError, UnsupportedModelError: The source cannot be read or is not of our families.
        PassError: Its graph cannot be rewritten exactly.
        BuildError: An option does not fit the model, or the proof failed. No file is left.
        ArtifactError: The file cannot be written.
    """
    timer = _Timer(note)
    timer.begin("read", f"reading {config.source}")
    require_limits(config.nms)
    checkpoint = load_checkpoint(config.source, cfg=config.cfg, seed=config.seed)
    output = config.output or default_output(config.source)
    require_writable(output, inputs=[p for p in (config.source, config.cfg, config.names) if p])
    spec, network = _network(checkpoint, config)
    origin = _origin(checkpoint, config)
    del checkpoint

    timer.begin("run", "running the checkpoint's network in PyTorch")
    image = spec.input
    count = min(_PROOF_IMAGES, image.batch.maximum)
    images = seeded_images(count, image.height, image.width, seed=config.seed)
    expected = raw_from_network(network, images)

    timer.begin("fold", "folding")
    folded, sites, parities = fold_with_proof(
        network, spec, fold_implicit=config.fold_implicit, seed=config.seed
    )
    _require_proven(parities, output)

    timer.begin("write", "writing ONNX")
    model = _onnx_model(folded, spec, config)
    meta = _meta(config, spec, origin, sites)
    nodes = _count_nodes(model)
    del folded, network
    with temporary_folder(output) as folder:
        artifact = _save(model, meta, folder / output.name)
        del model
        gc.collect()  # graphs are cyclic: their weights would stay through the proof
        timer.begin("prove", "proving")
        parities += prove_artifact(artifact, images, expected, note=note)
        _require_proven(parities, output)
        move_into_place(folder, output)
    return ExportResult(
        replace(artifact, path=output), tuple(sites), tuple(parities), nodes, timer.end()
    )


def _network(checkpoint: Checkpoint, config: ExportConfig) -> tuple[DetectorSpec, Any]:
    from yolor_deploy import families  # noqa: PLC0415 - torch

    family = families.family_of(checkpoint)
    if config.names is not None:
        checkpoint = replace(checkpoint, class_names=None)  # wrong ones must not be in the way
    spec = family.spec(checkpoint)
    if config.names is not None:
        spec = replace(spec, class_names=read_class_names(config.names, spec.num_classes))
    height, width = config.size or (spec.input.height, spec.input.width)
    require_size(height, width, spec)
    image = replace(
        spec.input,
        height=height,
        width=width,
        batch=config.batch,
        dtype=config.dtype,
        layout=config.layout,
    )
    spec = replace(spec, input=image, random_weights=checkpoint.container == "random")
    require_memory(spec, available_bytes=memory_bytes())
    return spec, family.module(checkpoint)


def require_size(height: int, width: int, spec: DetectorSpec) -> None:
    """Refuse an input size that the strides do not divide.

    Raises:
        BuildError: With the nearest two sizes that would do.
    """
    stride = spec.max_stride
    for side in (height, width):
        if side < 1 or side % stride:
            below = max(side // stride, 1) * stride
            above = below + stride if side > below else below
            nearest = " and ".join(str(n) for n in dict.fromkeys((below, above)))
            raise BuildError(
                f"size {height}x{width}: {side} is not a multiple of {stride}, the largest stride "
                f"of {spec.variant}",
                where="--size",
                hint=f"the nearest are {nearest}",
            )


def require_memory(spec: DetectorSpec, *, available_bytes: int) -> None:
    """Refuse an input that cannot be run here, before the machine runs out of memory.

    Args:
        spec: With the size and the batch of the export.
        available_bytes: Memory of the machine; 0 if that is not known.

    Raises:
        BuildError: The smallest batch needs more than that.
    """
    image = spec.input
    batch = image.batch.minimum
    # The first maps of every model of these families are four times the image or more.
    needed = batch * image.height * image.width * 3 * 4 * 4
    if available_bytes and needed > available_bytes:
        raise BuildError(
            f"a batch of {batch} at {image.height}x{image.width} takes more than "
            f"{needed / 1e9:,.0f} GB, this machine has {available_bytes / 1e9:,.0f} GB",
            where="--batch, --size",
            hint="give a smaller size, or a range that begins lower, such as --batch 1:4:16",
        )


def require_limits(nms: NmsConfig) -> None:
    """Refuse post-processing limits that no runtime can hold.

    Raises:
        BuildError: With the largest number.
    """
    for name, most in (("max_detections", _MOST_ROWS), ("max_candidates", _MOST_CANDIDATES)):
        if getattr(nms, name) > most:
            raise BuildError(
                f"{name} is {getattr(nms, name)}, expected at most {most}",
                where=f"--{name.replace('_', '-')}",
                hint="give a smaller number",
            )


def _origin(checkpoint: Checkpoint, config: ExportConfig) -> StageRecord:
    options: dict[str, Any] = {
        "source": checkpoint.file,
        "container": checkpoint.container,
        "cfg": checkpoint.cfg.name if checkpoint.cfg else None,
        "facts": dict(checkpoint.facts),  # apart: a file may call a fact of its own "seed"
    }
    if checkpoint.container == "random":
        options["seed"] = config.seed
    return StageRecord("load", options, _versions("torch"), checkpoint.sha256)


def _meta(
    config: ExportConfig, spec: DetectorSpec, origin: StageRecord, sites: Sequence[FoldSite]
) -> ArtifactMeta:
    """Describe the artifact, with all that is needed to make the same one again."""
    shown = [asdict(site) for site in sites if site.kind != "batchnorm" or site.kept]
    counts = {
        kind: sum(site.kind == kind and site.kept is None for site in sites)
        for kind in sorted({site.kind for site in sites})
    }
    fold = StageRecord(
        "fold",
        {"fold_implicit": config.fold_implicit, "folded": counts, "sites": shown},
        _versions("torch"),
    )
    write = StageRecord("onnx", {}, _versions("onnx-ir"))
    return ArtifactMeta(
        kind="model",
        spec=spec,
        precision="fp32",
        output=config.output_kind,
        nms=config.nms if config.output_kind == "detections" else None,
        target=None,
        history=(origin, fold, write),
    )


def _versions(*packages: str) -> dict[str, str]:
    return {
        "yolor-deploy": __version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _onnx_model(folded: Any, spec: DetectorSpec, config: ExportConfig) -> ir.Model:
    from yolor_deploy.graph.from_module import onnx_from_module  # noqa: PLC0415 - torch
    from yolor_deploy.graph.nms_head import attach_nms, attach_predictions  # noqa: PLC0415 - onnx

    model = onnx_from_module(folded.float(), spec)  # the only rounding of the weights
    if config.output_kind == "detections":
        attach_nms(model, spec, config.nms)
    elif config.output_kind == "predictions":
        attach_predictions(model, spec)
    return model


def _count_nodes(model: ir.Model) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in model.graph:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _save(model: ir.Model, meta: ArtifactMeta, path: Path) -> Artifact:
    from yolor_deploy.graph.write import write_model  # noqa: PLC0415 - onnx

    model.metadata_props[METADATA_KEY] = meta.to_json()
    write_model(model, path)
    return Artifact.read(path)


def _require_proven(parities: Sequence[OutputParity], output: Path) -> None:
    if all_passed(parities):
        return
    worst = next(parity for parity in parities if not parity.passed)
    raise BuildError(
        f"{worst.stage}: {worst.output} differs by {worst.max_error:.3g} where at most "
        f"{worst.tolerance} is rounding (largest value {worst.max_expected:.3g})"
        + (f"; {worst.note}" if worst.note else ""),
        where=str(output),
        hint="no file was written; report this model with `yolor-deploy info` of its checkpoint",
    )


class _Timer:
    """Seconds of each stage, in order."""

    def __init__(self, note: Note) -> None:
        self.note = note
        self.seconds: dict[str, float] = {}
        self.stage = ""
        self.started = 0.0

    def begin(self, stage: str, text: str) -> None:
        self.end()
        self.note(text)
        self.stage, self.started = stage, time.perf_counter()

    def end(self) -> dict[str, float]:
        if self.stage:
            self.seconds[self.stage] = round(time.perf_counter() - self.started, 3)
            self.stage = ""
        return self.seconds
