"""What nodes have to compute and to move, against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.backends.artifacts import network_of, spec_of
from tests.graph.tiny_graphs import convolution_net, tiny_spec
from tests.graph.tiny_nets import TinyNet, constant_range
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph.costs import NodeCost, multiply_adds_of, node_costs
from yolor_deploy.graph.half import to_half
from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions

IMAGE = 3 * 16 * 16
MAP = 8 * 16 * 16
"""Values of an image, and of eight channels of its size."""

PAIR = {"QuantizeLinear", "DequantizeLinear"}


def by_name(model: ir.Model, *, batch: int = 1) -> dict[str, NodeCost]:
    """Return the costs by the names of the nodes."""
    return {cost.name: cost for cost in node_costs(model, batch=batch)}


def test_convolution_reads_image_and_weights_and_writes_its_result() -> None:
    """Two operations a multiply-add, without the bias; each array moves once."""
    net = TinyNet()
    model = net.model([net.conv(net.x, "conv")])

    (cost,) = node_costs(model, batch=1)

    weights = 8 * 3 * 9 + 8
    assert cost == NodeCost("conv", "Conv", 2 * MAP * 3 * 9, 4 * (IMAGE + weights + MAP))


def test_batch_multiplies_everything_but_the_weights() -> None:
    """A dynamic batch is what it is bound to."""
    net = TinyNet()
    model = net.model([net.conv(net.x, "conv")])

    (cost,) = node_costs(model, batch=5)

    weights = 8 * 3 * 9 + 8
    assert (cost.flops, cost.num_bytes) == (5 * 2 * MAP * 27, 4 * (5 * (IMAGE + MAP) + weights))


def test_static_batch_is_that_of_the_model() -> None:
    """A batch that the model fixes counts as it is."""
    net = TinyNet(batch=2)
    model = net.model([net.conv(net.x, "conv")])

    (cost,) = node_costs(model, batch=2)

    assert cost.flops == 2 * 2 * MAP * 27


def test_grouped_convolution_has_fewer_products() -> None:
    """A filter of a group sees the channels of its group only: four of eight here."""
    net = TinyNet(channels=8)
    weight = np.zeros((8, 4, 1, 1), np.float32)
    net.constant("w", weight)
    model = net.model([net.op("Conv", [net.x, "w"], "grouped", group=2)])

    (cost,) = node_costs(model, batch=1)

    assert (cost.flops, cost.num_bytes) == (2 * MAP * 4, 4 * (MAP + 8 * 4 + MAP))


def test_activation_is_computed_where_its_input_is_made() -> None:
    """A SiLU costs an operation for each value of its two nodes, and no traffic."""
    net = TinyNet()
    model = net.model([net.conv(net.block(net.x, "first"), "second")])

    costs = by_name(model)

    first = 4 * (IMAGE + 8 * 27 + 8 + MAP)
    assert costs["first"].num_bytes == first
    assert costs["first.act.sigmoid"] == NodeCost("first.act.sigmoid", "Sigmoid", MAP, 0)
    assert costs["first.act"] == NodeCost("first.act", "Mul", MAP, 0)


def test_residual_is_read_by_the_later_of_its_makers() -> None:
    """The skip is one more input of the convolution whose result it is added to."""
    net = TinyNet()
    skip = net.conv(net.x, "skip")
    inner = net.conv(net.conv(skip, "between"), "inner")
    model = net.model([net.conv(net.op("Add", [skip, inner], "sum"), "last")])

    costs = by_name(model)

    weights = 8 * 8 * 9 + 8
    assert costs["inner"].num_bytes == 4 * (MAP + weights + MAP + MAP)
    assert costs["sum"] == NodeCost("sum", "Add", MAP, 0)
    assert costs["last"].num_bytes == 4 * (MAP + weights + MAP)


def test_concat_moves_nothing() -> None:
    """Its inputs are written where it is read, and its reader reads all of them."""
    net = TinyNet()
    pieces = [net.conv(net.x, "left"), net.conv(net.x, "right")]
    model = net.model([net.conv(net.concat(pieces, "cat"), "last")])

    costs = by_name(model)

    assert costs["cat"] == NodeCost("cat", "Concat", 0, 0)
    assert costs["right"].num_bytes == 4 * (IMAGE + 8 * 27 + 8 + MAP)
    assert costs["last"].num_bytes == 4 * (2 * MAP + 8 * 16 * 9 + 8 + MAP)


def test_pool_and_resize_read_and_write() -> None:
    """Both move their values and compute nothing; the four scales of a Resize are read."""
    net = TinyNet()
    model = net.model([net.resize(net.pool(net.conv(net.x, "conv"), "pool"), "up")])

    costs = by_name(model)

    assert costs["pool"] == NodeCost("pool", "MaxPool", 0, 4 * 2 * MAP)
    assert costs["up"] == NodeCost("up", "Resize", 0, 4 * (MAP + 4 + 4 * MAP))


def test_matrix_product_counts_its_inner_side() -> None:
    """Two operations for each value of the result and each of the inner side."""
    net = TinyNet()
    net.constant("matrix", np.zeros((16, 5), np.float32))
    model = net.model([net.op("MatMul", [net.x, "matrix"], "product")])

    (cost,) = node_costs(model, batch=1)

    assert cost.flops == 2 * (3 * 16 * 5) * 16
    assert cost.num_bytes == 4 * (IMAGE + 16 * 5 + 3 * 16 * 5)


def test_bytes_of_an_image_are_read_as_bytes() -> None:
    """A cast to float32 costs nothing: its reader reads what the cast does."""
    net = TinyNet(uint8=True)
    model = net.model([net.conv(net.x, "conv")])

    costs = by_name(model)

    assert costs["images.cast"] == NodeCost("images.cast", "Cast", 0, 0)
    assert costs["conv"].num_bytes == IMAGE + 4 * (8 * 27 + 8 + MAP)


def test_half_precision_halves_the_traffic_but_for_the_image() -> None:
    """Weights and values have two bytes; the image comes in float32."""
    net = TinyNet()
    model = net.model([net.conv(net.conv(net.x, "first"), "second")])
    to_half(model, "fp16")

    costs = by_name(model)

    assert costs["first"].num_bytes == 4 * IMAGE + 2 * (8 * 27 + 8 + MAP)
    assert costs["first"].flops == 2 * MAP * 27


def test_eight_bits_are_read_and_written_as_such() -> None:
    """A Q/DQ pair costs nothing: values and weights move in one byte, sums are as many."""
    net = TinyNet()
    x = net.block(net.block(net.x, "first", kind="relu"), "second", kind="relu")
    model = net.model([net.conv(net.block(x, "third", kind="relu"), "detect")])
    insert_qdq(model, plan_qdq(model), constant_range)

    costs = by_name(model)

    assert costs["second"].num_bytes == MAP + 8 * 8 * 9 + 4 * 8 + MAP
    assert costs["second"].flops == 2 * MAP * 8 * 9
    pairs = [cost for cost in costs.values() if cost.op in PAIR]
    assert {(cost.flops, cost.num_bytes) for cost in pairs} == {(0, 0)}


def test_head_reads_raw_maps_and_writes_rows() -> None:
    """The ``YolorNMS`` node is the last entry, and its arithmetic is not counted."""
    spec = tiny_spec(num_classes=3, levels=1, size=(32, 32))
    model = convolution_net(spec)
    attach_nms(model, spec, NmsConfig(max_detections=20))

    cost = node_costs(model, batch=2)[-1]

    raw, row = 2 * 8 * 4 * 4, 4 + 1 + 1
    assert cost == NodeCost("/yolor_nms/YolorNMS", "YolorNMS", 0, 4 * 2 * (raw + 20 * row + 1))


def test_decoding_is_one_entry() -> None:
    """What predictions are made with is one head, whatever its nodes."""
    spec = tiny_spec(num_classes=3, levels=1, size=(32, 32))
    model = convolution_net(spec)
    attach_predictions(model, spec)

    costs = node_costs(model, batch=1)

    raw = 2 * 8 * 4 * 4
    assert [cost.name for cost in costs] == ["/head/0/Conv", "/yolor_predictions"]
    assert costs[-1] == NodeCost("/yolor_predictions", "decode", 0, 4 * 2 * raw)


def test_head_does_not_change_what_the_network_costs() -> None:
    """Raw maps are written, whether a head reads them or they are the outputs."""
    spec = spec_of()
    model = network_of(spec)
    expected = node_costs(model, batch=1)
    attach_nms(model, spec, NmsConfig())

    costs = node_costs(model, batch=1)

    assert costs[:-1] == expected


def test_value_of_unknown_shape_is_refused() -> None:
    """What cannot be counted is not guessed."""
    net = TinyNet()
    model = net.model([net.conv(net.conv(net.x, "first"), "second")])
    model.graph[0].outputs[0].shape = None

    with pytest.raises(PassError, match="shape of a value is not known"):
        node_costs(model, batch=1)


def test_multiply_adds_are_counted_by_shape() -> None:
    """Each value of the result takes one product per weight of its channel; the batch is one."""
    net = TinyNet()
    model = net.model([net.conv(net.conv(net.x, "first"), "second", stride=2)])

    assert multiply_adds_of(model) == {"first": MAP * 27, "second": MAP // 4 * 8 * 9}
