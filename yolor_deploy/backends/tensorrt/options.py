"""What a build of an engine is told, and what that means for an artifact and a module."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolor_deploy.backends.tensorrt import NAMES
from yolor_deploy.backends.tensorrt.capabilities import Capabilities
from yolor_deploy.backends.tensorrt.plugin import PACKAGED
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.describe import limits_text
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import BatchRange

_MIB = 2**20
_LIMITS = {"--workspace": (1, 2**24), "--optimization-level": (0, 5), "--aux-streams": (0, 1000)}
"""Smallest and largest value of an option.

Workspace is in MiB; at 0 TensorRT-RTX 1.7 refuses every network, and at 2**31 - 1 streams it runs
out of memory.
"""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a build of an engine is told.

    Attributes:
        nms: How it gets its detections; None for the plugin where there is one, else the kernels.
        profiles: Ranges of batch sizes to optimise for; empty for the model's own.
        compute_capabilities: GPUs to build for, such as ``8.6``, where that can be told.
        workspace_bytes: Most scratch memory of a layer; None for all there is.
        optimization_level: 0 to 5: how long tactics are searched; None for TensorRT's own.
        aux_streams: Most streams beside the main one; None for TensorRT's own.
        tf32: Whether products of float32 may be rounded to 10 bits of mantissa.
        timing_cache: File that keeps what was timed; None for one beside the engine.
        plugin: Library of the plugin; None for the one of the package.
    """

    nms: NmsWay | None = None
    profiles: tuple[BatchRange, ...] = ()
    compute_capabilities: tuple[str, ...] = ()
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    aux_streams: int | None = None
    tf32: bool = False
    timing_cache: Path | None = None
    plugin: Path | None = None

    def __post_init__(self) -> None:
        workspace = self.workspace_bytes
        for option, value in (
            ("--workspace", None if workspace is None else workspace // _MIB),
            ("--optimization-level", self.optimization_level),
            ("--aux-streams", self.aux_streams),
        ):
            least, most = _LIMITS[option]
            if value is not None and not least <= value <= most:
                unit = " MiB" if option == "--workspace" else ""
                raise BuildError(
                    f"{value}{unit}, expected {least} to {most}",
                    where=option,
                    hint="give another number",
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without files of this machine."""
        value = asdict(self)
        del value["timing_cache"], value["plugin"]
        value["compute_capabilities"] = list(self.compute_capabilities)
        value["profiles"] = [asdict(batch) for batch in self.profiles]
        return value

    @property
    def library(self) -> Path:
        """The plugin's library."""
        return self.plugin or PACKAGED


def nms_way(artifact: Artifact, has: Capabilities, options: EngineOptions) -> NmsWay | None:
    """Return how the engine of a model gets its detections; None if the model gives none.

    Raises:
        BuildError: It cannot be had in the way that was asked for.
    """
    problem = why_no_plugin(artifact, has, options)
    way = _asked_way(artifact, has, options.nms, problem)
    if options.plugin is not None and way != "plugin":
        raise BuildError(
            f"no plugin is built in: {problem or f'--nms {way} is given'}",
            where="--plugin-library",
            hint="leave it out",
        )
    return way


def _asked_way(
    artifact: Artifact, has: Capabilities, asked: NmsWay | None, problem: str | None
) -> NmsWay | None:
    if artifact.meta.output != "detections":
        if asked is not None:
            raise BuildError(
                f"the model ends in {artifact.meta.output}, and has no post-processing",
                where=f"--nms {asked}",
                hint="export it with --output detections, or leave --nms out",
            )
        return None
    if asked is None:
        return "kernels" if problem else "plugin"
    if asked == "plugin" and problem:
        raise BuildError(problem, where="--nms plugin", hint="build with --nms kernels")
    if asked == "ops" and not has.has_nms:
        raise BuildError(
            f"{NAMES[has.flavour]} has no non-maximum suppression of its own",
            where="--nms ops",
            hint="build with --nms kernels",
        )
    return asked


def nms_reason(artifact: Artifact, has: Capabilities, options: EngineOptions) -> str:
    """Return why the plugin is not in an engine of a model; empty where it is."""
    problem = why_no_plugin(artifact, has, options)
    if problem is None and options.nms not in {None, "plugin"}:
        return f"--nms {options.nms} was given"
    return problem or ""


def why_no_plugin(artifact: Artifact, has: Capabilities, options: EngineOptions) -> str | None:
    """Return why the plugin cannot be in an engine of a model, or None if it can."""
    if artifact.meta.output != "detections":
        return f"the model ends in {artifact.meta.output}"
    if has.plugins is None:
        return f"{NAMES[has.flavour]} takes no plugins"
    if not options.library.is_file():
        return f"the plugin was not built: no {options.library}"
    return None


def require_options(has: Capabilities, options: EngineOptions) -> None:
    """Refuse options that a module does not know.

    Raises:
        BuildError: It does not.
    """
    name = NAMES[has.flavour]
    if options.compute_capabilities and not has.has_targets:
        raise BuildError(
            f"{name} builds for the GPU of this machine alone",
            where="--compute-capability",
            hint="leave it out, or build with --backend tensorrt_rtx",
        )
    if options.timing_cache is not None and not has.has_timing_cache:
        raise BuildError(
            f"{name} times nothing when it builds, and keeps no cache",
            where="--timing-cache",
            hint="leave it out",
        )
    for option, value, attribute in (
        ("--optimization-level", options.optimization_level, "builder_optimization_level"),
        ("--aux-streams", options.aux_streams, "max_aux_streams"),
    ):
        if value is not None and attribute not in has.options:
            raise BuildError(
                f"{name} {has.version} has no {attribute}", where=option, hint="leave it out"
            )


def precision_flags(has: Capabilities, precision: Precision) -> tuple[str, ...]:
    """Return the flags that allow the types of a network; none where the graph decides.

    Raises:
        BuildError: A version whose types are not the graph's lacks one of them.
    """
    if has.is_strongly_typed:
        return ()
    kinds = {"fp32": None, "fp16": "FP16", "bf16": "BF16"}[precision.base]
    quantised = precision.quantised.upper() if precision.quantised else None
    flags = tuple(flag for flag in (kinds, quantised) if flag)
    for flag in flags:
        if flag not in has.precision_flags:
            raise BuildError(
                f"{NAMES[has.flavour]} {has.version} has no {flag}",
                where=f"--{flag.lower()}",
                hint="build the model in another precision, or with a newer TensorRT",
            )
    return flags


def profiles_for(artifact: Artifact, options: EngineOptions) -> tuple[BatchRange, ...]:
    """Return the ranges of batch sizes that an engine is optimised for.

    Raises:
        BuildError: The model does not take one of them.
    """
    own = artifact.meta.spec.input.batch
    for asked in options.profiles:
        if asked.minimum < own.minimum or asked.maximum > own.maximum:
            raise BuildError(
                f"batches of {asked.minimum} to {asked.maximum}, the model takes "
                f"{limits_text(own)}",
                where="--profile",
                hint=f"export the model with --batch {asked.minimum}:{asked.optimum}:"
                f"{asked.maximum}, or give a range within",
            )
    return options.profiles or (own,)
