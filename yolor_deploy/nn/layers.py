"""Layers that torch does not have, under the attribute names of the authors' checkpoints."""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
from torch import Tensor, nn


class ReOrg(nn.Module):
    """Space to depth: every 2x2 block of pixels becomes channels.

    float [n, c, h, w] with even h and w to float [n, 4c, h/2, w/2]; the four blocks of ``c``
    channels hold the pixels at (row, column) = (0, 0), (1, 0), (0, 1), (1, 1) of each square.

    Source: ``[reorg]`` of the cfg files, ``ReOrg`` of the yaml files.
    """

    OFFSETS = ((0, 0), (1, 0), (0, 1), (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rearranged pixels."""
        return torch.cat([x[..., row::2, column::2] for row, column in self.OFFSETS], 1)


class HaarTransform(nn.Conv2d):
    """One level of the Haar wavelet transform, as the fixed convolution that it is.

    float [n, c, h, w] to float [n, 4c, h/2, w/2]: first the low pass of every channel, then of
    each channel its three high passes (rows, columns, both) shifted by 0.5.

    Args:
        channels: Of the input.
        tap: The filter coefficient; 1/sqrt(2), or what a half-precision file stores for it.

    Source: ``DWT`` of the YOLOR paper branch: low pass (a+b+c+d)/4, high passes likewise + 0.5.
    """

    def __init__(self, channels: int, *, tap: float = 0.5**0.5) -> None:
        super().__init__(channels, 4 * channels, kernel_size=2, stride=2)
        gain = tap * tap / 2
        cpu = torch.device("cpu")  # these values are real even while a network is built on meta
        weight = torch.zeros(4 * channels, channels, 2, 2, device=cpu)
        bias = torch.zeros(4 * channels, device=cpu)
        signs = torch.tensor(
            [[[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]], device=cpu
        )
        for channel in range(channels):
            first = channels + 3 * channel
            weight[channel, channel] = gain
            weight[first : first + 3, channel] = gain * signs
            bias[first : first + 3] = 0.5
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)


class WeightedShortcut(nn.Module):
    """Sum of feature maps of equal shape with learned weights.

    ``sum_i x_i * sigmoid(w_i) * 2 / n`` over ``n`` maps float [b, c, h, w].

    Source: ``[shortcut] weights_type`` of the cfg files, parameter ``w`` float [n].
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(inputs))
        self.inputs = inputs

    def forward(self, *maps: Tensor) -> Tensor:
        """Return the weighted sum."""
        weights = torch.sigmoid(self.w) * (2 / self.inputs)
        total = maps[0] * weights[0]
        for index in range(1, self.inputs):
            total = total + maps[index] * weights[index]
        return total


class Concat(nn.Module):
    """Join maps along their channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Return float [n, sum of channels, h, w]; a single map as it is."""
        return torch.cat(maps, 1) if len(maps) > 1 else maps[0]


class Sum(nn.Module):
    """Add maps of equal shape."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Return float [n, c, h, w]."""
        return reduce(add, maps)


class Product(nn.Module):
    """Multiply two maps, or a map by a vector of its channels.

    Source: ``[control_channels]``, ``[scale_channels]``, ``[sam]`` of the cfg files.
    """

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        """Return float [n, c, h, w]."""
        return x * factor


class Gate(nn.Module):
    """Multiply a map by the sigmoid of a vector.

    Source: ``[select_channels]`` of the cfg files.
    """

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Return float [n, c, h, w]."""
        return x * torch.sigmoid(vector)


class PrependChannels(nn.Module):
    """Concatenate a constant, spread over the map, in front of the channels of the map.

    The constant has as many channels as the map.

    Source: ``[alternate_channels]`` of the cfg files.
    """

    def forward(self, x: Tensor, constant: Tensor) -> Tensor:
        """Return float [n, 2c, h, w] from float [n, c, h, w] and float [1, c, 1, 1]."""
        spread = constant.expand(x.shape[0], -1, x.shape[2], x.shape[3])
        return torch.cat([spread, x], 1)


def activation(name: str) -> nn.Module | None:
    """Return the activation of that name in a cfg or yaml file; None if there is no such name.

    Leaky slope 0.1, as in the authors' code.
    """
    table: dict[str, type[nn.Module]] = {
        "linear": nn.Identity,
        "mish": nn.Mish,
        "silu": nn.SiLU,
        "swish": nn.SiLU,
        "logistic": nn.Sigmoid,
    }
    if name == "leaky":
        return nn.LeakyReLU(0.1)
    return table[name]() if name in table else None
