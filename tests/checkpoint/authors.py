"""Stand-alone classes under the names of the authors' modules, for as long as a test pickles."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_SOURCE = {
    "models/__init__.py": "",
    "models/yolo.py": """
import torch
from torch import nn
from models.common import Conv


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.yaml = {"nc": 2, "backbone": [[-1, 1, "Conv", [8, 3, 1]]], "head": []}
        self.names = ["ant", "bee"]
        self.stride = torch.tensor([8.0, 16.0])
        self.model = nn.Sequential(Conv(), nn.MaxPool2d(2), Conv())
        self.register_buffer("scratch", torch.ones(2), persistent=False)
""",
    "models/common.py": """
from torch import nn
from mish_cuda import MishCuda


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.bn = nn.BatchNorm2d(3)
        self.act = MishCuda()
""",
    "models/models.py": """
from torch import nn
from utils.layers import FeatureConcat


class Darknet(nn.Module):
    def __init__(self):
        super().__init__()
        self.module_defs = [{"type": "convolutional"}]
        block = nn.Sequential()
        block.add_module("Conv2d", nn.Conv2d(3, 2, 1))
        self.module_list = nn.ModuleList([block, FeatureConcat()])
""",
    "utils/__init__.py": "",
    "utils/layers.py": """
from torch import nn


class FeatureConcat(nn.Module):
    pass
""",
    "mish_cuda.py": """
from torch import nn


class MishCuda(nn.Module):
    pass
""",
}
_TOP = ("models", "utils", "mish_cuda")


@contextmanager
def authors_module(folder: Path, name: str) -> Iterator[ModuleType]:
    """Make ``models.yolo``, ``models.models`` and the like importable, and import one of them.

    Written to ``folder`` as files, so that the old container finds source text to store.
    """
    for path, source in _SOURCE.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(source)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for loaded in [key for key in sys.modules if key.partition(".")[0] in _TOP]:
            del sys.modules[loaded]
