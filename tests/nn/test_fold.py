"""All passes together: whatever the network, the numbers stay."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.nn.networks import (
    EXACT,
    WIDTH,
    Wired,
    batchnorm,
    conv,
    count,
    folded,
    images,
    mixed,
    relative_difference,
    vector,
)
from yolor_deploy.nn.affine import Affine
from yolor_deploy.nn.fold import fold
from yolor_deploy.nn.layers import Gate, PrependChannels, Product, ReOrg, Sum

MAX_CHANNELS = 24
LAYERS = ("conv1", "conv3", "down", "groups", "norm", "silu", "relu", "leaky", "pool", "up")
CONSTANTS = ("shift", "control", "positive", "select", "prepend")
JOINS = ("concat", "residual", "reorg")


@dataclass(frozen=True)
class Step:
    """One layer; ``other`` picks the second map of a concatenation or a sum."""

    kind: str
    other: int


class RandomNetwork(nn.Module):
    """A chain of layers with joins to earlier maps; steps that do not fit are left out."""

    def __init__(self, steps: list[Step], *, second_output: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"0": conv(3)})
        self.program: list[tuple[str, list[int]]] = []
        self.shapes: list[tuple[int, int]] = [(WIDTH, 8)]  # channels, height of every map
        for step in steps:
            self._append(step)
        last = len(self.shapes) - 1
        self.results = [last, second_output % len(self.shapes)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the last map, and one of the others."""
        maps = [self.layers["0"](x)]
        for kind, sources in self.program:
            inputs = [maps[source] for source in sources]
            name = str(len(maps))
            if kind in CONSTANTS:
                maps.append(self.layers[name](*inputs, self.layers[f"{name}_z"]()))
            elif kind == "concat":
                maps.append(torch.cat(inputs, 1))
            elif kind == "residual":
                maps.append(inputs[0] + inputs[1])
            else:
                maps.append(self.layers[name](*inputs))
        return [maps[index] for index in self.results]

    def _append(self, step: Step) -> None:
        last = len(self.shapes) - 1
        channels, size = self.shapes[last]
        name = str(last + 1)
        if step.kind in {"concat", "residual"}:
            self._join(step)
            return
        built = _layer(step.kind, channels, size)
        if built is None:
            return
        layer, shape = built
        self.layers[name] = layer
        if step.kind in CONSTANTS:
            self.layers[f"{name}_z"] = (
                vector(channels) if step.kind == "positive" else (mixed(channels))
            )
        self.program.append((step.kind, [last]))
        self.shapes.append(shape)

    def _join(self, step: Step) -> None:
        last = len(self.shapes) - 1
        channels, size = self.shapes[last]
        is_sum = step.kind == "residual"
        fitting = [
            index
            for index, (width, height) in enumerate(self.shapes)
            if height == size
            and (width == channels if is_sum else width + channels <= MAX_CHANNELS)
        ]
        if not fitting:
            return
        other = fitting[step.other % len(fitting)]
        self.program.append((step.kind, [last, other]))
        self.shapes.append((channels if is_sum else channels + self.shapes[other][0], size))


def _layer(kind: str, channels: int, size: int) -> tuple[nn.Module, tuple[int, int]] | None:
    """Return a layer and channels and height behind it; None if it does not fit there."""
    same = (channels, size)
    table: dict[str, tuple[nn.Module, tuple[int, int]]] = {
        "conv1": (conv(channels, WIDTH), (WIDTH, size)),
        "conv3": (conv(channels, 6, 3, bias=False), (6, size)),
        "groups": (conv(channels, channels, 3, groups=channels), same),
        "norm": (batchnorm(channels), same),
        "silu": (nn.SiLU(), same),
        "relu": (nn.ReLU(), same),
        "leaky": (nn.LeakyReLU(0.1), same),
        "pool": (nn.MaxPool2d(3, 1, 1), same),
        "shift": (Sum(), same),
        "control": (Product(), same),
        "positive": (Product(), same),
        "select": (Gate(), same),
    }
    if size > 1:
        table["down"] = (conv(channels, WIDTH, 3, stride=2), (WIDTH, size // 2))
    if size < 16:
        table["up"] = (nn.Upsample(scale_factor=2), (channels, size * 2))
    if size > 1 and 4 * channels <= MAX_CHANNELS:
        table["reorg"] = (ReOrg(), (4 * channels, size // 2))
    if 2 * channels <= MAX_CHANNELS:
        table["prepend"] = (PrependChannels(), (2 * channels, size))
    return table.get(kind)


STEPS = st.lists(
    st.builds(Step, kind=st.sampled_from(LAYERS + CONSTANTS + JOINS), other=st.integers(0, 20)),
    min_size=2,
    max_size=14,
)


@settings(derandomize=True, max_examples=80, deadline=None, database=None)
@given(steps=STEPS, second_output=st.integers(0, 20), fold_implicit=st.booleans())
def test_fold_keeps_the_numbers(steps: list[Step], second_output: int, fold_implicit: bool) -> None:
    """Any network of known layers gives the same maps behind all passes, in float64."""
    torch.manual_seed(0)
    network = RandomNetwork(steps, second_output=second_output).double().eval()
    batch = images()
    with torch.no_grad():
        expected = network(batch)

    graph_module, sites = fold(copy.deepcopy(network), fold_implicit=fold_implicit)

    graph_module.graph.lint()
    assert relative_difference(graph_module, batch, expected) < EXACT
    assert count(graph_module) == 0 or any(site.kept is not None for site in sites)
    assert count(graph_module, nn.BatchNorm2d) == 0


def _detector() -> Wired:
    """Return a small detector: stem, normalised convolution, two heads with implicit knowledge."""

    def wiring(n: Any, x: Tensor) -> list[Tensor]:
        y = n.silu(n.norm(n.body(n.reorg(x))))
        fine = n.scale(n.fine(n.shift(y, n.a())), n.m())
        return [fine, n.coarse(n.join(n.pool(y), n.c()))]

    return Wired(
        wiring,
        reorg=ReOrg(),
        body=conv(12, kernel=3, bias=False),
        norm=batchnorm(),
        silu=nn.SiLU(),
        pool=nn.MaxPool2d(2),
        shift=Sum(),
        fine=conv(outputs=6),
        scale=Product(),
        join=PrependChannels(),
        coarse=conv(2 * WIDTH, 6),
        a=mixed(),
        m=mixed(6),
        c=mixed(),
    )


def test_fold_reports_every_site() -> None:
    """Of a small detector only convolutions, activation and pool are left, all accounted for."""
    torch.manual_seed(0)

    graph_module, sites, difference = folded(_detector())

    assert {(site.layer, site.kind, site.into) for site in sites} == {
        ("norm", "batchnorm", ("body",)),
        ("a.implicit at shift", "implicit", ("fine",)),
        ("m.implicit at scale", "implicit", ("fine",)),
        ("c.implicit at join", "implicit", ("coarse",)),
        ("reorg", "reorg", ("body",)),
    }
    assert all(site.kept is None for site in sites)
    assert count(graph_module, nn.Conv2d) == 3
    assert sum(node.op.startswith("call") for node in graph_module.graph.nodes) == 5
    assert difference < EXACT


def test_fold_leaves_implicit_knowledge_if_asked() -> None:
    """Without folding it the sums, products and concatenations stay; the numbers are the same."""
    torch.manual_seed(0)

    graph_module, sites, difference = folded(_detector(), fold_implicit=False)

    kept = {site.layer: site.kept for site in sites if site.kept is not None}
    assert kept == {
        "a.implicit at shift": "not asked for",
        "m.implicit at scale": "not asked for",
    }
    assert count(graph_module) == 2
    assert count(graph_module, PrependChannels) == 1
    assert difference < EXACT


@pytest.mark.parametrize("fold_implicit", [False, True])
def test_fold_takes_the_scale_of_the_input(fold_implicit: bool) -> None:
    """A factor of the image goes into the first convolution, through space to depth."""
    torch.manual_seed(0)

    graph_module, sites, difference = folded(
        _detector(), fold_implicit=fold_implicit, input_scale=1 / 255
    )

    assert [(s.into, s.kept) for s in sites if s.kind == "input"] == [(("body",), None)]
    assert not any(
        isinstance(module, Affine) and module.origins[0].kind == "input"
        for module in graph_module.modules()
    )
    assert difference < EXACT


def test_fold_takes_out_what_does_nothing() -> None:
    """Layers that only matter in training are gone, and nothing is reported for them."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.drop(n.linear(n.body(x)))],
        body=conv(3),
        linear=nn.Identity(),
        drop=nn.Dropout(0.5),
    )

    graph_module, sites, difference = folded(network)

    assert sites == []
    assert [node.op for node in graph_module.graph.nodes] == [
        "placeholder",
        "call_module",
        "output",
    ]
    assert difference < EXACT
