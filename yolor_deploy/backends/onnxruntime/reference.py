"""Run a model of few bits with every rounding that it makes on its target, on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx_ir as ir

from yolor_deploy.backends.onnxruntime.session import OnnxRuntimeSession, inference_session
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.cgroup import granted_cores
from yolor_deploy.graph.as_reference import as_reference
from yolor_deploy.graph.nms_head import raw_maps_of
from yolor_deploy.graph.read import read_model
from yolor_deploy.graph.write import write_model

# Q/DQ pairs stay pairs: 8-bit kernels of the CPU may saturate where those of a GPU do not.
SETTINGS = {"session.disable_quant_qdq": "1"}


def open_reference(
    artifact: Artifact, *, with_raw: bool = False, threads: int | None = None
) -> OnnxRuntimeSession:
    """Load a model in its reference form: float32, with each rounding to fewer bits in place.

    Right for accuracy, whatever the model's target; its speed says nothing.

    Args:
        artifact: A model, unchanged.
        with_raw: Whether ``raw_0 ..`` are outputs beside the model's own.
        threads: Threads of one run; None for the cores granted to this process.

    Raises:
        ArtifactError: The file cannot be read, or ONNX Runtime refuses the form.
    """
    model = read_model(artifact.path)
    raw = raw_maps_of(model) if with_raw else []
    names = [str(value.name) for value in raw]
    as_reference(model)
    if with_raw:
        add_outputs(model, names)
    runtime = session_of_model(model, artifact, threads=threads)
    return OnnxRuntimeSession(artifact, threads=threads or granted_cores(), runtime=runtime)


def session_of_model(
    model: ir.Model,
    artifact: Artifact,
    *,
    threads: int | None = None,
    keeps_memory: bool = True,
) -> Any:
    """Load a graph that is in memory into ONNX Runtime; Q/DQ pairs are computed as they stand.

    Args:
        model: The graph.
        artifact: Whose it is; messages have its name.
        threads: Threads of one run; None for the cores granted to this process.
        keeps_memory: Whether memory of a run is kept for the next one.

    Raises:
        ArtifactError: ONNX Runtime refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="yolor-deploy-") as folder:
        path = Path(folder) / artifact.path.name
        write_model(model, path)
        return inference_session(
            path,
            threads=threads or granted_cores(),
            keeps_memory=keeps_memory,
            settings=SETTINGS,
        )


def add_outputs(model: ir.Model, names: list[str]) -> None:
    """Make values outputs that are not yet."""
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    for name in names:
        if values[name] not in model.graph.outputs:
            model.graph.outputs.append(values[name])
