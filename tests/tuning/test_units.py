"""Units of tuning: what they group, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from yolor_deploy.tuning.units import predicted_time, units_of

Row = tuple[str, tuple[int, int, int, int], int]
"""Name, weight [out, in, height, width], side of the result."""


def network_of(rows: Sequence[Row]) -> ir.Model:
    """Return convolutions side by side; only their shapes matter."""
    nodes = []
    for name, weight_shape, side in rows:
        weight = ir.Value(
            name=f"{name}.weight",
            shape=ir.Shape(weight_shape),
            const_value=ir.tensor(np.zeros(weight_shape, np.float32)),
        )
        image = ir.Value(name=f"{name}.input")
        node = ir.node("Conv", [image, weight], name=name)
        node.outputs[0].shape = ir.Shape(["batch", weight_shape[0], side, side])
        nodes.append(node)
    return ir.Model(ir.Graph([], [], nodes=nodes, opset_imports={"": 17}), ir_version=8)


def test_layers_are_units_of_their_own() -> None:
    """By layer, each convolution that can be quantised is one unit."""
    network = network_of([(f"model.{k}.conv", (1, 1, 1, 1), 2) for k in range(3)])

    units = units_of(network, {"model.0.conv", "model.2.conv"}, "layer")

    assert [(unit.name, unit.layers) for unit in units] == [
        ("model.0.conv", ("model.0.conv",)),
        ("model.2.conv", ("model.2.conv",)),
    ]


def test_blocks_are_named_by_their_first_number() -> None:
    """Convolutions of one module are one unit, with the sum of their cost."""
    names = ("model.2.cv1.conv", "model.2.m.0.cv2.conv", "model.12.conv", "model.2.cv3.conv")
    network = network_of([(name, (1, 1, 1, 1), 2) for name in names])

    units = units_of(network, names, "block")

    assert [(unit.name, len(unit.layers), unit.multiply_adds) for unit in units] == [
        ("model.2", 3, 12),
        ("model.12", 1, 4),
    ]


def test_blocks_of_a_flat_list_are_runs_of_equal_size() -> None:
    """Where each number has one convolution, neighbours of the same resolution are a block."""
    sides = (8, 4, 4, 2, 4)
    network = network_of(
        [(f"module_list.{k}.Conv2d", (1, 1, 1, 1), side) for k, side in enumerate(sides)]
    )

    units = units_of(network, [f"module_list.{k}.Conv2d" for k in range(5)], "block")

    assert [unit.name for unit in units] == [
        "module_list.0.Conv2d",
        "module_list.1.Conv2d to module_list.2.Conv2d",
        "module_list.3.Conv2d",
        "module_list.4.Conv2d",
    ]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_predicted_time_lies_between_the_rates(share: float) -> None:
    """All in half precision is 1, all in 8 bits is half of that."""
    time = predicted_time(share, target="tensorrt", base="fp16")

    assert time == pytest.approx(0.5 + share / 2)
