"""Fold space to depth, and fixed transforms like it, into the convolution behind."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from yolor_deploy.nn.fold_affine import FoldSite
from yolor_deploy.nn.graph_edit import (
    channels_of,
    module_of,
    not_a_convolution,
    own_convolution,
    remove_module,
    replace_module,
)
from yolor_deploy.nn.layers import HaarTransform, ReOrg

_SIDE = 2


def fold_reorg(graph_module: fx.GraphModule) -> list[FoldSite]:
    """Compose each ``ReOrg`` and ``HaarTransform`` with the convolutions that read it, in place.

    Both are convolutions with kernel 2 and stride 2, so with what follows they are one
    convolution: kernel ``k`` becomes ``2k``, stride ``2s``, padding ``2p``, over the channels of
    the image. The multiplications of ``ReOrg`` stay the same in number, and the slices and the
    concatenation go. The 0.5 that ``HaarTransform`` adds goes into the bias, where the padding
    allows it.

    Returns:
        One entry per transform.

    Source: ReOrg is a permutation of pixels; the composition of convolutions is one.
    """
    sites = []
    for node in reversed(list(graph_module.graph.nodes)):
        module = module_of(node)
        if not isinstance(module, ReOrg | HaarTransform):
            continue
        source = node.all_input_nodes[0]
        weight, bias = _as_convolution(module, channels_of(source))
        reason = _why_not(node, bias)
        into: tuple[str, ...] = ()
        if reason is None:
            into = tuple(str(user.target) for user in node.users)
            for user in node.users:
                conv = own_convolution(user)
                assert conv is not None
                replace_module(user, _composed(conv, weight, bias))
            remove_module(node, source)
        sites.append(FoldSite(str(node.target), "reorg", into, reason))
    graph_module.graph.lint()
    return sites[::-1]


def _as_convolution(module: ReOrg | HaarTransform, channels: int) -> tuple[Tensor, Tensor | None]:
    """Return weight float64 [4c, c, 2, 2] and bias float64 [4c] of a transform."""
    if isinstance(module, HaarTransform):
        assert module.bias is not None
        return module.weight.detach().double(), module.bias.detach().double()
    weight = torch.zeros(4 * channels, channels, _SIDE, _SIDE, dtype=torch.float64)
    for block, (row, column) in enumerate(ReOrg.OFFSETS):
        for channel in range(channels):
            weight[block * channels + channel, channel, row, column] = 1
    return weight, None


def _why_not(node: fx.Node, bias: Tensor | None) -> str | None:
    for user in node.users:
        conv = own_convolution(user)
        is_plain = conv is not None and conv.groups == 1 and conv.dilation == (1, 1)
        if conv is None or not is_plain or isinstance(conv, HaarTransform):
            return not_a_convolution(user)
        if bias is not None and any(int(p) for p in conv.padding):
            return f"{user.target} pads its border with 0, where the transform gives 0.5"
    return None if node.users else "nothing reads it"


def _composed(conv: nn.Conv2d, first: Tensor, first_bias: Tensor | None) -> nn.Conv2d:
    """Return the convolution that is one of kernel 2 and stride 2, and then ``conv``."""
    weight, bias = conv.weight.detach(), conv.bias
    rows, columns = weight.shape[2:]
    if first_bias is not None:
        change = torch.einsum("omij,m->o", weight, first_bias.to(weight.dtype))
        bias = nn.Parameter(change if bias is None else bias.detach() + change)
    # Output pixel (i, j) of the first reads the 2x2 square at (2i, 2j): the squares tile.
    composed = torch.einsum("omij,mcab->ociajb", weight, first.to(weight.dtype))
    kernel = (_SIDE * rows, _SIDE * columns)
    result = nn.Conv2d(
        first.shape[1],
        weight.shape[0],
        kernel,
        (_SIDE * conv.stride[0], _SIDE * conv.stride[1]),
        (_SIDE * int(conv.padding[0]), _SIDE * int(conv.padding[1])),
        bias=bias is not None,
        device="meta",  # its weights come here
    )
    shape = (weight.shape[0], first.shape[1], *kernel)
    result.weight = nn.Parameter(composed.reshape(shape))
    result.bias = bias
    return result.requires_grad_(requires_grad=False)
