"""Networks of a few layers, and how far a folded one is from what it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from yolor_deploy.nn.affine import Affine
from yolor_deploy.nn.fold import fold
from yolor_deploy.nn.fold_affine import FoldSite
from yolor_deploy.nn.graph_edit import module_of
from yolor_deploy.nn.implicit import ImplicitVector

WIDTH = 4  # channels of most maps here
# Float64 resolves 2e-16; a dozen sums of a hundred terms stay far below this.
EXACT = 1e-12

Wiring = Callable[[Any, Any], list[Any]]


class Wired(nn.Module):
    """Layers by name, and a function that says how they follow one another.

    Args:
        wiring: From the network and the images to a list of maps.
        layers: Read by the function as attributes.
    """

    def __init__(self, wiring: Wiring, **layers: nn.Module) -> None:
        super().__init__()
        self.wiring = wiring
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps."""
        return self.wiring(self, images)


def conv(
    inputs: int = WIDTH,
    outputs: int = WIDTH,
    kernel: int = 1,
    *,
    padding: int | None = None,
    stride: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """Return a convolution; it pads so that stride 1 keeps the size, unless told otherwise."""
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)


def batchnorm(channels: int = WIDTH) -> nn.BatchNorm2d:
    """Return a batch normalisation with drawn weights and statistics, all scales positive."""
    norm = nn.BatchNorm2d(channels, eps=1e-3)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


def vector(channels: int = WIDTH, *, low: float = 0.5, high: float = 1.5) -> ImplicitVector:
    """Return an implicit vector of values between two bounds."""
    implicit = ImplicitVector(channels)
    nn.init.uniform_(implicit.implicit, low, high)
    return implicit


def mixed(channels: int = WIDTH) -> ImplicitVector:
    """Return an implicit vector of alternating signs."""
    implicit = vector(channels)
    with torch.no_grad():
        implicit.implicit[:, ::2] *= -1
    return implicit


def images(*, size: int = 8, seed: int = 1) -> Tensor:
    """Return two normally distributed images, float64 [2, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, size, size, generator=generator, dtype=torch.float64)


def folded(
    network: nn.Module, *, fold_implicit: bool = True, input_scale: float = 1.0, size: int = 8
) -> tuple[fx.GraphModule, list[FoldSite], float]:
    """Fold a copy of a network, and run both.

    Returns:
        The folded graph, its sites, and the largest difference relative to the largest value.
    """
    network = network.double().eval()
    batch = images(size=size)
    with torch.no_grad():
        expected = network(batch * input_scale)
    graph_module, sites = fold(
        copy.deepcopy(network), fold_implicit=fold_implicit, input_scale=input_scale
    )
    graph_module.graph.lint()
    return graph_module, sites, relative_difference(graph_module, batch, expected)


def relative_difference(network: nn.Module, batch: Tensor, expected: list[Tensor]) -> float:
    """Return the largest difference of any map, relative to the largest value of its map."""
    with torch.no_grad():
        found = network(batch)
    assert [m.shape for m in found] == [m.shape for m in expected]
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def count(graph_module: fx.GraphModule, kind: type[nn.Module] = Affine) -> int:
    """Return how many nodes call a module of a kind."""
    return sum(isinstance(module_of(node), kind) for node in graph_module.graph.nodes)


def kinds(graph_module: fx.GraphModule) -> list[str]:
    """Return the modules and functions that a graph calls, in order."""
    nodes = [node for node in graph_module.graph.nodes if node.op.startswith("call")]
    modules = [(module_of(node), node) for node in nodes]
    return [node.target.__name__ if m is None else type(m).__name__ for m, node in modules]
