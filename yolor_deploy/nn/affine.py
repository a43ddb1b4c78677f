"""The one form of all that folds: a scale and a shift per channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Origin:
    """What an affine map was before.

    Attributes:
        layer: Of the checkpoint.
        kind: ``batchnorm``, ``implicit`` or ``input``.
    """

    layer: str
    kind: str


class Affine(nn.Module):
    """``scale * x + shift``, one value of each per channel.

    Args:
        scale: float [c], or float [1] for all channels, or None for 1.
        shift: float [c], or float [1] for all channels, or None for 0. Not both are None.
        origins: What it stands for; more than one after merging.
    """

    def __init__(
        self, scale: Tensor | None, shift: Tensor | None, origins: tuple[Origin, ...]
    ) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.origins = origins
        self.scale: Tensor | None
        self.shift: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Return float [n, c, h, w]."""
        if self.scale is not None:
            x = x * self.scale.reshape(1, -1, 1, 1)
        if self.shift is not None:
            x = x + self.shift.reshape(1, -1, 1, 1)
        return x

    def after(self, first: Affine) -> Affine:
        """Return the map that applies ``first``, then this one."""
        scale, shift = self.scale, self.shift
        if first.shift is not None:
            moved = first.shift if scale is None else scale * first.shift
            shift = moved if shift is None else shift + moved
        if first.scale is not None:
            scale = first.scale if scale is None else scale * first.scale
        return Affine(scale, shift, (*first.origins, *self.origins))

    def part(self, begin: int, end: int) -> Affine:
        """Return the map of the channels ``begin`` to ``end``."""
        scale, shift = (
            vector if vector is None or vector.numel() == 1 else vector[begin:end].clone()
            for vector in (self.scale, self.shift)
        )
        return Affine(scale, shift, self.origins)


def affine_from_batchnorm(norm: nn.BatchNorm2d, *, layer: str) -> Affine:
    """Return what a batch normalisation is at inference.

    ``gamma * (x - mean) / sqrt(var + eps) + beta``.

    Args:
        norm: With learned weights and running statistics, torch's default.
        layer: Of the checkpoint, for reports.
    """
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    scale = norm.weight / torch.sqrt(var + norm.eps)
    shift = norm.bias - mean * scale
    return Affine(scale.detach(), shift.detach(), (Origin(layer, "batchnorm"),))
