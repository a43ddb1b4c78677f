"""A checkpoint of a few layers in the form of the authors' cfg models, written when a test runs.

Two levels, strides 8 and 16, one anchor each, three classes; the head of each level has an
``implicit_add`` before its convolution and an ``implicit_mul`` behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from yolor_deploy.checkpoint import CfgText
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import network_from_plan
from yolor_deploy.families.darknet.plan import plan_from_sections
from yolor_deploy.nn.loading import random_tensors

NUM_CLASSES = 3
SIZE = 64
STRIDES = (8, 16)
HEAD_CONVOLUTIONS = ("module_list.9.Conv2d", "module_list.15.Conv2d")


def _convolution(filters: int, stride: int) -> str:
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=3\nstride={stride}\npad=1\n"
        "activation=silu\n"
    )


def _head(*, add: int, mul: int, mask: int, num_classes: int) -> str:
    return (
        f"[shift_channels]\nfrom={add}\n"
        f"[convolutional]\nfilters={5 + num_classes}\nsize=1\nstride=1\npad=1\nactivation=linear\n"
        f"[control_channels]\nfrom={mul}\n"
        f"[yolo]\nmask={mask}\nanchors=12,16, 40,30\nclasses={num_classes}\nnum=2\n"
    )


def tiny_cfg(num_classes: int = NUM_CLASSES, *, width: int = 8) -> str:
    """Return the darknet description of the tiny model.

    Args:
        num_classes: In every [yolo] layer.
        width: Channels of the first convolution; the checkpoint has 8.
    """
    return "\n".join(
        [
            f"[net]\nwidth={SIZE}\nheight={SIZE}\nchannels=3\n",
            _convolution(width, 2),  # 0
            _convolution(16, 2),
            _convolution(16, 2),  # 2: stride 8
            "[implicit_add]\nfilters=16\n",
            f"[implicit_mul]\nfilters={5 + num_classes}\n",
            "[implicit_add]\nfilters=16\n",
            f"[implicit_mul]\nfilters={5 + num_classes}\n",
            "[route]\nlayers=2\n",
            _head(add=3, mul=4, mask=0, num_classes=num_classes),  # 8 to 11
            "[route]\nlayers=2\n",
            _convolution(16, 2),  # 13: stride 16
            _head(add=5, mul=6, mask=1, num_classes=num_classes),  # 14 to 17
        ]
    )


@dataclass(frozen=True)
class TinyCheckpoint:
    """Files of a tiny model.

    Attributes:
        path: ``tiny.pt``, a zip of torch.save: ``{"epoch": -1, "model": {...}}``.
        cfg: ``tiny.cfg``.
        tensors: What is in ``path``.
    """

    path: Path
    cfg: Path
    tensors: dict[str, torch.Tensor] = field(repr=False)

    @property
    def options(self) -> list[str]:
        """Arguments of ``export`` that name it."""
        return [str(self.path), "--cfg", str(self.cfg)]


def write_tiny_checkpoint(folder: Path, *, name: str = "tiny", seed: int = 0) -> TinyCheckpoint:
    """Write a tiny checkpoint and its cfg; the same bytes for the same seed."""
    text = tiny_cfg()
    network = network_from_plan(plan_from_sections(parse_cfg(CfgText("tiny.cfg", text))))
    tensors = random_tensors(network, seed=seed)
    for tensor_name, tensor in tensors.items():
        if tensor_name.endswith("implicit"):
            tensor.add_(0.1)  # so that leaving one out is far beyond rounding
    result = TinyCheckpoint(folder / f"{name}.pt", folder / f"{name}.cfg", tensors)
    result.cfg.write_text(text, encoding="utf-8")
    save(result.path, tensors)
    return result


def save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors as the authors' training does."""
    torch.save({"epoch": -1, "model": tensors}, path)
