"""Cut a network into pieces that are run one after the other.

All intermediate results of one image of YOLOR-P6 at 1280 pixels take 4 GB. Cut into pieces, no
more than those of one piece are in memory, with what later pieces read, and nothing is computed
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

_MAPS = (ir.DataType.FLOAT, ir.DataType.UINT8)  # of one row an image, unlike integers of shapes


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a network.

    Attributes:
        model: ONNX of its own, with its weights.
        inputs: Names of the values that it reads.
        outputs: Names of the values that it gives: every float result, and what else later pieces
            read, such as a shape.
        read_later: Names of the values, of this piece or of earlier ones, that later pieces read.
    """

    model: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    read_later: frozenset[str]


def cut_into_segments(model: ir.Model, *, segment_bytes: int) -> list[Segment]:
    """Cut a network where the results of a piece reach so many bytes for one image.

    Args:
        model: A network without head, in float32, with shapes for every value; used up.
        segment_bytes: Of the results of a piece; a single result may be larger.
    """
    graph = model.graph
    pieces: list[list[ir.Node]] = [[]]
    size = 0
    for node in graph:
        node_bytes = sum(_bytes(value) for value in node.outputs)
        if pieces[-1] and size + node_bytes > segment_bytes:
            pieces.append([])
            size = 0
        pieces[-1].append(node)
        size += node_bytes
    last_read: dict[str, int] = {}
    for number, piece in enumerate(pieces):
        for node in piece:
            last_read.update({str(v.name): number for v in node.inputs if v is not None})
    segments = []
    known = {str(value.name) for value in graph.inputs}
    for number, piece in enumerate(pieces):
        known |= {str(value.name) for node in piece for value in node.outputs}
        known = {name for name in known if last_read.get(name, 0) > number}
        segments.append(_segment(model, piece, known))
    return segments


def _segment(model: ir.Model, nodes: Sequence[ir.Node], read_later: set[str]) -> Segment:
    inside = {str(value.name) for node in nodes for value in node.outputs}
    weights: dict[str, ir.Value] = {}
    inputs: dict[str, ir.Value] = {}
    for node in nodes:
        for value in node.inputs:
            if value is None or value.name in inside:
                continue
            group = weights if value.const_value is not None else inputs
            group[str(value.name)] = value
    copies = {name: _copy(value) for name, value in (inputs | weights).items()}
    for value in (copies[name] for name in inputs):
        assert value.shape is not None
        if value.dtype in _MAPS:
            value.shape = ir.Shape(["batch", *list(value.shape)[1:]])  # any number of images
    for node in nodes:
        for value in node.outputs:
            assert value.shape is not None
            rank = ir.Shape([None] * len(value.shape))  # sides are inferred anew, for any batch
            copies[str(value.name)] = ir.Value(name=value.name, type=value.type, shape=rank)
    outputs = [
        str(value.name)
        for node in nodes
        for value in node.outputs
        if value.dtype == ir.DataType.FLOAT or value.name in read_later
    ]
    graph = ir.Graph(
        [copies[name] for name in inputs],
        [copies[name] for name in outputs],
        nodes=[_copied_node(node, copies) for node in nodes],
        initializers=[copies[name] for name in weights],
        opset_imports=dict(model.opset_imports),
        name=f"{model.graph.name}: {nodes[0].name}",
    )
    return Segment(
        ir.Model(graph, ir_version=model.ir_version),
        tuple(inputs),
        tuple(outputs),
        frozenset(read_later),
    )


def _copy(value: ir.Value) -> ir.Value:
    return ir.Value(
        name=value.name, shape=value.shape, type=value.type, const_value=value.const_value
    )


def _copied_node(node: ir.Node, copies: dict[str, ir.Value]) -> ir.Node:
    return ir.Node(
        node.domain,
        node.op_type,
        [None if value is None else copies[str(value.name)] for value in node.inputs],
        list(node.attributes.values()),
        outputs=[copies[str(value.name)] for value in node.outputs],
        name=node.name,
    )


def _bytes(value: ir.Value) -> int:
    assert value.shape is not None
    size = 4
    for side in value.shape:
        size *= side if isinstance(side, int) else 1
    return size
