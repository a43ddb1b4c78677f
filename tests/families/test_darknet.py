from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.families.small import ANCHORS, SMALL_CFG, cfg_of, plan_of
from yolor_deploy.checkpoint import CfgText, Checkpoint, DarknetWeights
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError
from yolor_deploy.families import darknet, family_of
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import DarknetNetwork, network_from_plan
from yolor_deploy.families.darknet.plan import plan_from_sections
from yolor_deploy.families.darknet.published import RECIPES, published_cfg
from yolor_deploy.nn.loading import expected_shapes, random_tensors

BODY = ("net width=64 height=32", "convolutional filters=8 size=3 stride=2 pad=1")
HEAD = ("route layers=0", "convolutional filters=16", f"yolo mask=0,1 anchors={ANCHORS} classes=3")


def meta_network(cfg: CfgText) -> DarknetNetwork:
    """Return the network of a cfg without memory for its weights."""
    with torch.device("meta"):
        return network_from_plan(plan_from_sections(parse_cfg(cfg)))


def meta_checkpoint(name: str, *, num_classes: int = 80) -> Checkpoint:
    """Return a checkpoint with the weights of a published model, without memory for them."""
    shapes = expected_shapes(meta_network(published_cfg(name, num_classes=num_classes)))
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return Checkpoint(name="best.pt", sha256=None, container="zip", tensors=tensors)


def small_checkpoint() -> Checkpoint:
    """Return a checkpoint of ``SMALL_CFG`` with drawn weights."""
    cfg = cfg_of(*SMALL_CFG)
    tensors = random_tensors(meta_network(cfg), seed=1)
    return Checkpoint(name="best.pt", sha256=None, container="zip", tensors=tensors, cfg=cfg)


def weights_file(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Checkpoint:
    """Return what a .weights file of ``SMALL_CFG`` with these values is read as."""
    body = DarknetWeights(major=0, minor=2, revision=5, seen=0, values=values)
    return Checkpoint(
        name="folder/last.weights",
        sha256=None,
        container="darknet",
        tensors={},
        cfg=cfg_of(*SMALL_CFG),
        darknet=body,
    )


def stored_order(*, implicit: bool) -> list[str]:
    """Return the weights of ``SMALL_CFG`` in darknet's order, written by hand."""

    def normalised(index: int) -> list[str]:
        leaves = ("bias", "weight", "running_mean", "running_var")
        norms = [f"module_list.{index}.BatchNorm2d.{leaf}" for leaf in leaves]
        return [*norms, f"module_list.{index}.Conv2d.weight"]

    def plain(index: int) -> list[str]:
        return [f"module_list.{index}.Conv2d.{leaf}" for leaf in ("bias", "weight")]

    vectors = [f"module_list.{index}.implicit" for index in (5, 6)] if implicit else []
    return [*normalised(0), *plain(1), *normalised(4), *vectors, *plain(9)]


def joined(tensors: dict[str, Tensor], names: list[str]) -> Checkpoint:
    """Return a .weights file that holds tensors one behind the other."""
    values = np.concatenate([tensors[name].numpy().ravel() for name in names])
    return weights_file(values)


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [*((name, 80) for name in sorted(RECIPES)), ("yolor_p6", 7), ("yolov4-csp", 1)],
)
def test_published_model_is_recognised_by_its_weights(name: str, num_classes: int) -> None:
    """Names and shapes alone say which published model it is, and how many classes it has."""
    checkpoint = meta_checkpoint(name, num_classes=num_classes)

    spec = darknet.spec(checkpoint)

    assert family_of(checkpoint) is darknet
    # yolov4-csp differs from yolov4_csp in the order of its layers; nothing else is alike.
    assert spec.variant == name
    assert spec.num_classes == num_classes
    assert (spec.input.height, spec.input.width) == (RECIPES[name].size,) * 2
    assert len(spec.levels) == len(RECIPES[name].heads)


def test_unknown_weights_name_the_nearest_model() -> None:
    """Weights of yolor_p6 with one of another shape are refused: model and weight are named."""
    checkpoint = meta_checkpoint("yolor_p6")
    odd = "module_list.1.Conv2d.weight"
    tensors = {**checkpoint.tensors, odd: torch.empty(65, 12, 3, 3, device="meta")}

    with pytest.raises(UnsupportedModelError, match="yolor_p6") as error:
        darknet.spec(replace(checkpoint, tensors=tensors))

    assert odd in error.value.problem
    assert error.value.where == "best.pt"
    assert "--cfg" in error.value.hint


def test_given_cfg_describes_weights_of_no_published_model() -> None:
    """With a cfg the weights need not be published: size, name and levels come from the cfg."""
    checkpoint = small_checkpoint()

    spec = darknet.spec(checkpoint)
    maps = darknet.module(checkpoint)(torch.rand(2, 3, 32, 64))

    assert (spec.variant, spec.input.height, spec.input.width) == ("small", 32, 64)
    assert [tuple(x.shape) for x in maps] == [(2, 16, 16, 32), (2, 16, 8, 16)]
    assert spec.class_names == ("class_0", "class_1", "class_2")


def test_size_that_the_strides_do_not_divide_becomes_the_default() -> None:
    """A [net] of 65 x 32 pixels at stride 4 gives the native size 640."""
    checkpoint = replace(small_checkpoint(), cfg=cfg_of("net width=65 height=32", *SMALL_CFG[1:]))

    spec = darknet.spec(checkpoint)

    assert (spec.input.height, spec.input.width) == (640, 640)


def test_weights_that_do_not_fit_the_cfg_are_refused() -> None:
    """The first weight of another shape is named with both shapes, and file and cfg with it."""
    checkpoint = small_checkpoint()
    cfg = cfg_of(*(section.replace("filters=8", "filters=12") for section in SMALL_CFG))

    with pytest.raises(CheckpointError) as error:
        darknet.module(replace(checkpoint, cfg=cfg))

    assert "module_list.0.Conv2d.weight" in error.value.problem
    assert "[8, 3, 3, 3], expected [12, 3, 3, 3]" in error.value.problem
    assert error.value.where == "best.pt with small.cfg"


def test_weights_file_with_implicit_values_gives_all_weights() -> None:
    """Values in darknet's order, implicit ones in their place, arrive under their names."""
    tensors = random_tensors(meta_network(cfg_of(*SMALL_CFG)), seed=2)

    network = darknet.module(joined(tensors, stored_order(implicit=True)))

    state = {name: value for name, value in network.state_dict().items() if name in tensors}
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)


def test_weights_file_without_implicit_values_gets_neutral_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Missing vectors become 0 to add and 1 to multiply, and a warning tells the file."""
    tensors = random_tensors(meta_network(cfg_of(*SMALL_CFG)), seed=2)
    checkpoint = joined(tensors, stored_order(implicit=False))

    with caplog.at_level(logging.WARNING):
        state = darknet.module(checkpoint).state_dict()

    assert torch.equal(state["module_list.5.implicit"], torch.zeros(1, 8, 1, 1))
    assert torch.equal(state["module_list.6.implicit"], torch.ones(1, 16, 1, 1))
    name = "module_list.9.Conv2d.weight"
    assert torch.equal(state[name], tensors[name])
    assert "last.weights holds no implicit values" in caplog.text
    assert "2 vectors" in caplog.text


def test_weights_file_warns_of_boxes_that_it_cannot_tell(caplog: pytest.LogCaptureFixture) -> None:
    """Without new_coords=1 in its cfg, darknet may have trained other boxes: that is said."""
    tensors = random_tensors(meta_network(cfg_of(*SMALL_CFG)), seed=2)

    with caplog.at_level(logging.WARNING):
        darknet.module(joined(tensors, stored_order(implicit=True)))

    assert "new_coords=1" in caplog.text


@pytest.mark.parametrize(("change", "last"), [(-1, "module_list.9.Conv2d.bias"), (5, "9.Conv2d.w")])
def test_weights_file_of_wrong_length_is_refused(change: int, last: str) -> None:
    """Too few or too many values are refused with both counts that the cfg allows."""
    network = meta_network(cfg_of(*SMALL_CFG))
    sizes = {key: int(np.prod(shape)) for key, shape in expected_shapes(network).items()}
    plain, full = (
        sum(sizes[name] for name in stored_order(implicit=implicit)) for implicit in (False, True)
    )
    checkpoint = weights_file(np.zeros(plain + change, np.float32))

    with pytest.raises(CheckpointError) as error:
        darknet.module(checkpoint)

    assert f"{plain + change:,} values, expected {plain:,} or {full:,}" in error.value.problem
    assert last in error.value.problem
    assert error.value.where == "last.weights"


def test_weights_file_without_description_is_refused() -> None:
    """Values alone do not say which model they are of; the hint offers the published cfgs."""
    checkpoint = replace(weights_file(np.zeros(10, np.float32)), cfg=None)

    with pytest.raises(UnsupportedModelError) as error:
        darknet.spec(checkpoint)

    assert "--cfg" in error.value.hint
    assert "yolor_csp" in error.value.hint


def test_head_with_early_sigmoid_gives_the_same_raw_maps() -> None:
    """Darknet's activation=logistic with new_coords=1 means the maps of the linear convolution."""
    darknets = tuple(
        section.replace("activation=linear", "activation=logistic")
        if section.startswith("convolutional")
        else section
        for section in (*BODY, "convolutional filters=16 activation=linear")
    )
    early = cfg_of(*darknets, f"{HEAD[-1]} new_coords=1 scale_x_y=2.0")
    linear = cfg_of(*BODY, "convolutional filters=16 activation=linear", HEAD[-1])
    tensors = random_tensors(meta_network(linear), seed=3)
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(4))
    maps = []

    for cfg in (early, linear):
        checkpoint = Checkpoint(
            name="best.pt", sha256=None, container="zip", tensors=tensors, cfg=cfg
        )
        maps.append(darknet.module(checkpoint)(image)[0])

    assert torch.equal(maps[0], maps[1])
    assert maps[0].min() < 0


@pytest.mark.parametrize(
    "body",
    [
        ("convolutional filters=6 size=3 stride=2 pad=1 groups=2 activation=leaky",),
        ("convolutional filters=6 batch_normalize=1 activation=logistic",),
        ("maxpool size=2 stride=2",),
        ("maxpool size=2 stride=1",),
        ("maxpool size=5 stride=1",),
        ("upsample stride=2",),
        ("reorg",),
        ("silence",),
        ("dropout",),
        ("silence", "route layers=0,-1"),
        ("silence", "shortcut from=0"),
        ("silence", "shortcut from=0,-1 weights_type=per_layer"),
        ("silence", "scale_channels from=0"),
        ("silence", "sam from=0"),
        ("implicit_add filters=8", "route layers=0", "shift_channels from=1"),
        ("implicit_mul filters=1", "route layers=0", "control_channels from=1"),
        ("implicit_cat filters=8", "route layers=0", "alternate_channels from=1"),
        ("implicit_add filters=8", "route layers=0", "select_channels from=1"),
        ("implicit_add_2d atoms=2 filters=4", "route layers=0", "shift_channels_2d from=1"),
        ("implicit_cat_2d atoms=4 filters=2", "route layers=0", "alternate_channels_2d from=1"),
    ],
)
def test_layer_gives_the_shape_that_its_plan_says(body: tuple[str, ...]) -> None:
    """What the network computes has the channels and the stride that the plan resolved."""
    network = network_from_plan(plan_of(*BODY, *body, *HEAD))
    outputs = {-1: torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(5))}

    for layer, module in zip(network.plan.layers, network.module_list, strict=True):
        outputs[layer.index] = module(*(outputs[source] for source in layer.sources))

    layer = network.plan.layers[len(body)]
    height, width = 32 / layer.stride, 64 / layer.stride
    assert outputs[len(body)].shape == (1, layer.channels, int(height), int(width))


def test_layers_that_no_head_reads_are_not_run() -> None:
    """A layer beside the heads has its weights, but costs nothing and cannot fail."""
    side = "convolutional filters=6 size=3 stride=32 pad=1"
    network = network_from_plan(plan_of(*BODY, side, *HEAD))
    calls: list[int] = []
    for index, module in enumerate(network.module_list):
        module.register_forward_hook(lambda *_, index=index: calls.append(index))

    network(torch.rand(1, 3, 6, 10))

    assert "module_list.1.Conv2d.weight" in network.state_dict()
    assert calls == [0, 2, 3]
