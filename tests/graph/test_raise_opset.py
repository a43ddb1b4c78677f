"""Raising the opset: what is rewritten, what is computed, what is refused."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.graph.test_head_function import inference_session
from tests.graph.tiny_graphs import map_feed, random_maps, raw_passthrough, tiny_spec
from tests.graph.tiny_nets import TinyNet, check, clone, detector_net, noise, run
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions
from yolor_deploy.graph.raise_opset import OPSETS, raise_opset
from yolor_deploy.graph.type_check import require_typed


def split_and_reduce() -> ir.Model:
    """Return a network with the operators whose form changed."""
    net = TinyNet(channels=4)
    half = net.op("Split", [net.x], "low", axis=1)
    net.nodes[-1].output.append("high")
    sizes = net.constant("sizes", np.array([1, 3], np.int64))
    sized = net.op("Split", [net.x, sizes], "one", axis=1)
    net.nodes[-1].output.append("three")
    most = net.op("ReduceMax", ["high"], "most", axes=[2, 3], keepdims=0)
    return net.model([half, sized, "three", most, net.op("ReduceMax", [half], "all", keepdims=0)])


def bytes_of(model: ir.Model) -> bytes:
    """Return the serialised model."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


@pytest.mark.parametrize(("opset", "changed", "ir_version"), [(17, 0, 8), (19, 2, 9), (22, 2, 10)])
def test_changed_operators_are_rewritten(opset: int, changed: int, ir_version: int) -> None:
    """Split without sizes gets its count, ReduceMax its axes as an input; values stay the same."""
    model = split_and_reduce()
    images = noise(channels=4)
    expected = run(model, images)

    assert raise_opset(model, opset) == changed

    assert (model.opset_imports[""], model.ir_version) == (opset, ir_version)
    require_typed(model)
    check(model)
    reread = clone(model)
    assert (reread.opset_imports[""], reread.graph.opset_imports[""]) == (opset, opset)
    for name, values in run(reread, images).items():
        np.testing.assert_array_equal(values, expected[name])


def test_raising_twice_changes_nothing_more() -> None:
    """The second time there is nothing to rewrite, nor is a later opset lowered."""
    model = split_and_reduce()
    raise_opset(model, 22)
    before = bytes_of(model)

    assert raise_opset(model, 22) == 0
    assert raise_opset(model, 19) == 0

    assert bytes_of(model) == before


def test_a_model_of_an_opset_between_is_left_as_it_is() -> None:
    """A model of opset 20, made elsewhere, is above 19 and stays."""
    model = detector_net()
    model.opset_imports[""] = 20
    before = bytes_of(model)

    assert raise_opset(model, 19) == 0

    assert bytes_of(model) == before


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("activation", ["silu", "mish", "leaky"])
def test_networks_mean_the_same_in_every_opset(activation: str, opset: int) -> None:
    """Layers of this project compute the same values, to the bit."""
    model = detector_net(kind=activation)  # type: ignore[arg-type]
    expected = run(model, noise())

    raise_opset(model, opset)

    check(model)
    for name, values in run(model, noise()).items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("multi_label", [False, True])
def test_function_of_the_head_follows_the_graph(opset: int, multi_label: bool) -> None:
    """A head means the same whether the opset is raised before it is attached or after."""
    spec = tiny_spec(levels=2)
    nms = NmsConfig(score_threshold=0.1, multi_label=multi_label)
    feed = map_feed(random_maps(spec, batch=2, rng=np.random.default_rng(0)))
    plain, before, after = (raw_passthrough(spec) for _ in range(3))
    attach_nms(plain, spec, nms)
    expected = inference_session(plain)(feed)

    raise_opset(before, opset)
    attach_nms(before, spec, nms)
    attach_nms(after, spec, nms)
    raise_opset(after, opset)

    assert expected["num_detections"].min() > 0
    for model in (before, after):
        (function,) = model.functions.values()
        assert function.opset_imports[""] == model.opset_imports[""] == opset
        check(model)
        require_typed(model)
        for name, values in inference_session(model)(feed).items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("opset", OPSETS)
def test_predictions_follow_the_graph(opset: int) -> None:
    """Decoding in standard operators is valid and the same in every opset."""
    spec = tiny_spec(levels=2)
    feed = map_feed(random_maps(spec, batch=2, rng=np.random.default_rng(0)))
    plain, raised = raw_passthrough(spec), raw_passthrough(spec)
    attach_predictions(plain, spec)

    raise_opset(raised, opset)
    attach_predictions(raised, spec)

    check(raised)
    require_typed(raised)
    np.testing.assert_array_equal(
        inference_session(raised)(feed)["predictions"],
        inference_session(plain)(feed)["predictions"],
    )


def test_function_of_a_later_opset_is_refused() -> None:
    """A function that is newer than the graph was not written by this project; nothing changes."""
    spec = tiny_spec()
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())
    (function,) = model.functions.values()
    function.opset_imports[""] = 21
    before = bytes_of(model)

    with pytest.raises(PassError, match="function has opset 21, the graph has 17"):
        raise_opset(model, 19)

    assert bytes_of(model) == before


def test_operators_of_other_domains_are_left_alone() -> None:
    """An operator of the same name in a domain of its own is not ours to rewrite."""
    model = split_and_reduce()
    for node in model.graph:
        node.domain = "elsewhere"

    assert raise_opset(model, 19) == 0
