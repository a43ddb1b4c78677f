"""Small descriptions of both families, made to be changed at one place by a test."""

from __future__ import annotations

from typing import Any

import torch

from yolor_deploy.checkpoint import CfgText, Checkpoint
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.plan import Plan, plan_from_sections
from yolor_deploy.families.yaml.network import network_from_plan
from yolor_deploy.families.yaml.plan import plan_from_structure
from yolor_deploy.nn.loading import random_tensors

ANCHORS = "4,5,6,7,20,21,30,31"
# 2 anchors x (5 + 3 classes) = 16 channels for each head.
SMALL_CFG = (
    "net width=64 height=32 channels=3",
    "convolutional batch_normalize=1 filters=8 size=3 stride=2 pad=1 activation=silu",
    "convolutional filters=16 size=1 activation=linear",
    f"yolo mask=0,1 anchors={ANCHORS} classes=3",
    "route layers=-3",
    "convolutional batch_normalize=1 filters=8 size=3 stride=2 pad=1 activation=mish",
    "implicit_add filters=8",
    "implicit_mul filters=16",
    "route layers=4",
    "shift_channels from=5",
    "convolutional filters=16 size=1 activation=linear",
    "control_channels from=6",
    f"yolo mask=2,3 anchors={ANCHORS} classes=3",
)


def cfg_of(*sections: str) -> CfgText:
    """Return a cfg with one section for each ``kind key=value key=value``.

    A convolution without an activation gets ``activation=linear``.
    """
    return CfgText("small.cfg", _text(sections))


def where_of(sections: tuple[str, ...], layer: int) -> str:
    """Return what an error about a layer must say of its place: file, layer, line."""
    line = _text(sections[: layer + 1]).count("\n") + 1
    return f"small.cfg, layer {layer}, line {line}"


def _text(sections: tuple[str, ...]) -> str:
    lines: list[str] = []
    for section in sections:
        kind, *options = section.split()
        if kind == "convolutional" and "activation=" not in section:
            options.append("activation=linear")
        lines += [f"[{kind}]", *options, ""]
    return "".join(f"{line}\n" for line in lines)


def changed(layer: int, section: str) -> tuple[str, ...]:
    """Return the sections of ``SMALL_CFG`` with another layer at a place."""
    result = list(SMALL_CFG)
    result[layer + 1] = section
    return tuple(result)


def plan_of(*sections: str) -> Plan:
    """Return the plan of sections."""
    return plan_from_sections(parse_cfg(cfg_of(*sections)))


def small_structure() -> dict[str, Any]:
    """Return a yaml model of two levels, strides 2 and 4, with three classes."""
    return {
        "nc": 3,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "anchors": [[4, 5, 6, 7], [20, 21, 30, 31]],
        "backbone": [
            [-1, 1, "Conv", [8, 3, 2]],
            [-1, 2, "BottleneckCSP", [8]],
            [-1, 1, "Conv", [16, 3, 2]],
        ],
        "head": [
            [-1, 1, "Conv", [8, 1, 1]],
            [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
            [[-1, 1], 1, "Concat", [1]],
            [-1, 1, "Conv", [8, 3, 1]],
            [[6, 2], 1, "IDetect", ["nc", "anchors"]],
        ],
    }


def with_row(index: int, row: Any) -> dict[str, Any]:
    """Return the small structure with another row at a place of the whole model."""
    structure = small_structure()
    part, position = ("backbone", index) if index < 3 else ("head", index - 3)
    structure[part][position] = row
    return structure


def structured(structure: dict[str, Any], **parts: Any) -> Checkpoint:
    """Return a checkpoint of a structure with drawn weights; ``parts`` go into the checkpoint."""
    with torch.device("meta"):
        network = network_from_plan(plan_from_structure(structure, where="small.pt"))
    parts.setdefault("tensors", random_tensors(network))
    return Checkpoint(name="small.pt", sha256=None, container="zip", structure=structure, **parts)
