"""From a model to an engine: a plan, and its passport beside it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolor_deploy import __version__
from yolor_deploy.backends.tensorrt import NAMES, Flavour, require_module
from yolor_deploy.backends.tensorrt.capabilities import Capabilities, capabilities_of
from yolor_deploy.backends.tensorrt.network import (
    HeadForm,
    network_file,
    profiles_of,
    require_model,
)
from yolor_deploy.backends.tensorrt.options import (
    EngineOptions,
    nms_reason,
    nms_way,
    precision_flags,
    profiles_for,
    require_options,
)
from yolor_deploy.backends.tensorrt.plugin import PLUGIN_VERSION
from yolor_deploy.backends.tensorrt.process import Progress, run_build
from yolor_deploy.backends.tensorrt.request import (
    NUMPY_NAMES,
    PLAN_FILE,
    TIMING_CACHE_FILE,
    Report,
    Request,
)
from yolor_deploy.backends.tensorrt.targets import capability_names, known_capabilities
from yolor_deploy.core.artifact import (
    Artifact,
    ArtifactMeta,
    StageRecord,
    output_names,
    passport_path,
    sha256_of_file,
)
from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.core.passport import (
    Builder,
    NmsWay,
    Passport,
    PluginInfo,
    TensorInfo,
)
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.cuda.driver import gpus, named

logger = logging.getLogger(__name__)

_HEAD_FORMS: Mapping[NmsWay | None, HeadForm] = {
    "plugin": "plugin",
    "ops": "ops",
    "kernels": "raw",
    None: "own",
}

_TYPES_OF_MAPS = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "FLOAT"}


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """An engine, and what building it took.

    Attributes:
        artifact: The plan.
        passport: What lies beside it.
        report: What TensorRT told.
        nms_reason: Why our plugin is not in it; empty where it is.
    """

    artifact: Artifact
    passport: Passport
    report: Report
    nms_reason: str


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be built, with every choice made."""

    artifact: Artifact
    source: Path
    options: EngineOptions
    has: Capabilities
    way: NmsWay | None
    profiles: tuple[BatchRange, ...]
    targets: tuple[str, ...]
    flags: tuple[str, ...]

    @property
    def precision(self) -> Precision:
        return Precision.from_name(self.artifact.meta.precision)


def build_engine(
    artifact: Artifact,
    folder: Path,
    name: str,
    *,
    flavour: Flavour,
    options: EngineOptions,
    source: Path | None = None,
    progress: Progress = lambda _phase, _done, _all: None,
) -> BuiltEngine:
    """Build a plan and write it with its passport.

    Args:
        artifact: A model of any precision and output; portable or for TensorRT.
        folder: An empty folder; plan and passport are written there, and what the build needs.
        name: Of the plan in that folder; the passport has the same and ``.json``.
        flavour: Which TensorRT builds it.
        options: What it is told.
        source: The model that the artifact was made from, for the passport; None for itself.
        progress: Told what the build tells.

    Raises:
        ArtifactError: No model for TensorRT, or a damaged one.
        BackendUnavailableError: TensorRT is not installed, or has no GPU to build for.
        BuildError: An option does not fit the model or TensorRT, which refuses it or crashes.
        OSError: The folder cannot be written to.
    """
    job = _job(artifact, source or artifact.path, flavour, options)
    cache = options.timing_cache if job.has.has_timing_cache else None
    network = network_file(artifact, folder, _HEAD_FORMS[job.way])
    if cache is not None and cache.is_file():
        _fetch(cache, folder / TIMING_CACHE_FILE)
    report = run_build(_request(job, network), folder, where=artifact.path.name, progress=progress)
    if cache is not None:
        _keep(folder / TIMING_CACHE_FILE, cache)
    plan = (folder / PLAN_FILE).rename(folder / name)
    passport = _passport(job, plan, report)
    passport_path(plan).write_text(passport.to_text(), encoding="utf-8")
    reason = nms_reason(artifact, job.has, options)
    return BuiltEngine(Artifact(plan, passport.meta), passport, report, reason)


def require_buildable(
    artifact: Artifact, precision: Precision, flavour: Flavour, options: EngineOptions
) -> None:
    """Refuse, before long work, what ``build_engine`` would refuse after it.

    Args:
        artifact: A model.
        precision: That it is going to have.
        flavour: As for ``build_engine``.
        options: As for ``build_engine``.

    Raises:
        ArtifactError, BackendUnavailableError, BuildError: As ``build_engine``.
    """
    meta = replace(artifact.meta, precision=precision.name)
    _job(replace(artifact, meta=meta), artifact.path, flavour, options)


def _fetch(cache: Path, copy: Path) -> None:
    """Take what was timed before; without it everything is timed again."""
    try:
        shutil.copyfile(cache, copy)
    except PermissionError as error:
        logger.warning("timing cache %s was not read: %s", cache, error.strerror or error)


def _keep(written: Path, cache: Path) -> None:
    """Keep what was timed. That it cannot be kept is no reason to lose the engine."""
    try:
        with whole_file(cache) as temporary:
            shutil.copyfile(written, temporary)
    except OSError as error:
        logger.warning("timing cache %s was not written: %s", cache, error.strerror or error)


def _job(artifact: Artifact, source: Path, flavour: Flavour, options: EngineOptions) -> _Job:
    require_model(artifact)
    module = require_module(flavour)
    has = capabilities_of(module)
    require_options(has, options)
    way = nms_way(artifact, has, options)
    profiles = profiles_for(artifact, options)
    precision = Precision.from_name(artifact.meta.precision)
    flags = precision_flags(has, precision)
    targets: tuple[str, ...] = ()
    if has.has_targets:
        known = known_capabilities(module)
        targets = capability_names(options.compute_capabilities, precision, known=known)
    else:
        _require_gpu(flavour)
    return _Job(artifact, source, options, has, way, profiles, targets, flags)


def _require_gpu(flavour: Flavour) -> None:
    problem = gpus().problem
    if problem is not None:
        raise BackendUnavailableError(
            f"{NAMES[flavour]} builds on the GPU that the engine is for: {problem}",
            where=f"backend {flavour}",
            hint="build there; --backend tensorrt_rtx needs none, for the GPUs that it knows",
        )


def _request(job: _Job, network: Path) -> Request:
    meta, options, precision = job.artifact.meta, job.options, job.precision
    is_free = not job.has.is_strongly_typed
    maps = output_names("raw", num_levels=len(meta.spec.levels))
    return Request(
        flavour=job.has.flavour,
        model=str(network.resolve()),
        capabilities=job.targets,
        profiles=profiles_of(meta.spec.input, job.profiles),
        flags=job.flags,
        output_types=dict.fromkeys(maps, _TYPES_OF_MAPS[precision.base])
        if is_free and job.way == "kernels"
        else {},
        float_layers=_float_layers(meta) if is_free else (),
        tf32=options.tf32,
        workspace_bytes=options.workspace_bytes,
        optimization_level=options.optimization_level,
        aux_streams=options.aux_streams,
        timing_cache=options.timing_cache is not None,
        plugins=[str(options.library.resolve())] if job.way == "plugin" else (),
    )


def _float_layers(meta: ArtifactMeta) -> tuple[str, ...]:
    """Return the layers that were kept in float32, by the history of a model."""
    return tuple(
        name
        for record in meta.history
        if record.stage == "lower"
        for name, _ in record.options["float_nodes"]
    )


def _passport(job: _Job, plan: Path, report: Report) -> Passport:
    plugin = None
    if job.way == "plugin":
        plugin = PluginInfo(PLUGIN_VERSION, sha256_of_file(job.options.library))
    return Passport(
        meta=_engine_meta(job, report),
        plan_sha256=sha256_of_file(plan),
        plan_bytes=plan.stat().st_size,
        source_sha256=sha256_of_file(job.source),
        builder=_builder(job),
        profiles=job.profiles,
        inputs=_tensors(report.inputs),
        outputs=_tensors(report.outputs),
        nms=job.way,
        plugin=plugin,
        options=job.options.to_json(),
        seconds={"parse": report.parse_s, "build": report.build_s},
    )


def _builder(job: _Job) -> Builder:
    driver = gpus()
    gpu = None if job.targets else driver.gpus[0]
    return Builder(
        flavour=job.has.flavour,
        version=job.has.version,
        cuda_version=driver.cuda_version_text,
        gpu=gpu.name if gpu else "",
        compute_capabilities=(named(gpu.compute_capability),)
        if gpu
        else tuple(dict.fromkeys(job.options.compute_capabilities)),
        driver=driver.version,
    )


def _engine_meta(job: _Job, report: Report) -> ArtifactMeta:
    meta, profiles = job.artifact.meta, job.profiles
    batch = BatchRange(
        min(batch.minimum for batch in profiles),
        profiles[0].optimum,
        max(batch.maximum for batch in profiles),
    )
    record = StageRecord(
        "engine",
        job.options.to_json(),
        {"yolor-deploy": __version__, job.has.flavour: report.version},
        sha256_of_file(job.artifact.path),
    )
    return replace(
        meta,
        kind="engine",
        target=job.has.flavour,
        spec=replace(meta.spec, input=replace(meta.spec.input, batch=batch)),
        history=(*meta.history, record),
    )


def _tensors(told: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(NUMPY_NAMES.get(dtype, dtype.lower()), tuple(shape))
        for name, (dtype, shape) in told.items()
    }
