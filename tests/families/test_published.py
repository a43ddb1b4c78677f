from __future__ import annotations

import pytest
import torch
from torch import nn

from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.families import family_of, random_checkpoint
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import network_from_plan as network_from_cfg
from yolor_deploy.families.darknet.plan import plan_from_sections
from yolor_deploy.families.darknet.published import RECIPES as CFG_RECIPES
from yolor_deploy.families.darknet.published import published_cfg
from yolor_deploy.families.yaml.network import network_from_plan as network_from_yaml
from yolor_deploy.families.yaml.plan import plan_from_structure
from yolor_deploy.families.yaml.published import RECIPES as YAML_RECIPES
from yolor_deploy.families.yaml.published import published_structure
from yolor_deploy.nn.affine import Affine
from yolor_deploy.nn.fold import fold

PARAMETERS = {  # of the authors' own networks, counted by PyTorch
    "yolor_csp": 52_923_994,
    "yolor_csp_x": 99_754_058,
    "yolor_p6": 37_265_016,
    "yolor_w6": 79_873_400,
    "yolov4_csp": 52_921_437,
    "yolov4_csp_x": 99_751_053,
    "yolov4_p6": 127_585_200,
    "yolov4_p7": 287_566_300,
    "yolov4-csp": 52_921_437,
    "yolor-p6": 37_270_264,
    "yolor-w6": 79_880_952,
    "yolor-e6": 115_909_400,
    "yolor-d6": 151_782_680,
    "yolor-ssss-s2d": 9_216_634,
    "yolor-ssss-dwt": 9_216_634,
    "yolov4-csp-yaml": 52_924_765,
    "yolov4-p5": 70_834_012,
    "yolov4-p6": 127_590_576,
    "yolov4-p7": 287_575_580,
}
CFG_LAYERS = {
    "yolor_csp": 188,
    "yolor_csp_x": 216,
    "yolor_p6": 235,
    "yolor_w6": 235,
    "yolov4_csp": 176,
    "yolov4_csp_x": 204,
    "yolov4_p6": 305,
    "yolov4_p7": 366,
    "yolov4-csp": 175,
}


def meta_network(name: str) -> nn.Module:
    """Return a published network without memory for its weights."""
    with torch.device("meta"):
        if name in CFG_RECIPES:
            return network_from_cfg(plan_from_sections(parse_cfg(published_cfg(name))))
        return network_from_yaml(plan_from_structure(published_structure(name), where=name))


def test_every_published_model_is_counted() -> None:
    """The table of this file has the models of both families, no more and no less."""
    assert {*CFG_RECIPES, *YAML_RECIPES} == PARAMETERS.keys()
    assert CFG_RECIPES.keys() == CFG_LAYERS.keys()


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_network_has_the_authors_number_of_parameters(name: str) -> None:
    """The weights of every published model count to what the authors' network has."""
    network = meta_network(name)

    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(CFG_LAYERS))
def test_cfg_has_the_authors_number_of_layers(name: str) -> None:
    """Layer numbers are weight names, so every generated cfg has as many as the authors' file."""
    plan = plan_from_sections(parse_cfg(published_cfg(name)))

    assert len(plan.layers) == CFG_LAYERS[name]


@pytest.mark.parametrize(
    ("name", "vectors", "norms_left"),
    [("yolor_p6", 8, 0), ("yolor-ssss-s2d", 6, 5), ("yolor-ssss-dwt", 6, 5)],
)
def test_drawn_model_folds_without_implicit_rest(name: str, vectors: int, norms_left: int) -> None:
    """All vectors fold; of the norms only those over a concatenation of activated maps stay."""
    checkpoint = random_checkpoint(name, seed=1)
    network = family_of(checkpoint).module(checkpoint)
    image = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(2))
    expected = network(image)

    folded, sites = fold(network)

    implicit = [site for site in sites if site.kind == "implicit"]
    called = [
        folded.get_submodule(str(n.target)) for n in folded.graph.nodes if n.op == "call_module"
    ]
    left = [origin for module in called if isinstance(module, Affine) for origin in module.origins]
    assert len(implicit) == vectors
    assert [site for site in implicit if site.kept is not None] == []
    assert {origin.kind for origin in left} <= {"batchnorm"}
    assert len(left) == norms_left
    assert not [module for module in called if isinstance(module, nn.BatchNorm2d)]
    assert [site.kept for site in sites if site.kind == "reorg" and site.kept] == []
    for found, raw in zip(folded(image.double()), expected, strict=True):
        torch.testing.assert_close(found, raw.double(), rtol=1e-4, atol=1e-3)


def test_drawn_weights_depend_on_the_seed_alone() -> None:
    """The same seed draws the same weights, another one others."""
    first, same, other = (random_checkpoint("yolor-ssss-s2d", seed=seed) for seed in (1, 1, 2))

    name = "model.28.m.0.weight"
    assert all(torch.equal(value, same.tensors[key]) for key, value in first.tensors.items())
    assert not torch.equal(first.tensors[name], other.tensors[name])


def test_unknown_name_offers_the_nearest() -> None:
    """A misspelt model name is refused with names that are like it."""
    with pytest.raises(CheckpointError) as error:
        random_checkpoint("yolor-p7")

    assert error.value.where == "yolor-p7"
    assert "yolor-p6" in error.value.hint
