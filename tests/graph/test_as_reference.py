"""Models of 16 bits in their reference form: every rounding, and nothing but the roundings."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper

from tests.graph.tiny_graphs import tiny_spec
from tests.graph.tiny_nets import TinyNet, check, clone, detector_net, noise, run
from yolor_deploy.core.runtime import Array, FloatArray
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph.as_reference import as_reference
from yolor_deploy.graph.half import HalfKind, to_half
from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq
from yolor_deploy.graph.nms_head import attach_nms, detach_head
from yolor_deploy.graph.type_check import require_typed

KINDS: tuple[HalfKind, ...] = ("fp16", "bf16")
DTYPES = {
    ir.DataType.FLOAT16: np.dtype(np.float16),
    ir.DataType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    ir.DataType.FLOAT: np.dtype(np.float32),
}


def rounded(array: Array, dtype: ir.DataType | None) -> Array:
    """Return floats rounded to a type, as float32; anything else as it is."""
    if dtype not in DTYPES or dtype == ir.DataType.FLOAT:
        return array
    with np.errstate(over="ignore"):
        return array.astype(DTYPES[dtype]).astype(np.float32)


def computed_alone(node: ir.Node, inputs: list[Array | None], opset: int) -> Array:
    """Compute one operator in float32, in a session of its own."""
    names = [f"in_{i}" if array is not None else "" for i, array in enumerate(inputs)]
    proto = ir.to_proto(node)
    proto.input[:], proto.output[:] = names, ["out"]
    feed = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    graph = helper.make_graph(
        [proto],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feed.items()
        ],
        [onnx.ValueInfoProto(name="out")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_operatorsetid("", opset)], ir_version=10
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(None, feed)[0])


def emulated(model: ir.Model, images: Array) -> dict[str, Array]:
    """Compute a model operator by operator, each result rounded by NumPy to its declared type."""
    known: dict[str, Array] = {"images": images}
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None
        array = value.const_value.numpy()
        is_half = array.dtype in (DTYPES[ir.DataType.FLOAT16], DTYPES[ir.DataType.BFLOAT16])
        known[name] = array.astype(np.float32) if is_half else array
    for node in model.graph:
        inputs = [known[str(v.name)] if v is not None else None for v in node.inputs]
        if node.op_type == "Cast":
            assert inputs[0] is not None
            result = inputs[0].astype(np.float32)
        else:
            result = computed_alone(node, inputs, model.opset_imports[""])
        output = node.outputs[0]
        known[str(output.name)] = rounded(result, output.dtype)
    return {str(value.name): known[str(value.name)] for value in model.graph.outputs}


def reference_of(model: ir.Model) -> ir.Model:
    """Return the reference form of a copy."""
    copy = clone(model)
    as_reference(copy)
    return copy


def product_of_hundred(*, factor: float, back: float) -> ir.Model:
    """Return ``images * factor * back`` in half, with float32 at both ends."""
    net = TinyNet(channels=1, size=1)
    large = net.op("Mul", [net.x, net.constant("factor", np.array([factor], np.float32))], "large")
    small = net.op("Mul", [large, net.constant("back", np.array([back], np.float32))], "small")
    model = net.model([small])
    to_half(model, "fp16", float_outputs=True)
    return model


def test_overflow_that_the_runtime_hides_is_seen() -> None:
    """100 * 3000 is infinite in half; ONNX Runtime alone gives 300,000, this form does not.

    This is why the form exists: should the first assertion fail one day, the runtime has learnt it.
    """
    model = product_of_hundred(factor=3000, back=1)
    hundred = np.full((1, 1, 1, 1), 100, np.float32)

    plain = run(model, hundred, settings={})["raw_0"]
    reference = run(reference_of(model), hundred)["raw_0"]

    assert plain.item() == 300_000
    assert reference.item() == np.inf


def test_overflow_does_not_heal_on_the_way() -> None:
    """A value that is infinite in half stays infinite, though later factors would bring it back."""
    model = product_of_hundred(factor=3000, back=2.0**-10)
    hundred = np.full((1, 1, 1, 1), 100, np.float32)

    plain = run(model, hundred, settings={})["raw_0"]
    reference = run(reference_of(model), hundred)["raw_0"]

    assert plain.item() == pytest.approx(300_000 / 1024, rel=1e-3)
    assert reference.item() == np.inf


@pytest.mark.parametrize("with_pairs", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("activation", ["silu", "mish", "leaky"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_rounded_as_numpy_rounds_it(
    kind: HalfKind, activation: str, with_pairs: bool
) -> None:
    """To the bit: each operator in float32, and its result rounded to the type that it has."""
    model = detector_net(kind=activation)  # type: ignore[arg-type]
    if with_pairs:
        insert_qdq(model, plan_qdq(model), lambda _: 3.0)
    to_half(model, kind, keep_float=["residual", "fine"])
    expected = emulated(model, noise(1))

    found = run(reference_of(model), noise(1), optimise=False)

    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("kind", KINDS)
def test_elementwise_arithmetic_is_that_of_numpy_in_16_bits(kind: HalfKind) -> None:
    """Add and Mul of halves, optimised as in production, give what NumPy gives for them."""
    dtype = np.dtype(np.float16) if kind == "fp16" else np.dtype(ml_dtypes.bfloat16)
    net = TinyNet(channels=3, size=32)
    rng = np.random.default_rng(0)
    factor = rng.normal(0, 3, (1, 3, 1, 1)).astype(np.float32)
    shift = rng.normal(0, 1, (1, 3, 1, 1)).astype(np.float32)
    scaled = net.op("Mul", [net.x, net.constant("factor", factor)], "scaled")
    shifted = net.op("Add", [scaled, net.constant("shift", shift)], "shifted")
    model = net.model([net.op("Mul", [shifted, scaled], "product")])
    to_half(model, kind, float_outputs=True)
    images = noise(2, size=32)

    found = run(reference_of(model), images)["raw_0"]

    x = images.astype(dtype)
    y = x * factor.astype(dtype)
    z = (y + shift.astype(dtype)) * y
    np.testing.assert_array_equal(found, z.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_optimised_and_plain_runs_agree_within_rounding(kind: HalfKind) -> None:
    """Rewrites of the runtime keep the roundings: a few neighbours of 16 bits may differ."""
    model = detector_net(kind="mish")
    to_half(model, kind)
    reference = reference_of(model)
    step = 2.0**-10 if kind == "fp16" else 2.0**-7

    plain, optimised = (run(reference, noise(), optimise=on) for on in (False, True))

    for name, values in plain.items():
        np.testing.assert_array_equal(rounded(optimised[name], model_dtype(kind)), optimised[name])
        assert np.abs(values - optimised[name]).max() < 8 * step * np.abs(values).max()


def model_dtype(kind: HalfKind) -> ir.DataType:
    """Return the type of a kind."""
    return ir.DataType.FLOAT16 if kind == "fp16" else ir.DataType.BFLOAT16


@pytest.mark.parametrize("float_outputs", [False, True])
def test_outputs_keep_their_names_and_become_float(float_outputs: bool) -> None:
    """The signature is that of the float32 network, in the same order."""
    model = detector_net()
    before = [(value.name, value.shape) for value in model.graph.outputs]
    to_half(model, "fp16", float_outputs=float_outputs)

    as_reference(model)

    assert [(value.name, value.shape) for value in model.graph.outputs] == before
    assert {value.dtype for value in model.graph.outputs} == {ir.DataType.FLOAT}


@pytest.mark.parametrize("with_pairs", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_form_is_a_valid_model(kind: HalfKind, with_pairs: bool) -> None:
    """Types and names are in order: 16 bits appear between the two casts of a pair only."""
    model = detector_net(kind="mish", uint8=True)
    if with_pairs:
        insert_qdq(model, plan_qdq(model), lambda _: 3.0)
    to_half(model, kind, keep_float=["deep"])

    count = as_reference(model)

    require_typed(model)
    check(model)
    halves = [node for node in model.graph if node.outputs[0].dtype == model_dtype(kind)]
    assert len(halves) == count
    assert {node.op_type for node in halves} == {"Cast"}
    names = [value.name for node in model.graph for value in node.outputs]
    assert len(set(names)) == len(names)
    initializers = model.graph.initializers.values()
    assert model_dtype(kind) not in {v.const_value.dtype for v in initializers if v.const_value}


def test_results_that_are_inputs_are_not_rounded_again() -> None:
    """A concat, a pool or an enlargement of rounded values needs no rounding of its own."""
    model = detector_net()
    to_half(model, "fp16")

    as_reference(model)

    names = {str(node.name) for node in model.graph}
    assert "residual.round" in names
    assert not {f"{n}.round" for n in ("spp", "pool", "up", "skip", "reorg", "reorg.depth")} & names


def test_float_model_is_unchanged() -> None:
    """A model of float32, quantised or not, has nothing to round."""
    for model in (detector_net(uint8=True), detector_net()):
        insert_qdq(model, plan_qdq(model), lambda _: 3.0)
        before = ir.to_proto(model).SerializeToString(deterministic=True)

        assert as_reference(model) == 0

        assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("kind", KINDS)
def test_head_is_kept(kind: HalfKind, tmp_path: Path) -> None:
    """A model with a head keeps it, and its raw maps are those of the network alone."""
    spec = tiny_spec(num_classes=3, levels=2, size=(16, 16))
    net = TinyNet()
    maps = []
    for level, stride in enumerate((8, 16)):
        channels = spec.head_shape(spec.levels[level])[0]
        maps.append(net.conv(net.x, f"detect_{level}", outputs=channels, stride=stride))
    model = net.model(maps)
    to_half(model, kind)
    alone = run(reference_of(model), noise())
    attach_nms(model, spec, NmsConfig(score_threshold=0.05))
    path = tmp_path / "model.onnx"
    ir.save(model, path)

    reread = ir.load(path)
    as_reference(reread)

    require_typed(reread)
    outputs: dict[str, FloatArray] = run(reread, noise())
    assert outputs["num_detections"].min() > 0
    assert detach_head(reread) == NmsConfig(score_threshold=0.05)
    detached = run(reread, noise())
    for name, values in alone.items():
        np.testing.assert_array_equal(detached[name], values)
