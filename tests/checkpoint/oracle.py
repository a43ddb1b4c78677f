"""What torch itself reads from a checkpoint, for comparison: only for files of our own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError:  # of the authors
            return type(name, (nn.Module,), {"__module__": module})


class _PickleModule:
    """The part of ``pickle`` that ``torch.load`` uses."""

    Unpickler = _Unpickler
    load = staticmethod(pickle.load)


def state_dict_by_torch(path: Path) -> dict[str, torch.Tensor]:
    """Return the floating-point entries of the state_dict that ``torch.load`` gives."""
    model = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_PickleModule)[
        "model"
    ]
    state = model.state_dict() if isinstance(model, nn.Module) else model
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def assert_same_tensors(found: Any, expected: Any) -> None:
    """Check names, order, dtypes and every bit."""
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
