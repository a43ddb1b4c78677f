"""How many candidates the head ranks: as many as there are, and no more."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import inliner

from tests.graph.test_head_function import NAMES, inference_session, predict
from tests.graph.tiny_graphs import map_feed, random_maps, raw_passthrough, tiny_spec
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph.nms_head import attach_nms


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize(
    ("score_threshold", "max_candidates", "num_ranked"),
    [
        pytest.param(0.6, 30_000, None, id="as-many-as-the-fullest-image-has"),
        pytest.param(0.6, 5, 5, id="no-more-than-the-limit"),
        pytest.param(1.0, 30_000, 1, id="one-though-there-is-none"),
    ],
)
def test_no_more_are_ranked_than_there_are_candidates(
    score_threshold: float, max_candidates: int, num_ranked: int | None, multi_label: bool
) -> None:
    """What is ranked is as large as the fullest image needs, and the rows are the same."""
    spec = tiny_spec(num_classes=3, levels=2)
    nms = NmsConfig(
        score_threshold=score_threshold, max_candidates=max_candidates, multi_label=multi_label
    )
    maps = random_maps(spec, batch=3, rng=np.random.default_rng(0), spread=3.0)
    for raw in maps:
        raw[1] -= 1.5
        raw[2] = -30
    model = raw_passthrough(spec)
    attach_nms(model, spec, nms)
    proto = inliner.inline_local_functions(ir.to_proto(model))
    ranked = next(node for node in proto.graph.node if "ranked_scores" in node.output[0])
    assert ranked.op_type == "TopK"
    proto.graph.output.append(onnx.ValueInfoProto(name=ranked.output[0]))

    outputs = inference_session(ir.from_proto(proto))(map_feed(maps))

    predictions = predict(maps, spec)
    expected = non_max_suppression(predictions, nms)
    scores = predictions[..., 4:5] * predictions[..., 5:]
    if not multi_label:
        scores = scores.max(axis=2, keepdims=True)
    counts = (scores > score_threshold).sum(axis=(1, 2))
    assert (counts[0] > counts[1] > counts[2] == 0) or score_threshold == 1.0
    assert outputs[ranked.output[0]].shape == (3, num_ranked or counts[0])
    for name in NAMES:
        np.testing.assert_array_equal(outputs[name], expected[name], err_msg=name)
