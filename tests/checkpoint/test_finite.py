from __future__ import annotations

import pytest
import torch

from yolor_deploy.checkpoint import require_finite
from yolor_deploy.core.errors import CheckpointError

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_require_finite_accepts_the_largest_numbers(dtype: torch.dtype) -> None:
    """Values whose sum would overflow are finite; empty tensors and integers pass."""
    largest = torch.finfo(dtype).max
    tensors = {
        "large": torch.full((8,), largest, dtype=dtype),
        "small": torch.full((2, 3), -largest, dtype=dtype),
        "empty": torch.empty(0, 3, dtype=dtype),
        "counter": torch.tensor(3),
    }

    require_finite(tensors, where="model.pt")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_require_finite_names_the_tensor(dtype: torch.dtype, value: float) -> None:
    """One bad value anywhere is found, counted, and named with its tensor."""
    good = torch.linspace(-1, 1, 64).to(dtype)
    bad = good.clone().view(8, 8).t()
    bad[3, 5] = value

    with pytest.raises(CheckpointError, match="among 64") as refused:
        require_finite({"good": good, "model.3.bn.weight": bad}, where="model.pt")

    assert refused.value.where == "model.pt, tensor 'model.3.bn.weight'"


def test_require_finite_counts() -> None:
    """NaN and infinities are counted apart, and other bad tensors are mentioned."""
    first = torch.tensor([float("nan"), float("nan"), float("inf"), 1.0])
    second = torch.tensor([float("inf")])

    with pytest.raises(CheckpointError, match="2 NaN and 1 infinite values among 4; 1 more"):
        require_finite({"first": first, "second": second}, where="model.pt")
