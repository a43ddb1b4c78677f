"""Where a scale and a shift may go forward, beyond a single layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.nn.networks import EXACT, WIDTH, Wired, Wiring, conv, count, folded, mixed, vector
from yolor_deploy.nn.layers import Product, ReOrg, Sum


def _network(wiring: Wiring, **layers: nn.Module) -> Wired:
    """Return a network that begins with ``silu(stem)``."""
    torch.manual_seed(0)
    layers.setdefault("head", conv())
    common = {"stem": conv(3), "silu": nn.SiLU(), "shift": Sum(), "scale": Product(), "z": mixed()}
    return Wired(lambda n, x: wiring(n, n.silu(n.stem(x))), **common, **layers)


def _twice(n: Any, x: Tensor) -> list[Tensor]:
    y = n.shift(x, n.z())
    return [n.head(y + y)]


def _beside_itself(n: Any, x: Tensor) -> list[Tensor]:
    y = n.scale(n.shift(x, n.z()), n.m())
    return [n.wide(torch.cat([y, x, y], 1))]


def _meets_itself(n: Any, x: Tensor) -> list[Tensor]:
    y = n.shift(x, n.z())
    return [n.head(n.pool(y) + y)]


def _meets_another_shift(n: Any, x: Tensor) -> list[Tensor]:
    return [n.head(n.shift(x, n.z()) + n.shift(n.pool(x), n.m()))]


def _all_ways(n: Any, x: Tensor) -> list[Tensor]:
    y = n.shift(n.scale(x, n.m()), n.z())
    return [n.deep(n.reorg(torch.cat([n.up(n.pool(y)), n.up(x)], 1)))]


CASES: dict[str, Callable[[], Wired]] = {
    "added to itself": lambda: _network(_twice),
    "joined with itself": lambda: _network(_beside_itself, m=vector(), wide=conv(3 * WIDTH)),
    "added to its own pool": lambda: _network(_meets_itself, pool=nn.MaxPool2d(3, 1, 1)),
    "added to another shift": lambda: _network(
        _meets_another_shift, m=mixed(), pool=nn.MaxPool2d(3, 1, 1)
    ),
    "through all": lambda: _network(
        _all_ways,
        m=vector(),
        pool=nn.MaxPool2d(3, 1, 1),
        up=nn.Upsample(scale_factor=2),
        reorg=ReOrg(),
        deep=conv(8 * WIDTH, groups=2),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_several_ways_to_one_convolution_add_up(case: str) -> None:
    """A shift that reaches a convolution on several ways arrives as often as it should."""
    graph_module, sites, difference = folded(CASES[case]())

    assert {site.kept for site in sites if site.kind == "implicit"} == {None}
    assert count(graph_module) == 0
    assert difference < EXACT


def test_factor_stays_before_a_sum() -> None:
    """A factor cannot pass a sum with another map, and says so."""
    network = _network(lambda n, x: [n.head(n.scale(x, n.z()) + x)])

    graph_module, sites, difference = folded(network)

    assert [site.kept for site in sites] == ["add adds another map, which a factor would not reach"]
    assert count(graph_module) == 1
    assert difference < EXACT


def test_many_ways_take_no_longer_than_many_layers() -> None:
    """Fifty sums of a map with its own pool make 2^50 ways, and are followed layer by layer."""

    def wiring(n: Any, x: Tensor) -> list[Tensor]:
        y = n.shift(x, n.z())
        for _ in range(50):
            y = n.pool(y) + y
        return [n.head(y)]

    network = _network(wiring, pool=nn.MaxPool2d(3, 1, 1))

    _, sites, difference = folded(network)

    assert [(site.into, site.kept) for site in sites] == [(("head",), None)]
    assert difference < EXACT  # relative to maps of 2^50


def test_long_ways_are_no_recursion() -> None:
    """A thousand pools in a row are passed, as are the channels of what they read."""

    def wiring(n: Any, x: Tensor) -> list[Tensor]:
        y = n.shift(x, n.z())
        for _ in range(1_500):
            y = n.pool(y)
        return [n.head(torch.cat([y, x], 1))]

    network = _network(wiring, pool=nn.MaxPool2d(1), head=conv(2 * WIDTH))

    _, sites, difference = folded(network)

    assert [(site.into, site.kept) for site in sites] == [(("head",), None)]
    assert difference < EXACT
