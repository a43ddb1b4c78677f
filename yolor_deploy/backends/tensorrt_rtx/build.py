"""From a network to a plan for named GPUs, without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolor_deploy.backends.tensorrt import require_module
from yolor_deploy.backends.tensorrt.network import network_file, profiles_of, require_model
from yolor_deploy.backends.tensorrt.process import Progress, build_folder, run_build
from yolor_deploy.backends.tensorrt.request import PLAN_FILE, Report, Request
from yolor_deploy.backends.tensorrt.targets import capability_names, known_capabilities
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import InputSpec


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan, and what building it took.

    Attributes:
        plan: Its bytes.
        report: What TensorRT-RTX told.
    """

    plan: bytes
    report: Report


def build_plan(
    artifact: Artifact, *, compute_capabilities: Sequence[str], timeout_s: float | None = None
) -> bytes:
    """Build a model for GPUs, without one.

    The plan takes ``images`` as the artifact does, and gives the raw maps ``raw_0 ..`` in the type
    of the network: TensorRT-RTX has no non-maximum suppression, and takes no plugins.

    Args:
        artifact: A model of any precision and output; portable or for TensorRT.
        compute_capabilities: Of the GPUs, such as ``8.6``; one plan serves all of them.
        timeout_s: Longest time for parsing and building; None for no limit.

    Raises:
        ArtifactError: An engine, a model for another runtime, or a damaged file.
        BackendUnavailableError: TensorRT-RTX is not installed.
        BuildError: A GPU lacks a type of the precision, or TensorRT-RTX does not know it, refuses
            the model, crashes, or takes too long.
    """
    return build_with_report(
        artifact, compute_capabilities=compute_capabilities, timeout_s=timeout_s
    ).plan


def build_with_report(
    artifact: Artifact,
    *,
    compute_capabilities: Sequence[str],
    timeout_s: float | None = None,
    progress: Progress = lambda _phase, _done, _all: None,
) -> BuiltPlan:
    """Do what ``build_plan`` does, and tell what it took."""
    require_model(artifact)
    precision = Precision.from_name(artifact.meta.precision)
    capabilities = target_names(compute_capabilities, precision)
    with build_folder() as folder:
        model = network_file(artifact, folder)
        request = Request(
            "tensorrt_rtx", str(model), capabilities, profiles_of(artifact.meta.spec.input)
        )
        report = run_build(
            request, folder, where=artifact.path.name, timeout_s=timeout_s, progress=progress
        )
        return BuiltPlan((folder / PLAN_FILE).read_bytes(), report)


def build_file(
    model: Path,
    *,
    image: InputSpec,
    precision: Precision,
    compute_capabilities: Sequence[str],
    timeout_s: float | None = None,
) -> BuiltPlan:
    """Build an ONNX file as it is: nothing is checked before TensorRT-RTX reads it.

    Args:
        model: A network without head, whose input is ``images``.
        image: That input.
        precision: Of the network.
        compute_capabilities: As for ``build_plan``.
        timeout_s: As for ``build_plan``.

    Raises:
        BackendUnavailableError, BuildError: As ``build_plan``.
    """
    capabilities = target_names(compute_capabilities, precision)
    with build_folder() as folder:
        request = Request("tensorrt_rtx", str(model.resolve()), capabilities, profiles_of(image))
        report = run_build(request, folder, where=model.name, timeout_s=timeout_s)
        return BuiltPlan((folder / PLAN_FILE).read_bytes(), report)


def target_names(given: Sequence[str], precision: Precision) -> tuple[str, ...]:
    """Return the names in ``ComputeCapability`` of the GPUs to build for.

    Raises:
        BackendUnavailableError: TensorRT-RTX is not installed.
        BuildError: One is not known, or lacks a type of the precision.
    """
    module = require_module("tensorrt_rtx")
    return capability_names(given, precision, known=known_capabilities(module))
