"""Attaching and detaching the head: what the graph looks like before and after."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import pytest

from tests.graph.tiny_graphs import raw_passthrough, tiny_spec
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions, detach_head, raw_maps_of
from yolor_deploy.graph.raise_opset import OPSETS, raise_opset

SWITCHES = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize(("multi_label", "class_agnostic"), SWITCHES)
@pytest.mark.parametrize("levels", [1, 3])
def test_attached_model_passes_the_checker(
    levels: int, multi_label: bool, class_agnostic: bool
) -> None:
    """The full check of ONNX accepts the node with its function, and the function in its place."""
    spec = tiny_spec(levels=levels)
    model = raw_passthrough(spec)

    attach_nms(model, spec, NmsConfig(multi_label=multi_label, class_agnostic=class_agnostic))

    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    onnx.checker.check_model(onnx.inliner.inline_local_functions(proto), full_check=True)


def test_attach_nms_ends_in_one_node() -> None:
    """The only new node is YolorNMS, with everything that a plugin must know as attributes."""
    spec = tiny_spec(levels=2)
    model = raw_passthrough(spec)

    attach_nms(model, spec, NmsConfig(max_detections=7, max_candidates=99, multi_label=False))

    proto = ir.to_proto(model)
    assert [node.op_type for node in proto.graph.node] == ["Identity", "Identity", "YolorNMS"]
    node = proto.graph.node[-1]
    assert node.domain == "yolor_deploy"
    assert list(node.input) == ["raw_0", "raw_1", "score_threshold", "iou_threshold"]
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {
        "anchors": [10, 14, 23, 27, 37, 58],
        "num_anchors": [2, 1],
        "strides": [8, 16],
        "num_classes": 3,
        "max_detections": 7,
        "max_candidates": 99,
        "multi_label": 0,
        "class_agnostic": 0,
    }
    assert [(f.domain, f.name) for f in proto.functions] == [("yolor_deploy", "YolorNMS")]
    assert proto.ir_version == 8


def test_attach_nms_declares_its_outputs() -> None:
    """Names, types and shapes of the outputs are stated, with the batch of the network."""
    spec = tiny_spec()
    model = raw_passthrough(spec)

    attach_nms(model, spec, NmsConfig(max_detections=7))

    assert _outputs(model) == {
        "num_detections": ("INT32", ["batch", 1]),
        "boxes_xyxy": ("FLOAT", ["batch", 7, 4]),
        "scores": ("FLOAT", ["batch", 7]),
        "class_ids": ("INT32", ["batch", 7]),
    }


def test_attach_nms_gives_thresholds_defaults() -> None:
    """The thresholds are inputs of the graph whose defaults are those of the configuration."""
    spec = tiny_spec()
    model = raw_passthrough(spec)

    attach_nms(model, spec, NmsConfig(score_threshold=0.125, iou_threshold=0.75))

    graph = ir.to_proto(model).graph
    assert [value.name for value in graph.input][-2:] == ["score_threshold", "iou_threshold"]
    defaults = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in graph.initializer}
    assert defaults == {"score_threshold": [0.125], "iou_threshold": [0.75]}


def test_attach_predictions_uses_standard_operators_only() -> None:
    """The graph of predictions passes the full check and names no operator of ours."""
    spec = tiny_spec(levels=3)
    model = raw_passthrough(spec)

    attach_predictions(model, spec)

    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    assert not proto.functions
    assert [opset.domain for opset in proto.opset_import] == [""]
    assert _outputs(model) == {"predictions": ("FLOAT", ["batch", spec.num_boxes, 8])}


def test_nodes_of_the_head_have_readable_names() -> None:
    """Every node of the head is named for the head and for what it computes."""
    spec = tiny_spec(levels=2)
    with_nms, with_predictions = raw_passthrough(spec), raw_passthrough(spec)

    attach_nms(with_nms, spec, NmsConfig())
    attach_predictions(with_predictions, spec)

    assert with_nms.graph[-1].name == "/yolor_nms/YolorNMS"
    names = [node.name for node in with_predictions.graph]
    assert len(set(names)) == len(names)
    assert "/yolor_predictions/xy_px_1" in names
    assert all(name and name.startswith(("/head/", "/yolor_predictions/")) for name in names)


@pytest.mark.parametrize(("multi_label", "class_agnostic"), SWITCHES)
def test_detach_restores_the_model_and_returns_the_configuration(
    multi_label: bool, class_agnostic: bool
) -> None:
    """Detaching what was attached gives the same bytes and the same configuration."""
    spec = tiny_spec(levels=3)
    model = raw_passthrough(spec)
    before = _bytes(model)
    nms = NmsConfig(0.001, 0.65, 100, 5000, multi_label, class_agnostic)

    attach_nms(model, spec, nms)
    detached = detach_head(ir.from_proto(ir.to_proto(model)))
    returned = detach_head(model)

    assert returned == detached == nms
    assert _bytes(model) == before


def test_detach_restores_a_model_with_predictions() -> None:
    """Detaching predictions gives the same bytes, also after a round trip through a file."""
    spec = tiny_spec(levels=3)
    model = raw_passthrough(spec)
    before = _bytes(model)

    attach_predictions(model, spec)
    reread = ir.from_proto(ir.to_proto(model))

    assert detach_head(reread) is None
    assert detach_head(model) is None
    assert _bytes(model) == before
    assert _outputs(reread) == _outputs(model)


def test_detach_leaves_raw_maps_alone() -> None:
    """A model that ends in raw maps is not changed."""
    model = raw_passthrough(tiny_spec())
    before = _bytes(model)

    assert detach_head(model) is None

    assert _bytes(model) == before


def test_heads_can_be_exchanged() -> None:
    """A detached model takes another head."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())

    detach_head(model)
    attach_nms(model, spec, NmsConfig(multi_label=False, class_agnostic=True))

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert len(model.functions) == 1
    assert detach_head(model) == NmsConfig(multi_label=False, class_agnostic=True)


@pytest.mark.parametrize("opset", OPSETS)
def test_detach_restores_a_model_of_a_later_opset(opset: int) -> None:
    """Heads are attached and detached in every opset that a pass may have raised a model to."""
    spec = tiny_spec(levels=3)
    model = raw_passthrough(spec)
    raise_opset(model, opset)
    before = _bytes(model)

    attach_nms(model, spec, NmsConfig())
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    detach_head(model)
    after_nms = _bytes(model)
    attach_predictions(model, spec)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    detach_head(model)

    assert after_nms == _bytes(model) == before


def test_raw_maps_are_found_whatever_a_model_ends_in() -> None:
    """They are the values that were outputs before a head came, finest stride first."""
    spec = tiny_spec(levels=3)
    plain, with_nms, with_predictions = (raw_passthrough(spec) for _ in range(3))
    expected = [list(model.graph.outputs) for model in (plain, with_nms, with_predictions)]

    attach_nms(with_nms, spec, NmsConfig())
    attach_predictions(with_predictions, spec)

    for model, maps in zip((plain, with_nms, with_predictions), expected, strict=True):
        before = _bytes(model)
        assert raw_maps_of(model) == maps
        reread = ir.from_proto(ir.to_proto(model))
        assert [value.name for value in raw_maps_of(reread)] == ["raw_0", "raw_1", "raw_2"]
        assert _bytes(model) == before


def test_raw_maps_of_another_model_are_refused() -> None:
    """A model that ends in something else has none."""
    model = raw_passthrough(tiny_spec())
    model.graph.outputs[0].name = "logits"

    with pytest.raises(PassError, match="logits"):
        raw_maps_of(model)


def test_detach_refuses_a_model_of_another_end() -> None:
    """Outputs that are not raw maps are named in the error."""
    model = raw_passthrough(tiny_spec())
    model.graph.outputs[0].name = "logits"

    with pytest.raises(PassError, match="logits"):
        detach_head(model)


def test_detach_refuses_a_threshold_without_default() -> None:
    """A head whose threshold must be given has no configuration to return."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())
    model.graph.initializers.pop("iou_threshold").const_value = None
    before = _bytes(model)

    with pytest.raises(PassError, match="no default"):
        detach_head(model)

    assert _bytes(model) == before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(tiny_spec(num_classes=4), r"expected \[batch, 18, 4, 8\]", id="classes"),
        pytest.param(tiny_spec(size=(64, 64)), r"expected \[batch, 16, 8, 8\]", id="size"),
        pytest.param(tiny_spec(levels=3), "raw_2", id="levels"),
    ],
)
def test_attach_refuses_maps_of_another_detector(spec: DetectorSpec, message: str) -> None:
    """A specification that is not the model's is refused, and the model stays as it was."""
    model = raw_passthrough(tiny_spec(levels=2))
    before = _bytes(model)

    with pytest.raises(PassError, match=message):
        attach_nms(model, spec, NmsConfig())
    with pytest.raises(PassError, match=message):
        attach_predictions(model, spec)

    assert _bytes(model) == before


def test_attach_refuses_a_second_head() -> None:
    """A model that already has a head does not get another."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())

    with pytest.raises(PassError, match="num_detections"):
        attach_predictions(model, spec)


@pytest.mark.parametrize(("opset", "ir_version"), [(18, 8), (21, 10), (16, 8), (17, 7)])
def test_attach_refuses_other_versions(opset: int, ir_version: int) -> None:
    """Opsets are those that passes write, 17, 19 and 22, and functions came with IR 8."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    model.opset_imports[""] = opset
    model.ir_version = ir_version

    with pytest.raises(PassError, match=f"opset {opset} and IR version {ir_version}"):
        attach_nms(model, spec, NmsConfig())


def test_attributes_hold_fractional_anchors() -> None:
    """Anchors are floats: a custom cfg may have any."""
    spec = tiny_spec(levels=3)
    model = raw_passthrough(spec)

    attach_nms(model, spec, NmsConfig())

    anchors = model.graph[-1].attributes["anchors"].as_floats()
    np.testing.assert_array_equal(anchors[-2:], [60, 40.5])


def _bytes(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def _outputs(model: ir.Model) -> dict[str, tuple[str, list[int | str]]]:
    result = {}
    for value in model.graph.outputs:
        assert value.shape is not None
        assert value.dtype is not None
        sides = [side if isinstance(side, int) else str(side) for side in value.shape]
        result[str(value.name)] = (value.dtype.name, sides)
    return result
