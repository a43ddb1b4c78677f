"""Write a network in 16 bits: every edge typed, every weight cast once."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import ml_dtypes  # noqa: F401 - NumPy learns bfloat16 by it
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from yolor_deploy.graph.raise_opset import BFLOAT16_OPSET, QUANTISED_HALF_OPSET, raise_opset

logger = logging.getLogger(__name__)

HalfKind = Literal["fp16", "bf16"]
DTYPES: dict[HalfKind, ir.DataType] = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
LARGEST: dict[HalfKind, float] = {"fp16": 65504.0, "bf16": 2.0**128 * (1 - 2.0**-8)}
SOFTPLUS_LIMIT = 10.0  # tanh(softplus(10)) is 1 in float32 too, and exp(10) is within half's range
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
_ALWAYS_FLOAT = {"Resize": (1, 2)}  # region of interest and scales: numbers, not activations
_FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HalfSite:
    """A node that stays float32 in a network of 16 bits.

    Attributes:
        node: Its name.
        reason: Why it stays.
    """

    node: str
    reason: str


def to_half(
    model: ir.Model,
    kind: HalfKind,
    *,
    keep_float: Collection[str] = (),
    float_outputs: bool = False,
) -> list[HalfSite]:
    """Give every float tensor of a network 16 bits, but those of the nodes named.

    - A node takes and gives one type; where types meet there is one ``Cast`` per value and type.
    - Inputs of the graph keep their type and are cast once.
    - Scales of ``Resize`` and results of ``Constant`` stay float32, integers stay integers.
    - Weights are rounded once, to the nearest. A node with a weight beyond the range of the type
      stays float32, and is listed; so is one that reads it through a Q/DQ pair.
    - A Q/DQ pair that none but nodes of float32 read is float32: its values may be beyond the range
      too, and a cast behind it would break what a runtime fuses.
    - ``Softplus`` of float16 gets ``Min(x, 10)`` in front: a runtime may compute it as
      log(1 + exp(x)), whose exponential leaves the range of half above 11; Mish does not change,
      since tanh(softplus(10)) rounds to 1 in float32 already.
    - ``QuantizeLinear`` takes half since opset 19, ``Conv`` bfloat16 since 22: the opset is raised
      where that is needed, and stays 17 otherwise.

    Args:
        model: A network without head, in float32, perhaps with Q/DQ pairs; changed in place.
        kind: The type.
        keep_float: Names of nodes that stay float32.
        float_outputs: Whether the outputs are cast back to float32.

    Returns:
        The nodes that stay float32 though they were not named, with the reason.
    """
    if kind == "bf16":
        raise_opset(model, BFLOAT16_OPSET)
    elif any(node.op_type in _QUANTISERS for node in model.graph):
        raise_opset(model, QUANTISED_HALF_OPSET)
    too_large = _too_large(model.graph, kind)
    keep = _with_pairs(model.graph, {*keep_float, *too_large})
    change = _Change(model.graph, kind, keep)
    for node in list(model.graph):
        change.node(node)
    if float_outputs:
        change.outputs()
    change.drop_unused()
    logger.info("to_half: %s, %d casts, %d nodes float32", kind, change.casts, len(change.keep))
    return [HalfSite(name, why) for name, why in too_large.items() if name not in keep_float]


def round_to(values: _FloatArray, kind: HalfKind) -> npt.NDArray[np.generic]:
    """Return values in 16 bits, rounded to the nearest; beyond the range they become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(DTYPES[kind].numpy())


def _too_large(graph: ir.Graph, kind: HalfKind) -> dict[str, str]:
    """Return, by node, why its weights do not fit the type."""
    found: dict[str, str] = {}
    for node in graph:
        for value in node.inputs:
            if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
                continue
            largest = float(np.max(np.abs(value.const_value.numpy()), initial=0.0))
            if largest > LARGEST[kind]:
                reason = f"{value.name} holds {largest:.3g}, beyond {kind}"
                found |= {str(reader.name): reason for reader in _computing(node)}
    return found


def _computing(node: ir.Node) -> list[ir.Node]:
    """Return the node, or what reads it through a Q/DQ pair."""
    if node.op_type not in _QUANTISERS:
        return [node]
    return [reader for use in node.outputs[0].uses() for reader in _computing(use.node)]


def _with_pairs(graph: ir.Graph, keep: set[str]) -> frozenset[str]:
    """Add the Q/DQ pairs that only nodes of float32 read."""
    with_pairs = set(keep)
    for node in reversed(graph):
        readers = [str(use.node.name) for value in node.outputs for use in value.uses()]
        if node.op_type in _QUANTISERS and readers and with_pairs.issuperset(readers):
            with_pairs.add(str(node.name))
    return frozenset(with_pairs)


class _Change:
    """Rewrites node by node, in order."""

    def __init__(self, graph: ir.Graph, kind: HalfKind, keep: frozenset[str]) -> None:
        self.graph = graph
        self.kind: HalfKind = kind
        self.dtype = DTYPES[kind]
        self.keep = keep
        self.casts = 0
        self.copies: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def node(self, node: ir.Node) -> None:
        """Give one node its type."""
        wanted = ir.DataType.FLOAT if node.name in self.keep else self.dtype
        if node.op_type == "Constant":
            return
        if node.op_type == "Cast":
            if node.attributes["to"].as_int() == ir.DataType.FLOAT:
                node.attributes["to"] = ir.AttrInt64("to", wanted.value)
        else:
            if node.op_type == "Softplus" and self.kind == "fp16" and wanted == self.dtype:
                self._limit(node)
            exempt = _ALWAYS_FLOAT.get(node.op_type, ())
            for position, value in enumerate(node.inputs):
                if value is not None and value.dtype in _FLOATS:
                    dtype = ir.DataType.FLOAT if position in exempt else wanted
                    node.replace_input_with(position, self._as(value, dtype))
        for value in node.outputs:
            if value.dtype in _FLOATS:
                value.type = ir.TensorType(wanted)

    def outputs(self) -> None:
        """Cast the outputs to float32, under the names that they have."""
        for position, value in enumerate(self.graph.outputs):
            if value.dtype == ir.DataType.FLOAT:
                continue
            name = str(value.name)
            value.name = f"{name}.{self.kind}"
            cast = self._cast(value, ir.DataType.FLOAT, name)
            self.graph.append(cast)
            self.graph.outputs[position] = cast.outputs[0]

    def drop_unused(self) -> None:
        """Remove the float32 weights that nobody reads any more."""
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                self.graph.initializers.pop(name)

    def _as(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        """Return a value in the type wanted: itself, a rounded weight, or a cast of it."""
        if value.dtype == wanted:
            return value
        key = (value, wanted)
        if key not in self.copies:
            if value.const_value is not None and value.is_initializer():
                self.copies[key] = self._rounded(value)
            else:
                cast = self._cast(value, wanted, f"{value.name}.{_short(wanted)}")
                producer = value.producer()
                if producer is None:
                    self.graph.insert_before(self.graph[0], cast)
                else:
                    self.graph.insert_after(producer, cast)
                self.copies[key] = cast.outputs[0]
        return self.copies[key]

    def _rounded(self, value: ir.Value) -> ir.Value:
        assert value.const_value is not None
        array = round_to(value.const_value.numpy(), self.kind)
        if any(use.idx == 1 and use.node.op_type in _QUANTISERS for use in value.uses()):
            array = _not_below(array, value.const_value.numpy())
        name = f"{value.name}.{self.kind}"
        copy = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(self.dtype),
            const_value=ir.tensor(array, name=name),
        )
        self.graph.register_initializer(copy)
        return copy

    def _cast(self, value: ir.Value, wanted: ir.DataType, name: str) -> ir.Node:
        node = ir.node("Cast", [value], {"to": wanted.value}, name=name)
        result = node.outputs[0]
        result.name, result.shape, result.type = name, value.shape, ir.TensorType(wanted)
        self.casts += 1
        return node

    def _limit(self, node: ir.Node) -> None:
        x = node.inputs[0]
        assert x is not None
        name = f"{node.name}.limit"
        constant = ir.tensor(np.array(SOFTPLUS_LIMIT, np.float16), name=f"{name}.value")
        bound = ir.Value(
            name=constant.name,
            shape=ir.Shape([]),
            type=ir.TensorType(self.dtype),
            const_value=constant,
        )
        self.graph.register_initializer(bound)
        least = ir.node("Min", [self._as(x, self.dtype), bound], name=name)
        result = least.outputs[0]
        result.name, result.shape, result.type = name, x.shape, ir.TensorType(self.dtype)
        self.graph.insert_before(node, least)
        node.replace_input_with(0, result)


def _not_below(rounded: npt.NDArray[np.generic], exact: _FloatArray) -> npt.NDArray[np.generic]:
    """Return positive values of 16 bits, the next larger one where rounding went down.

    A scale that was rounded down would clip the largest value; in the subnormals by some percent.
    """
    bits = rounded.view(np.uint16).copy()
    bits[rounded.astype(np.float32) < exact] += 1  # of positive floats, the next one
    result: npt.NDArray[np.generic] = bits.view(rounded.dtype)
    return result


def _short(dtype: ir.DataType) -> str:
    return {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16"}[dtype.name]
