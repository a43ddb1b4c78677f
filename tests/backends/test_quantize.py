"""The layout for the CPU: what is quantised, how, and that ONNX Runtime computes it in integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from tests.graph.tiny_nets import (
    Activation,
    TinyNet,
    check,
    detector_net,
    node_named,
    noise,
    quantised_values,
    run,
    stored,
    with_all_outputs,
)
from yolor_deploy.backends.onnxruntime.quantize import Range, quantise_for_cpu
from yolor_deploy.core.runtime import Array
from yolor_deploy.graph.type_check import require_typed

IMAGES = noise(2)


def seen_ranges(model: ir.Model, images: Array = IMAGES) -> Callable[[str], Range]:
    """Return lowest and highest value of each tensor in a run of the float network."""
    values = run(with_all_outputs(model), images) | {"images": images}
    return lambda name: (float(values[name].min()), float(values[name].max()))


def is_quantised(model: ir.Model, name: str) -> bool:
    """Return whether the weight of a convolution comes out of a DequantizeLinear."""
    weight = node_named(model, name).inputs[1]
    assert weight is not None
    producer = weight.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def optimised_operators(model: ir.Model, path: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_sites_of_a_detector() -> None:
    """Detection convolutions stay float, all others are quantised and say so."""
    model = detector_net()

    quantised, sites = quantise_for_cpu(model, seen_ranges(detector_net()))

    assert sites.convolutions == ("stem", "down", "inner", "deep", "fine")
    assert sites.kept == (("detect_0", "detection"), ("detect_1", "detection"))
    assert all(is_quantised(quantised, name) for name in sites.convolutions)
    assert not any(is_quantised(quantised, name) for name, _ in sites.kept)
    assert require_typed(quantised) == len(quantised.graph)
    check(quantised)


def test_activations_are_unsigned_and_weights_symmetric_in_7_bits() -> None:
    """Maps are u8 with zero points of their own; weights are s8 from -64 to 64, one scale a row."""
    model = detector_net()
    weight = stored(model, "deep.weight").copy()

    quantised, sites = quantise_for_cpu(model, lambda _: (-1.0, 3.0))

    pairs = [node for node in quantised.graph if node.op_type == "QuantizeLinear"]
    assert len(pairs) == len(sites.ranges) == 21
    for _, scale_of, zero_point_of in (node.inputs for node in pairs):
        assert scale_of is not None
        assert zero_point_of is not None
        zero_point = stored(quantised, str(zero_point_of.name))
        assert zero_point.dtype == np.uint8
        assert zero_point == 64
        assert stored(quantised, str(scale_of.name)) == pytest.approx(4 / 255, rel=1e-6)
    codes = stored(quantised, "deep.weight_quantized")
    scale = stored(quantised, "deep.weight_scale")
    assert codes.dtype == np.int8
    assert np.abs(codes.astype(int)).max() == 64
    assert 2 * 255 * np.abs(codes.astype(int)).max() <= np.iinfo(np.int16).max
    assert scale.shape == (8,)
    assert not stored(quantised, "deep.weight_zero_point").any()
    error = np.abs(codes * scale.reshape(8, 1, 1, 1) - weight)
    assert (error <= 0.501 * scale.reshape(8, 1, 1, 1)).all()


def test_ranges_are_of_the_tensors_that_are_quantised() -> None:
    """Each quantised map is listed with the range that was given for it, and no other is."""
    ranges = seen_ranges(detector_net())

    quantised, sites = quantise_for_cpu(detector_net(), ranges)

    assert set(sites.ranges) == set(quantised_values(quantised))
    assert all(found == ranges(name) for name, found in sites.ranges.items())
    assert {"stem", "stem.act.sigmoid", "stem.act", "residual", "spp"} <= set(sites.ranges)
    assert not {"raw_0", "raw_1"} & set(sites.ranges)


def test_convolutions_of_few_channels_stay_float() -> None:
    """Below eight input channels the float kernel is faster; the activation is float with it."""
    net = TinyNet()
    x = net.block(net.block(net.x, "first"), "second")
    model = net.model([net.conv(x, "detect")])

    quantised, sites = quantise_for_cpu(model, lambda _: (-1.0, 3.0))

    assert sites.convolutions == ("second",)
    assert dict(sites.kept) == {
        "first": "3 input channels: faster in float",
        "detect": "detection",
    }
    assert not {"first", "first.act.sigmoid"} & set(sites.ranges)
    assert {"first.act", "second", "second.act.sigmoid"} <= set(sites.ranges)
    assert not is_quantised(quantised, "first")


@pytest.mark.parametrize("kind", ["silu", "leaky"])
def test_named_convolution_stays_float_with_its_activation(kind: Activation) -> None:
    """From what a kept convolution reads to what its activation gives there is no pair."""
    whole, _ = quantise_for_cpu(detector_net(kind=kind), lambda _: (-1.0, 3.0))

    kept, sites = quantise_for_cpu(detector_net(kind=kind), lambda _: (-1.0, 3.0), keep={"deep"})

    assert ("deep", "asked for") in sites.kept
    assert "deep" not in sites.convolutions
    assert not is_quantised(kept, "deep")
    inside = {"silu": {"deep", "deep.act.sigmoid"}, "leaky": {"deep"}}[kind]
    # The enlargement of a float map is float, so the pair stands behind it
    assert set(quantised_values(whole)) - set(quantised_values(kept)) == inside | {"deep.act"}
    assert "up" in set(quantised_values(kept))


def test_mish_stays_float() -> None:
    """Softplus, Tanh and their product have no integer kernels; convolutions around them have."""
    quantised, sites = quantise_for_cpu(detector_net(kind="mish"), lambda _: (-1.0, 3.0))

    assert sites.convolutions == ("stem", "down", "inner", "deep", "fine")
    inside = {f"{name}.act.{step}" for name in sites.convolutions for step in ("softplus", "tanh")}
    assert not inside & set(quantised_values(quantised))
    assert {"stem.act", "down.act", "residual", "up"} <= set(quantised_values(quantised))


def test_what_follows_a_detection_convolution_is_float() -> None:
    """Factors behind a detection convolution, such as knowledge not folded, stay float."""
    net = TinyNet(channels=8)
    x = net.block(net.x, "first")
    factor = net.constant("factor", np.full((1, 8, 1, 1), 1.1, np.float32))
    model = net.model([net.op("Mul", [net.conv(x, "detect"), factor], "scaled")])

    quantised, sites = quantise_for_cpu(model, lambda _: (-1.0, 3.0))

    assert sites.convolutions == ("first",)
    assert not {"detect", "raw_0"} & set(quantised_values(quantised))
    scaled = node_named(quantised, "scaled")
    assert [value.name for value in scaled.inputs if value is not None] == ["detect", "factor"]


@pytest.mark.parametrize("kind", ["silu", "leaky"])
def test_runtime_computes_in_integers(tmp_path: Path, kind: Activation) -> None:
    """Optimised, every quantised convolution and what joins them has an integer kernel."""
    quantised, sites = quantise_for_cpu(detector_net(kind=kind), lambda _: (-1.0, 3.0))

    operators = optimised_operators(quantised, tmp_path / "optimised.onnx")

    assert operators["QLinearConv"] == len(sites.convolutions) == 5
    assert operators["QLinearConcat"] == 2
    assert operators["QLinearAdd"] == 1
    activations = {"silu": "QLinearSigmoid", "leaky": "QLinearLeakyRelu"}
    assert operators[activations[kind]] == 5
    assert operators["Conv"] + operators["FusedConv"] == 2


@pytest.mark.parametrize("kind", ["silu", "mish", "leaky"])
@pytest.mark.parametrize("keep", [set(), {"deep", "inner"}], ids=["all", "some-kept"])
def test_result_is_close_to_that_of_float(kind: Activation, keep: set[str]) -> None:
    """With ranges of the same images, the maps differ by a few percent of their spread."""
    expected = run(detector_net(kind=kind), IMAGES)
    ranges = seen_ranges(detector_net(kind=kind))

    quantised, _ = quantise_for_cpu(detector_net(kind=kind), ranges, keep=keep)

    for name, values in run(quantised, IMAGES, settings={}).items():
        error = values - expected[name]
        assert 0 < error.std() < 0.06 * expected[name].std()


@pytest.mark.parametrize("uint8", [False, True], ids=["float32", "uint8"])
def test_inputs_and_outputs_stay_as_they_are(uint8: bool) -> None:
    """Names, types, order and opset of the network are not changed."""
    before = detector_net(uint8=uint8)
    inputs = [(v.name, v.dtype) for v in before.graph.inputs]
    outputs = [(v.name, v.dtype) for v in before.graph.outputs]

    quantised, _ = quantise_for_cpu(detector_net(uint8=uint8), lambda _: (0.0, 3.0))

    assert [(v.name, v.dtype) for v in quantised.graph.inputs] == inputs
    assert [(v.name, v.dtype) for v in quantised.graph.outputs] == outputs
    assert (quantised.opset_imports[""], quantised.ir_version) == (17, 8)


def test_tensor_that_is_always_zero_is_survived() -> None:
    """A range of nothing gives a scale above 0, and finite maps."""
    quantised, _ = quantise_for_cpu(detector_net(), lambda _: (0.0, 0.0))

    assert all(np.isfinite(values).all() for values in run(quantised, IMAGES).values())


def test_quantising_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Advice of the quantisation tool for other uses does not reach the user."""
    quantise_for_cpu(detector_net(), lambda _: (-1.0, 3.0))

    assert capfd.readouterr() == ("", "")
