"""Quantise a network by Q/DQ pairs, laid out so that TensorRT fuses them.

TensorRT runs a convolution in 8 bits where its input and its weight come out of a
``DequantizeLinear`` each, symmetric, the activation with one scale and the weight with one a
channel, and nothing stands between the convolution and its activation function. Pairs on bias
vectors or behind a convolution break that fusion.

Source: "Working with Quantized Types" of the TensorRT documentation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from yolor_deploy.core.precision import QuantisedKind
from yolor_deploy.graph.raise_opset import QUANTISED_HALF_OPSET, raise_opset

logger = logging.getLogger(__name__)

# Their result holds values of their inputs only: one scale for all that they join.
SELECTING = frozenset({"Concat", "MaxPool", "Resize", "SpaceToDepth", "Gather", "Identity"})
_ACTIVATION_INPUTS = {"MaxPool": 1, "Resize": 1, "SpaceToDepth": 1, "Gather": 1, "Identity": 1}
LARGEST_CODE: Mapping[QuantisedKind, float] = {"int8": 127.0, "fp8": 448.0}
_SMALLEST_SCALE = 2.0**-24  # the smallest half above 0: an all-zero channel would divide by 0


@dataclass(frozen=True, slots=True)
class QdqPlan:
    """Where a network is quantised.

    Attributes:
        convolutions: Names of those that run in 8 bits.
        kept: Name and reason of those that do not.
        reads: (node, input) that read a quantised value, by name and position.
        groups: Names of the values that share a scale; every quantised value is in one group.
    """

    convolutions: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    reads: tuple[tuple[str, int], ...]
    groups: tuple[tuple[str, ...], ...]


def plan_qdq(model: ir.Model, *, keep: Collection[str] = ()) -> QdqPlan:
    """Choose the values of a network that are quantised.

    - The input of every convolution, but of the detection convolutions (those that no other
      convolution separates from an output) and of those named in ``keep``.
    - Backwards from there the inputs of ``Concat``, ``MaxPool``, ``Resize`` and the like, and both
      inputs of a residual ``Add``, so that the chain between two convolutions stays in 8 bits. Not
      those of a node named in ``keep``, nor of one that reads a constant.
    - Values that such operators join share a scale, or the chain would be requantised on the way;
      an ``Add`` computes, so its three scales are free.
    - A value is quantised once, whoever reads it.

    Args:
        model: A network without head, unchanged.
        keep: Names of nodes that stay in float.
    """
    graph = model.graph
    detection = detection_end(graph)
    kept: list[tuple[str, str]] = []
    convolutions: list[str] = []
    reads: list[tuple[str, int]] = []
    wanted: set[ir.Value] = set()
    joined = _Joined()
    for node in reversed(graph):
        name = str(node.name)
        if node.op_type == "Conv":
            if node in detection or name in keep:
                kept.append((name, "detection" if node in detection else "asked for"))
                continue
            convolutions.append(name)
            positions: list[int] = [0]
        elif wanted.isdisjoint(node.outputs) or name in keep:
            continue
        else:
            positions = _chained_inputs(node)
        for position in positions:
            value = node.inputs[position]
            assert value is not None
            reads.append((name, position))
            wanted.add(value)
            joined.add(value)
            if node.op_type in SELECTING:
                joined.join(value, node.outputs[0])
    return QdqPlan(
        tuple(reversed(convolutions)),
        tuple(reversed(kept)),
        tuple(reversed(reads)),
        joined.groups(),
    )


def insert_qdq(
    model: ir.Model,
    plan: QdqPlan,
    largest: Callable[[Sequence[str]], float],
    *,
    kind: QuantisedKind = "int8",
) -> int:
    """Write a plan into a network as ``QuantizeLinear``, ``DequantizeLinear`` pairs.

    Activations get one scale a group, ``largest / 127`` (448 for fp8), zero point 0. Weights stay
    float, with a pair behind them: one scale per output channel for int8, one for fp8. NVIDIA's
    Model Optimizer leaves them in the same form.

    Args:
        model: The network that the plan was made for, in float32; changed in place.
        plan: From ``plan_qdq``.
        largest: Told the names of a group, returns the magnitude that the largest code stands for.
        kind: 8-bit integers, or floats of 4 exponent and 3 mantissa bits.

    Returns:
        The number of pairs.
    """
    if kind == "fp8":
        raise_opset(model, QUANTISED_HALF_OPSET)
    graph = model.graph
    nodes = {str(node.name): node for node in graph}
    scales: dict[str, float] = {}
    for group in plan.groups:
        scale_of_group = max(largest(group) / LARGEST_CODE[kind], _SMALLEST_SCALE)
        scales |= dict.fromkeys(group, scale_of_group)
    quantised: dict[ir.Value, ir.Value] = {}
    for name, position in plan.reads:
        value = nodes[name].inputs[position]
        assert value is not None
        if value not in quantised:
            scale = np.array(scales[str(value.name)], np.float32)
            quantised[value] = _pair(graph, value, scale, kind, axis=None)
        nodes[name].replace_input_with(position, quantised[value])
    for name in plan.convolutions:
        weight = nodes[name].inputs[1]
        assert weight is not None
        assert weight.const_value is not None
        if weight not in quantised:
            scale, axis = _weight_scale(weight.const_value.numpy(), kind)
            quantised[weight] = _pair(graph, weight, scale, kind, axis=axis)
        nodes[name].replace_input_with(1, quantised[weight])
    logger.info(
        "insert_qdq: %d convolutions, %d pairs, %d kept",
        len(plan.convolutions),
        len(quantised),
        len(plan.kept),
    )
    return len(quantised)


def is_quantised(model: ir.Model) -> bool:
    """Return whether a network has been quantised already, by whatever tool."""
    kinds = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")
    return any(node.op_type in kinds for node in model.graph)


def detection_end(graph: ir.Graph) -> set[ir.Node]:
    """Return the detection convolutions, and all that stands between them and the outputs."""
    found: set[ir.Node] = set()
    open_values = list(graph.outputs)
    while open_values:
        node = open_values.pop().producer()
        if node is None or node in found:
            continue
        found.add(node)
        if node.op_type != "Conv":
            open_values += [value for value in node.inputs if value is not None]
    return found


def _chained_inputs(node: ir.Node) -> list[int]:
    """Return the inputs that are quantised because the result is."""
    if node.op_type != "Add" and node.op_type not in SELECTING:
        return []
    positions = range(_ACTIVATION_INPUTS.get(node.op_type, len(node.inputs)))
    read = [node.inputs[position] for position in positions]
    is_computed = all(value is not None and value.const_value is None for value in read)
    return list(positions) if is_computed else []  # an added constant is no residual


class _Joined:
    """Values that share a scale."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}

    def add(self, value: ir.Value) -> None:
        self.parents.setdefault(str(value.name), str(value.name))

    def join(self, first: ir.Value, second: ir.Value) -> None:
        self.add(first)
        self.add(second)
        self.parents[self._root(str(first.name))] = self._root(str(second.name))

    def groups(self) -> tuple[tuple[str, ...], ...]:
        found: dict[str, list[str]] = {}
        for name in self.parents:
            found.setdefault(self._root(name), []).append(name)
        return tuple(tuple(sorted(names)) for names in found.values())

    def _root(self, name: str) -> str:
        while self.parents[name] != name:
            name = self.parents[name]
        return name


def _weight_scale(
    weight: npt.NDArray[Any], kind: QuantisedKind
) -> tuple[npt.NDArray[np.float32], int | None]:
    if kind == "fp8":
        scale = np.abs(weight).max() / LARGEST_CODE[kind]
        return np.array(max(scale, _SMALLEST_SCALE), np.float32), None
    scales = np.abs(weight).reshape(len(weight), -1).max(axis=1) / LARGEST_CODE[kind]
    return np.maximum(scales, _SMALLEST_SCALE).astype(np.float32), 0


def _pair(
    graph: ir.Graph,
    value: ir.Value,
    scale: npt.NDArray[np.float32],
    kind: QuantisedKind,
    *,
    axis: int | None,
) -> ir.Value:
    """Append a pair behind a value, and return what comes out of it."""
    dtype = np.dtype(np.int8) if kind == "int8" else np.dtype(ml_dtypes.float8_e4m3fn)
    constants = [
        _constant(graph, f"{value.name}.scale", scale),
        _constant(graph, f"{value.name}.zero_point", np.zeros(scale.shape, dtype)),
    ]
    attributes = {} if axis is None else {"axis": axis}
    quantise = ir.node(
        "QuantizeLinear", [value, *constants], attributes, name=f"{value.name}.quantize"
    )
    back = ir.node(
        "DequantizeLinear",
        [quantise.outputs[0], *constants],
        attributes,
        name=f"{value.name}.dequantize",
    )
    for node, stored in ((quantise, constants[1].dtype), (back, ir.DataType.FLOAT)):
        assert stored is not None
        result = node.outputs[0]
        result.name, result.shape = f"{node.name}d", value.shape
        result.type = ir.TensorType(stored)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantise, back])
    else:
        graph.insert_after(producer, [quantise, back])
    return back.outputs[0]


def _constant(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
