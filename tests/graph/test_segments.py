"""Cutting a network: each piece is a model of its own, and all of them are the network."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx_ir as ir
import pytest

from tests.graph.tiny_nets import TinyNet, check, detector_net, noise, run, with_all_outputs
from yolor_deploy.graph.segments import Segment, cut_into_segments

WHOLE = 1 << 40
SIZES = [1, 3000, 9000, 20_000, WHOLE]


def skipping_net() -> ir.Model:
    """Return a network whose first map and whose shape are read again at its very end."""
    net = TinyNet()
    first = net.block(net.x, "first")
    shape = net.op("Shape", [first], "shape")
    x = first
    for i in range(4):
        x = net.block(x, f"block_{i}")
    plane = net.constant("plane", np.ones((1, 1, 1, 1), np.float32))
    spread = net.op("Expand", [plane, shape], "spread")
    net.channels[spread] = 8
    model = net.model([net.conv(net.concat([first, x, spread], "joined"), "detect")])
    for value in (value for node in model.graph for value in node.outputs):
        if value.dtype == ir.DataType.FLOAT:
            assert value.shape is not None, value.name
    return model


def produced(segment: Segment) -> list[str]:
    """Return the names of all results of a piece."""
    return [str(value.name) for node in segment.model.graph for value in node.outputs]


@pytest.mark.parametrize("segment_bytes", SIZES)
def test_pieces_are_the_nodes_in_order(segment_bytes: int) -> None:
    """Every node is in one piece, with its name, and in the order of the network."""
    names = [node.name for node in detector_net().graph]

    segments = cut_into_segments(detector_net(), segment_bytes=segment_bytes)

    assert [node.name for segment in segments for node in segment.model.graph] == names
    expected = {1: len(names), WHOLE: 1}
    assert len(segments) == expected.get(segment_bytes, len(segments))
    assert all(len(segment.model.graph) for segment in segments)


@pytest.mark.parametrize("segment_bytes", [3000, 9000, 20_000])
def test_pieces_are_as_large_as_told(segment_bytes: int) -> None:
    """A piece holds no more, unless it is a single node, and the next node would not have fit."""
    model = detector_net()
    sizes = {}
    for node in model.graph:
        shape = node.outputs[0].shape
        assert shape is not None
        sizes[str(node.name)] = 4 * math.prod(side for side in shape if isinstance(side, int))

    segments = cut_into_segments(model, segment_bytes=segment_bytes)

    pieces = [[sizes[str(node.name)] for node in segment.model.graph] for segment in segments]
    assert len(pieces) > 1
    assert all(len(piece) == 1 or sum(piece) <= segment_bytes for piece in pieces)
    for piece, following in itertools.pairwise(pieces):
        assert sum(piece) + following[0] > segment_bytes


@pytest.mark.parametrize("segment_bytes", SIZES)
def test_every_piece_is_a_valid_model(segment_bytes: int) -> None:
    """The full check accepts each piece; it takes one image or many."""
    for segment in cut_into_segments(detector_net(batch=2), segment_bytes=segment_bytes):
        check(segment.model)
        assert [value.name for value in segment.model.graph.inputs] == list(segment.inputs)
        assert [value.name for value in segment.model.graph.outputs] == list(segment.outputs)
        for value in segment.model.graph.inputs:
            assert value.shape is not None
            assert str(value.shape[0]) == "batch"


@pytest.mark.parametrize("segment_bytes", SIZES)
def test_each_float_result_is_given_once(segment_bytes: int) -> None:
    """All float results of the network are outputs of the pieces, in order, none twice."""
    expected = [value.name for value in with_all_outputs(skipping_net()).graph.outputs]

    segments = cut_into_segments(skipping_net(), segment_bytes=segment_bytes)

    given = [name for segment in segments for name in segment.outputs if name != "shape"]
    assert given == expected


@pytest.mark.parametrize("segment_bytes", SIZES)
def test_read_later_is_what_later_pieces_take(segment_bytes: int) -> None:
    """Of what is known after a piece, exactly what later pieces have as inputs is kept."""
    segments = cut_into_segments(skipping_net(), segment_bytes=segment_bytes)

    known = {"images"}
    for number, segment in enumerate(segments):
        assert set(segment.inputs) <= known
        known |= set(segment.outputs)
        wanted = {name for later in segments[number + 1 :] for name in later.inputs}
        assert segment.read_later == wanted & known
        known = known & segment.read_later
    assert known == set()


def test_value_read_at_the_end_is_kept_over_all_pieces() -> None:
    """The first map is in memory until the last concat, all others are dropped after their use."""
    segments = cut_into_segments(skipping_net(), segment_bytes=1)

    kept = [segment.read_later for segment in segments]
    names = [produced(segment)[0] for segment in segments]
    assert all("first.act" in names for names in kept[names.index("first.act") : -2])
    assert kept[names.index("block_2")] == {"first.act", "shape", "block_2"}
    assert kept[-1] == frozenset()


@pytest.mark.parametrize("segment_bytes", SIZES)
def test_integers_cross_from_piece_to_piece(segment_bytes: int) -> None:
    """A shape that a later piece reads is an output, though it is no float."""
    segments = cut_into_segments(skipping_net(), segment_bytes=segment_bytes)

    givers = [segment for segment in segments if "shape" in segment.outputs]
    is_cut = not any({"shape", "spread"} <= set(produced(segment)) for segment in segments)
    assert len(givers) == is_cut
    assert is_cut == (segment_bytes != WHOLE)


@pytest.mark.parametrize("segment_bytes", SIZES)
@pytest.mark.parametrize("rows", [1, 3])
def test_values_are_those_of_the_whole(segment_bytes: int, rows: int) -> None:
    """Run one after the other, the pieces give every value of one run, to the bit."""
    images = noise(rows)
    for build in (detector_net, skipping_net):
        expected = run(with_all_outputs(build()), images, optimise=False)
        known = {"images": images}

        for segment in cut_into_segments(build(), segment_bytes=segment_bytes):
            feed = {name: known[name] for name in segment.inputs}
            known |= run(segment.model, feed, optimise=False)

        for name, values in expected.items():
            np.testing.assert_array_equal(known[name], values, err_msg=name)


def test_weights_are_not_copied() -> None:
    """Pieces hold the tensors of the network, and each only those that it reads."""
    model = detector_net()
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}

    segments = cut_into_segments(model, segment_bytes=1)

    found = [item for segment in segments for item in segment.model.graph.initializers.items()]
    assert sorted(name for name, _ in found) == sorted(tensors)
    assert all(value.const_value is tensors[name] for name, value in found)
