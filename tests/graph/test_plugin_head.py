"""The head as TensorRT takes it: a node for the plugin, or operators of fixed shapes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.graph.test_head_function import NAMES, coarse_maps, inference_session, predict
from tests.graph.tiny_graphs import convolution_net, map_feed, raw_passthrough, tiny_spec
from yolor_deploy.core.errors import BuildError, PassError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.graph.half import HalfKind, to_half
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions, raw_maps_of
from yolor_deploy.graph.plugin_head import (
    MOST_RANKED,
    inline_head,
    leave_head_to_plugin,
    widen_maps,
)
from yolor_deploy.graph.raise_opset import OPSETS, raise_opset

SPEC = tiny_spec(levels=3)
NMS = NmsConfig(score_threshold=0.3, iou_threshold=0.5, max_candidates=1000, max_detections=30)
SWITCHES = list(itertools.product([False, True], repeat=2))
THRESHOLDS = ["score_threshold", "iou_threshold"]
QUIET = map_feed([np.full((1, *SPEC.head_shape(level)), -30, np.float32) for level in SPEC.levels])
QUIET |= {name: np.array([0.5], np.float32) for name in THRESHOLDS}


def with_head(spec: DetectorSpec = SPEC, nms: NmsConfig = NMS, *, opset: int = 17) -> ir.Model:
    """Return a network of nothing but the head."""
    model = raw_passthrough(spec)
    raise_opset(model, opset)
    attach_nms(model, spec, nms)
    return model


def test_node_for_the_plugin_has_no_other_meaning() -> None:
    """The function is gone, the node is as it was, and no threshold is a constant."""
    model = with_head()
    before = ir.to_proto(model).graph.node[-1]

    leave_head_to_plugin(model)

    proto = ir.to_proto(model)
    assert proto.graph.node[-1] == before
    assert not proto.functions
    assert not proto.graph.initializer
    assert [value.name for value in proto.graph.input][-2:] == THRESHOLDS


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("multi_label", "class_agnostic"), SWITCHES)
def test_operators_pass_the_checker(opset: int, multi_label: bool, class_agnostic: bool) -> None:
    """They are standard ones of the graph's opset, and need neither a function nor a plugin."""
    nms = replace(NMS, multi_label=multi_label, class_agnostic=class_agnostic)
    model = with_head(nms=nms, opset=opset)

    inline_head(model, SPEC, nms)

    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    assert not proto.functions
    assert not {tensor.name for tensor in proto.graph.initializer} & set(THRESHOLDS)


@pytest.mark.parametrize("max_candidates", [1, 40, MOST_RANKED])
@pytest.mark.parametrize(("multi_label", "class_agnostic"), SWITCHES)
def test_operators_give_the_rows_of_the_reference(
    multi_label: bool, class_agnostic: bool, max_candidates: int
) -> None:
    """Equal scores, NaN and infinity included, with thresholds that are given with each run."""
    nms = replace(
        NMS,
        multi_label=multi_label,
        class_agnostic=class_agnostic,
        max_candidates=max_candidates,
    )
    maps = coarse_maps(SPEC, batch=3, seed=1, damage=0.02)
    maps[0][2] = -30
    model = with_head(nms=nms)

    inline_head(model, SPEC, nms)
    run = inference_session(model)

    for score, iou in ((0.3, 0.5), (0.1, 0.3)):
        thresholds = {
            name: np.array([value], np.float32)
            for name, value in zip(THRESHOLDS, (score, iou), strict=True)
        }
        outputs = run(map_feed(maps) | thresholds)
        given = replace(nms, score_threshold=score, iou_threshold=iou)
        expected = non_max_suppression(predict(maps, SPEC), given)
        assert expected["num_detections"].max() > 0
        for name in NAMES:
            np.testing.assert_array_equal(outputs[name], expected[name], err_msg=name)


def test_ranking_has_the_same_shape_in_every_image() -> None:
    """It is the limit, or the number of pairs if that is smaller, whatever the network finds."""
    outputs = []
    for limit in (50, 1_000_000):
        nms = replace(NMS, max_candidates=limit)
        model = with_head(nms=nms)
        inline_head(model, SPEC, nms)
        proto = ir.to_proto(model)
        ranked = next(node for node in proto.graph.node if node.op_type == "TopK").output[0]
        proto.graph.output.append(onnx.ValueInfoProto(name=ranked))
        outputs.append(inference_session(ir.from_proto(proto))(QUIET)[ranked].shape)

    assert outputs == [(1, 50), (1, SPEC.num_boxes * SPEC.num_classes)]


def test_more_candidates_than_tensorrt_ranks_are_refused() -> None:
    """The limit is that of a TopK layer; the model stays as it was."""
    nms = replace(NMS, max_candidates=MOST_RANKED + 1)
    large = tiny_spec(size=(320, 320), num_classes=20)
    model = with_head(large, nms)
    before = ir.to_proto(model)

    with pytest.raises(BuildError, match="ranks 3841 candidates, a TopK of TensorRT 3840") as error:
        inline_head(model, large, nms)

    assert "--max-candidates 3840" in error.value.hint
    assert ir.to_proto(model) == before


@pytest.mark.parametrize("output", ["raw", "predictions"])
def test_model_without_the_node_is_refused(output: str) -> None:
    """There is nothing to form; the model stays as it was."""
    model = raw_passthrough(SPEC)
    if output == "predictions":
        attach_predictions(model, SPEC)
    before = ir.to_proto(model)

    with pytest.raises(PassError, match="expected YolorNMS"):
        leave_head_to_plugin(model)
    with pytest.raises(PassError, match="expected YolorNMS"):
        inline_head(model, SPEC, NMS)

    assert ir.to_proto(model) == before


def narrowed(kind: HalfKind, *, output: str, keep: tuple[str, ...] = ()) -> ir.Model:
    """Return two convolutions of 16 bits with post-processing, or without."""
    spec = tiny_spec(levels=2)
    model = convolution_net(spec)
    to_half(model, kind, keep_float=keep)
    if output == "detections":
        attach_nms(model, spec, NMS)
    return model


@pytest.mark.parametrize("output", ["raw", "detections"])
@pytest.mark.parametrize(
    ("kind", "keep", "widened"),
    [
        pytest.param("bf16", (), ["raw_0", "raw_1"], id="bf16"),
        pytest.param("fp16", ("/head/0/Conv",), ["raw_1"], id="mixed"),
        pytest.param("fp16", (), [], id="half"),
        pytest.param("fp16", ("/head/0/Conv", "/head/1/Conv"), [], id="single"),
    ],
)
def test_maps_get_one_type_that_can_be_read(
    kind: HalfKind, keep: tuple[str, ...], widened: list[str], output: str
) -> None:
    """Maps of bfloat16 or of several types become float32; names and values stay."""
    model, before = (narrowed(kind, output=output, keep=keep) for _ in range(2))

    count = widen_maps(model)

    assert count == len(widened)
    maps = raw_maps_of(model)
    assert [value.name for value in maps] == ["raw_0", "raw_1"]
    assert [value.name for value in maps if value.producer().op_type == "Cast"] == widened  # type: ignore[union-attr]
    assert len({value.dtype for value in maps}) == 1
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    if kind == "fp16" and output == "raw":
        images = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
        for name, expected in inference_session(before)({"images": images}).items():
            found = inference_session(model)({"images": images})[name]
            # ONNX Runtime computes half in single on a CPU, and leaves the rounding out here
            np.testing.assert_allclose(found.astype(np.float32), expected, rtol=1e-3, atol=1e-5)
