"""Names for the values of a ``.weights`` file.

The file is a list of floats in layer order; only the cfg says which float belongs where.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from yolor_deploy.checkpoint import DarknetWeights
from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.families.darknet.layers import IMPLICIT_MEANS
from yolor_deploy.families.darknet.network import DarknetNetwork
from yolor_deploy.nn.loading import expected_shapes

logger = logging.getLogger(__name__)

_BATCHNORM_ORDER = ("bias", "weight", "running_mean", "running_var")
_Shapes = dict[str, tuple[int, ...]]


def tensors_from_weights(
    network: DarknetNetwork, weights: DarknetWeights, *, where: str
) -> dict[str, Tensor]:
    """Cut the values of a ``.weights`` file into named tensors.

    darknet stores implicit vectors in their places; the authors' PyTorch code leaves them out.
    Which of the two wrote the file shows in its length. Vectors that the file lacks become
    neutral: 0 to add, 1 to multiply.

    Args:
        network: Built from the cfg; read for names and shapes.
        weights: The file.
        where: The file, for messages.

    Returns:
        float32 tensors by name; views of the file's values where they come from it.

    Raises:
        CheckpointError: The length fits neither; a truncated file says up to which layer. Or a
            shortcut has weights: darknet does not mean by them what the authors' code means, which
            leaves them out of the file.

    Source: AlexeyAB's darknet and the authors' readers.
    """
    for layer in network.plan.layers:
        if layer.kind == "shortcut" and "weights_type" in layer.section.options:
            raise layer.section.error(
                "[shortcut] with weights_type= cannot be read from a .weights file",
                "give the .pt that the training wrote",
            )
    shapes = expected_shapes(network)
    stored = [name for name, kind in _file_order(network) if kind == "layer"]
    full = [name for name, _ in _file_order(network)]
    size = weights.values.size
    if size == _count(full, shapes):
        order = full
    elif size == _count(stored, shapes):
        order = stored
    else:
        raise _wrong_length(size, full, stored, shapes, where)
    tensors, position = {}, 0
    values = torch.from_numpy(weights.values)
    for name in order:
        count = math.prod(shapes[name])
        tensors[name] = values[position : position + count].reshape(shapes[name])
        position += count
    if order != full:
        tensors |= _neutral(network, shapes, {*full} - {*stored}, where)
    return tensors


def _file_order(network: DarknetNetwork) -> Iterator[tuple[str, str]]:
    """Yield each weight in the order of the file, and whether every writer stores it."""
    for layer in network.plan.layers:
        prefix = f"module_list.{layer.index}"
        if layer.kind == "convolutional":
            if layer.section.integer("batch_normalize", 0, minimum=0):
                for leaf in _BATCHNORM_ORDER:
                    yield f"{prefix}.BatchNorm2d.{leaf}", "layer"
            else:
                yield f"{prefix}.Conv2d.bias", "layer"
            yield f"{prefix}.Conv2d.weight", "layer"
        elif layer.kind in IMPLICIT_MEANS:
            yield f"{prefix}.implicit", "extra"


def _count(names: list[str], shapes: _Shapes) -> int:
    return sum(math.prod(shapes[name]) for name in names)


def _neutral(
    network: DarknetNetwork, shapes: _Shapes, names: set[str], where: str
) -> dict[str, Tensor]:
    """Return implicit vectors that change nothing, and say so."""
    means = {
        f"module_list.{layer.index}.implicit": IMPLICIT_MEANS[layer.kind]
        for layer in network.plan.layers
        if layer.kind in IMPLICIT_MEANS
    }
    logger.warning(
        "%s holds no implicit values (its writer leaves them out): %d vectors set to neutral",
        where,
        len(names),
    )
    return {name: torch.full(shapes[name], means[name]) for name in names}


def _wrong_length(
    size: int, full: list[str], stored: list[str], shapes: _Shapes, where: str
) -> CheckpointError:
    expected = sorted({_count(stored, shapes), _count(full, shapes)})
    total, last = 0, "none"
    for name in stored:
        total += math.prod(shapes[name])
        if total > size:
            break
        last = name
    text = " or ".join(f"{count:,}" for count in expected)
    return CheckpointError(
        f"{size:,} values, expected {text} for this cfg; they would reach up to {last}",
        where=where,
        hint="give the cfg that the file was trained with; a *.conv.N file is only a backbone",
    )
