"""The type checker: it accepts what is well typed, and names what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.graph.tiny_graphs import raw_passthrough, tiny_spec
from tests.graph.tiny_nets import TinyNet, clone, detector_net, node_named
from yolor_deploy.backends.onnxruntime.quantize import quantise_for_cpu
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.precision import QuantisedKind
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph.as_reference import as_reference
from yolor_deploy.graph.half import HalfKind, to_half
from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions
from yolor_deploy.graph.type_check import require_typed

Change = Callable[[ir.Model], Any]


def _half(kind: HalfKind) -> Change:
    return lambda model: to_half(model, kind)


def _pairs(kind: QuantisedKind, base: HalfKind | None = None) -> Change:
    def change(model: ir.Model) -> None:
        insert_qdq(model, plan_qdq(model), lambda _: 3.0, kind=kind)
        if base:
            to_half(model, base)

    return change


@pytest.mark.parametrize("uint8", [False, True], ids=["float-in", "uint8-in"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: None, id="fp32"),
        pytest.param(_half("fp16"), id="fp16"),
        pytest.param(_half("bf16"), id="bf16"),
        pytest.param(_pairs("int8"), id="int8"),
        pytest.param(_pairs("fp8"), id="fp8"),
        pytest.param(_pairs("int8", "fp16"), id="int8+fp16"),
        pytest.param(_pairs("int8", "bf16"), id="int8+bf16"),
        pytest.param(_pairs("fp8", "fp16"), id="fp8+fp16"),
        pytest.param(_pairs("fp8", "bf16"), id="fp8+bf16"),
    ],
)
def test_every_precision_is_accepted(change: Change, uint8: bool) -> None:
    """Each operator of a network of any precision is counted once, as is its reference form."""
    model = detector_net(kind="mish", uint8=uint8)

    change(model)

    assert require_typed(model) == len(model.graph)
    as_reference(model)
    assert require_typed(clone(model)) == len(model.graph)


def test_layout_for_the_cpu_is_accepted() -> None:
    """What onnxruntime.quantization writes is well typed."""
    model, _ = quantise_for_cpu(detector_net(), lambda _: (-1.0, 3.0))

    assert require_typed(model) == len(model.graph)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_functions_are_checked_inside(kind: HalfKind) -> None:
    """Operators inside the head count too, and it takes maps of any float type."""
    spec = tiny_spec()
    whole, halved, flat = (raw_passthrough(spec) for _ in range(3))
    to_half(halved, kind)
    attach_nms(whole, spec, NmsConfig())
    attach_nms(halved, spec, NmsConfig())
    attach_predictions(flat, spec)

    (function,) = whole.functions.values()
    assert require_typed(whole) == len(whole.graph) + len(function)
    assert require_typed(halved) == len(halved.graph) + len(function)
    assert require_typed(flat) == len(flat.graph)


def test_function_with_a_mixed_operator_is_refused() -> None:
    """A wrong type inside a function is found, though nothing in the graph is wrong."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())
    (function,) = model.functions.values()
    cast = next(node for node in function if node.name == "cell_0")
    cast.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16.value)

    with pytest.raises(PassError, match="cell_0 is FLOAT16 beside FLOAT") as caught:
        require_typed(model)

    assert caught.value.where == "Add xy_cells_0"


def test_convolution_of_mixed_types_is_refused() -> None:
    """A half weight beside a float32 map is named with its convolution."""
    model = detector_net()
    weight = node_named(model, "deep").inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    half = weight.const_value.numpy().astype(np.float16)
    weight.const_value = ir.tensor(half, name=weight.name)

    with pytest.raises(PassError, match=r"deep\.weight is FLOAT16 beside FLOAT") as caught:
        require_typed(model)

    assert caught.value.where == "Conv deep"


def test_declared_type_must_be_the_computed_one() -> None:
    """A value or an output declared half that is computed in float32 is refused."""
    for name in ("stem.act", "detect_0"):
        model = detector_net()
        value = node_named(model, name).outputs[0]
        value.type = ir.TensorType(ir.DataType.FLOAT16)

        with pytest.raises(PassError, match=rf"{value.name} is declared FLOAT16, computed FLOAT"):
            require_typed(model)


def test_operator_unknown_to_the_opset_is_refused() -> None:
    """Mish came with opset 18, and no opset has a Swoosh."""
    model = detector_net()
    node_named(model, "stem.act.sigmoid").op_type = "Mish"

    with pytest.raises(PassError, match=r"ai\.onnx has no operator Mish"):
        require_typed(model)
    model.opset_imports[""] = 18
    assert require_typed(model) == len(model.graph)
    node_named(model, "stem.act.sigmoid").op_type = "Swoosh"
    with pytest.raises(PassError, match=r"ai\.onnx has no operator Swoosh"):
        require_typed(model)


def test_operator_of_an_unknown_domain_is_refused() -> None:
    """A node of ours without its function means nothing."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())
    model.functions.clear()

    with pytest.raises(PassError, match="yolor_deploy has no operator YolorNMS"):
        require_typed(model)


@pytest.mark.parametrize(
    ("change", "opset", "problem"),
    [
        pytest.param(
            _pairs("int8", "fp16"), 17, "FLOAT16, which QuantizeLinear does not take", id="half-qdq"
        ),
        pytest.param(_half("bf16"), 17, "BFLOAT16, which Gather|Conv does not take", id="bf16"),
        pytest.param(_half("bf16"), 19, "BFLOAT16, which Conv does not take", id="bf16-19"),
        pytest.param(
            _pairs("fp8"), 17, "FLOAT8E4M3FN, which QuantizeLinear does not take", id="fp8"
        ),
    ],
)
def test_types_that_an_opset_has_not_are_refused(change: Change, opset: int, problem: str) -> None:
    """A pass that forgot to raise the opset would be found here."""
    model = detector_net()
    change(model)
    assert require_typed(model) == len(model.graph)
    model.opset_imports[""] = opset

    with pytest.raises(PassError, match=problem):
        require_typed(model)


def test_fixed_types_are_checked() -> None:
    """Scales of Resize must be float32, whatever else it takes."""
    model = detector_net()
    scales = node_named(model, "up").inputs[2]
    assert scales is not None
    scales.const_value = ir.tensor(np.ones(4, ml_dtypes.bfloat16), name=scales.name)

    with pytest.raises(PassError, match=r"up\.scales is BFLOAT16, expected tensor\(float\)"):
        require_typed(model)


def test_type_of_any_kind_is_named() -> None:
    """An integer type that no network has is refused like any other."""
    net = TinyNet()
    model = net.model([net.op("Sigmoid", [net.x], "sigmoid")])
    model.graph.inputs[0].type = ir.TensorType(ir.DataType.UINT16)

    with pytest.raises(PassError, match="images is UINT16, which Sigmoid does not take"):
        require_typed(model)


def test_value_that_comes_too_late_is_refused() -> None:
    """An operator that stands before what it reads is named."""
    model = detector_net()
    node = node_named(model, "stem")
    model.graph.remove(node)
    model.graph.append(node)

    with pytest.raises(PassError, match="no operator before it gives stem") as caught:
        require_typed(model)

    assert caught.value.where == "Sigmoid stem.act.sigmoid"


def test_output_that_nothing_gives_is_refused() -> None:
    """An output must come from somewhere."""
    model = detector_net()
    orphan = ir.Value(name="raw_9", type=ir.TensorType(ir.DataType.FLOAT))
    model.graph.outputs.append(orphan)

    with pytest.raises(PassError, match="no operator gives this output") as caught:
        require_typed(model)

    assert caught.value.where == "raw_9"


def test_input_without_type_is_refused() -> None:
    """Nothing can be said of a graph whose input could be anything."""
    model = detector_net()
    model.graph.inputs[0].type = None

    with pytest.raises(PassError, match="input has no type"):
        require_typed(model)


def test_model_is_unchanged() -> None:
    """Checking leaves no trace."""
    model = detector_net()
    before = ir.to_proto(model).SerializeToString(deterministic=True)

    require_typed(model)

    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
