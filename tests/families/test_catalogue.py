from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from yolor_deploy.families import darknet, yaml
from yolor_deploy.families.catalogue import CATALOGUE, PublishedModel, published_as
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import network_from_plan as network_from_cfg
from yolor_deploy.families.darknet.plan import plan_from_sections
from yolor_deploy.families.darknet.published import RECIPES as CFG_RECIPES
from yolor_deploy.families.darknet.published import published_cfg
from yolor_deploy.families.yaml.network import network_from_plan as network_from_yaml
from yolor_deploy.families.yaml.plan import plan_from_structure
from yolor_deploy.families.yaml.published import RECIPES as YAML_RECIPES
from yolor_deploy.families.yaml.published import published_structure

ALL = pytest.mark.parametrize("model", CATALOGUE, ids=[model.name for model in CATALOGUE])


@functools.cache
def network_of(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network without memory for its weights, and its strides."""
    with torch.device("meta"):
        if name in CFG_RECIPES:
            plan = plan_from_sections(parse_cfg(published_cfg(name)))
            return network_from_cfg(plan), tuple(level.stride for level in plan.levels)
        structure = plan_from_structure(published_structure(name), where=name)
        return network_from_yaml(structure), structure.strides


def test_names_are_those_of_the_families() -> None:
    """Every model that can be drawn is in the catalogue once, and no other."""
    names = [model.name for model in CATALOGUE]

    assert sorted(names) == sorted([*darknet.published_names(), *yaml.published_names()])
    assert len({*names}) == len(names)


@ALL
def test_parameters_and_strides_are_those_of_the_network(model: PublishedModel) -> None:
    """The catalogue tells the weights and strides that the built network has."""
    network, strides = network_of(model.name)

    assert model.parameters == sum(weight.numel() for weight in network.parameters())
    assert model.strides == strides


@ALL
def test_size_is_the_native_one(model: PublishedModel) -> None:
    """The catalogue tells the size of the recipe, a multiple of the coarsest stride."""
    recipe = CFG_RECIPES.get(model.name) or YAML_RECIPES[model.name]

    assert model.size == recipe.size
    assert model.size % max(model.strides) == 0


@ALL
def test_gflops_are_those_of_the_convolutions(model: PublishedModel) -> None:
    """Twice the multiplications of all convolutions at the native size, to 0.01 billion."""
    network = network_of(model.name)[0].to("meta")  # what is fixed was real
    total = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += 2 * output[0].numel() * module.weight[0].numel()

    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, 3, model.size, model.size, device="meta"))

    assert model.gflops == pytest.approx(total / 1e9, abs=0.006)


@ALL
def test_published_figures_have_their_conditions(model: PublishedModel) -> None:
    """An accuracy comes with its part of COCO, and a speed with an accuracy."""
    assert (model.ap is None) == (not model.ap_split)
    assert model.fps is None or model.ap is not None


@ALL
def test_published_model_is_found_at_its_size_and_classes(model: PublishedModel) -> None:
    """Each model is found as itself at its native square with the classes of COCO."""
    found = published_as(model.name, height=model.size, width=model.size, num_classes=80)

    assert found is model


@pytest.mark.parametrize(
    ("variant", "height", "width", "num_classes"),
    [
        ("custom", 1280, 1280, 80),
        ("yolor_d6", 1280, 1280, 80),
        ("yolor-d6", 640, 640, 80),
        ("yolor-d6", 1280, 1344, 80),
        ("yolor-d6", 1344, 1280, 80),
        ("yolor-d6", 1280, 1280, 3),
        ("yolor-d6", 1280, 1280, 81),
    ],
)
def test_nothing_was_published_of_other_work(
    variant: str, height: int, width: int, num_classes: int
) -> None:
    """Another name, size, shape or number of classes is not the published model."""
    assert published_as(variant, height=height, width=width, num_classes=num_classes) is None
