"""Which scales and shifts fold into convolutions, which must not, and that no number changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.nn.networks import (
    EXACT,
    WIDTH,
    Wired,
    Wiring,
    batchnorm,
    conv,
    count,
    folded,
    kinds,
    mixed,
    vector,
)
from yolor_deploy.nn.implicit import ImplicitVector
from yolor_deploy.nn.layers import Gate, Product, ReOrg, Sum, WeightedShortcut

OPERATIONS: dict[str, Callable[[], nn.Module]] = {"shift": Sum, "scale": Product, "select": Gate}
CONVOLUTIONS = [
    pytest.param(*values, id="bias{}-groups{}-kernel{}-stride{}".format(*map(int, values)))
    for values in itertools.product([False, True], [1, 2], [1, 3], [1, 2])
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batchnorm"])
@pytest.mark.parametrize(("bias", "groups", "kernel", "stride"), CONVOLUTIONS)
def test_fold_behind_convolution(
    bias: bool, groups: int, kernel: int, stride: int, norm: bool, operation: str
) -> None:
    """Behind a convolution of any form all folds into it, in front of an activation or not."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.act(n.op(n.norm(n.body(n.stem(x))), n.z()))],
        stem=conv(3),
        body=conv(kernel=kernel, stride=stride, groups=groups, bias=bias),
        norm=batchnorm() if norm else nn.Identity(),
        op=OPERATIONS[operation](),
        z=mixed(),
        act=nn.SiLU(),
    )

    graph_module, sites, difference = folded(network)

    assert [site.into for site in sites] == [("body",)] * (1 + norm)
    assert [site.kept for site in sites] == [None] * (1 + norm)
    assert kinds(graph_module) == ["Conv2d", "Conv2d", "SiLU"]
    assert difference < EXACT


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batchnorm"])
@pytest.mark.parametrize(("bias", "groups", "kernel", "stride"), CONVOLUTIONS)
def test_fold_before_unpadded_convolution(
    bias: bool, groups: int, kernel: int, stride: int, norm: bool, operation: str
) -> None:
    """Between an activation and a convolution without padding all folds into the convolution."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.norm(n.body(n.op(n.act(n.stem(x)), n.z())))],
        stem=conv(3),
        act=nn.SiLU(),
        op=OPERATIONS[operation](),
        z=mixed(),
        body=conv(kernel=kernel, padding=0, stride=stride, groups=groups, bias=bias),
        norm=batchnorm() if norm else nn.Identity(),
    )

    graph_module, sites, difference = folded(network)

    assert {site.into for site in sites} == {("body",)}
    assert [site.kept for site in sites] == [None] * (1 + norm)
    assert kinds(graph_module) == ["Conv2d", "SiLU", "Conv2d"]
    assert difference < EXACT


@pytest.mark.parametrize("operation", ["scale", "select"])
@pytest.mark.parametrize(("bias", "groups", "kernel", "stride"), CONVOLUTIONS)
def test_fold_scale_before_padded_convolution(
    bias: bool, groups: int, kernel: int, stride: int, operation: str
) -> None:
    """A scale folds into the convolution behind it whatever that pads: 0 times any factor is 0."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.body(n.op(n.act(n.stem(x)), n.z()))],
        stem=conv(3),
        act=nn.SiLU(),
        op=OPERATIONS[operation](),
        z=mixed(),
        body=conv(kernel=kernel, padding=2, stride=stride, groups=groups, bias=bias),
    )

    graph_module, sites, difference = folded(network)

    assert [(site.into, site.kept) for site in sites] == [(("body",), None)]
    assert kinds(graph_module) == ["Conv2d", "SiLU", "Conv2d"]
    assert difference < EXACT


def _network(wiring: Wiring, **layers: nn.Module) -> Wired:
    """Return a network that begins with ``silu(stem)``; ``z`` is drawn if not given."""
    layers.setdefault("z", mixed())
    common = {"stem": conv(3), "silu": nn.SiLU(), "shift": Sum(), "scale": Product()}
    return Wired(lambda n, x: wiring(n, n.silu(n.stem(x))), **common, **layers)


def _several_consumers() -> Wired:
    def wiring(n: Any, x: torch.Tensor) -> list[torch.Tensor]:
        y = n.scale(n.shift(x, n.z()), n.factor())
        return [n.left(y), n.right(y)]

    return _network(wiring, factor=mixed(), left=conv(), right=conv(outputs=6, bias=False))


def _spatial_pyramid() -> Wired:
    def wiring(n: Any, x: torch.Tensor) -> list[torch.Tensor]:
        y = n.shift(n.scale(x, n.factor()), n.z())
        return [n.head(torch.cat([n.pool5(y), n.pool3(y), y], 1))]

    pools = {f"pool{size}": nn.MaxPool2d(size, 1, size // 2) for size in (3, 5)}
    return _network(wiring, factor=vector(), head=conv(3 * WIDTH), **pools)


def _norm_behind_concat() -> Wired:
    return _network(
        lambda n, x: [n.silu(n.norm(torch.cat([n.left(x), n.right(x)], 1)))],
        left=conv(outputs=2),
        right=conv(outputs=6),
        norm=batchnorm(8),
    )


def _weighted_shortcut_behind_concat() -> Wired:
    def wiring(n: Any, x: torch.Tensor) -> list[torch.Tensor]:
        return [n.sum(torch.cat([n.left(x), n.right(x)], 1), n.both(x))]

    shortcut = WeightedShortcut(2)
    nn.init.normal_(shortcut.w)
    return _network(
        wiring, left=conv(outputs=2), right=conv(outputs=6), both=conv(outputs=8), sum=shortcut
    )


FOLDING: dict[str, Callable[[], Wired]] = {
    "several-consumers": _several_consumers,
    "spatial-pyramid": _spatial_pyramid,
    "batchnorm-behind-concat": _norm_behind_concat,
    "weighted-shortcut": _weighted_shortcut_behind_concat,
    "concat-slice": lambda: _network(
        lambda n, x: [n.head(torch.cat([x, n.shift(x, n.z()), x], 1))], head=conv(3 * WIDTH)
    ),
    "concat-slice-groups": lambda: _network(
        lambda n, x: [n.head(torch.cat([x, n.scale(x, n.z())], 1))],
        head=conv(2 * WIDTH, kernel=3, groups=4),
    ),
    "twice-in-concat": lambda: _network(
        lambda n, x: [n.head(torch.cat([y := n.shift(x, n.z()), y], 1))], head=conv(2 * WIDTH)
    ),
    "nested-concat": lambda: _network(
        lambda n, x: [n.head(torch.cat([x, torch.cat([n.shift(x, n.z()), x], 1)], 1))],
        head=conv(3 * WIDTH),
    ),
    "shift-through-max-pool": lambda: _network(
        lambda n, x: [n.head(n.pool(n.shift(x, n.z())))], pool=nn.MaxPool2d(3, 2, 1), head=conv()
    ),
    "positive-scale-through-max-pool": lambda: _network(
        lambda n, x: [n.head(n.pool(n.scale(x, n.z())))],
        z=vector(low=0.1),
        pool=nn.MaxPool2d(5, 1, 2),
        head=conv(kernel=3),
    ),
    "shift-through-upsample": lambda: _network(
        lambda n, x: [n.head(n.up(n.shift(x, n.z())))], up=nn.Upsample(scale_factor=2), head=conv()
    ),
    "scale-through-upsample": lambda: _network(
        lambda n, x: [n.head(n.up(n.scale(x, n.z())))],
        up=nn.Upsample(scale_factor=2),
        head=conv(kernel=3),
    ),
    "shift-through-reorg": lambda: _network(
        lambda n, x: [n.head(n.reorg(n.shift(x, n.z())))],
        reorg=ReOrg(),
        head=conv(4 * WIDTH),
    ),
    "scale-through-reorg": lambda: _network(
        lambda n, x: [n.head(n.reorg(n.scale(x, n.z())))],
        reorg=ReOrg(),
        head=conv(4 * WIDTH),
    ),
    "shift-through-residual": lambda: _network(
        lambda n, x: [n.head(x + n.shift(n.silu(n.body(x)), n.z()))],
        body=conv(kernel=3),
        head=conv(),
    ),
    "shift-on-both-ways-of-residual": lambda: _network(
        lambda n, x: [n.head((y := n.shift(x, n.z())) + n.silu(n.body(y)))],
        body=conv(),
        head=conv(),
    ),
    "shift-added-to-itself": lambda: _network(
        lambda n, x: [n.head((y := n.shift(x, n.z())) + y)], head=conv()
    ),
    "positive-scale-behind-leaky-relu": lambda: _network(
        lambda n, x: [n.silu(n.scale(n.act(n.body(x)), n.z()))],
        z=vector(low=0.1),
        body=conv(kernel=3),
        act=nn.LeakyReLU(0.1),
    ),
    "positive-scale-behind-relu": lambda: _network(
        lambda n, x: [n.silu(n.scale(n.act(n.body(x)), n.z()))],
        z=vector(low=0.1),
        body=conv(kernel=3),
        act=nn.ReLU(),
    ),
    "beside-space-to-depth": lambda: _network(
        lambda n, x: [n.head(torch.cat([n.deep(n.reorg(x)), n.up(n.scale(x, n.z()))], 1))],
        reorg=ReOrg(),
        deep=conv(4 * WIDTH, stride=1),
        up=nn.MaxPool2d(2),
        z=vector(low=0.1),
        head=conv(2 * WIDTH),
    ),
    "one-value-for-all-channels": lambda: _network(
        lambda n, x: [n.head(n.shift(x, n.z()))], z=ImplicitVector(1), head=conv()
    ),
}


@pytest.mark.parametrize("case", FOLDING)
def test_fold_through(case: str) -> None:
    """What the algebra lets pass ends in convolutions, and no scale or shift is left."""
    torch.manual_seed(0)
    network = FOLDING[case]()

    graph_module, sites, difference = folded(network)

    assert sites
    assert all(site.into for site in sites)
    assert [site.kept for site in sites] == [None] * len(sites)
    assert count(graph_module) == 0
    assert difference < EXACT


KEPT: dict[str, tuple[Callable[[], Wired], str]] = {
    "shift-before-padded": (
        lambda: _network(lambda n, x: [n.head(n.shift(x, n.z()))], head=conv(kernel=3)),
        "head pads its border with 0, which a shift before it would change",
    ),
    "shift-before-one-padded-of-two": (
        lambda: _network(
            lambda n, x: [n.left(y := n.shift(x, n.z())), n.right(y)],
            left=conv(),
            right=conv(kernel=3),
        ),
        "right pads its border with 0",
    ),
    "negative-factor-through-max-pool": (
        lambda: _network(
            lambda n, x: [n.head(n.pool(n.scale(x, n.z())))],
            pool=nn.MaxPool2d(3, 1, 1),
            head=conv(),
        ),
        "pool is a max-pool behind a negative factor",
    ),
    "scale-behind-silu": (
        lambda: _network(
            lambda n, x: [n.act(n.scale(n.silu(n.body(x)), n.z()))], body=conv(), act=nn.Mish()
        ),
        "the activation act stands between it and the next convolution",
    ),
    "producer-used-elsewhere": (
        lambda: _network(
            lambda n, x: [n.head(y := n.body(x)), n.act(n.shift(y, n.z()))],
            body=conv(),
            head=conv(),
            act=nn.SiLU(),
        ),
        "the activation act stands between it and the next convolution",
    ),
    "producer-is-an-output": (
        lambda: _network(lambda n, x: [y := n.body(x), n.shift(y, n.z())], body=conv()),
        "it is an output of the network",
    ),
    "scale-through-residual": (
        lambda: _network(
            lambda n, x: [n.head(n.residual(x, n.scale(x, n.z())))], residual=Sum(), head=conv()
        ),
        "residual adds another map, which a factor would not reach",
    ),
    "scale-behind-leaky-relu-negative": (
        lambda: _network(
            lambda n, x: [n.silu(n.scale(n.act(n.body(x)), n.z()))],
            body=conv(),
            act=nn.LeakyReLU(0.1),
        ),
        "the activation silu stands between it",
    ),
    "shift-behind-leaky-relu": (
        lambda: _network(
            lambda n, x: [n.silu(n.shift(n.act(n.body(x)), n.z()))],
            body=conv(),
            act=nn.LeakyReLU(0.1),
        ),
        "the activation silu stands between it",
    ),
    "shared-convolution": (
        lambda: _network(lambda n, x: [n.body(n.silu(n.body(n.shift(x, n.z()))))], body=conv()),
        "body is used more than once",
    ),
    "shared-producer": (
        lambda: _network(lambda n, x: [n.body(n.silu(n.shift(n.body(x), n.z())))], body=conv()),
        "the activation silu stands between it",
    ),
    "shift-before-zero-pad": (
        lambda: _network(
            lambda n, x: [n.head(n.pad(n.shift(x, n.z())))],
            pad=nn.ZeroPad2d((0, 1, 0, 1)),
            head=conv(),
        ),
        "pad is not a convolution",
    ),
    "shift-read-by-an-output": (
        lambda: _network(lambda n, x: [y := n.shift(x, n.z()), n.head(y)], head=conv()),
        "it is an output of the network",
    ),
    "scale-read-by-a-product": (
        lambda: _network(
            lambda n, x: [n.head(n.gate(n.scale(x, n.z()), x))], gate=Product(), head=conv()
        ),
        "gate is not a convolution",
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_fold_refuses(case: str) -> None:
    """What no convolution can absorb exactly stays in place, and the obstacle is named."""
    torch.manual_seed(0)
    build, reason = KEPT[case]

    graph_module, sites, difference = folded(build())

    assert len(sites) == 1
    assert sites[0].into == ()
    assert reason in str(sites[0].kept)
    assert count(graph_module) == 1
    assert difference < EXACT


def test_fold_keeps_part_of_a_concatenation() -> None:
    """Of a batch normalisation behind a concatenation the slices fold that have a convolution."""
    torch.manual_seed(0)
    network = _network(
        lambda n, x: [n.act(n.norm(torch.cat([n.body(x), x], 1)))],
        body=conv(outputs=2),
        norm=batchnorm(2 + WIDTH),
        act=nn.SiLU(),
    )

    graph_module, sites, difference = folded(network)

    assert [site.into for site in sites] == [("body",)]
    assert "the activation act stands between it" in str(sites[0].kept)
    assert count(graph_module) == 1
    assert difference < EXACT


def test_fold_merges_what_stays() -> None:
    """A scale and a shift that both stay become one map, and each is reported."""
    torch.manual_seed(0)
    network = _network(
        lambda n, x: [n.head(n.shift(n.scale(x, n.factor()), n.z()))],
        factor=mixed(),
        head=conv(kernel=3),
    )

    graph_module, sites, difference = folded(network)

    assert {site.layer for site in sites} == {
        "factor.implicit at scale",
        "z.implicit at shift",
    }
    assert all("head pads its border" in str(site.kept) for site in sites)
    assert count(graph_module) == 1
    assert difference < EXACT
