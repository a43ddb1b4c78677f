"""A detector in two halves, each a model of its own: the network, and its post-processing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir

from yolor_deploy.backends.onnxruntime.temporary import temporary_folder
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.graph.head_function import DOMAIN, NMS_OP
from yolor_deploy.graph.nms_head import detach_head
from yolor_deploy.graph.read import read_model
from yolor_deploy.graph.write import write_model

Load = Callable[[Path], Any]
"""From a file to a session of ONNX Runtime."""


def load_network(artifact: Artifact, load: Load) -> Any:
    """Load an artifact that detects without its head: it ends in raw maps.

    Its weights are on disk a second time while it is loaded, and in memory as long as it is.

    Args:
        artifact: Whose head is a ``YolorNMS`` node.
        load: Loads a file that is gone afterwards.

    Raises:
        ArtifactError: The file cannot be read, there is no place for a copy of it, or ``load``
            refuses the copy.
    """

    def network() -> ir.Model:
        model = read_model(artifact.path)
        detach_head(model)
        return model

    return _load_copy(artifact, network, load)


def load_head(artifact: Artifact, load: Load) -> Any:
    """Load the head of an artifact that detects, as it is in the file, and no weights.

    Its inputs are ``raw_0 ..`` in the type that the network gives, and the thresholds.

    Args:
        artifact: Whose head is a ``YolorNMS`` node.
        load: Loads a file that is gone afterwards.

    Raises:
        ArtifactError: As of ``load_network``.
    """
    return _load_copy(artifact, lambda: head_alone(read_model(artifact.path)), load)


def head_alone(model: ir.Model) -> ir.Model:
    """Return the ``YolorNMS`` node of a model and its function as a model that has nothing else.

    Args:
        model: Types and shapes of its raw maps are known. Unchanged, but for the function, which
            the two share.
    """
    node = next(node for node in model.graph if (node.domain, node.op_type) == (DOMAIN, NMS_OP))
    inputs = [_copy_of(value) for value in node.inputs if value is not None]
    head = ir.Node(
        node.domain,
        node.op_type,
        inputs,
        list(node.attributes.values()),
        num_outputs=len(node.outputs),
        name=node.name,
    )
    for copy, value in zip(head.outputs, node.outputs, strict=True):
        copy.name, copy.type, copy.shape = value.name, value.type, value.shape
    thresholds = [value for value in inputs if value.const_value is not None]
    graph = ir.Graph(
        inputs,
        head.outputs,
        nodes=[head],
        initializers=thresholds,
        opset_imports=model.opset_imports,
        name="head",
    )
    return ir.Model(graph, ir_version=model.ir_version, functions=list(model.functions.values()))


def _copy_of(value: ir.Value) -> ir.Value:
    return ir.Value(
        name=value.name, type=value.type, shape=value.shape, const_value=value.const_value
    )


def _load_copy(artifact: Artifact, make: Callable[[], ir.Model], load: Load) -> Any:
    """Write a model that lives no longer than that, and load it from a folder that goes again."""
    with temporary_folder("a copy of a part of it", where=str(artifact.path)) as folder:
        path = folder / artifact.path.name
        write_model(make(), path)
        return load(path)
