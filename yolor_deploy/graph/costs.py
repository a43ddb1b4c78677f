"""What the nodes of a detector have to compute and to move at the very least.

The bytes are those that no runtime gets around, so that a time made of them is a limit:

- A pointwise node is computed where its input is made. It moves nothing, unless it has a second
  input from elsewhere, such as the skip of a residual, which the maker of the first reads then.
- What only names values anew moves nothing: ``Concat``, ``Split``, ``Slice`` and ``Reshape`` as
  its makers write to where it is read, and casts and Q/DQ pairs as its maker writes the narrower
  of the two types.
- Any other node reads each of its inputs once, weights included. It writes its result once, in the
  widest type that it is read in.

A runtime that does more, such as a pass of its own for every activation, is further from the limit.
Caches are not considered: a small value may never come to memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yolor_deploy.core.errors import PassError

if TYPE_CHECKING:
    import onnx_ir as ir

_CONVERSIONS = {"Cast", "DequantizeLinear", "QuantizeLinear"}
_SAME_VALUES = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Split", "Slice"}
_POINTWISE = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Neg", "Abs", "Exp", "Log", "Sqrt"),
    *("Sigmoid", "Tanh", "Softplus", "Relu", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish"),
}


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one node has to compute and to move.

    Attributes:
        name: Of the node.
        op: Operator.
        flops: Multiplications and additions of one batch: two for each multiply-add of a
            convolution or matrix product, without its bias, as published figures have it; one for
            each value that a pointwise node makes; none of any other, as it only moves or compares.
        num_bytes: Read and written at least, one batch; 0 if it needs no traffic of its own.
    """

    name: str
    op: str
    flops: int
    num_bytes: int


def node_costs(model: ir.Model, *, batch: int) -> tuple[NodeCost, ...]:
    """Count what each node of a detector has to compute and to move.

    The head is one entry, whatever it is made of: it reads the raw maps and writes the model's
    outputs, and its arithmetic, which is some operations a value, is not counted.

    Args:
        model: As ``read_model`` gives it: shapes are known. Unchanged.
        batch: Images; of a model whose batch is static, that one.

    Returns:
        In the order of the graph, constants left out, the head last.

    Raises:
        PassError: The shape of a value is not known, or the model is not of this project.
    """
    from yolor_deploy.graph.nms_head import raw_maps_of  # noqa: PLC0415 - onnx

    raw_maps = raw_maps_of(model)
    network = _makers_of(raw_maps)
    nodes = [node for node in model.graph if node in network and node.op_type != "Constant"]
    head = [node for node in model.graph if node not in network]
    traffic = _Traffic(batch)
    for node in nodes:
        traffic.add(node)
    at_head = traffic.read_by(None, raw_maps)  # written even where there is no head to read them
    moved = traffic.bytes_by_node()
    costs = [
        NodeCost(str(node.name), node.op_type, _flops(node, batch), moved[node]) for node in nodes
    ]
    if head:
        name, op = str(head[-1].name), head[-1].op_type
        if len(head) > 1:  # of predictions, in standard operators: all in one scope
            name, op = name.rpartition("/")[0], "decode"
        written = sum(_elements(v, batch) * _itemsize(v) for v in model.graph.outputs)
        costs.append(NodeCost(name, op, 0, at_head + written))
    return tuple(costs)


def multiply_adds_of(network: ir.Model) -> dict[str, int]:
    """Return the multiply-adds of each convolution for one image, by name, in order."""
    return {
        str(node.name): _convolution_multiply_adds(node)
        for node in network.graph
        if node.op_type == "Conv"
    }


@dataclass
class _Traffic:
    """Which node reads and writes how much, as nodes are added in the order of the graph.

    Attributes:
        batch: Images.
        roots: Where what a value holds is written, if that is not the value itself.
        width: Bytes an element that a value is read in, if that is not the size of its type.
        position: In which order nodes came.
        reads: Values that each node reads.
        written: Bytes an element that a root is written in; none that nobody reads.
    """

    batch: int
    roots: dict[ir.Value, tuple[ir.Value, ...]] = field(default_factory=dict)
    width: dict[ir.Value, int] = field(default_factory=dict)
    position: dict[ir.Node, int] = field(default_factory=dict)
    reads: dict[ir.Node | None, set[ir.Value]] = field(default_factory=lambda: defaultdict(set))
    written: dict[ir.Value, int] = field(default_factory=dict)

    def add(self, node: ir.Node) -> None:
        """Take the next node of the graph."""
        self.position[node] = len(self.position)
        inputs = [value for value in node.inputs if value is not None]
        if node.op_type == "Concat":
            roots = tuple(dict.fromkeys(root for v in inputs for root in self._roots_of(v)))
            self._alias(node, roots, max(map(self._width_of, inputs)))
        elif node.op_type in _SAME_VALUES:
            self._alias(node, self._roots_of(inputs[0]), self._width_of(inputs[0]))
        elif node.op_type in _CONVERSIONS:
            roots, width = self._roots_of(inputs[0]), self._width_of(inputs[0])
            if not any(root.is_graph_input() for root in roots):  # those come as they are
                width = min(width, _itemsize(node.outputs[0]))
            self._alias(node, roots, width)
        elif node.op_type not in _POINTWISE or not self._computed_in_place(node, inputs):
            self.read_by(node, inputs)

    def read_by(self, node: ir.Node | None, values: list[ir.Value]) -> int:
        """Let a node, or what follows the network, read values; return the bytes."""
        for value in values:
            self.reads[node].add(value)
            for root in self._roots_of(value):
                self.written[root] = max(self.written.get(root, 0), self._width_of(value))
        return self._bytes_read(node)

    def bytes_by_node(self) -> dict[ir.Node, int]:
        """Return what each node reads and writes."""
        return {
            node: self._bytes_read(node)
            + sum(_elements(v, self.batch) * self.written.get(v, 0) for v in node.outputs)
            for node in self.position
        }

    def _computed_in_place(self, node: ir.Node, inputs: list[ir.Value]) -> bool:
        """Let a pointwise node follow the last maker of its inputs, if one makes as many values."""
        (result,) = node.outputs
        size = _elements(result, self.batch)
        whole = [v for v in inputs if v.const_value is None and _elements(v, self.batch) == size]
        if not whole:
            return False
        followed = max(whole, key=self._made_at)
        roots = self._roots_of(followed)
        maker = max(roots, key=self._made_at).producer()
        width = _itemsize(result)
        if maker is None:  # an input of the model, from which the next reader computes it
            width = min(width, self._width_of(followed))
        others = [v for v in inputs if not set(self._roots_of(v)) <= set(roots)]
        self.read_by(maker or node, others)
        self._alias(node, roots, width)
        return True

    def _alias(self, node: ir.Node, roots: tuple[ir.Value, ...], width: int) -> None:
        for value in node.outputs:
            self.roots[value], self.width[value] = roots, width

    def _made_at(self, value: ir.Value) -> int:
        makers = [root.producer() for root in self._roots_of(value)]
        return max(-1 if maker is None else self.position.get(maker, -1) for maker in makers)

    def _roots_of(self, value: ir.Value) -> tuple[ir.Value, ...]:
        return self.roots.get(value, (value,))

    def _width_of(self, value: ir.Value) -> int:
        return self.width.get(value) or _itemsize(value)

    def _bytes_read(self, node: ir.Node | None) -> int:
        return sum(_elements(v, self.batch) * self._width_of(v) for v in self.reads[node])


def _makers_of(values: list[ir.Value]) -> set[ir.Node]:
    """Return every node that values depend on."""
    found: set[ir.Node] = set()
    waiting = [value.producer() for value in values]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [value.producer() for value in node.inputs if value is not None]
    return found


def _flops(node: ir.Node, batch: int) -> int:
    result = node.outputs[0]
    if node.op_type == "Conv":
        first = result.shape[0] if result.shape is not None else None
        return 2 * _convolution_multiply_adds(node) * (first if isinstance(first, int) else batch)
    if node.op_type == "MatMul":
        left = node.inputs[0]
        assert left is not None
        assert left.shape is not None
        return 2 * _elements(result, batch) * _side(left.shape[-1], batch)
    return _elements(result, batch) if node.op_type in _POINTWISE else 0


def _convolution_multiply_adds(node: ir.Node) -> int:
    """Return the multiply-adds for one image: a product per weight of its channel and value."""
    weight, result = node.inputs[1], node.outputs[0]
    assert weight is not None
    assert weight.shape is not None
    if result.shape is None:
        raise _unknown(result)
    kernel = math.prod(weight.shape.numpy()[1:])
    return kernel * math.prod(_side(side, None) for side in result.shape[1:])


def _elements(value: ir.Value, batch: int) -> int:
    if value.shape is None:
        raise _unknown(value)
    return math.prod(_side(side, batch) for side in value.shape)


def _side(side: int | ir.SymbolicDim, batch: int | None) -> int:
    if isinstance(side, int):
        return side
    assert batch is not None, "only the batch is dynamic"
    return batch


def _itemsize(value: ir.Value) -> int:
    if value.dtype is None:
        raise _unknown(value)
    return math.ceil(value.dtype.itemsize)


def _unknown(value: ir.Value) -> PassError:
    return PassError(
        "type or shape of a value is not known, and its cost cannot be counted",
        where=str(value.name),
        hint="give a model that `yolor-deploy export` or `build` wrote",
    )
