"""Q/DQ pairs for TensorRT: where they stand, and what their scales are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tests.graph.tiny_nets import (
    TinyNet,
    check,
    constant_range,
    detector_net,
    node_named,
    noise,
    quantised_values,
    run,
    seen_ranges,
    stored,
)
from yolor_deploy.core.precision import QuantisedKind
from yolor_deploy.graph.insert_qdq import detection_end, insert_qdq, is_quantised, plan_qdq


def readers(model: ir.Model, name: str) -> Counter[str]:
    """Return the kinds of operators that read a value."""
    values = {str(v.name): v for v in model.graph.inputs}
    values |= {str(v.name): v for node in model.graph for v in node.outputs}
    return Counter(use.node.op_type for use in values[name].uses())


def test_plan_of_a_detector() -> None:
    """Inputs of convolutions, both sides of a residual, and chains of joins; nothing else."""
    plan = plan_qdq(detector_net())

    assert plan.convolutions == ("stem", "down", "inner", "deep", "fine")
    assert plan.kept == (("detect_0", "detection"), ("detect_1", "detection"))
    assert plan.reads == (
        ("reorg.depth", 0),
        ("reorg", 0),
        ("stem", 0),
        ("down", 0),
        ("inner", 0),
        ("residual", 1),
        ("residual", 0),
        ("pool", 0),
        ("spp", 1),
        ("spp", 0),
        ("deep", 0),
        ("up", 0),
        ("skip", 1),
        ("skip", 0),
        ("fine", 0),
    )
    assert set(plan.groups) == {
        ("images", "reorg", "reorg.depth"),
        ("down.act",),
        ("inner.act",),
        ("pool", "residual", "spp"),
        ("deep.act", "skip", "stem.act", "up"),
    }


def test_planning_changes_nothing() -> None:
    """The network is as it was, and planned again gives the same."""
    model = detector_net()
    before = ir.to_proto(model).SerializeToString(deterministic=True)

    first, second = plan_qdq(model), plan_qdq(model)

    assert first == second
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_convolutions_read_pairs_and_their_bias_none(kind: QuantisedKind) -> None:
    """Map and weight of every planned convolution come out of a pair, its bias does not."""
    model = detector_net()
    plan = plan_qdq(model)

    insert_qdq(model, plan, constant_range, kind=kind)

    for name in plan.convolutions:
        image, weight, bias = node_named(model, name).inputs
        for value in (image, weight):
            assert value is not None
            back = value.producer()
            assert back is not None
            assert back.op_type == "DequantizeLinear"
        assert bias is not None
        assert bias.is_initializer()


def test_each_value_is_quantised_once() -> None:
    """Twelve maps and five weights have a pair each, though some have many readers."""
    model = detector_net()

    count = insert_qdq(model, plan_qdq(model), constant_range)

    names = quantised_values(model)
    maps = {
        *("images", "reorg.depth", "reorg", "stem.act", "down.act", "inner.act"),
        *("residual", "pool", "spp", "deep.act", "up", "skip"),
    }
    weights = {f"{name}.weight" for name in ("stem", "down", "inner", "deep", "fine")}
    assert set(names) == maps | weights
    assert len(names) == count == 17
    assert readers(model, "down.act.dequantized") == {"Conv": 1, "Add": 1}


@pytest.mark.parametrize("activation", ["silu", "mish", "leaky", "relu"])
def test_nothing_stands_between_a_convolution_and_its_activation(activation: str) -> None:
    """What a convolution gives is read by its activation function alone, in float."""
    model = detector_net(kind=activation)  # type: ignore[arg-type]

    insert_qdq(model, plan_qdq(model), constant_range)

    kinds = {
        "silu": {"Sigmoid": 1, "Mul": 1},
        "mish": {"Softplus": 1, "Mul": 1},
        "leaky": {"LeakyRelu": 1},
        "relu": {"Relu": 1},
    }
    for name in ("stem", "down", "inner", "deep", "fine"):
        assert readers(model, name) == kinds[activation]


def test_detection_convolutions_are_float() -> None:
    """They read float maps, also where others read the same map quantised, and give float."""
    model = detector_net()

    insert_qdq(model, plan_qdq(model), constant_range)

    names = [[v.name for v in node_named(model, f"detect_{i}").inputs if v] for i in range(2)]
    assert names == [
        ["fine.act", "detect_0.weight", "detect_0.bias"],
        ["deep.act", "detect_1.weight", "detect_1.bias"],
    ]
    assert not {"raw_0", "raw_1", "fine.act"} & set(quantised_values(model))
    assert readers(model, "deep.act") == {"QuantizeLinear": 1, "Conv": 1}


def test_detection_is_what_no_convolution_follows() -> None:
    """Operators behind a detection convolution, such as folded-out knowledge, stay float too."""
    net = TinyNet()
    x = net.block(net.x, "first")
    factor = net.constant("factor", np.full((1, 8, 1, 1), 2, np.float32))
    scaled = net.op("Mul", [net.conv(x, "detect"), factor], "scaled")
    joined = net.op("Add", [scaled, scaled], "doubled")
    model = net.model([net.concat([joined, x], "joined")])

    plan = plan_qdq(model)

    assert plan.convolutions == ()
    assert plan.kept == (("first", "detection"), ("detect", "detection"))
    assert plan.reads == ()
    assert {str(node.name) for node in detection_end(model.graph)} == {
        *("joined", "doubled", "scaled", "detect"),
        *("first", "first.act", "first.act.sigmoid"),  # what is an output beside is one too
    }


def test_long_ends_without_convolution_are_walked_once() -> None:
    """Forty additions of a value to itself have 2**40 ways through them, and are seen at once."""
    net = TinyNet()
    x = net.conv(net.x, "detect")
    for i in range(40):
        x = net.op("Add", [x, x], f"add_{i}")

    assert len(detection_end(net.model([x]).graph)) == 41


def test_scales_are_symmetric_and_shared_by_a_chain() -> None:
    """One float32 scale for all values that a chain joins, zero points 0, 127 for the largest."""
    model = detector_net()
    plan = plan_qdq(model)
    ranges = {group: 2.0 + i for i, group in enumerate(plan.groups)}
    asked: list[tuple[str, ...]] = []

    def largest(names: Sequence[str]) -> float:
        asked.append(tuple(names))
        return ranges[tuple(names)]

    insert_qdq(model, plan, largest)

    assert asked == list(plan.groups)
    for group, expected in ranges.items():
        for name in group:
            scale, zero_point = stored(model, f"{name}.scale"), stored(model, f"{name}.zero_point")
            assert scale.dtype == np.float32
            assert scale.shape == ()
            assert zero_point.dtype == np.int8
            assert zero_point == 0
            assert scale == np.float32(expected / 127)


def test_weights_have_a_scale_per_output_channel() -> None:
    """Axis 0, the largest weight of each channel is 127, zero points 0; weights stay float."""
    model = detector_net()
    weight = stored(model, "deep.weight").copy()

    insert_qdq(model, plan_qdq(model), constant_range)

    scale, zero_point = stored(model, "deep.weight.scale"), stored(model, "deep.weight.zero_point")
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert zero_point.dtype == np.int8
    assert zero_point.tolist() == [0] * 8
    np.testing.assert_array_equal(stored(model, "deep.weight"), weight)
    for kind in ("quantize", "dequantize"):
        node = node_named(model, f"deep.weight.{kind}")
        assert node.attributes["axis"].as_int() == 0
        assert node.inputs[1] is model.graph.initializers["deep.weight.scale"]
    assert "axis" not in node_named(model, "stem.act.quantize").attributes


def test_fp8_has_one_scale_a_weight_and_its_type() -> None:
    """Weights of fp8 are scaled as a whole, 448 is the largest code, and the opset is 19."""
    model = detector_net()

    insert_qdq(model, plan_qdq(model), constant_range, kind="fp8")

    scale = stored(model, "deep.weight.scale")
    assert scale.shape == ()
    assert scale == np.float32(np.abs(stored(model, "deep.weight")).max() / 448)
    assert stored(model, "stem.act.scale") == np.float32(4 / 448)
    assert stored(model, "stem.act.zero_point").dtype == ml_dtypes.float8_e4m3fn
    value = node_named(model, "stem.act.quantize").outputs[0]
    assert value.dtype == ir.DataType.FLOAT8E4M3FN
    assert "axis" not in node_named(model, "deep.weight.quantize").attributes
    assert model.opset_imports[""] == 19
    check(model)


def test_int8_stays_in_opset_17() -> None:
    """Pairs of int8 on float32 are read by TensorRT 8.6."""
    model = detector_net()

    insert_qdq(model, plan_qdq(model), constant_range)

    assert (model.opset_imports[""], model.ir_version) == (17, 8)
    check(model)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        pytest.param("deep", {"deep.weight", "spp", "pool", "residual", "inner.act"}, id="conv"),
        pytest.param("inner", {"inner.weight"}, id="conv-of-a-shared-input"),
        pytest.param("residual", {"inner.act"}, id="add"),
        pytest.param("skip", {"up", "deep.act"}, id="concat"),
        pytest.param("pool", set(), id="pool"),
        pytest.param("reorg", {"reorg.depth", "images"}, id="gather"),
        pytest.param("stem.act", set(), id="activation"),
    ],
)
def test_named_nodes_stay_float(name: str, gone: set[str]) -> None:
    """A kept node asks for no pairs: those that nobody else asks for are not there."""
    whole, kept = detector_net(), detector_net()
    insert_qdq(whole, plan_qdq(whole), constant_range)
    plan = plan_qdq(kept, keep={name})

    insert_qdq(kept, plan, constant_range)

    assert set(quantised_values(whole)) - set(quantised_values(kept)) == gone
    inputs = [value for value in node_named(kept, name).inputs if value is not None]
    assert not any(str(value.name).endswith(".dequantized") for value in inputs)
    is_convolution = node_named(kept, name).op_type == "Conv"
    assert ((name, "asked for") in plan.kept) == is_convolution
    assert (name in plan.convolutions) is False


def test_joined_constants_are_not_quantised() -> None:
    """A sum with, or a concat of, a constant is no residual: its inputs stay float."""
    net = TinyNet()
    first, second = net.block(net.x, "first"), net.block(net.x, "second")
    shift = net.constant("shift", np.ones((1, 8, 1, 1), np.float32))
    left = net.conv(net.op("Add", [first, shift], "shifted"), "left")
    plane = net.constant("plane", np.ones((1, 2, 16, 16), np.float32))
    net.channels[plane] = 2
    right = net.conv(net.concat([plane, second], "prepended"), "right")
    joined = net.op("Add", [left, right], "joined")
    model = net.model([net.conv(joined, "detect")])
    images = noise(1)
    ranges = seen_ranges(model, images)

    insert_qdq(model, plan_qdq(model), ranges)

    assert set(quantised_values(model)) - set(model.graph.initializers) == {
        *("images", "shifted", "prepended")
    }
    check(model)
    run(model, images)


def test_shared_weight_has_one_pair_and_a_kept_reader_the_float_one() -> None:
    """Convolutions of one weight share its pair; one that stays float reads the weight."""
    net = TinyNet()
    x = net.conv(net.x, "first", outputs=3)
    names = ["first.weight", "first.bias"]
    for layer in ("second", "third"):
        x = net.op("Conv", [x, *names], layer, pads=[1] * 4)
    model = net.model([net.conv(x, "detect")])

    insert_qdq(model, plan_qdq(model, keep={"third"}), constant_range)

    weights = [node_named(model, layer).inputs[1] for layer in ("first", "second", "third")]
    assert weights[0] is weights[1]
    assert weights[2] is model.graph.initializers["first.weight"]
    assert Counter(quantised_values(model))["first.weight"] == 1
    check(model)


def test_quantised_models_of_any_tool_are_known() -> None:
    """A pair, or an operator on integers, tells that a model was quantised."""
    model = detector_net()
    assert not is_quantised(model)

    insert_qdq(model, plan_qdq(model), constant_range)

    assert is_quantised(model)
    for kind in ("QLinearConv", "ConvInteger"):
        other = detector_net()
        node_named(other, "deep").op_type = kind
        assert is_quantised(other)
