"""Weights that are numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from yolor_deploy.core.errors import CheckpointError


def require_finite(tensors: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Check that no floating-point tensor has a NaN or an infinity.

    Args:
        tensors: By name; tensors of integers pass.
        where: The file, for messages.

    Raises:
        CheckpointError: Names the first tensor that has one, and counts.
    """
    bad = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if not bad:
        return
    first = tensors[bad[0]]
    nan = int(first.isnan().sum())
    infinite = int(first.isinf().sum())
    others = f"; {len(bad) - 1} more tensors have some" if len(bad) > 1 else ""
    raise CheckpointError(
        f"{nan} NaN and {infinite} infinite values among {first.numel()}{others}",
        where=f"{where}, tensor {bad[0]!r}",
        hint="the training diverged, or the file is damaged: give an earlier checkpoint",
    )


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # Both ends are NaN where one value is; unlike isfinite() this takes no memory.
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low) & torch.isfinite(high))
