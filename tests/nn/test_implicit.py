"""The three ways of the YOLOR paper to model implicit knowledge, around a head convolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.nn.networks import EXACT, WIDTH, Wired, conv, count, folded, kinds
from yolor_deploy.core.errors import PassError
from yolor_deploy.nn.fold import fold
from yolor_deploy.nn.implicit import ImplicitFactorization, ImplicitNetwork, ImplicitVector
from yolor_deploy.nn.layers import Gate, Product, Sum

OUTPUTS = 6

MODELS: dict[str, Callable[[int, float], nn.Module]] = {
    "vector": lambda channels, mean: ImplicitVector(channels, mean=mean),
    "network": lambda channels, mean: ImplicitNetwork(channels, latent=5, mean=mean),
    "factorization": lambda channels, mean: ImplicitFactorization(channels, vectors=3, mean=mean),
    "rows": lambda channels, mean: ImplicitVector(channels // 2, mean=mean, atoms=2),
}
PARAMETERS = {
    "vector": ["implicit"],
    "network": ["weight", "latent"],
    "factorization": ["basis", "coefficients"],
    "rows": ["implicit"],
}


def _head(before: nn.Module, after: nn.Module) -> Wired:
    """Return a network that ends in ``after * head(silu(stem) + before)``."""
    return Wired(
        lambda n, x: [n.scale(n.head(n.shift(n.silu(n.stem(x)), n.before())), n.after())],
        stem=conv(3),
        silu=nn.SiLU(),
        shift=Sum(),
        before=before,
        head=conv(WIDTH, OUTPUTS),
        scale=Product(),
        after=after,
    )


@pytest.mark.parametrize("after", MODELS)
@pytest.mark.parametrize("before", MODELS)
def test_head_becomes_plain_convolution(before: str, after: str) -> None:
    """However the sum before and the product behind are modelled, one convolution is left."""
    torch.manual_seed(0)
    network = _head(MODELS[before](WIDTH, 0.0), MODELS[after](OUTPUTS, 1.0))

    graph_module, sites, difference = folded(network)

    assert {site.layer for site in sites} == {
        *(f"before.{name} at shift" for name in PARAMETERS[before]),
        *(f"after.{name} at scale" for name in PARAMETERS[after]),
    }
    assert {(site.kind, site.into, site.kept) for site in sites} == {("implicit", ("head",), None)}
    assert kinds(graph_module) == ["Conv2d", "SiLU", "Conv2d"]
    assert difference < EXACT


@pytest.mark.parametrize("model", MODELS)
def test_folding_is_needed(model: str) -> None:
    """The plain convolution is another one than before: the knowledge changes the result."""
    torch.manual_seed(0)
    network = _head(MODELS[model](WIDTH, 0.0), MODELS[model](OUTPUTS, 1.0))
    before = network.get_parameter("head.weight").detach().double().clone()

    graph_module, _, _ = folded(network)

    after = graph_module.get_parameter("head.weight")
    assert float((after - before).abs().max()) > 1e-3


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_value_is_one_number_per_channel(model: str, mean: float) -> None:
    """All give float [1, channels, 1, 1], spread around the mean."""
    torch.manual_seed(0)
    implicit = MODELS[model](1000, mean)

    value = implicit().detach()

    assert value.shape == (1, 1000, 1, 1)
    assert float(value.mean()) == pytest.approx(mean, abs=0.02)
    assert 0.001 < float(value.std()) < 0.2


def test_values_follow_their_formulas() -> None:
    """``W z`` and ``Z^T c`` are what the paper writes, and rows are laid one behind the other."""
    torch.manual_seed(0)
    network = ImplicitNetwork(4, latent=3, mean=1.0)
    factors = ImplicitFactorization(4, vectors=2)
    rows = ImplicitVector(2, atoms=2)

    values = [network().flatten(), factors().flatten(), rows().flatten()]

    by_hand = [
        (network.weight * network.latent).sum(1) + 1,
        factors.basis[0] * factors.coefficients[0] + factors.basis[1] * factors.coefficients[1],
        torch.cat([rows.implicit[0, 0, :, 0], rows.implicit[0, 1, :, 0]]),
    ]
    for value, expected in zip(values, by_hand, strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("model", MODELS)
def test_gate_takes_any_model(model: str) -> None:
    """The sigmoid of a constant is a constant, and folds as a product does."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.gate(n.head(x), n.z())],
        head=conv(3, WIDTH),
        gate=Gate(),
        z=MODELS[model](WIDTH, 0.0),
    )

    graph_module, _, difference = folded(network)

    assert kinds(graph_module) == ["Conv2d"]
    assert count(graph_module) == 0
    assert difference < EXACT


class _PerPixel(nn.Module):
    """A constant with a value for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.plane = nn.Parameter(torch.zeros(1, WIDTH, 8, 8))

    def forward(self) -> Tensor:
        """Return float [1, c, 8, 8]."""
        return self.plane


def test_lowering_refuses_a_value_per_pixel() -> None:
    """A constant that is not one number per channel is an error that gives both shapes."""
    network = Wired(
        lambda n, x: [n.shift(n.head(x), n.z())], head=conv(3), shift=Sum(), z=_PerPixel()
    )

    with pytest.raises(PassError, match=r"\[1, 4, 8, 8\], expected \[1, 4, 1, 1\]") as error:
        fold(network)

    assert error.value.where == "shift"


def test_lowering_refuses_another_operator() -> None:
    """A constant that is subtracted is an error that names the layer and what was expected."""
    network = Wired(lambda n, x: [n.head(x) - n.z()], head=conv(3), z=ImplicitVector(WIDTH))

    with pytest.raises(PassError, match=r"sub.* expected a sum or a product with a map"):
        fold(network)
