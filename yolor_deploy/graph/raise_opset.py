"""Bring a graph of opset 17 to a later one, for types that opset 17 does not have."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from yolor_deploy.core.errors import PassError

QUANTISED_HALF_OPSET = 19  # the first in which QuantizeLinear takes half, and float8
BFLOAT16_OPSET = 22  # the first in which Conv and MaxPool take bfloat16
_IR_VERSIONS = {17: 8, 19: 9, 22: 10}
OPSETS = tuple(_IR_VERSIONS)
_SPLIT_NEEDS_COUNT = 18


def raise_opset(model: ir.Model, opset: int) -> int:
    """Declare a later opset, and rewrite the operators whose form changed on the way.

    Cases, for opset 18 or later:

    - ``Split`` without sizes gets ``num_outputs``.
    - ``ReduceMax`` with the attribute ``axes`` gets it as an input.
    - All other operators that this project writes mean the same in 17, 19 and 22.

    Args:
        model: Of opset 17 or later, changed in place, its functions included.
        opset: 17, 19 or 22; one below the model's raises its functions to the model's.

    Returns:
        The number of operators rewritten.

    Raises:
        PassError: A function of the model has an opset that its graph has not.

    Source: the changelog of ONNX operators.
    """
    current = model.opset_imports[""]
    for function in model.functions.values():
        if function.opset_imports[""] > max(current, opset):
            raise PassError(
                f"function has opset {function.opset_imports['']}, the graph has {current}",
                where=function.name,
                hint="export the model again",
            )
    opset = max(opset, current)
    model.opset_imports[""] = opset
    model.graph.opset_imports[""] = opset
    model.ir_version = max(model.ir_version, _IR_VERSIONS.get(opset, 0))
    changed = 0
    containers: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for container in containers:
        container.opset_imports[""] = opset
        if opset >= _SPLIT_NEEDS_COUNT:
            changed += sum(_rewrite(node, container) for node in list(container))
    return changed


def _rewrite(node: ir.Node, container: ir.Graph | ir.Function) -> bool:
    if node.domain:
        return False
    if node.op_type == "Split" and len(node.inputs) == 1 and "num_outputs" not in node.attributes:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))
        return True
    if node.op_type == "ReduceMax" and "axes" in node.attributes:
        axes = np.array(node.attributes.pop("axes").as_ints(), np.int64)
        constant = ir.node("Constant", [], {"value": ir.tensor(axes)}, name=f"{node.name}.axes")
        constant.outputs[0].name = f"{node.outputs[0].name}_axes"
        container.insert_before(node, constant)
        node.resize_inputs(2)
        node.replace_input_with(1, constant.outputs[0])
        return True
    return False
