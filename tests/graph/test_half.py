"""Networks in 16 bits: types of every edge, where casts stand, what the weights are."""

from __future__ import annotations

import itertools
from collections import Counter

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tests.graph.tiny_nets import (
    TinyNet,
    check,
    clone,
    detector_net,
    node_named,
    noise,
    run,
)
from yolor_deploy.graph.half import HalfKind, to_half
from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq
from yolor_deploy.graph.type_check import require_typed

KINDS: tuple[HalfKind, ...] = ("fp16", "bf16")
TYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
FLOAT = ir.DataType.FLOAT
f16 = np.float16


def two_layers(*, weight: float | None = None) -> ir.Model:
    """Return two blocks and a detection convolution; the second block has a weight of that size."""
    net = TinyNet()
    first = net.block(net.x, "first")
    array = np.full((8, 8, 1, 1), 0.1, np.float32)
    if weight is not None:
        array[3, 4] = -weight
    second = net.activate(net.conv(first, "second", weight=array), "second.act")
    return net.model([net.conv(second, "detect")])


def quantised(model: ir.Model) -> ir.Model:
    """Return the model with Q/DQ pairs of arbitrary scales."""
    insert_qdq(model, plan_qdq(model), lambda _: 4.0)
    return model


def type_of(model: ir.Model, name: str) -> ir.DataType | None:
    """Return the type of the result of a node."""
    return node_named(model, name).outputs[0].dtype


def casts(model: ir.Model) -> list[tuple[str, ir.DataType]]:
    """Return what each cast reads, and the type that it gives."""
    return [
        (str(node.inputs[0].name), ir.DataType(node.attributes["to"].as_int()))
        for node in model.graph
        if node.op_type == "Cast" and node.inputs[0] is not None
    ]


def weight_of(model: ir.Model, name: str, position: int = 1) -> ir.TensorProtocol:
    """Return what is stored at an input of a node."""
    value = node_named(model, name).inputs[position]
    assert value is not None
    assert value.const_value is not None
    return value.const_value


@pytest.mark.parametrize("with_pairs", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("float_outputs", [False, True], ids=["half-out", "float-out"])
@pytest.mark.parametrize("activation", ["silu", "mish", "leaky"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_edge_has_its_type(
    kind: HalfKind, activation: str, float_outputs: bool, with_pairs: bool
) -> None:
    """The type checker and the full check of ONNX accept each combination, as does a reader."""
    model = detector_net(kind=activation)  # type: ignore[arg-type]
    if with_pairs:
        quantised(model)

    to_half(model, kind, float_outputs=float_outputs)

    assert require_typed(model) == len(model.graph)
    check(model)
    reread = clone(model)
    assert require_typed(reread) == len(model.graph)
    expected = FLOAT if float_outputs else TYPES[kind]
    assert [value.dtype for value in reread.graph.outputs] == [expected, expected]


@pytest.mark.parametrize(
    ("kind", "with_pairs", "opset", "ir_version"),
    [
        ("fp16", False, 17, 8),
        ("fp16", True, 19, 9),
        ("bf16", False, 22, 10),
        ("bf16", True, 22, 10),
    ],
)
def test_opset_is_raised_only_as_far_as_needed(
    kind: HalfKind, with_pairs: bool, opset: int, ir_version: int
) -> None:
    """Half alone stays in opset 17, which TensorRT 8.6 reads."""
    model = two_layers()
    if with_pairs:
        quantised(model)

    to_half(model, kind)

    assert model.opset_imports[""] == opset
    assert model.ir_version == ir_version


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_is_the_only_value_cast(kind: HalfKind) -> None:
    """A network of one type casts its input once, whoever reads it, and nothing else."""
    net = TinyNet()
    left, right = net.conv(net.x, "left"), net.conv(net.x, "right")
    model = net.model([net.op("Add", [left, right], "sum"), net.op("Relu", [net.x], "relu")])

    to_half(model, kind)

    assert casts(model) == [("images", TYPES[kind])]
    assert model.graph.inputs[0].dtype == FLOAT


def test_values_are_cast_once_for_all_readers() -> None:
    """Two float32 readers of one half value share a cast, as do two half readers of a float32."""
    net = TinyNet()
    x = net.block(net.x, "first")
    left, right = net.conv(x, "left"), net.conv(x, "right")
    more = net.conv(left, "more"), net.conv(left, "still_more")
    model = net.model([right, *more])

    to_half(model, "fp16", keep_float=["left", "right"])

    assert Counter(casts(model)) == {
        ("images", ir.DataType.FLOAT16): 1,
        ("first.act", FLOAT): 1,
        ("left", ir.DataType.FLOAT16): 1,
    }
    check(model)


def test_named_nodes_stay_float_and_no_others() -> None:
    """Exactly the nodes of ``keep_float`` compute in float32, between casts."""
    model = detector_net()
    keep = {"deep", "residual", "deep.act.sigmoid"}

    sites = to_half(model, "fp16", keep_float=keep)

    floats = {
        str(node.name)
        for node in model.graph
        if node.op_type != "Cast" and node.outputs[0].dtype == FLOAT
    }
    assert floats == keep
    assert sites == []
    assert weight_of(model, "deep").dtype == FLOAT
    assert weight_of(model, "fine").dtype == ir.DataType.FLOAT16
    require_typed(model)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_rounded_once_to_the_nearest(kind: HalfKind) -> None:
    """Each weight and bias is NumPy's rounding of the original."""
    model = detector_net()
    originals = {
        name: value.const_value.numpy()
        for name, value in clone(model).graph.initializers.items()
        if value.const_value is not None
    }

    to_half(model, kind)

    dtype = np.dtype(f16 if kind == "fp16" else ml_dtypes.bfloat16)
    compared = 0
    for node in (node for node in model.graph if node.op_type == "Conv"):
        for position, part in ((1, "weight"), (2, "bias")):
            found = weight_of(model, str(node.name), position).numpy()
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, originals[f"{node.name}.{part}"].astype(dtype))
            compared += found.size
    assert compared > 1000


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_activation_keeps_its_type(kind: HalfKind) -> None:
    """Scales of Resize stay float32, indices of Gather int64, codes of Q/DQ int8."""
    model = quantised(detector_net())

    to_half(model, kind)

    assert weight_of(model, "up", 2).dtype == FLOAT
    assert weight_of(model, "reorg").dtype == ir.DataType.INT64
    assert weight_of(model, "stem.act.quantize", 2).dtype == ir.DataType.INT8
    assert weight_of(model, "stem.act.quantize", 1).dtype == TYPES[kind]
    assert type_of(model, "up") == TYPES[kind]


def test_float_weights_that_nobody_reads_are_gone() -> None:
    """The file of a half network has one copy of each weight."""
    model = detector_net()
    before = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value)

    to_half(model, "fp16")

    after = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value)
    fixed = 4 * 4 + 8 * 12  # scales of the Resize, indices of the Gather
    assert after - fixed == (before - fixed) / 2


def test_shared_weight_is_rounded_once() -> None:
    """Two convolutions of one weight read one rounded copy, and a float32 one the original."""
    net = TinyNet()
    first = net.conv(net.x, "first", outputs=3)
    weights = ["first.weight", "first.bias"]
    second = net.op("Conv", [first, *weights], "second", pads=[1] * 4)
    model = net.model([net.op("Conv", [second, *weights], "third", pads=[1] * 4)])

    to_half(model, "fp16", keep_float=["third"])

    readers = [node_named(model, name).inputs[1] for name in ("first", "second", "third")]
    assert readers[0] is readers[1]
    assert readers[2] is model.graph.initializers["first.weight"]
    assert set(model.graph.initializers) == {
        f"first.{part}{kind}" for part in ("weight", "bias") for kind in ("", ".fp16")
    }
    require_typed(model)


def test_weight_beyond_the_range_keeps_its_node_float() -> None:
    """A weight of 1e5 is infinite in half: the convolution stays float32, and is listed."""
    model = two_layers(weight=1e5)

    sites = to_half(model, "fp16")

    assert [site.node for site in sites] == ["second"]
    assert sites[0].reason == "second.weight holds 1e+05, beyond fp16"
    assert type_of(model, "second") == FLOAT
    assert np.abs(weight_of(model, "second").numpy()).max() == 1e5
    assert type_of(model, "second.act.sigmoid") == ir.DataType.FLOAT16
    require_typed(model)


@pytest.mark.parametrize(("kind", "weight"), [("fp16", 65504.0), ("bf16", 1e5), ("bf16", 3.38e38)])
def test_weight_within_the_range_is_rounded(kind: HalfKind, weight: float) -> None:
    """The largest half is a half, and bfloat16 has the range of float32."""
    model = two_layers(weight=weight)

    assert to_half(model, kind) == []

    assert type_of(model, "second") == TYPES[kind]
    assert np.isfinite(weight_of(model, "second").numpy()).all()


def test_node_that_was_named_is_not_listed() -> None:
    """What stays float32 because it was asked for is no news."""
    model = two_layers(weight=1e5)

    assert to_half(model, "fp16", keep_float=["second"]) == []

    assert type_of(model, "second") == FLOAT


def test_weight_beyond_the_range_behind_a_pair_keeps_its_node_float() -> None:
    """A dequantised weight of 1e5 is as infinite in half: pair and convolution stay float32."""
    model = quantised(two_layers(weight=1e5))
    images = noise()
    expected = run(model, images)["raw_0"]

    sites = to_half(model, "fp16", float_outputs=True)

    assert [site.node for site in sites] == ["second"]
    for name in ("second", "second.weight.quantize", "second.weight.dequantize"):
        inputs = [value for value in node_named(model, name).inputs if value is not None]
        assert FLOAT in {value.dtype for value in inputs}
        assert ir.DataType.FLOAT16 not in {value.dtype for value in inputs}
    require_typed(model)
    error = np.abs(run(model, images)["raw_0"] - expected)
    assert error.mean() < 0.01 * np.abs(expected).max()  # a step of an activation weighs 3000 here


def test_pair_that_only_float_nodes_read_is_float() -> None:
    """No cast stands between a float32 convolution and its pairs; a shared pair stays half."""
    net = TinyNet()
    x = net.block(net.x, "first")
    left, right = net.block(x, "left"), net.block(x, "right")
    joined = net.op("Add", [net.conv(left, "more"), net.conv(right, "other")], "sum")
    model = quantised(net.model([net.conv(joined, "detect")]))

    to_half(model, "fp16", keep_float=["more"])

    assert type_of(model, "left.act.dequantize") == FLOAT
    assert type_of(model, "more.weight.dequantize") == FLOAT
    assert type_of(model, "first.act.dequantize") == ir.DataType.FLOAT16
    assert type_of(model, "right.act.dequantize") == ir.DataType.FLOAT16
    producers = [v.producer() for v in node_named(model, "more").inputs[:2] if v is not None]
    assert [node.op_type for node in producers if node] == ["DequantizeLinear"] * 2
    require_typed(model)


@pytest.mark.parametrize("kind", KINDS)
def test_float_outputs_keep_names_and_shapes(kind: HalfKind) -> None:
    """The outputs are float32 under the names that they had, also where others read them."""
    net = TinyNet()
    first = net.conv(net.x, "first")
    model = net.model([first, net.conv(first, "second"), net.conv(first, "third")])
    before = [(value.name, value.shape) for value in model.graph.outputs]

    to_half(model, kind, keep_float=["third"], float_outputs=True)

    assert [(value.name, value.shape) for value in model.graph.outputs] == before
    assert {value.dtype for value in model.graph.outputs} == {FLOAT}
    assert Counter(casts(model)) == {
        ("images", TYPES[kind]): 1,
        (f"raw_0.{kind}", FLOAT): 2,  # for the third convolution, and as an output
        (f"raw_1.{kind}", FLOAT): 1,
    }
    check(clone(model))


@pytest.mark.parametrize("nhwc", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("uint8", [False, True], ids=["float32", "uint8"])
@pytest.mark.parametrize("kind", KINDS)
def test_input_keeps_its_type(kind: HalfKind, uint8: bool, nhwc: bool) -> None:
    """Any form of image is cast once, right behind the input: bytes directly to 16 bits."""
    model = detector_net(uint8=uint8, nhwc=nhwc)

    to_half(model, kind)

    assert model.graph.inputs[0].dtype == (ir.DataType.UINT8 if uint8 else FLOAT)
    assert casts(model) == [("images", TYPES[kind])]
    assert model.graph[0].op_type == "Cast"
    require_typed(model)
    check(model)


def test_results_are_close_to_those_of_float32() -> None:
    """What ONNX Runtime computes of a half network is the network, within half's rounding."""
    model = detector_net()
    expected = run(model, noise())

    to_half(model, "fp16", float_outputs=True)

    for name, found in run(model, noise()).items():
        np.testing.assert_allclose(found, expected[name], atol=0.01)
        assert np.abs(found - expected[name]).max() > 0


def test_constants_in_the_graph_stay_float() -> None:
    """The result of a Constant is cast like any other value."""
    net = TinyNet()
    half_of = net.op("Constant", [], "factor", value_float=0.5)
    model = net.model([net.op("Mul", [net.x, half_of], "halved")])

    to_half(model, "fp16")

    assert type_of(model, "factor") == FLOAT
    assert Counter(casts(model)) == {
        ("images", ir.DataType.FLOAT16): 1,
        ("factor", ir.DataType.FLOAT16): 1,
    }
    require_typed(model)


def test_computed_scales_of_resize_are_cast_back() -> None:
    """Resize takes float32 scales, whether they are stored or computed."""
    net = TinyNet()
    scales = net.constant("scales", np.array([1, 1, 2, 2], np.float32))
    computed = net.op("Identity", [scales], "computed")
    model = net.model([net.op("Resize", [net.x, "", computed], "up", mode="nearest")])

    to_half(model, "fp16")

    require_typed(model)
    assert ("computed", FLOAT) in casts(model)


def test_order_of_nodes_stays_topological() -> None:
    """Every node stands behind those that it reads, whichever are kept."""
    names = ("stem", "residual", "up", "fine")
    for keep in itertools.chain.from_iterable(itertools.combinations(names, n) for n in (0, 2, 4)):
        model = detector_net(uint8=True)

        to_half(model, "fp16", keep_float=keep, float_outputs=True)

        check(model)
        seen: set[ir.Node] = set()
        for node in model.graph:
            assert {v.producer() for v in node.inputs if v is not None} - {None} <= seen
            seen.add(node)
