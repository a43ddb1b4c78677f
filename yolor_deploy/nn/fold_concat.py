"""Fold constants that are concatenated in front of a map into the convolution behind."""

from __future__ import annotations

from torch import Tensor, fx, nn

from yolor_deploy.nn.fold_affine import FoldSite
from yolor_deploy.nn.graph_edit import (
    module_of,
    not_a_convolution,
    own_convolution,
    remove_module,
)
from yolor_deploy.nn.layers import HaarTransform, PrependChannels


def fold_concat(graph_module: fx.GraphModule) -> list[FoldSite]:
    """Drop constant input channels of convolutions, in place.

    ``W [z, x] + b = W_x x + (b + sum W_z z)``: exact where no reader of the concatenation pads,
    since a padded pixel is 0, not ``z``.

    Returns:
        One entry per concatenation of implicit knowledge.

    Source: ``[alternate_channels]`` of the cfg files; the implicit channels come first.
    """
    sites = []
    for node in list(graph_module.graph.nodes):
        if not isinstance(module_of(node), PrependChannels):
            continue
        source, constant = node.all_input_nodes
        name = f"{', '.join(constant.meta['sources'])} at {constant.meta['scope']}"
        reason = _why_not(node)
        into: tuple[str, ...] = ()
        if reason is None:
            into = tuple(str(user.target) for user in node.users)
            value = graph_module.get_buffer(str(constant.target)).reshape(-1)
            for user in list(node.users):
                conv = own_convolution(user)
                assert conv is not None
                _drop_channels(conv, value)
            remove_module(node, source)
        sites.append(FoldSite(name, "implicit", into, reason))
    graph_module.graph.eliminate_dead_code()
    graph_module.graph.lint()
    return sites


def _why_not(node: fx.Node) -> str | None:
    """Return why a concatenation cannot be folded, or None if it can."""
    for user in node.users:
        conv = own_convolution(user)
        if conv is None or conv.groups > 1 or isinstance(conv, HaarTransform):
            return not_a_convolution(user)
        if any(int(p) for p in conv.padding):
            return f"{user.target} pads its border with 0, where the constant would be"
    return None


def _drop_channels(conv: nn.Conv2d, value: Tensor) -> None:
    weight = conv.weight.detach()
    count = value.numel()
    change = (weight[:, :count] * value.reshape(1, -1, 1, 1)).sum((1, 2, 3))
    bias = change if conv.bias is None else conv.bias.detach() + change
    conv.bias = nn.Parameter(bias, requires_grad=False)
    conv.weight = nn.Parameter(weight[:, count:].clone(), requires_grad=False)
    conv.in_channels -= count
