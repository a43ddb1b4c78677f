"""Models described in yaml: YOLOR paper branch, Scaled-YOLOv4 yolov4-large."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from yolor_deploy.checkpoint import Checkpoint
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError
from yolor_deploy.core.spec import DetectorSpec, HeadLevel, InputSpec
from yolor_deploy.families.class_names import class_names
from yolor_deploy.families.yaml.arguments import STRUCTURE_HINT
from yolor_deploy.families.yaml.blocks import Bottleneck
from yolor_deploy.families.yaml.network import YamlNetwork, level_order, network_from_plan
from yolor_deploy.families.yaml.plan import Plan, plan_from_structure
from yolor_deploy.families.yaml.published import RECIPES, published_structure
from yolor_deploy.nn.loading import expected_shapes, load_tensors, prior_head_bias, random_tensors

NAME = "yaml"
_LAYER = re.compile(r"model\.([0-9]{1,6})\.")
_WAVELET = re.compile(r"model\.([0-9]{1,6})\.xfm\.")
_ACTIVATIONS = {  # by the class that a pickled model has it under
    "SiLU": "silu",
    "Swish": "silu",
    "MemoryEfficientSwish": "silu",
    "Mish": "mish",
    "MishCuda": "mish",
    "MemoryEfficientMish": "mish",
    "LeakyReLU": "leaky",
}
_OTHER_ACTIVATIONS = frozenset(
    ("ReLU", "ReLU6", "Hardswish", "Hardsigmoid", "FReLU", "GELU", "ELU", "PReLU", "Tanh")
)
_MAX_CLASSES = 10_000
_HAAR_TAP = 0.5**0.5
_SIZES = {8: 640, 16: 640, 32: 640, 64: 1280, 128: 1536}


@dataclass(frozen=True, slots=True)
class _Model:
    variant: str
    plan: Plan
    act: str
    levels: tuple[HeadLevel, ...]
    wavelet_taps: dict[int, float]


def recognises(checkpoint: Checkpoint) -> bool:
    """Return whether the checkpoint is of this family, by its structure or its weight names."""
    return checkpoint.structure is not None or any(
        _LAYER.match(name) for name in checkpoint.tensors
    )


def spec(checkpoint: Checkpoint) -> DetectorSpec:
    """Describe the model of a checkpoint at its native size.

    Raises:
        CheckpointError: Its structure is wrong, or does not match its weights.
        UnsupportedModelError: It has blocks of other families, or is of no published model.
    """
    model = _resolve(checkpoint)
    stride = max(level.stride for level in model.levels)
    recipe = RECIPES.get(model.variant)
    size = recipe.size if recipe else _SIZES.get(stride, 640)
    return DetectorSpec(
        family=NAME,
        variant=model.variant,
        class_names=class_names(checkpoint, model.plan.num_classes),
        levels=model.levels,
        input=InputSpec(size, size),
    )


def module(checkpoint: Checkpoint) -> nn.Module:
    """Build the network of a checkpoint with its weights, float32, in evaluation mode.

    ``forward(float [n, 3, h, w])`` returns one raw map per level, finest stride first.

    Raises:
        CheckpointError: Its structure does not match its weights; the first difference is named.
        UnsupportedModelError: It has blocks of other families, or is of no published model.
    """
    model = _resolve(checkpoint)
    network = _empty_network(model.plan, model.act, model.wavelet_taps)
    head = len(model.plan.layers) - 1
    load_tensors(
        network, _weights(checkpoint.tensors, head), where=checkpoint.file, hint=STRUCTURE_HINT
    )
    return network


def random_checkpoint(name: str, *, seed: int = 0) -> Checkpoint:
    """Draw weights for a published model.

    Raises:
        KeyError: There is no such model.
    """
    recipe = RECIPES[name]
    structure = published_structure(name)
    plan = plan_from_structure(structure, where=name)
    taps = {layer.index: _HAAR_TAP for layer in plan.layers if layer.kind == "DWT"}
    network = _empty_network(plan, recipe.act, taps)
    residual = {
        f"{name}.cv2.bn.weight"
        for name, block in network.named_modules()
        if isinstance(block, Bottleneck) and block.add
    }
    tensors = random_tensors(network, seed=seed, residual=residual)
    head = len(plan.layers) - 1
    for position, stride in enumerate(plan.strides):
        bias = prior_head_bias(plan.num_anchors, plan.num_classes, stride)
        tensors[f"model.{head}.m.{position}.bias"] = bias
    tensors |= {
        f"model.{index}.xfm.h0_col": torch.full((1, 1, 2, 1), tap) for index, tap in taps.items()
    }
    return Checkpoint(
        name=name, sha256=None, container="random", tensors=tensors, structure=structure
    )


def published_names() -> tuple[str, ...]:
    """Return the names that ``random_checkpoint`` takes."""
    return tuple(RECIPES)


def _empty_network(plan: Plan, act: str, wavelet_taps: dict[int, float]) -> YamlNetwork:
    with torch.device("meta"):
        return network_from_plan(plan, act=act, wavelet_taps=wavelet_taps)


def _resolve(checkpoint: Checkpoint) -> _Model:
    taps = _wavelet_taps(checkpoint.tensors, checkpoint.file)
    variant = _published_variant(checkpoint, taps)
    if checkpoint.structure is not None:
        structure: Mapping[str, Any] = checkpoint.structure
    elif variant is not None:
        structure = published_structure(variant, num_classes=_num_classes(checkpoint, variant))
    else:
        raise UnsupportedModelError(
            "the weights match no published model, and the file does not describe its own",
            where=checkpoint.file,
            hint="give the file as the training wrote it, with the pickled model inside",
        )
    plan = plan_from_structure(structure, where=checkpoint.file)
    return _Model(
        variant=variant or "custom",
        plan=plan,
        act=_activation(checkpoint, variant, plan),
        levels=_levels(checkpoint, structure, plan),
        wavelet_taps=taps,
    )


def _published_variant(checkpoint: Checkpoint, taps: dict[int, float]) -> str | None:
    """Return the published model whose weights have the same names and shapes."""
    last = _last_layer(checkpoint)
    for name in RECIPES:
        structure = published_structure(name, num_classes=_num_classes(checkpoint, name))
        plan = plan_from_structure(structure, where=name)
        if plan.layers[-1].index != last:
            continue
        has_wavelets = any(layer.kind == "DWT" for layer in plan.layers)
        if has_wavelets != bool(taps):
            continue
        shapes = expected_shapes(_empty_network(plan, "silu", taps))
        found = _weights(checkpoint.tensors, len(plan.layers) - 1)
        if shapes == {key: tuple(value.shape) for key, value in found.items()}:
            return name
    return None


def _last_layer(checkpoint: Checkpoint) -> int:
    """Return the largest layer index that has weights: the head's."""
    return max((int(m[1]) for m in map(_LAYER.match, checkpoint.tensors) if m), default=0)


def _num_classes(checkpoint: Checkpoint, variant: str) -> int:
    """Return the classes that the heads of the weights have, as the published model counts."""
    recipe = RECIPES[variant]
    head = _last_layer(checkpoint)
    bias = checkpoint.tensors.get(f"model.{head}.m.0.bias")
    count = 0 if bias is None else bias.numel() // recipe.anchors_per_level - 5
    return count if 1 <= count <= _MAX_CLASSES else 80


def _weights(tensors: Mapping[str, Tensor], head: int) -> dict[str, Tensor]:
    """Return the tensors that are weights: no anchors, no filter taps."""
    anchors = {f"model.{head}.anchors", f"model.{head}.anchor_grid"}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name not in anchors
        and not _WAVELET.match(name)
        and not name.endswith("num_batches_tracked")
    }


def _wavelet_taps(tensors: Mapping[str, Tensor], where: str) -> dict[int, float]:
    """Return the stored filter coefficient of each wavelet layer by its index."""
    taps = {}
    for name, tensor in tensors.items():
        match = _WAVELET.match(name)
        if match and name.endswith("h0_col"):
            values = tensor.flatten()
            if len(values) != 2 or values[0] != values[1]:  # noqa: PLR2004 - the Haar wavelet
                raise CheckpointError(
                    f"filter {name} has {len(values)} values, expected two equal ones: Haar's",
                    where=where,
                    hint=STRUCTURE_HINT,
                )
            taps[int(match[1])] = float(values[0])
    return taps


def _activation(checkpoint: Checkpoint, variant: str | None, plan: Plan) -> str:
    """Return the activation: as pickled, as published, else as the two repositories have it.

    Raises:
        UnsupportedModelError: The blocks of a pickled model have another one, or several.
    """
    rows = {layer.kind for layer in plan.layers}  # a layer of its own is not that of the blocks
    classes = {name.rsplit(".", 1)[-1] for name in checkpoint.module_classes} - rows
    found = sorted({_ACTIVATIONS[name] for name in classes if name in _ACTIVATIONS})
    others = sorted(classes & _OTHER_ACTIVATIONS)
    if others or len(found) > 1:
        raise UnsupportedModelError(
            f"its blocks have the activations {', '.join([*found, *others])}, expected one of "
            f"{', '.join(sorted(set(_ACTIVATIONS.values())))}",
            where=checkpoint.file,
            hint="give a model of YOLOR or Scaled-YOLOv4: theirs is the same in all blocks",
        )
    if found:
        return found[0]
    if variant is not None:
        return RECIPES[variant].act
    return "silu" if plan.layers[-1].kind == "IDetect" else "mish"


def _levels(
    checkpoint: Checkpoint, structure: Mapping[str, Any], plan: Plan
) -> tuple[HeadLevel, ...]:
    """Return the levels, finest first; anchors as the weights hold them, else as described."""
    strides = plan.strides
    stored = checkpoint.strides
    if stored is not None and tuple(stored) != strides:
        raise CheckpointError(
            f"the model says strides {stored}, its layers give {strides}",
            where=checkpoint.file,
            hint=STRUCTURE_HINT,
        )
    grid = checkpoint.tensors.get(f"model.{len(plan.layers) - 1}.anchor_grid")
    values = grid.double().flatten().tolist() if grid is not None else _described(structure)
    count = len(strides) * plan.num_anchors
    if len(values) != 2 * count or not all(map(isfinite, values)):
        raise CheckpointError(
            f"{len(values) // 2} anchors, expected {count} = {len(strides)} levels x "
            f"{plan.num_anchors}, of finite numbers",
            where=checkpoint.file,
            hint=STRUCTURE_HINT,
        )
    pairs = list(zip(values[::2], values[1::2], strict=True))
    per_level = plan.num_anchors
    return tuple(
        HeadLevel(strides[i], tuple(pairs[i * per_level : (i + 1) * per_level]))
        for i in level_order(plan)
    )


def _described(structure: Mapping[str, Any]) -> list[float]:
    """Return the anchors of the structure; none if it has only their count, or no numbers."""
    anchors = structure["anchors"]
    if isinstance(anchors, int):
        return []
    try:
        return [float(value) for level in anchors for value in level]
    except (TypeError, ValueError, OverflowError):
        return []
