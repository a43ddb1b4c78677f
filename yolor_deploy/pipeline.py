"""The order of the stages, written down once.

``export``: load, describe, fold, ONNX, head, proof, candidates planted if asked for.
``build``: head off, calibration, precision, head on, type check, comparison.
``build_engine``: ``build`` where a precision is asked for, then TensorRT.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolor_deploy.backends.tensorrt import NAMES
from yolor_deploy.backends.tensorrt.build import build_engine as build_plan
from yolor_deploy.build_limits import (
    output_of,
    require_buildable,
    require_checked,
    require_float_network,
    target_of,
)
from yolor_deploy.build_proof import LoweringCost, cost_of_lowering, sample_tensors
from yolor_deploy.calibration.file import CalibrationManifest
from yolor_deploy.core.artifact import METADATA_KEY, Artifact, ArtifactMeta
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.spec import DetectorSpec, NmsConfig, OutputKind
from yolor_deploy.engine_limits import is_lowered, require_engine
from yolor_deploy.export_limits import require_limits, require_memory, require_size
from yolor_deploy.measure.environment import memory_bytes
from yolor_deploy.measure.parity import OutputParity, all_passed
from yolor_deploy.options import BuildConfig, EngineConfig, ExportConfig, method_of
from yolor_deploy.output_file import (
    default_output,
    move_engine_into_place,
    move_into_place,
    require_writable,
    temporary_folder,
)
from yolor_deploy.planting import PlantedCounts, plant_drawn, require_plantable_spec
from yolor_deploy.precision_stages import LoweredSites, Progress, lower, ranges_for
from yolor_deploy.proof import (
    fold_with_proof,
    prove_artifact,
    raw_from_network,
    seeded_images,
)
from yolor_deploy.records import export_meta, lowered_meta, origin_record
from yolor_deploy.source import load_checkpoint, read_class_names
from yolor_deploy.stage_timer import Note, StageTimer

if TYPE_CHECKING:
    import onnx_ir as ir

    from yolor_deploy.backends.tensorrt.process import Progress as EngineProgress
    from yolor_deploy.backends.tensorrt.request import Report
    from yolor_deploy.checkpoint import Checkpoint
    from yolor_deploy.core.passport import Passport
    from yolor_deploy.nn.fold_affine import FoldSite

__all__ = [
    "BuildConfig",
    "BuildResult",
    "EngineConfig",
    "EngineResult",
    "ExportConfig",
    "ExportResult",
    "build",
    "build_engine",
    "export",
]

logger = logging.getLogger(__name__)

_PROOF_IMAGES = 2


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What ``export`` made, and its proof.

    Attributes:
        artifact: The file.
        sites: What became of each thing that could fold.
        parities: Every comparison; all have passed.
        nodes: Operators of the graph by kind.
        seconds: Of each stage: ``read``, ``run``, ``fold``, ``write``, ``prove``, ``plant``.
        planted: What a planted head finds; None where none was asked for.
    """

    artifact: Artifact
    sites: tuple[FoldSite, ...]
    parities: tuple[OutputParity, ...]
    nodes: dict[str, int]
    seconds: dict[str, float]
    planted: PlantedCounts | None = None


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
    timer = StageTimer(note)
    timer.begin("read", f"reading {config.source}")
    require_limits(config.nms)
    checkpoint = load_checkpoint(config.source, cfg=config.cfg, seed=config.seed)
    output = config.output or default_output(config.source)
    require_writable(output, inputs=[p for p in (config.source, config.cfg, config.names) if p])
    spec, network = _network(checkpoint, config)
    origin = origin_record(checkpoint, config)
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
    meta = export_meta(config, spec, origin, sites)
    nodes = _count_nodes(model)
    del folded, network
    with temporary_folder(output) as folder:
        artifact = _save(model, meta, folder / output.name)
        del model
        gc.collect()  # graphs are cyclic: their weights would stay through the proof
        timer.begin("prove", "proving")
        parities += prove_artifact(artifact, images, expected, note=note)
        _require_proven(parities, output)
        made, planted = folder, None
        if config.density is not None:
            timer.begin("plant", f"planting {config.density} candidates and objects")
            made = folder / "planted"
            artifact, planted = plant_drawn(artifact, config.density, made, seed=config.seed)
        move_into_place(made, output)
    artifact = replace(artifact, path=output)
    return ExportResult(artifact, tuple(sites), tuple(parities), nodes, timer.end(), planted)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What ``build`` made, and what it cost.

    Attributes:
        artifact: The file.
        sites: What became of the nodes.
        manifest: Of the calibration; None without.
        cost: Distance from the float model.
        seconds: Of each stage: ``calibrate``, ``lower``, ``compare``.
    """

    artifact: Artifact
    sites: LoweredSites
    manifest: CalibrationManifest | None
    cost: LoweringCost
    seconds: dict[str, float]


def build(
    config: BuildConfig, *, note: Note = logger.info, progress: Progress = lambda _done, _all: None
) -> BuildResult:
    """Turn what ``export`` wrote into a model of another precision.

    Args:
        config: What to do.
        note: Told each stage as it begins.
        progress: Of the calibration: images done, and all.

    Raises:
        ArtifactError: The model cannot be read, or the file cannot be written.
        BuildError: The model is quantised already or not of float32, an option does not fit, or
            the result computes NaN. No file is left.
        EvaluationError: Calibration images, or a file of an earlier calibration, cannot be used.
    """
    from yolor_deploy.graph.nms_head import detach_head  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx

    timer = StageTimer(note)
    source = Artifact.read(config.model)
    require_buildable(source, config.precision, config.target)
    target = target_of(config.precision, config.target)
    output = config.output or output_of(config.model, config.precision, target)
    require_writable(output, inputs=[config.model])
    network = read_model(config.model)
    detach_head(network)
    require_float_network(network, where=str(config.model))

    timer.begin("calibrate", "calibrating")
    images = config.calibration.find_images() if config.calibration else None
    calibration = ranges_for(source, config.precision, config.calibration, images, progress)

    timer.begin("lower", f"lowering to {config.precision.name}")
    lowered, sites = lower(
        network,
        config.precision,
        target=target,
        calibration=calibration,
        method=method_of(config),
        keep=config.keep,
        float_outputs=source.meta.output == "raw",
    )
    meta = lowered_meta(source, config, sites, calibration)
    _attach_head(lowered, source.meta.spec, source.meta.output, source.meta.nms)
    with temporary_folder(output) as folder:
        artifact = _save(lowered, meta, folder / output.name)
        require_checked(artifact)
        del lowered, network
        timer.begin("compare", "opening it")
        tensors = list(sample_tensors(source, images))
        cost = cost_of_lowering(artifact, source, tensors, note=note)
        move_into_place(folder, output)
    manifest = calibration.manifest if calibration else None
    return BuildResult(replace(artifact, path=output), sites, manifest, cost, timer.end())


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What ``build`` made of a model and a TensorRT, and what it cost.

    Attributes:
        artifact: The plan.
        passport: What lies beside it.
        report: What TensorRT told.
        nms_reason: Why our plugin is not in it; empty where it is.
        lowered: What the precision has cost; None where the model was left as it is.
        seconds: Of each stage, those of ``build`` included.
    """

    artifact: Artifact
    passport: Passport
    report: Report
    nms_reason: str
    lowered: BuildResult | None
    seconds: dict[str, float]


def build_engine(
    config: EngineConfig,
    *,
    note: Note = logger.info,
    progress: Progress = lambda _done, _all: None,
    engine_progress: EngineProgress = lambda _phase, _done, _all: None,
) -> EngineResult:
    """Turn a model into an engine: bring it to a precision if asked, then build it.

    Args:
        config: What to do.
        note: Told each stage as it begins.
        progress: Of the calibration: images done, and all.
        engine_progress: Of the build: phase, steps done, and all.

    Raises:
        ArtifactError: The model cannot be read, or the files cannot be written.
        BackendUnavailableError: TensorRT is not installed, or there is no GPU to build for.
        BuildError: As ``build``; or TensorRT refuses the model or an option. No file is left.
        EvaluationError: As ``build``.
    """
    timer = StageTimer(note)
    source = Artifact.read(config.model)
    output, options = require_engine(source, config)
    with temporary_folder(output) as folder:
        lowered = _lowered_first(source, config, folder, note, progress)
        timer.begin("engine", f"building with {NAMES[config.backend]}")
        made = folder / "engine"
        made.mkdir()
        built = build_plan(
            lowered.artifact if lowered else source,
            made,
            output.name,
            flavour=config.backend,
            options=options,
            source=config.model,
            progress=engine_progress,
        )
        seconds = (lowered.seconds if lowered else {}) | timer.end()
        move_engine_into_place(made, output)
    artifact = replace(built.artifact, path=output)
    return EngineResult(artifact, built.passport, built.report, built.nms_reason, lowered, seconds)


def _lowered_first(
    source: Artifact, config: EngineConfig, folder: Path, note: Note, progress: Progress
) -> BuildResult | None:
    """Bring the model of an engine to its precision; None if it has it."""
    if config.precision is None or not is_lowered(source, config):
        return None
    made = folder / "lowered"
    made.mkdir()
    lowering = BuildConfig(
        config.model,
        output=made / source.path.name,
        precision=config.precision,
        target="tensorrt",
        calibration=config.calibration,
        keep=config.keep,
    )
    return build(lowering, note=note, progress=progress)


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
    if config.density is not None:
        require_plantable_spec(config.density, spec, config.nms, where=config.source)
    return spec, family.module(checkpoint)


def _onnx_model(folded: Any, spec: DetectorSpec, config: ExportConfig) -> ir.Model:
    from yolor_deploy.graph.from_module import onnx_from_module  # noqa: PLC0415 - torch

    model = onnx_from_module(folded.float(), spec)  # the only rounding of the weights
    _attach_head(model, spec, config.output_kind, config.nms)
    return model


def _attach_head(
    model: ir.Model, spec: DetectorSpec, output: OutputKind, nms: NmsConfig | None
) -> None:
    from yolor_deploy.graph.nms_head import attach_nms, attach_predictions  # noqa: PLC0415 - onnx

    if output == "detections":
        assert nms is not None
        attach_nms(model, spec, nms)
    elif output == "predictions":
        attach_predictions(model, spec)


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
