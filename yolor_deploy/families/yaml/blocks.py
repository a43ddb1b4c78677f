"""Blocks of the yaml models, with the authors' names for their weights.

``cbl`` below is convolution, batch normalisation, activation; a *bare* convolution has neither.
Every padding is half the kernel. The activation is one for the whole model.

Source: YOLOR paper branch and Scaled-YOLOv4 yolov4-large; names as in their checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn

from yolor_deploy.nn.implicit import ImplicitVector
from yolor_deploy.nn.layers import ReOrg

BATCHNORM_EPS = 1e-3  # the authors set it on every layer after construction
Activation = Callable[[], nn.Module]


def _batchnorm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCHNORM_EPS, momentum=0.03)


def _bare(read: int, write: int, size: int = 1) -> nn.Conv2d:
    return nn.Conv2d(read, write, size, 1, size // 2, bias=False)


class Conv(nn.Module):
    """Convolution, batch normalisation, activation.

    Args:
        read: Channels in.
        write: Channels out.
        act: Makes the activation.
        size: Kernel.
        stride: Of the kernel.
        groups: Of channels.
    """

    def __init__(
        self,
        read: int,
        write: int,
        act: Activation,
        *,
        size: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            read, write, size, stride, size // 2, groups=gcd(read, write, groups), bias=False
        )
        self.bn = _batchnorm(write)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h / stride, w / stride]."""
        result: Tensor = self.act(self.bn(self.conv(x)))
        return result


class Focus(nn.Module):
    """Space to depth, then ``Conv``."""

    def __init__(self, read: int, write: int, act: Activation, *, size: int = 1) -> None:
        super().__init__()
        self.reorg = ReOrg()
        self.conv = Conv(4 * read, write, act, size=size)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h / 2, w / 2]."""
        result: Tensor = self.conv(self.reorg(x))
        return result


class Bottleneck(nn.Module):
    """Two ``Conv`` with a shortcut over them where the widths allow."""

    def __init__(
        self,
        read: int,
        write: int,
        act: Activation,
        *,
        shortcut: bool = True,
        expansion: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = int(write * expansion)
        self.cv1 = Conv(read, hidden, act)
        self.cv2 = Conv(hidden, write, act, size=3)
        self.add = shortcut and read == write

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h, w]."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


def _bottlenecks(width: int, act: Activation, repeats: int, *, shortcut: bool) -> nn.Sequential:
    blocks = [
        Bottleneck(width, width, act, shortcut=shortcut, expansion=1.0) for _ in range(repeats)
    ]
    return nn.Sequential(*blocks)


class BottleneckCSP(nn.Module):
    """Cross-stage partial block: half of the width through bottlenecks, both halves bare 1x1."""

    def __init__(
        self, read: int, write: int, act: Activation, *, repeats: int = 1, shortcut: bool = True
    ) -> None:
        super().__init__()
        half = write // 2
        self.cv1 = Conv(read, half, act)
        self.cv2 = _bare(read, half)
        self.cv3 = _bare(half, half)
        self.cv4 = Conv(2 * half, write, act)
        self.bn = _batchnorm(2 * half)
        self.act = act()
        self.m = _bottlenecks(half, act, repeats, shortcut=shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h, w]."""
        deep = self.cv3(self.m(self.cv1(x)))
        result: Tensor = self.cv4(self.act(self.bn(torch.cat((deep, self.cv2(x)), 1))))
        return result


class BottleneckCSPF(nn.Module):
    """``BottleneckCSP`` without the 1x1 convolution behind the bottlenecks."""

    def __init__(
        self, read: int, write: int, act: Activation, *, repeats: int = 1, shortcut: bool = True
    ) -> None:
        super().__init__()
        half = write // 2
        self.cv1 = Conv(read, half, act)
        self.cv2 = _bare(read, half)
        self.cv4 = Conv(2 * half, write, act)
        self.bn = _batchnorm(2 * half)
        self.act = act()
        self.m = _bottlenecks(half, act, repeats, shortcut=shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h, w]."""
        deep = self.m(self.cv1(x))
        result: Tensor = self.cv4(self.act(self.bn(torch.cat((deep, self.cv2(x)), 1))))
        return result


class BottleneckCSP2(nn.Module):
    """Cross-stage block of the neck: full width on both sides, no shortcuts inside."""

    def __init__(
        self, read: int, write: int, act: Activation, *, repeats: int = 1, shortcut: bool = False
    ) -> None:
        super().__init__()
        self.cv1 = Conv(read, write, act)
        self.cv2 = _bare(write, write)
        self.cv3 = Conv(2 * write, write, act)
        self.bn = _batchnorm(2 * write)
        self.act = act()
        self.m = _bottlenecks(write, act, repeats, shortcut=shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h, w]."""
        stem = self.cv1(x)
        both = torch.cat((self.m(stem), self.cv2(stem)), 1)
        result: Tensor = self.cv3(self.act(self.bn(both)))
        return result


class SPP(nn.Module):
    """Pyramid pooling with stride 1 between two ``Conv``."""

    def __init__(
        self, read: int, write: int, act: Activation, *, sizes: tuple[int, ...] = (5, 9, 13)
    ) -> None:
        super().__init__()
        hidden = read // 2
        self.cv1 = Conv(read, hidden, act)
        self.cv2 = Conv(hidden * (len(sizes) + 1), write, act)
        self.m = _pools(sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h, w]."""
        x = self.cv1(x)
        result: Tensor = self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))
        return result


def _pools(sizes: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList([nn.MaxPool2d(size, 1, size // 2) for size in sizes])


class SPPCSP(nn.Module):
    """Pyramid pooling inside a cross-stage partial block."""

    def __init__(
        self, read: int, write: int, act: Activation, *, sizes: tuple[int, ...] = (5, 9, 13)
    ) -> None:
        super().__init__()
        self.cv1 = Conv(read, write, act)
        self.cv2 = _bare(read, write)
        self.cv3 = Conv(write, write, act, size=3)
        self.cv4 = Conv(write, write, act)
        self.m = _pools(sizes)
        self.cv5 = Conv((len(sizes) + 1) * write, write, act)
        self.cv6 = Conv(write, write, act, size=3)
        self.bn = _batchnorm(2 * write)
        self.act = act()
        self.cv7 = Conv(2 * write, write, act)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h, w]."""
        stem = self.cv4(self.cv3(self.cv1(x)))
        pooled = self.cv6(self.cv5(torch.cat([stem, *(pool(stem) for pool in self.m)], 1)))
        result: Tensor = self.cv7(self.act(self.bn(torch.cat((pooled, self.cv2(x)), 1))))
        return result


class DownC(nn.Module):
    """Halve the map by a strided convolution and by max-pooling, half of the width each."""

    def __init__(self, read: int, write: int, act: Activation) -> None:
        super().__init__()
        half = write // 2
        self.cv1 = Conv(read, read, act)
        self.cv2 = Conv(read, half, act, size=3, stride=2)
        self.cv3 = Conv(read, half, act)
        self.mp = nn.MaxPool2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, write, h / 2, w / 2]."""
        return torch.cat((self.cv2(self.cv1(x)), self.cv3(self.mp(x))), 1)


class Head(nn.Module):
    """The 1x1 convolution of each level, with its two implicit vectors where the model has them.

    ``m_i(x_i + ia_i) * im_i``. Source: ``Detect`` and ``IDetect``.

    Args:
        widths: Channels of each level's input.
        outputs: Anchors times (5 + classes).
        has_implicit: ``IDetect`` rather than ``Detect``.
    """

    def __init__(self, widths: tuple[int, ...], outputs: int, *, has_implicit: bool) -> None:
        super().__init__()
        self.m = nn.ModuleList([nn.Conv2d(width, outputs, 1) for width in widths])
        self.has_implicit = has_implicit
        if has_implicit:
            self.ia = nn.ModuleList([ImplicitVector(width) for width in widths])
            self.im = nn.ModuleList([ImplicitVector(outputs, mean=1.0) for _ in widths])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the raw map of each level, float [n, outputs, h_i, w_i]."""
        if not self.has_implicit:
            return [conv(x) for conv, x in zip(self.m, maps, strict=True)]
        return [
            conv(x + shift()) * control()
            for conv, x, shift, control in zip(self.m, maps, self.ia, self.im, strict=True)
        ]
