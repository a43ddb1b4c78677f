from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.families.small import small_structure, with_row
from yolor_deploy.checkpoint import Checkpoint
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError, YolorDeployError
from yolor_deploy.families import yaml
from yolor_deploy.families.yaml.network import network_from_plan
from yolor_deploy.families.yaml.plan import Plan, plan_from_structure
from yolor_deploy.families.yaml.published import RECIPES, published_structure

P5, P6, P7 = (8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128)
RESOLVED = {  # layers, strides, anchors a level
    "yolor-p6": (42, P6, 3),
    "yolor-w6": (42, P6, 3),
    "yolor-e6": (42, P6, 3),
    "yolor-d6": (42, P6, 3),
    "yolor-ssss-s2d": (29, P5, 3),
    "yolor-ssss-dwt": (29, P5, 3),
    "yolov4-csp-yaml": (32, P5, 3),
    "yolov4-p5": (32, P5, 4),
    "yolov4-p6": (43, P6, 4),
    "yolov4-p7": (54, P7, 4),
}


def plan_of(structure: dict[str, Any]) -> Plan:
    """Return the plan of a structure."""
    return plan_from_structure(structure, where="small.pt")


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_published_structure_is_resolved(name: str) -> None:
    """Every published model has its number of layers, its strides and its anchors a level."""
    plan = plan_of(published_structure(name))

    assert (len(plan.layers), plan.strides, plan.num_anchors) == RESOLVED[name]
    assert plan.num_classes == 80
    assert plan.layers[-1].kind == RECIPES[name].detect


def test_small_structure_is_resolved() -> None:
    """Sources count from the row where negative, and each layer has its channels and stride."""
    layers = plan_of(small_structure()).layers

    assert [layer.sources for layer in layers] == [
        (-1,), (0,), (1,), (2,), (3,), (4, 1), (5,), (6, 2)
    ]  # fmt: skip
    assert [layer.channels for layer in layers[:-1]] == [8, 8, 16, 8, 8, 16, 8]
    assert [layer.stride for layer in layers[:-1]] == [2, 2, 4, 4, 2, 2, 2]


@pytest.mark.parametrize(
    ("multiple", "width", "resolved"),
    [(1.0, 8, 8), (1.0, 9, 16), (0.5, 24, 16), (1.25, 40, 56), (0.1, 8, 8), (1.25, 16, 16)],
)
def test_widths_are_rounded_up_to_eights(multiple: float, width: int, resolved: int) -> None:
    """Scaled widths are rounded up to 8; 16 = 2 anchors x (5 + 3 classes) is taken as it is."""
    structure = with_row(0, [-1, 1, "Conv", [width, 3, 2]])
    structure["width_multiple"] = multiple

    assert plan_of(structure).layers[0].channels == resolved


def test_width_of_a_head_is_not_scaled_in_the_neck_either() -> None:
    """With 123 classes 384 = 3 x (5 + 123), so the neck of E6 keeps 384 instead of 480."""
    usual = plan_of(published_structure("yolor-e6"))
    special = plan_of(published_structure("yolor-e6", num_classes=123))

    changed = [
        (before.channels, after.channels)
        for before, after in zip(usual.layers[:-1], special.layers[:-1], strict=True)
        if "width" in before.options and before.channels != after.channels
    ]
    assert changed
    assert set(changed) == {(480, 384)}


@pytest.mark.parametrize(
    ("multiple", "written", "resolved"),
    [(1.0, 3, 3), (0.33, 9, 3), (0.33, 3, 1), (0.1, 2, 1), (0.5, 5, 2), (0.5, 3, 2), (3.0, 1, 1)],
)
def test_repeats_are_rounded_half_to_even(multiple: float, written: int, resolved: int) -> None:
    """More than one repeat is multiplied and rounded half to even, and at least one; one stays."""
    structure = with_row(1, [-1, written, "BottleneckCSP", [8]])
    structure["depth_multiple"] = multiple

    plan = plan_of(structure)

    block = network_from_plan(plan).model[1]
    assert plan.layers[1].repeats == resolved
    assert len(block.get_submodule("m")._modules) == resolved


@pytest.mark.parametrize(
    "row",
    [
        "Conv",
        None,
        7,
        [],
        [-1, 1, "Conv"],
        [-1, 1, "Conv", [8, 3, 2], 0],
        [-1, 1, "Conv", None],
        [-1, 1, "Conv", []],
        [-1, 1, "Conv", "8"],
        [-1, 1, "Conv", [None, 3, 2]],
        [-1, 1, "Conv", [[8], 3, 2]],
        [-1, 1, "Conv", [True, 3, 2]],
        [-1, 1, "Conv", [-8, 3, 2]],
        [-1, 1, "Conv", [0, 3, 2]],
        [-1, 1, "Conv", [8.5, 3, 2]],
        [-1, 1, "Conv", [math.nan, 3, 2]],
        [-1, 1, "Conv", [math.inf, 3, 2]],
        [-1, 1, "Conv", [10**9, 3, 2]],
        [-1, 1, "Conv", [8, 3, -2]],
        [-1, 1, "Conv", [8, 3, math.inf]],
        [-1, -1, "Conv", [8, 3, 2]],
        [-1, 10**9, "Conv", [8, 3, 2]],
        [-1, math.nan, "Conv", [8, 3, 2]],
        [-1, math.inf, "Conv", [8, 3, 2]],
        [-1, "many", "Conv", [8, 3, 2]],
        [-1, [1], "Conv", [8, 3, 2]],
        [2, 1, "Conv", [8, 3, 2]],
        [99, 1, "Conv", [8, 3, 2]],
        [-9, 1, "Conv", [8, 3, 2]],
        [None, 1, "Conv", [8, 3, 2]],
        [math.inf, 1, "Conv", [8, 3, 2]],
        ["first", 1, "Conv", [8, 3, 2]],
        [[], 1, "Conv", [8, 3, 2]],
        [[[-1]], 1, "Conv", [8, 3, 2]],
        [[-1, 0], 1, "nn.Upsample", []],
        [-1, 1, "nn.Upsample", ["None", 0]],
        [-1, 1, "nn.MaxPool2d", [0]],
    ],
)
def test_wrong_row_is_refused(row: Any) -> None:
    """A row that is not of the form is refused with the file and its layer, nothing else."""
    with pytest.raises(CheckpointError) as error:
        plan_of(with_row(2, row))

    assert error.value.where == "small.pt, layer 2"
    assert error.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nc", None),
        ("nc", "three"),
        ("nc", 0),
        ("nc", -1),
        ("nc", 10**7),
        ("nc", math.inf),
        ("nc", math.nan),
        ("depth_multiple", None),
        ("depth_multiple", math.nan),
        ("depth_multiple", math.inf),
        ("depth_multiple", 10**400),
        ("depth_multiple", 1e308),
        ("width_multiple", "wide"),
        ("width_multiple", math.nan),
        ("width_multiple", -1.0),
        ("width_multiple", 0.0),
        ("width_multiple", 1e308),
        ("anchors", None),
        ("anchors", 0),
        ("anchors", -3),
        ("anchors", []),
        ("anchors", [[]]),
        ("anchors", [7]),
        ("anchors", {}),
        ("backbone", None),
        ("backbone", 3),
        ("backbone", "rows"),
        ("backbone", [[-1, 1, "Conv", [8]]] * 3000),
        ("head", None),
        ("head", {"a": 1}),
    ],
)
def test_wrong_part_is_refused(key: str, value: Any) -> None:
    """A part of the structure that is not of the form is refused; so is one that is missing."""
    structure = small_structure()
    absent = {name: part for name, part in structure.items() if name != key}

    for wrong in (absent, {**structure, key: value}):
        with pytest.raises(CheckpointError) as error:
            plan_of(wrong)
        assert error.value.where.startswith("small.pt")


@pytest.mark.parametrize("block", ["C3", "models.common.C3", "RepConv", "Contract", "GhostConv"])
def test_block_of_another_family_is_named(block: str) -> None:
    """A block that these families do not have is refused by its name and layer."""
    with pytest.raises(UnsupportedModelError, match=block.rsplit(".", 1)[-1]) as error:
        plan_of(with_row(1, [-1, 1, block, [8]]))

    assert error.value.where == "small.pt, layer 1"
    assert "BottleneckCSP" in error.value.hint


def test_model_without_head_is_refused() -> None:
    """A structure that ends with another block is not a detector."""
    structure = small_structure()
    del structure["head"][-1]

    with pytest.raises(UnsupportedModelError, match="last layer is Conv"):
        plan_of(structure)


def test_rows_behind_the_head_are_refused() -> None:
    """Nothing may follow the head; the layer that does is named."""
    structure = small_structure()
    structure["head"].append([-1, 1, "Conv", [8]])

    with pytest.raises(CheckpointError, match="after the head") as error:
        plan_of(structure)

    assert error.value.where == "small.pt, layer 8"


def test_maps_of_different_strides_are_not_joined() -> None:
    """A Concat of strides 4 and 2 is refused with both."""
    with pytest.raises(CheckpointError, match="strides 2, 4") as error:
        plan_of(with_row(5, [[-1, 2], 1, "Concat", [1]]))

    assert error.value.where == "small.pt, layer 5"


@pytest.mark.parametrize(
    ("row", "channels", "stride"),
    [
        ([-1, 1, "Conv", [24, 3, 2]], 24, 4),
        ([-1, 2, "Conv", [8, 3, 1]], 8, 2),
        ([-1, 1, "DWConv", [8, 3, 2]], 8, 4),
        ([-1, 1, "Focus", [24, 3]], 24, 4),
        ([-1, 1, "Bottleneck", [8]], 8, 2),
        ([-1, 2, "BottleneckCSPF", [24]], 24, 2),
        ([-1, 2, "BottleneckCSP2", [24]], 24, 2),
        ([-1, 1, "SPP", [24, [5, 9]]], 24, 2),
        ([-1, 1, "SPPCSP", [24]], 24, 2),
        ([-1, 1, "DownC", [24]], 24, 4),
        ([-1, 1, "nn.Conv2d", [24, 3, 2, 1]], 24, 4),
        ([-1, 1, "ReOrg", []], 32, 4),
        ([-1, 1, "DWT", []], 32, 4),
        ([-1, 1, "nn.MaxPool2d", [2]], 8, 4),
        ([-1, 1, "nn.MaxPool2d", [3, 1, 1]], 8, 2),
        ([-1, 1, "MP", []], 8, 4),
        ([-1, 1, "nn.Identity", []], 8, 2),
        ([-1, 1, "nn.BatchNorm2d", []], 8, 2),
        ([-1, 1, "nn.ReLU", []], 8, 2),
        ([-1, 1, "nn.Upsample", ["None", 2, "nearest"]], 8, 1),
    ],
)
def test_block_gives_the_shape_that_its_plan_says(row: Any, channels: int, stride: int) -> None:
    """What the network computes has the channels and the stride that the plan resolved."""
    structure = small_structure()
    structure["backbone"] = [[-1, 1, "Conv", [8, 3, 2]], row]
    structure["head"] = [[[0], 1, "Detect", ["nc", "anchors"]]]
    plan = plan_of(structure)
    network = network_from_plan(plan)

    output = network.model[1](torch.rand(1, 8, 8, 12, generator=torch.Generator().manual_seed(8)))

    assert plan.layers[1].channels == channels
    assert plan.layers[1].stride == stride
    assert output.shape == (1, channels, 16 // stride, 24 // stride)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**9, 10**400, 1e308, -1, 0, 64, 99_999, math.nan, math.inf, -math.inf])
    | st.text(max_size=4)
    | st.sampled_from(
        [
            *("Conv", "SPP", "DWT", "IDetect", "Detect", "nn.Upsample", "C3", "Concat", "DownC"),
            *("nc", "nn.MaxPool2d", "nn.Conv2d", "BottleneckCSP2", "Focus", "MP", "ReOrg"),
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


EMPTY = Checkpoint(name="small.pt", sha256=None, container="zip", tensors={})


def _mutate(value: Any, data: st.DataObject) -> Any:
    """Return the value with one part of it, at any depth, replaced, lost or doubled."""
    if not isinstance(value, dict | list) or not value or data.draw(st.integers(0, 5)) == 0:
        return data.draw(VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = data.draw(st.sampled_from(keys))
    action = data.draw(st.integers(0, 9))
    if action == 0:
        del value[key]
    elif action == 1 and isinstance(value, list):
        value.insert(key, copy.deepcopy(value[key]))
    else:
        value[key] = _mutate(value[key], data)
    return value


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.data())
def test_changed_structure_gives_a_network_or_an_error(data: st.DataObject) -> None:
    """A structure with parts lost or replaced by anything is built or refused, nothing else."""
    structure = small_structure()
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from([*structure]))
        structure[key] = _mutate(structure[key], data)
    failures: list[YolorDeployError] = []

    try:
        plan = plan_of(structure)
        yaml._levels(replace(EMPTY, structure=structure), structure, plan)
        with torch.device("meta"):
            network_from_plan(plan)
    except YolorDeployError as error:
        failures.append(error)

    assert all(error.where.startswith("small.pt") and error.hint for error in failures)


def test_rows_that_repeat_without_end_are_refused() -> None:
    """Many rows of many repeats are refused before a network is built; the row is named."""
    structure = small_structure()
    structure["backbone"] = [[-1, 2_000, "BottleneckCSP", [8]]] * 3

    with pytest.raises(CheckpointError, match="6000 blocks") as error:
        plan_of(structure)

    assert error.value.where == "small.pt, layer 2"


def test_wavelet_of_a_wide_map_is_refused() -> None:
    """The filter of a DWT is dense: on 2048 channels it is refused, with that number."""
    structure = small_structure()
    structure["backbone"][:2] = [[-1, 1, "Conv", [2048]], [-1, 1, "DWT", []]]

    with pytest.raises(CheckpointError, match="DWT reads 2048 channels") as error:
        plan_of(structure)

    assert error.value.where == "small.pt, layer 1"
