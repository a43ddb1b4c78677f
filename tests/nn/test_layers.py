"""Layers that torch does not have, against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.nn.networks import images
from yolor_deploy.nn.layers import (
    Concat,
    Gate,
    HaarTransform,
    PrependChannels,
    Product,
    ReOrg,
    Sum,
    WeightedShortcut,
    activation,
)


def test_reorg_orders_its_blocks_by_column() -> None:
    """The second block holds the pixels of odd rows and even columns, the third the reverse."""
    x = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4)

    deep = ReOrg()(x)

    assert deep.shape == (1, 8, 2, 2)
    # Top left pixel of each block, first for the first channel of the image, then the second.
    assert deep[0, :, 0, 0].tolist() == [0, 16, 4, 20, 1, 17, 5, 21]
    assert deep[0, 0].tolist() == [[0, 2], [8, 10]]


def test_haar_transform_follows_its_formula() -> None:
    """Low passes of all channels come first, then three high passes plus 0.5 of each channel."""
    x = images()
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    low = (a + b + c + d) / 4
    high = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 2) / 4 + 0.5

    found = HaarTransform(3).double()(x)

    expected = torch.cat([low, high.flatten(1, 2)], 1)
    # The coefficients are made in float32, where 1/sqrt(2) squared is not quite a half.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_haar_transform_takes_a_rounded_tap() -> None:
    """The filters of a half-precision file lessen the gain, never the 0.5."""
    tap = 0.70703125
    x = images()

    exact, rounded = HaarTransform(3).double()(x), HaarTransform(3, tap=tap).double()(x)

    gain = tap * tap * 2
    torch.testing.assert_close(rounded[:, :3], exact[:, :3] * gain, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        rounded[:, 3:] - 0.5, (exact[:, 3:] - 0.5) * gain, rtol=1e-6, atol=1e-6
    )


def test_haar_transform_has_values_on_meta() -> None:
    """A network that is built without memory still gets the fixed filters."""
    with torch.device("meta"):
        haar = HaarTransform(3)

    assert haar.bias is not None
    assert haar.bias.tolist() == [0.0] * 3 + [0.5] * 9


def test_weighted_shortcut_follows_its_formula() -> None:
    """Each map counts by the sigmoid of its weight, times two by the number of maps."""
    shortcut = WeightedShortcut(3).double()
    with torch.no_grad():
        shortcut.w.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    maps = [images(seed=seed) for seed in range(3)]

    found = shortcut(*maps)

    factors = [2 / 3 / (1 + torch.exp(torch.tensor(-w).double())) for w in (-1.0, 0.0, 2.0)]
    expected = maps[0] * factors[0] + maps[1] * factors[1] + maps[2] * factors[2]
    torch.testing.assert_close(found, expected)


def test_small_layers_are_their_operators() -> None:
    """Sums, products, gates and concatenations do what their names say."""
    x, y, vector = images(seed=0), images(seed=1), torch.tensor([[-1.0], [0.5], [2.0]]).double()
    vector = vector.reshape(1, 3, 1, 1)

    assert torch.equal(Sum()(x, y, x), x + y + x)
    assert torch.equal(Product()(x, vector), x * vector)
    assert torch.equal(Gate()(x, vector), x * torch.sigmoid(vector))
    assert torch.equal(Concat()(x, y), torch.cat([x, y], 1))
    assert Concat()(x) is x


def test_prepend_channels_puts_the_constant_first() -> None:
    """The constant fills the first channels of each image, the map the others."""
    x = images()
    constant = torch.tensor([1.0, 2.0, 3.0]).double().reshape(1, 3, 1, 1)

    joined = PrependChannels()(x, constant)

    assert joined.shape == (2, 6, 8, 8)
    assert torch.equal(joined[:, :3], constant.expand(2, 3, 8, 8))
    assert torch.equal(joined[:, 3:], x)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linear", nn.Identity),
        ("mish", nn.Mish),
        ("silu", nn.SiLU),
        ("swish", nn.SiLU),
        ("logistic", nn.Sigmoid),
        ("leaky", nn.LeakyReLU),
    ],
)
def test_activation_knows_the_names_of_cfg_files(name: str, kind: type[nn.Module]) -> None:
    """Each name gives its layer."""
    layer = activation(name)

    assert type(layer) is kind


def test_activation_has_no_default() -> None:
    """A name that no description uses gives nothing, and leaky means a slope of 0.1."""
    leaky = activation("leaky")

    assert activation("relu6") is None
    assert isinstance(leaky, nn.LeakyReLU)
    assert leaky.negative_slope == 0.1
