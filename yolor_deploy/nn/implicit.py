"""Implicit knowledge: what a network adds, multiplies or concatenates whatever its input is.

The YOLOR paper models it in three ways. None depends on the image, so each is one constant by the
time of inference: ``lower_implicit`` computes it, and ``fold_affine`` or ``fold_concat`` lets a
neighbouring convolution absorb it where that is exact.

Source: YOLOR, arXiv:2105.04206, section 4.4 (vector, neural network, matrix factorisation).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImplicitVector(nn.Module):
    """A vector ``z``: the only way that the published models use.

    Args:
        channels: Of the feature map that it meets.
        mean: 0 for addition and concatenation, 1 for multiplication.
        atoms: Rows of a two-dimensional ``z``; 0 for the plain vector. ``channels`` is then the
            number of columns, and the result has ``atoms * channels`` channels, row by row.

    Source: ``[implicit_add]``, ``[implicit_mul]``, ``[implicit_cat]`` and their ``_2d`` forms;
    ``ImplicitA`` and ``ImplicitM``. Initial deviation 0.02 as there.
    """

    def __init__(self, channels: int, *, mean: float = 0.0, atoms: int = 0) -> None:
        super().__init__()
        shape = (1, atoms, channels, 1) if atoms else (1, channels, 1, 1)
        self.mean = mean
        self.implicit = nn.Parameter(torch.normal(mean, 0.02, shape))

    def forward(self) -> Tensor:
        """Return float [1, channels, 1, 1]."""
        return self.implicit.reshape(1, -1, 1, 1)


class ImplicitNetwork(nn.Module):
    """``W z``: a linear layer over a shorter latent vector.

    Args:
        channels: Of the feature map that it meets.
        latent: Length of ``z``.
        mean: 0 for addition and concatenation, 1 for multiplication.
    """

    def __init__(self, channels: int, *, latent: int, mean: float = 0.0) -> None:
        super().__init__()
        self.mean = mean
        self.latent = nn.Parameter(torch.normal(0.0, 1.0, (latent,)))
        self.weight = nn.Parameter(torch.normal(0.0, 0.02, (channels, latent)))

    def forward(self) -> Tensor:
        """Return float [1, channels, 1, 1]."""
        return (torch.mv(self.weight, self.latent) + self.mean).reshape(1, -1, 1, 1)


class ImplicitFactorization(nn.Module):
    """``Z^T c``: several latent vectors and the coefficients that mix them.

    Args:
        channels: Of the feature map that it meets.
        vectors: Number of latent vectors.
        mean: 0 for addition and concatenation, 1 for multiplication.
    """

    def __init__(self, channels: int, *, vectors: int, mean: float = 0.0) -> None:
        super().__init__()
        self.mean = mean
        self.basis = nn.Parameter(torch.normal(0.0, 0.02, (vectors, channels)))
        self.coefficients = nn.Parameter(torch.normal(0.0, 1.0, (vectors,)))

    def forward(self) -> Tensor:
        """Return float [1, channels, 1, 1]."""
        mixed = torch.mv(self.basis.t(), self.coefficients)
        return (mixed + self.mean).reshape(1, -1, 1, 1)
