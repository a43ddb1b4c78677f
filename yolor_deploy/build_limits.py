"""What a build refuses, before it begins and before its file is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.precision import GraphTarget, Precision

if TYPE_CHECKING:
    import onnx_ir as ir

_LARGEST_CHECKED_BYTES = 2_000_000_000


def require_buildable(artifact: Artifact, precision: Precision, target: GraphTarget) -> None:
    """Refuse what is no float model, and precisions that the target cannot run.

    Raises:
        ArtifactError: Not a model of float32.
        BuildError: The target does not compute in this precision.
    """
    meta = artifact.meta
    if meta.kind != "model" or meta.precision != "fp32":
        raise ArtifactError(
            f"{meta.kind} of precision {meta.precision}, expected a model of fp32",
            where=str(artifact.path),
            hint="give the file that `export` wrote; bits that are gone do not come back",
        )
    if target != "onnxruntime":
        return
    if precision.base == "bf16" or precision.quantised == "fp8":
        raise BuildError(
            f"ONNX Runtime has no {precision.name} operators for the CPU",
            where="--target onnxruntime",
            hint="give --target tensorrt",
        )
    if precision.quantised and precision.base != "fp32":
        raise BuildError(
            f"{precision.name} gains nothing on a CPU, which computes half precision in float32",
            where="--target onnxruntime",
            hint=f"leave --{precision.base} out, or give --target tensorrt",
        )


def require_float_network(network: ir.Model, *, where: str) -> None:
    """Refuse a network that was quantised by another tool, whatever its metadata tell.

    Raises:
        ArtifactError: It has quantised operators.
    """
    from yolor_deploy.graph.insert_qdq import is_quantised  # noqa: PLC0415 - onnx

    if is_quantised(network):
        raise ArtifactError(
            "the network is quantised already",
            where=where,
            hint="give the float model that `export` wrote",
        )


def target_of(precision: Precision, target: GraphTarget) -> GraphTarget | None:
    """Return the target that an artifact names; None for one that any runtime takes."""
    if precision.quantised or precision.base == "bf16":
        return target
    return None


def output_of(model: Path, precision: Precision, target: GraphTarget | None) -> Path:
    """Return where ``build`` writes by default: ``shapes.int8.tensorrt.onnx`` for shapes.onnx."""
    words = [model.stem, precision.name, *([target] if target else []), "onnx"]
    return model.with_name(".".join(words))


def engine_output_of(model: Path, precision: str, backend: str) -> Path:
    """Return where an engine goes by default: ``shapes.fp16.tensorrt.engine`` for shapes.onnx."""
    stem = model.stem.removesuffix(".tensorrt").removesuffix(f".{precision}")
    words = [stem, precision, backend, "engine"]
    return model.with_name(".".join(words))


def require_checked(artifact: Artifact) -> None:
    """Run the checker of onnx, shape inference included, over a file just written.

    Raises:
        BuildError: The checker refuses it: a pass of ours is wrong.
    """
    import onnx  # noqa: PLC0415 - slow to load

    size = artifact.path.stat().st_size
    data = artifact.path.with_name(f"{artifact.path.name}.data")
    # Above 2 GB the checker works on the file, and infers no shapes
    is_whole = size <= _LARGEST_CHECKED_BYTES and not data.exists()
    try:
        onnx.checker.check_model(str(artifact.path), full_check=is_whole)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildError(
            f"the checker of onnx refuses the model: {error}",
            where=artifact.path.name,
            hint="no file was written; report this model",
        ) from error
