"""Read a model from disk, with type and shape of every value."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import onnx_ir as ir

from yolor_deploy.core.errors import ArtifactError

_SMALL_BYTES = 1000  # constants that shapes may depend on, such as the sizes of a Reshape


def read_model(path: Path) -> ir.Model:
    """Read an ONNX file; its weights stay on disk until they are used.

    Raises:
        ArtifactError: It cannot be read as ONNX, or its types or shapes contradict each other.
    """
    try:
        model = ir.load(path)
        # The values inside a layer, such as the sigmoid of a SiLU, are not declared in the file
        _infer(model)
    except Exception as error:  # of protobuf, of onnx and of onnx_ir; they share no base
        raise ArtifactError(
            f"not a readable ONNX file: {error}",
            where=str(path),
            hint="export the model again; keep the file of external data, if any, beside it",
        ) from error
    logging.getLogger(__name__).debug("read %s: %d nodes", path, len(model.graph))
    return model


def _infer(model: ir.Model) -> None:
    """Give every value of a graph its type and shape.

    onnx infers on the bytes of the model. Large weights are inputs meanwhile, so that there is no
    second copy of them. ``ShapeInferencePass`` of onnx_ir does the same, but leaves a model that
    contradicts itself as it is.
    """
    inferred = onnx.shape_inference.infer_shapes(
        _without_large_weights(model), check_type=True, strict_mode=True, data_prop=True
    )
    values = {value.name: value for node in model.graph for value in node.outputs}
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        if info.name in values:
            found = ir.from_proto(info)
            values[info.name].type, values[info.name].shape = found.type, found.shape


def _without_large_weights(model: ir.Model) -> onnx.ModelProto:
    graph = model.graph
    weights, inputs = dict(graph.initializers), list(graph.inputs)
    for name, value in weights.items():
        assert value.const_value is not None
        if value.const_value.nbytes > _SMALL_BYTES:
            graph.initializers.pop(name)
            if value not in inputs:
                graph.inputs.append(value)
        elif isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = ir.tensor(value.const_value.numpy(), name=name)
    try:
        return ir.to_proto(model)
    finally:
        graph.initializers.clear()
        graph.initializers.update(weights)
        graph.inputs[:] = inputs
