"""Models described by a darknet cfg: YOLOR main branch, Scaled-YOLOv4 csp branch."""

from __future__ import annotations

import logging
from pathlib import PurePath

import torch
from torch import nn

from yolor_deploy.checkpoint import CfgText, Checkpoint
from yolor_deploy.core.errors import UnsupportedModelError
from yolor_deploy.core.spec import DetectorSpec, InputSpec
from yolor_deploy.families.class_names import class_names
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import DarknetNetwork, network_from_plan
from yolor_deploy.families.darknet.plan import Plan, plan_from_sections, require_reasonable
from yolor_deploy.families.darknet.published import RECIPES, published_cfg
from yolor_deploy.families.darknet.weights import tensors_from_weights
from yolor_deploy.nn.loading import expected_shapes, load_tensors, prior_head_bias, random_tensors

logger = logging.getLogger(__name__)

NAME = "darknet"
_PREFIX = "module_list."
_DEFAULT_SIZE = 640
_MAX_SIDE = 16_384  # pixels; 3 GB for one float32 image
_MAX_CLASSES = 10_000


def recognises(checkpoint: Checkpoint) -> bool:
    """Return whether the checkpoint is of this family, by its weight names or its container."""
    return checkpoint.darknet is not None or any(
        name.startswith(_PREFIX) for name in checkpoint.tensors
    )


def spec(checkpoint: Checkpoint) -> DetectorSpec:
    """Describe the model of a checkpoint at its native size.

    Raises:
        CheckpointError: The cfg is wrong, or does not match the weights.
        UnsupportedModelError: No cfg was given, and the weights are of no published model.
    """
    cfg = _cfg(checkpoint)
    sections = parse_cfg(cfg)
    plan = plan_from_sections(sections)
    names = class_names(checkpoint, plan.num_classes)
    stride = max(level.stride for level in plan.levels)
    height, width = (
        sections[0].integer(side, _DEFAULT_SIZE, maximum=_MAX_SIDE) for side in ("height", "width")
    )
    if height % stride or width % stride:
        height = width = -(-_DEFAULT_SIZE // stride) * stride
    return DetectorSpec(
        family=NAME,
        variant=PurePath(cfg.name).stem,
        class_names=names,
        levels=plan.levels,
        input=InputSpec(height, width),
    )


def module(checkpoint: Checkpoint) -> nn.Module:
    """Build the network of a checkpoint with its weights, float32, in evaluation mode.

    ``forward(float [n, 3, h, w])`` returns one raw map per level, finest stride first.

    Raises:
        CheckpointError: The cfg does not match the weights; the first difference is named.
        UnsupportedModelError: No cfg was given, and the weights are of no published model.
    """
    cfg = _cfg(checkpoint)
    network = _empty_network(cfg)
    tensors = checkpoint.tensors
    if checkpoint.darknet is not None:
        _warn_of_exponential(network.plan, checkpoint.file)
        tensors = tensors_from_weights(network, checkpoint.darknet, where=checkpoint.file)
    load_tensors(
        network,
        tensors,
        where=f"{checkpoint.file} with {cfg.name}",
        hint="give the description (--cfg) that this model was trained with; another number of "
        "classes changes filters= of the head convolutions and of their implicit_mul layers",
    )
    return network


def _warn_of_exponential(plan: Plan, where: str) -> None:
    """Say what cannot be seen in a ``.weights`` file: how its training decoded boxes."""
    heads = [layer.section for layer in plan.layers if layer.kind == "yolo"]
    if not any(section.options.get("new_coords") == "1" for section in heads):
        logger.warning(
            "%s: boxes are decoded as YOLOR and Scaled-YOLOv4 do; weights that darknet trained "
            "without new_coords=1 (YOLOv3, YOLOv4) mean other boxes",
            where,
        )


def random_checkpoint(name: str, *, seed: int = 0) -> Checkpoint:
    """Draw weights for a published model.

    Raises:
        KeyError: There is no such model.
    """
    cfg = published_cfg(name)
    network = _empty_network(cfg)
    residual = {
        f"{_PREFIX}{layer.sources[0]}.BatchNorm2d.weight"
        for layer in network.plan.layers
        if layer.kind == "shortcut"
    }
    tensors = random_tensors(network, seed=seed, residual=residual)
    for head, level in zip(network.plan.heads, network.plan.levels, strict=True):
        bias = prior_head_bias(level.num_anchors, network.plan.num_classes, level.stride)
        tensors[f"{_head_convolution(network.plan, head)}.bias"] = bias
    return Checkpoint(name=name, sha256=None, container="random", tensors=tensors, cfg=cfg)


def published_names() -> tuple[str, ...]:
    """Return the names that ``random_checkpoint`` takes."""
    return tuple(RECIPES)


def _empty_network(cfg: CfgText) -> DarknetNetwork:
    """Build the network of a cfg without memory for its weights."""
    plan = plan_from_sections(parse_cfg(cfg))
    require_reasonable(plan, where=cfg.name)
    with torch.device("meta"):
        return network_from_plan(plan)


def _head_convolution(plan: Plan, head: int) -> str:
    """Return the weight prefix of the convolution behind a raw map."""
    layer = plan.layers[head]
    while layer.kind != "convolutional":
        layer = plan.layers[layer.sources[0]]
    return f"{_PREFIX}{layer.index}.Conv2d"


def _cfg(checkpoint: Checkpoint) -> CfgText:
    """Return the description of a checkpoint: the given one, or a published one that fits."""
    if checkpoint.cfg is not None:
        return checkpoint.cfg
    if checkpoint.darknet is not None:
        raise UnsupportedModelError(
            "a .weights file does not say which model it is of",
            where=checkpoint.file,
            hint=f"give --cfg FILE, or one of --cfg {'|'.join(RECIPES)}",
        )
    found = {name: tuple(t.shape) for name, t in checkpoint.tensors.items()}
    best = ("", "", -1)
    for name in RECIPES:
        cfg = _with_classes_of(name, found)
        shapes = expected_shapes(_empty_network(cfg))
        if shapes == found:
            return cfg
        same = sum(found.get(key) == shape for key, shape in shapes.items())
        if same > best[2]:
            different = next(
                (key for key in {**shapes, **found} if found.get(key) != shapes.get(key)), ""
            )
            best = (name, different, same)
    raise UnsupportedModelError(
        f"the weights match no published model; the nearest, {best[0]}, differs at {best[1]}",
        where=checkpoint.file,
        hint="give the darknet description that it was trained with: --cfg FILE",
    )


def _with_classes_of(name: str, found: dict[str, tuple[int, ...]]) -> CfgText:
    """Return a published cfg with as many classes as the heads of the weights have."""
    cfg = published_cfg(name)
    plan = plan_from_sections(parse_cfg(cfg))
    shape = found.get(f"{_head_convolution(plan, plan.heads[0])}.bias")
    if not shape:
        return cfg
    num_classes = shape[0] // plan.levels[0].num_anchors - 5
    is_possible = 1 <= num_classes <= _MAX_CLASSES
    return published_cfg(name, num_classes=num_classes) if is_possible else cfg
