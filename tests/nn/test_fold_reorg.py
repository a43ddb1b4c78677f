"""Space to depth, and transforms like it, inside the convolution behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.nn.networks import EXACT, Wired, conv, count, folded, images, kinds
from yolor_deploy.nn.layers import HaarTransform, ReOrg


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product([1, 3, 5], [1, 2])))
def test_fold_reorg_makes_one_convolution(kernel: int, stride: int, bias: bool) -> None:
    """With what follows, space to depth is one convolution of twice the kernel over the image."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.body(n.reorg(x))],
        reorg=ReOrg(),
        body=conv(12, 5, kernel, stride=stride, bias=bias),
    )

    graph_module, sites, difference = folded(network, size=12)

    assert [(s.layer, s.kind, s.into, s.kept) for s in sites] == [
        ("reorg", "reorg", ("body",), None)
    ]
    assert kinds(graph_module) == ["Conv2d"]
    body = graph_module.get_submodule("body")
    assert isinstance(body, nn.Conv2d)
    assert (body.in_channels, body.kernel_size) == (3, (2 * kernel, 2 * kernel))
    assert (body.stride, body.padding) == ((2 * stride,) * 2, (kernel // 2 * 2,) * 2)
    assert difference < EXACT


def test_fold_reorg_agrees_with_slices() -> None:
    """The composed convolution gives what slices, a concatenation and a convolution give."""
    torch.manual_seed(0)
    body = conv(12, 4, 3).double()
    x = images()
    slices = [x[..., 0::2, 0::2], x[..., 1::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 1::2]]
    expected = body(torch.cat(slices, 1))
    network = Wired(lambda n, y: [n.body(n.reorg(y))], reorg=ReOrg(), body=body)

    graph_module, _, _ = folded(network)

    torch.testing.assert_close(graph_module(x)[0], expected, rtol=EXACT, atol=EXACT)


def test_fold_reorg_takes_a_chain() -> None:
    """Three in a row become one convolution of eight times the kernel."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.body(n.third(n.second(n.first(x))))],
        first=ReOrg(),
        second=ReOrg(),
        third=ReOrg(),
        body=conv(3 * 64, 4, 3),
    )

    graph_module, sites, difference = folded(network, size=32)

    assert [site.layer for site in sites] == ["first", "second", "third"]
    assert [site.into for site in sites] == [("body",)] * 3
    body = graph_module.get_submodule("body")
    assert isinstance(body, nn.Conv2d)
    assert (body.kernel_size, body.stride, body.padding) == ((24, 24), (8, 8), (8, 8))
    assert difference < EXACT


def test_fold_reorg_reaches_every_reader() -> None:
    """Each of two convolutions that read one rearranged image takes the rearrangement in."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.left(y := n.reorg(x)), n.right(y)],
        reorg=ReOrg(),
        left=conv(12, 4),
        right=conv(12, 6, 3, stride=2),
    )

    graph_module, sites, difference = folded(network)

    assert [site.into for site in sites] == [("left", "right")]
    assert kinds(graph_module) == ["Conv2d", "Conv2d"]
    assert difference < EXACT


def _before_activation() -> Wired:
    return Wired(
        lambda n, x: [n.body(n.act(n.reorg(x)))], reorg=ReOrg(), act=nn.SiLU(), body=conv(12)
    )


def _one_reader_is_no_convolution() -> Wired:
    return Wired(
        lambda n, x: [n.body(y := n.reorg(x)), n.act(y)],
        reorg=ReOrg(),
        act=nn.MaxPool2d(3, 1, 1),
        body=conv(12),
    )


def _before_groups() -> Wired:
    return Wired(lambda n, x: [n.body(n.reorg(x))], reorg=ReOrg(), body=conv(12, 6, groups=3))


def _before_dilated() -> Wired:
    body = nn.Conv2d(12, 4, 3, padding=2, dilation=2)
    return Wired(lambda n, x: [n.body(n.reorg(x))], reorg=ReOrg(), body=body)


def _before_shared_convolution() -> Wired:
    return Wired(
        lambda n, x: [n.body(n.reorg(x)), n.body(n.tall(x))],
        reorg=ReOrg(),
        tall=conv(3, 12),
        body=conv(12),
    )


def _is_an_output() -> Wired:
    return Wired(lambda n, x: [n.reorg(x)], reorg=ReOrg())


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        pytest.param(_before_activation, "act is not a convolution", id="activation"),
        pytest.param(_one_reader_is_no_convolution, "act is not a convolution", id="pool"),
        pytest.param(_before_groups, "body is a convolution in groups", id="groups"),
        pytest.param(_before_dilated, "body is a convolution in groups, dilated", id="dilated"),
        pytest.param(_before_shared_convolution, "body is used more than once", id="shared"),
        pytest.param(_is_an_output, "it is an output of the network", id="output"),
    ],
)
def test_fold_reorg_refuses(build: Callable[[], Wired], reason: str) -> None:
    """Where a reader is not a plain convolution of its own, the rearrangement stays."""
    torch.manual_seed(0)

    graph_module, sites, difference = folded(build())

    assert [site.into for site in sites] == [()]
    assert reason in str(sites[0].kept)
    assert count(graph_module, ReOrg) == 1
    assert difference < EXACT


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_fold_haar_into_unpadded_convolution(kernel: int, bias: bool) -> None:
    """The wavelet transform, its 0.5 included, goes into a convolution without padding."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.body(n.haar(x))],
        haar=HaarTransform(3),
        body=conv(12, 5, kernel, padding=0, bias=bias),
    )

    graph_module, sites, difference = folded(network)

    assert [(site.into, site.kept) for site in sites] == [(("body",), None)]
    assert kinds(graph_module) == ["Conv2d"]
    assert difference < EXACT


def test_fold_haar_refuses_padding() -> None:
    """Before a padded convolution the transform stays: a padded pixel is 0, not 0.5."""
    torch.manual_seed(0)
    network = Wired(lambda n, x: [n.body(n.haar(x))], haar=HaarTransform(3), body=conv(12, 5, 3))

    graph_module, sites, difference = folded(network)

    assert [site.into for site in sites] == [()]
    assert "body pads its border with 0, where the transform gives 0.5" in str(sites[0].kept)
    assert kinds(graph_module) == ["HaarTransform", "Conv2d"]
    assert difference < EXACT
