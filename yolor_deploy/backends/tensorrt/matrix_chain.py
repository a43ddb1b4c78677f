"""A network of matrix products and nothing else: what a GPU computes at its fastest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir

from yolor_deploy.backends.tensorrt.signature import IMAGES
from yolor_deploy.graph.write import write_model

PRODUCT = "product"
_OPSET = 17
_IR_VERSION = 8
_TYPES = {"fp16": ir.DataType.FLOAT16, "fp32": ir.DataType.FLOAT}


def write_chain(path: Path, *, side: int, links: int, precision: Literal["fp16", "fp32"]) -> None:
    """Write a chain ``x @ w @ w ..`` of square matrices.

    Its values are drawn such that they neither grow nor vanish: zeros would take less power, and
    let the GPU clock higher than it does for a detector.

    Args:
        path: A new file.
        side: Rows and columns of each matrix.
        links: Products.
        precision: Of all of them.
    """
    kind = _TYPES[precision]
    weight = np.random.default_rng(0).normal(0, side**-0.5, (side, side)).astype(kind.numpy())
    square = ir.Shape([side, side])
    factor = ir.Value(
        name="weight",
        shape=square,
        type=ir.TensorType(kind),
        const_value=ir.tensor(weight, name="weight"),
    )
    x = ir.Value(name=IMAGES, shape=square, type=ir.TensorType(kind))
    nodes, value = [], x
    for link in range(links):
        node = ir.node("MatMul", [value, factor], name=f"{PRODUCT}_{link}")
        nodes.append(node)
        value = node.outputs[0]
    value.name, value.shape, value.type = PRODUCT, square, ir.TensorType(kind)
    graph = ir.Graph(
        [x], [value], nodes=nodes, initializers=[factor], opset_imports={"": _OPSET}, name="chain"
    )
    write_model(ir.Model(graph, ir_version=_IR_VERSION), path)
