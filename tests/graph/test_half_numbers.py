"""Arithmetic of 16 bits: roundings, ranges, and Mish, whose exponential leaves them."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tests.graph.tiny_nets import TinyNet, node_named, stored
from yolor_deploy.graph.half import LARGEST, SOFTPLUS_LIMIT, HalfKind, round_to, to_half
from yolor_deploy.graph.type_check import require_typed

KINDS: tuple[HalfKind, ...] = ("fp16", "bf16")
f16 = np.float16
HalfArray = npt.NDArray[np.float16]


@pytest.mark.parametrize(
    ("kind", "keep", "limited"),
    [("fp16", (), True), ("fp16", ("act.softplus",), False), ("bf16", (), False)],
)
def test_softplus_of_half_is_limited(kind: HalfKind, keep: tuple[str, ...], limited: bool) -> None:
    """Min(x, 10) stands in front of a Softplus of float16, and the product reads x itself."""
    net = TinyNet()
    model = net.model([net.activate(net.conv(net.x, "conv"), "act", "mish")])

    to_half(model, kind, keep_float=keep)

    softplus, product = node_named(model, "act.softplus"), node_named(model, "act")
    assert softplus.inputs[0] is not None
    producer = softplus.inputs[0].producer()
    assert producer is not None
    assert (producer.op_type == "Min") == limited
    if limited:
        assert producer.inputs[0] is product.inputs[0]
        assert producer.inputs[1] is not None
        assert stored(model, str(producer.inputs[1].name)) == SOFTPLUS_LIMIT
    assert sum(node.op_type == "Min" for node in model.graph) == limited
    require_typed(model)


def naive_mish(x: HalfArray, *, limit: bool) -> list[HalfArray]:
    """Return the steps of Mish in half, as a kernel without a special softplus computes them."""
    with np.errstate(over="ignore"):
        exponential = np.exp(np.minimum(x, f16(SOFTPLUS_LIMIT)) if limit else x)
    with np.errstate(over="ignore"):
        total = f16(1) + exponential
    soft = np.log(total)
    tanh = np.tanh(soft)
    return [exponential, total, soft, tanh, x * tanh]


def test_limited_mish_of_every_half_is_finite_and_right() -> None:
    """No half makes a step of limited Mish infinite, and the result is Mish within rounding."""
    every = np.arange(2**16, dtype=np.uint16).view(f16)
    x = every[np.isfinite(every)]
    assert x.size == 63_488

    steps = naive_mish(x, limit=True)

    assert all(step.dtype == f16 and np.isfinite(step).all() for step in steps)
    exact = x.astype(np.float64) * np.tanh(np.logaddexp(0, x.astype(np.float64)))
    # 1 + exp(x), the tanh and the product are each rounded by 2**-11 at most, relative to x
    tolerance = 3 * 2.0**-11 * np.abs(x.astype(np.float64)) + 2.0**-24
    assert (np.abs(steps[-1] - exact) <= tolerance).all()
    np.testing.assert_array_equal(steps[-1][x >= SOFTPLUS_LIMIT], x[x >= SOFTPLUS_LIMIT])


def test_mish_without_limit_overflows() -> None:
    """This is why there is a limit: above 11.1 the exponential is infinite in half."""
    exponential, *_ = naive_mish(np.array([11.0, 11.125], f16), limit=False)

    assert np.isfinite(exponential).tolist() == [True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_round_to_rounds_to_nearest_even_and_to_infinity(kind: HalfKind) -> None:
    """Ties go to the even neighbour, and what is too large becomes infinite without a warning."""
    step = 2.0**-10 if kind == "fp16" else 2.0**-7
    values = np.array([1 + step / 2, 1 + 1.5 * step, -3.4e38], np.float32)

    rounded = round_to(values, kind).astype(np.float64)

    np.testing.assert_array_equal(rounded, [1.0, 1 + 2 * step, -math.inf])


@pytest.mark.parametrize("kind", KINDS)
def test_largest_is_the_largest_of_the_type(kind: HalfKind) -> None:
    """The limit is a value of the type, and the next one is infinite."""
    dtype = np.dtype(f16 if kind == "fp16" else ml_dtypes.bfloat16)

    assert float(ml_dtypes.finfo(dtype).max) == LARGEST[kind]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_scales_are_never_rounded_down(kind: HalfKind) -> None:
    """A scale below the exact one would clip the largest weight; subnormal ones by some percent."""
    scales = np.geomspace(2e-7, 30.0, 1000).astype(np.float32)
    model = quantised_weight(scales)

    to_half(model, kind)

    (node,) = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    stored = node.inputs[1]
    assert stored is not None
    assert stored.const_value is not None
    found = stored.const_value.numpy().astype(np.float32)
    assert (found >= scales).all()
    assert (found <= scales * 1.01 + 2.0**-24).all()


def quantised_weight(scales: npt.NDArray[np.float32]) -> ir.Model:
    """Return ``x + DQ(Q(weight))``, the weight of one channel per scale."""
    weight = initializer("weight", np.outer(scales, [127.0, -127.0]).astype(np.float32))
    constants = [
        initializer("scale", scales),
        initializer("zero_point", np.zeros(scales.shape, np.int8)),
    ]
    x = ir.Value(name="x", shape=ir.Shape([len(scales), 2]), type=ir.TensorType(ir.DataType.FLOAT))
    quantise = ir.node("QuantizeLinear", [weight, *constants], {"axis": 0}, name="quantise")
    quantise.outputs[0].type = ir.TensorType(ir.DataType.INT8)
    back = ir.node("DequantizeLinear", [quantise.outputs[0], *constants], {"axis": 0}, name="back")
    back.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    add = ir.node("Add", [x, back.outputs[0]], name="add")
    add.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x],
        list(add.outputs),
        nodes=[quantise, back, add],
        initializers=[weight, *constants],
        opset_imports={"": 17},
    )
    return ir.Model(graph, ir_version=8)


def initializer(name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Return a constant of a graph."""
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
