"""Scale and shift the raw maps of a model, in the convolutions that make them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from yolor_deploy.core.errors import PassError
from yolor_deploy.core.planted_head import ChannelChange
from yolor_deploy.graph.nms_head import raw_maps_of

logger = logging.getLogger(__name__)


def plant(model: ir.Model, changes: Sequence[ChannelChange]) -> int:
    """Make every raw map ``scale * raw + shift``, channel by channel.

    A convolution followed by that is again a convolution:

        weight'[o, ...] = scale[o] * weight[o, ...]
        bias'[o]        = scale[o] * bias[o] + shift[o]

    Its operators, their shapes and the sizes of the weights stay, and with them the time that it
    takes. A change with scale 1 and shift 0 leaves its convolution alone.

    Does not fire where a raw map comes out of anything else, such as a product with implicit
    knowledge, a cast of a model of half precision, or a convolution whose weights are quantised or
    used twice, and not where a map is read by something in the network besides.

    Args:
        model: In float32, as ``export`` writes it, whatever it ends in. Changed in place.
        changes: One per raw map, finest stride first.

    Returns:
        The number of convolutions changed.

    Raises:
        PassError: One of the above, or there are more or fewer maps or channels. Nothing was
            changed.
    """
    maps = raw_maps_of(model)
    if len(maps) != len(changes):
        raise PassError(
            f"{len(changes)} changes for {len(maps)} raw maps",
            where=f"graph {model.graph.name!r}",
            hint="give one change for each level of the detector",
        )
    sites = [_site(raw, change) for raw, change in zip(maps, changes, strict=True)]
    changed = [
        _change(weight, bias, change)
        for (weight, bias), change in zip(sites, changes, strict=True)
        if (change.scale != 1).any() or change.shift.any()
    ]
    logger.info("plant: %d of %d convolutions", len(changed), len(sites))
    return len(changed)


def _site(raw: ir.Value, change: ChannelChange) -> tuple[ir.Value, ir.Value]:
    """Return weight and bias of the convolution that makes a raw map.

    Raises:
        PassError: There is none that can be changed.
    """
    node = raw.producer()
    problem = _why_not(raw, node, change)
    if problem:
        raise PassError(
            problem,
            where=str(raw.name),
            hint="plant in what `yolor-deploy export` wrote, folded and in float32, before `build`",
        )
    assert node is not None, "checked by _why_not"
    weight, bias = node.inputs[1:]
    assert weight is not None, "checked by _why_not"
    assert bias is not None, "checked by _why_not"
    return weight, bias


def _why_not(raw: ir.Value, node: ir.Node | None, change: ChannelChange) -> str:
    """Return why a map cannot be changed in the node that makes it; empty if it can."""
    if node is None or node.op_type != "Conv":
        return f"the map comes out of {node.op_type if node else 'an input'}, expected Conv"
    readers = len(raw.uses()) + raw.is_graph_output()
    if readers > 1:
        return f"the map is read {readers} times, expected by the head alone"
    if len(node.inputs) != 3:  # noqa: PLR2004 - images, weight, bias
        return f"convolution {node.name} has no bias"
    problems = (_why_not_weight(value, node, change) for value in node.inputs[1:])
    return next(filter(None, problems), "")


def _why_not_weight(value: ir.Value | None, node: ir.Node, change: ChannelChange) -> str:
    if value is None or value.const_value is None or value.is_graph_input():
        return f"{value.name if value else 'the bias'} of {node.name} is not a weight in the file"
    tensor = value.const_value
    if tensor.dtype != ir.DataType.FLOAT:
        return f"{value.name} is {tensor.dtype.name}, expected FLOAT"
    if len(value.uses()) > 1:
        return f"{value.name} is used {len(value.uses())} times, expected by {node.name} alone"
    if tensor.shape[0] != len(change.scale):
        return f"{value.name} is {tensor.shape}, {len(change.scale)} channels are to be changed"
    return ""


def _change(weight: ir.Value, bias: ir.Value, change: ChannelChange) -> str:
    """Replace two initializers; computed in float64, rounded once."""
    assert weight.const_value is not None
    assert bias.const_value is not None
    kernels = weight.const_value.numpy().astype(np.float64)
    scale = change.scale.reshape(-1, *[1] * (kernels.ndim - 1))
    shifted = bias.const_value.numpy() * change.scale + change.shift
    for value, array in ((weight, kernels * scale), (bias, shifted)):
        value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
    return str(weight.name)
