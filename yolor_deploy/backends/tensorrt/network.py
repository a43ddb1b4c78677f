"""The network that TensorRT is given: an artifact's, with its head as the plan is to have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.spec import BatchRange, InputSpec

if TYPE_CHECKING:
    import onnx_ir as ir

HeadForm = Literal["own", "raw", "plugin", "ops"]
"""The model's own; raw maps; the ``YolorNMS`` node, for a plugin; what it means, in operators."""

_NETWORK_FILE = "network.onnx"


def require_model(artifact: Artifact) -> None:
    """Refuse what is no model for TensorRT.

    Raises:
        ArtifactError: An engine, or a model for another runtime.
    """
    meta = artifact.meta
    if meta.kind != "model" or meta.target not in {None, "tensorrt"}:
        raise ArtifactError(
            f"{meta.kind} for {meta.target}, expected a model that is portable or for tensorrt",
            where=str(artifact.path),
            hint="give the file that `export` wrote, or build it with --target tensorrt",
        )


def network_file(artifact: Artifact, folder: Path, head: HeadForm = "raw") -> Path:
    """Write the network of an artifact for TensorRT's parser.

    - ``own`` is the model as it is; not for one that detects.
    - ``raw`` ends in the raw maps.
    - ``plugin`` ends in the ``YolorNMS`` node without the function that the file explains it by,
      which some parsers would rather take than the plugin. Its thresholds are inputs.
    - ``ops`` ends in the function's operators, in the graph itself.

    Args:
        artifact: A model; with ``plugin`` and ``ops`` one that detects.
        folder: Where the file goes.
        head: What it is to end in.

    Raises:
        ArtifactError: The graph is damaged, or was changed after it was written.
        BuildError: There is no post-processing, or it ranks more than operators can.
    """
    from yolor_deploy.graph.nms_head import detach_head  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.plugin_head import widen_maps  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.write import write_model  # noqa: PLC0415 - onnx

    network = read_model(artifact.path)
    if head != "own":
        widen_maps(network)
    path = folder / _NETWORK_FILE
    if head == "raw":
        detach_head(network)
        _require_maps(artifact, len(network.graph.outputs))
    elif head != "own":
        _form_head(network, artifact, head)
    write_model(network, path)
    return path


def _form_head(network: ir.Model, artifact: Artifact, head: HeadForm) -> None:
    from yolor_deploy.graph.plugin_head import (  # noqa: PLC0415 - onnx
        inline_head,
        leave_head_to_plugin,
    )

    nms = artifact.meta.nms
    if nms is None:
        raise BuildError(
            f"the model ends in {artifact.meta.output}, and has no post-processing to build in",
            where=str(artifact.path),
            hint="export it with --output detections, or leave --nms out",
        )
    if head == "plugin":
        leave_head_to_plugin(network)
    else:
        inline_head(network, artifact.meta.spec, nms)


def _require_maps(artifact: Artifact, found: int) -> None:
    told = len(artifact.meta.spec.levels)
    if found != told:
        raise ArtifactError(
            f"{found} raw maps, the metadata tell {told}",
            where=str(artifact.path),
            hint="the graph was changed after it was written; export the model again",
        )


def profiles_of(
    image: InputSpec, batches: tuple[BatchRange, ...] = ()
) -> tuple[dict[str, list[tuple[int, ...]]], ...]:
    """Return the shapes of the input for each range of batch sizes; none if there is one only.

    Args:
        image: The input.
        batches: Ranges; empty for the input's own.
    """
    if image.batch.is_static:
        return ()
    return tuple(
        {"images": [image.shape(size) for size in (batch.minimum, batch.optimum, batch.maximum)]}
        for batch in batches or (image.batch,)
    )
