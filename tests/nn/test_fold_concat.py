"""Constants concatenated in front of a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.nn.networks import EXACT, WIDTH, Wired, batchnorm, conv, count, folded, mixed
from yolor_deploy.nn.layers import PrependChannels, ReOrg, Sum


def _network(*readers: nn.Module, act: nn.Module | None = None) -> Wired:
    """Return readers of ``[z, silu(stem)]``, called ``reader0 ..``."""
    names = [f"reader{index}" for index in range(len(readers))]
    return Wired(
        lambda n, x: [getattr(n, name)(y) for y in [_joined(n, x)] for name in names],
        stem=conv(3),
        silu=nn.SiLU(),
        join=PrependChannels(),
        act=act or nn.Identity(),
        z=mixed(),
        **dict(zip(names, readers, strict=True)),
    )


def _joined(n: Any, x: torch.Tensor) -> torch.Tensor:
    joined: torch.Tensor = n.act(n.join(n.silu(n.stem(x)), n.z()))
    return joined


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_fold_concat_drops_constant_channels(bias: bool, kernel: int, stride: int) -> None:
    """Without padding the constant goes into the bias, and its channels out of the weights."""
    torch.manual_seed(0)
    reader = conv(2 * WIDTH, 5, kernel, padding=0, stride=stride, bias=bias)

    graph_module, sites, difference = folded(_network(reader))

    assert [(site.layer, site.kind) for site in sites] == [("z.implicit at join", "implicit")]
    assert [(site.into, site.kept) for site in sites] == [(("reader0",), None)]
    assert count(graph_module, PrependChannels) == 0
    assert all(node.op != "get_attr" for node in graph_module.graph.nodes)
    left = graph_module.get_submodule("reader0")
    assert isinstance(left, nn.Conv2d)
    assert left.in_channels == left.weight.shape[1] == WIDTH
    assert difference < EXACT


def test_fold_concat_reaches_every_reader() -> None:
    """Two convolutions that read one concatenation absorb the constant each for itself."""
    torch.manual_seed(0)

    graph_module, sites, difference = folded(_network(conv(2 * WIDTH), conv(2 * WIDTH, 7)))

    assert [site.into for site in sites] == [("reader0", "reader1")]
    assert count(graph_module, PrependChannels) == 0
    assert difference < EXACT


@pytest.mark.parametrize(
    ("readers", "act", "reason"),
    [
        pytest.param(
            lambda: [conv(2 * WIDTH, kernel=3)],
            None,
            "reader0 pads its border with 0, where the constant would be",
            id="padded",
        ),
        pytest.param(
            lambda: [conv(2 * WIDTH), conv(2 * WIDTH, kernel=3)],
            None,
            "reader1 pads its border with 0",
            id="one-of-two-padded",
        ),
        pytest.param(
            lambda: [conv(2 * WIDTH, groups=2)],
            None,
            "reader0 is a convolution in groups",
            id="groups",
        ),
        pytest.param(
            lambda: [conv(2 * WIDTH)], nn.SiLU(), "act is not a convolution", id="activation"
        ),
    ],
)
def test_fold_concat_refuses(
    readers: Callable[[], list[nn.Module]], act: nn.Module | None, reason: str
) -> None:
    """What cannot drop its channels exactly keeps them, and the obstacle is named."""
    torch.manual_seed(0)

    graph_module, sites, difference = folded(_network(*readers(), act=act))

    assert [site.into for site in sites] == [()]
    assert reason in str(sites[0].kept)
    assert count(graph_module, PrependChannels) == 1
    assert difference < EXACT


def test_fold_concat_counts_doubled_channels() -> None:
    """A batch normalisation behind a concatenation with a constant splits at the right channel."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [
            n.silu(n.norm(torch.cat([n.join(y := n.silu(n.stem(x)), n.z()), n.body(y)], 1)))
        ],
        stem=conv(3),
        silu=nn.SiLU(),
        join=PrependChannels(),
        z=mixed(),
        body=conv(outputs=3),
        norm=batchnorm(2 * WIDTH + 3),
    )

    _, sites, difference = folded(network)

    assert sites[0].into == ("body",)
    assert "the activation silu" in str(sites[0].kept)
    assert difference < EXACT


def test_fold_beside_space_to_depth() -> None:
    """A shift finds its channels behind those that space to depth has multiplied."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.head(torch.cat([n.reorg(x), n.op(n.silu(n.stem(x)), n.z())], 1))],
        stem=conv(3, stride=2),
        silu=nn.SiLU(),
        reorg=ReOrg(),
        op=Sum(),
        z=mixed(),
        head=conv(12 + WIDTH),
    )

    graph_module, sites, difference = folded(network)

    assert [(site.kind, site.into) for site in sites] == [("implicit", ("head",)), ("reorg", ())]
    assert "is not a convolution" in str(sites[1].kept)
    assert count(graph_module, ReOrg) == 1
    assert difference < EXACT
