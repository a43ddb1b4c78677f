"""Arguments of yaml rows: what each block takes, and that nothing is left out silently."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.families.small import small_structure, structured, with_row
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError
from yolor_deploy.families import yaml
from yolor_deploy.families.yaml.arguments import SIGNATURES, options_of, shown
from yolor_deploy.families.yaml.network import network_from_plan
from yolor_deploy.families.yaml.plan import plan_from_structure


def module_of(row: Any) -> nn.Module:
    """Return the module that a row makes of a map of 8 channels."""
    structure = with_row(1, row)
    return network_from_plan(plan_from_structure(structure, where="small.pt")).model[1]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([-1, 1, "Conv", [8, 3, 1, 0]], "size 3 has padding 0"),
        ([-1, 1, "Conv", [8, 3, 1, 2]], "size 3 has padding 2"),
        ([-1, 1, "Conv", [8, 3, 1, None, 3]], "cannot split 8 channels into 8"),
        ([-1, 1, "Conv", [8, 3, 1, None, 1, False]], "argument 5 of Conv (act) is False"),
        ([-1, 1, "Conv", [8, 3, 1, None, 1, 1]], "argument 5 of Conv (act) is 1, expected True"),
        ([-1, 1, "Conv", [8, 3, 1, None, 1, True, 0]], "7 arguments, expected at most 6"),
        ([-1, 1, "Conv", [8, 2, 1]], "does not give 1/1"),
        ([-1, 1, "Conv", [8, 5, 2, "half"]], "argument 3 of Conv (padding) is 'half'"),
        ([-1, 1, "DWConv", [8, 3, 1, False]], "(act) is False"),
        ([-1, 1, "Focus", [8, 3, 2]], "argument 2 of Focus (stride) is 2"),
        ([-1, 1, "Bottleneck", [8, True, 2]], "argument 2 of Bottleneck (groups) is 2"),
        ([-1, 1, "Bottleneck", [8, True, 1, 1.0]], "(expansion) is 1.0"),
        ([-1, 1, "BottleneckCSP", [8, "no"]], "(shortcut) is 'no'"),
        ([-1, 1, "BottleneckCSP2", [8, 0]], "(shortcut) is 0, expected True or False"),
        ([-1, 1, "SPP", [8, [4]]], "odd sizes"),
        ([-1, 1, "SPP", [8, 5]], "a list of odd sizes"),
        ([-1, 1, "SPPCSP", [8, [5, 9]]], "argument 1 of SPPCSP (shortcut) is [5, 9]"),
        ([-1, 1, "DownC", [8, 3]], "argument 1 of DownC (pool) is 3"),
        ([-1, 1, "nn.Upsample", [64, 2, "nearest"]], "(size) is 64"),
        ([-1, 1, "nn.Upsample", [None, 2, "bilinear"]], "(mode) is 'bilinear'"),
        ([-1, 1, "nn.Upsample", [None, 2, "nearest", True]], "4 arguments"),
        ([-1, 1, "nn.Conv2d", [8, 3]], "padding 0 does not give 1/1"),
        ([-1, 1, "nn.Conv2d", [8, 3, 1, 1, 2]], "5 arguments"),
        ([-1, 1, "nn.MaxPool2d", [2, 1]], "does not give 1/1"),
        ([-1, 1, "nn.MaxPool2d", [3, 1, 1, 2]], "4 arguments"),
        ([-1, 1, "nn.LeakyReLU", [math.nan]], "(slope) is nan"),
        ([[-1, 0], 1, "Concat", [2]], "argument 0 of Concat (axis) is 2"),
        ([[-1, 0], 1, "Conv", [8]], "Conv reads 2 layers, expected one"),
        ([[-1, -1], 2, "Concat", [1]], "cannot follow itself 2 times"),
        ([-1, 2, "Conv", [16]], "cannot follow itself 2 times"),
        ([-1, 2, "nn.MaxPool2d", [2]], "cannot follow itself 2 times"),
        ([-1.5, 1, "Conv", [8]], "from is -1.5"),
        ([True, 1, "Conv", [8]], "from is True"),
        ([-1, "2", "Conv", [8]], "repeats is '2'"),
        ([-1, 1, ["Conv"], [8]], "a list"),
    ],
)
def test_argument_that_is_not_built_is_refused(row: Any, problem: str) -> None:
    """Rather than being left out, an argument that would change the network is quoted."""
    with pytest.raises(CheckpointError) as error:
        plan_from_structure(with_row(1, row), where="small.pt")

    assert problem in error.value.problem
    assert error.value.where == "small.pt, layer 1"


@pytest.mark.parametrize(
    ("row", "same"),
    [
        ([-1, 1, "Conv", [8, 3]], [-1, 1, "Conv", [8, 3, 1, 1, 1, True]]),
        ([-1, 1, "Conv", [8, 3]], [-1, 0, "models.common.Conv", [8.0, 3, 1, "None"]]),
        ([-1, 1, "Conv", [8]], [0, 1, "Conv", [8, 1, 1, None, 1, "True"]]),
        ([-1, 2, "BottleneckCSP2", [8]], [-1, 2, "BottleneckCSP2", [8, "False", 1, 0.5]]),
        ([-1, 3, "SPPCSP", [8]], [-1, 1, "SPPCSP", [8, True, 1, 0.5, [5, 9, 13]]]),
        ([-1, 1, "nn.MaxPool2d", [2]], [-1, 1, "nn.MaxPool2d", [2, None, 0]]),
        ([-1, 1, "nn.MaxPool2d", [2, 2]], [-1, 1, "MP", []]),
        ([-1, 1, "nn.Upsample", ["None", 2]], [-1, 1, "nn.Upsample", [None, 2, "nearest"]]),
    ],
)
def test_default_is_the_same_as_what_it_stands_for(row: Any, same: Any) -> None:
    """An argument that is left out builds the layer that its default builds."""
    assert repr(module_of(row)) == repr(module_of(same))


@pytest.mark.parametrize(
    ("kind", "shortcut", "adds"),
    [
        ("BottleneckCSP", [], True),
        ("BottleneckCSP", [False], False),
        ("BottleneckCSPF", ["False"], False),
        ("BottleneckCSP2", [], False),
        ("BottleneckCSP2", [True], True),
    ],
)
def test_shortcut_of_a_row_reaches_its_bottlenecks(
    kind: str, shortcut: list[Any], adds: bool
) -> None:
    """``[512, False]`` leaves the sums inside out, and each block has its own default."""
    block = module_of([-1, 2, kind, [8, *shortcut]])

    assert [inner.add for inner in block.get_submodule("m").children()] == [adds, adds]


def test_groups_of_a_row_reach_its_convolution() -> None:
    """A convolution in two groups has half of the weights."""
    conv = module_of([-1, 1, "Conv", [16, 3, 1, None, 2]]).get_submodule("conv")

    assert isinstance(conv, nn.Conv2d)
    assert conv.groups == 2
    assert conv.weight.shape == (16, 4, 3, 3)


FEWEST: dict[str, tuple[Any, ...]] = {  # arguments with which each block can be built
    **dict.fromkeys(("Conv", "DWConv", "Focus", "Bottleneck", "SPP", "SPPCSP", "DownC"), (8,)),
    **dict.fromkeys(("BottleneckCSP", "BottleneckCSPF", "BottleneckCSP2"), (8,)),
    "Conv2d": (8, 1),
    "Upsample": (None, 2),
    "MaxPool2d": (2,),
    **dict.fromkeys(("MP", "Concat", "ReOrg", "DWT", "SiLU", "Mish", "ReLU", "LeakyReLU"), ()),
    **dict.fromkeys(("Identity", "BatchNorm2d", "Detect", "IDetect"), ()),
}


def test_every_block_has_a_signature() -> None:
    """The table of arguments has the blocks that a network can have, no more and no less."""
    assert SIGNATURES.keys() == FEWEST.keys()


@pytest.mark.parametrize("kind", sorted(FEWEST.keys() - {"Detect", "IDetect"}))
def test_every_block_is_built_with_its_fewest_arguments(kind: str) -> None:
    """The arguments without a default are enough for a module; with one less it is refused."""
    fewest = FEWEST[kind]
    structure = small_structure()
    structure["backbone"][1:] = [[-1, 1, kind, fewest]]
    structure["head"] = [[[0], 1, "Detect", []]]

    network = network_from_plan(plan_from_structure(structure, where="small.pt"))

    assert len(network.model) == 3
    if fewest:
        with pytest.raises(CheckpointError, match=r"is missing") as error:
            options_of(kind, fewest[:-1], where="small.pt, layer 1")
        assert error.value.where == "small.pt, layer 1"


def test_structure_without_end_is_quoted_in_a_line() -> None:
    """Whatever stands in a row, a message about it is short, and is made without recursion."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    own: list[Any] = [1]
    own.append(own)

    for value in (deep, own, 10**6_000, [10**6_000], "x" * 10**6, {"a": 1}, ["x" * 100] * 100):
        assert len(shown(value)) < 80
        with pytest.raises(CheckpointError):
            plan_from_structure(with_row(1, value), where="small.pt")
        for part in ("nc", "anchors", "depth_multiple", "width_multiple", "backbone", "head"):
            with pytest.raises((CheckpointError, UnsupportedModelError)):
                plan_from_structure({**small_structure(), part: value}, where="small.pt")


@pytest.mark.parametrize(
    ("rows", "stride"),
    [
        ([[-1, 1, "nn.MaxPool2d", [2]], [-1, 1, "nn.Upsample", [None, 2]]], "stride 4"),
        ([[-1, 1, "nn.Upsample", [None, 4]], [-1, 1, "nn.MaxPool2d", [4]]], "stride 1/2"),
    ],
)
def test_map_that_is_not_whole_is_refused(rows: list[Any], stride: str) -> None:
    """A head of stride 2 takes images of 2 pixels, which a layer of stride 4 cannot divide."""
    structure = small_structure()
    structure["backbone"] = [[-1, 1, "Conv", [8, 3, 2]], *rows]
    structure["head"] = [[[2], 1, "Detect", ["nc", "anchors"]]]

    with pytest.raises(CheckpointError, match=f"map of {stride},") as error:
        plan_from_structure(structure, where="small.pt")

    assert error.value.where == "small.pt, layer 1"


def test_weights_of_other_classes_name_layer_and_shapes() -> None:
    """Weights of heads of other classes than nc says are refused with both shapes."""
    trained = structured(small_structure())
    structure = {**small_structure(), "nc": 4}

    with pytest.raises(CheckpointError) as error:
        yaml.module(structured(structure, tensors=trained.tensors))

    assert error.value.problem == (
        "model.7.m.0.weight has shape [16, 8, 1, 1], expected [18, 8, 1, 1]"
    )


def test_other_wavelets_than_haar_are_refused() -> None:
    """A filter of six taps is of another transform than the one built here."""
    checkpoint = structured(small_structure())
    taps = {"model.0.xfm.h0_col": torch.rand(1, 1, 6, 1)}

    with pytest.raises(CheckpointError, match="has 6 values, expected two equal ones") as error:
        yaml.spec(structured(small_structure(), tensors={**checkpoint.tensors, **taps}))

    assert error.value.where == "small.pt"
