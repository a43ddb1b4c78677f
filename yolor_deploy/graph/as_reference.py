"""The same numbers in float32: what a network of few bits computes, with every rounding kept.

ONNX Runtime has hardly any half kernels for the CPU: it computes in float32, and drops the casts in
between. A value of 300 000, infinite in half, comes through unharmed, and a model that is broken on
a GPU looks well on a CPU. So a model of few bits is checked in this form.
"""

from __future__ import annotations

import ml_dtypes  # noqa: F401 - NumPy learns bfloat16 and float8 by it
import numpy as np
import onnx_ir as ir

from yolor_deploy.graph.insert_qdq import SELECTING

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
# Their result is one of their inputs: rounded already.
_SELECTING = SELECTING | {"Transpose"}


def as_reference(model: ir.Model) -> int:
    """Rewrite a model of 16 bits in float32, rounding every result to the 16 bits that it had.

    Each operator computes in float32 and its result goes through a pair of casts, to 16 bits and
    back; Q/DQ pairs stay. Weights keep their values, which float32 holds exactly. The outputs
    become float32.

    Args:
        model: Well typed, with a head or without; changed in place.

    Returns:
        The number of results that are rounded; 0 for a model of float32.
    """
    graph = model.graph
    for value in graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        if tensor.dtype in _HALVES:
            value.const_value = ir.tensor(tensor.numpy().astype(np.float32), name=value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    kinds = {value: value.dtype for node in graph for value in node.outputs}
    rounded = 0
    for node in list(graph):
        if node.op_type == "Cast":
            rounded += _replace_cast(graph, node)
            continue
        for value in node.outputs:
            kind = kinds[value]
            if kind not in _HALVES:
                continue
            value.type = ir.TensorType(ir.DataType.FLOAT)
            if node.op_type not in _SELECTING:
                _round(graph, value, kind)
                rounded += 1
    return rounded


def _replace_cast(graph: ir.Graph, node: ir.Node) -> int:
    """Turn a cast to 16 bits into one to float32 that rounds; one to float32 stays, for nothing."""
    value = node.outputs[0]
    kind = value.dtype
    if kind not in _HALVES:
        return 0
    node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT.value)
    value.type = ir.TensorType(ir.DataType.FLOAT)
    _round(graph, value, kind)
    return 1


def _round(graph: ir.Graph, value: ir.Value, kind: ir.DataType) -> None:
    """Round a value for all that read it; if it is an output, under its own name."""
    node = value.producer()
    assert node is not None
    name = str(value.name)
    value.name = f"{name}.exact"
    low = ir.node("Cast", [value], {"to": kind.value}, name=f"{name}.round")
    back = ir.node("Cast", [low.outputs[0]], {"to": ir.DataType.FLOAT.value}, name=f"{name}.back")
    for step, step_name, dtype in (
        (low, f"{name}.rounded", kind),
        (back, name, ir.DataType.FLOAT),
    ):
        result = step.outputs[0]
        result.name, result.shape, result.type = step_name, value.shape, ir.TensorType(dtype)
    result = back.outputs[0]
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    low.replace_input_with(0, value)
    graph.insert_after(node, [low, back])
