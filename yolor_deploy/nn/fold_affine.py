"""Fold scales and shifts into the convolutions around them, wherever that is exact.

With ``conv(x) = W x + b`` and the affine map ``s * x + t``::

    s * (W x + b) + t          =  (s W) x + (s b + t)          behind a convolution, always
    W (s * x + t) + b          =  (W s) x + (b + W t)          before one; t only without padding,
                                                               since a padded pixel is 0, not t
    act(s * y), s > 0          =  s * act(y)                   act is ReLU or leaky ReLU
    s * cat(x, y) + t          =  cat(s1 x + t1, s2 y + t2)    if one part then folds
    pool(s * x + t)            =  s * pool(x) + t              s >= 0; torch pads with -inf
    up(s * x + t)              =  s * up(x) + t                nearest; space to depth likewise
    (x + t) + y                =  (x + y) + t

What folds nowhere stays as one multiplication or addition per channel, and says why. All is
computed in the type of the network: make it float64 first and cast last.

Source: algebra; the cases are those of the YOLOR cfg layers [shift_channels], [control_channels],
[select_channels] and of batch normalisation behind a concatenation.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from yolor_deploy.nn.affine import Affine, Origin
from yolor_deploy.nn.graph_edit import (
    channels_of,
    concat_pieces,
    insert_module,
    module_of,
    own_convolution,
    remove_module,
)
from yolor_deploy.nn.layers import ReOrg

_ACTIVATIONS = (nn.SiLU, nn.Mish, nn.Sigmoid, nn.ReLU, nn.LeakyReLU)


@dataclass(frozen=True, slots=True)
class FoldSite:
    """What became of one thing that could fold.

    Attributes:
        layer: Of the checkpoint.
        kind: ``batchnorm``, ``implicit``, ``reorg`` or ``input``.
        into: Convolutions that absorbed it, or a part of it.
        kept: Why it, or a part of it, stayed; None if nothing did.
    """

    layer: str
    kind: str
    into: tuple[str, ...]
    kept: str | None


@dataclass(frozen=True, slots=True)
class _Sink:
    """A convolution, and the scale and shift of each of its input channels."""

    node: fx.Node
    conv: nn.Conv2d
    scale: Tensor | None
    shift: Tensor | None


class _CannotFold(Exception):  # noqa: N818 - control flow inside this file, not an error
    """Carries why a forward fold is not exact."""


def fold_affine(graph_module: fx.GraphModule, *, kinds: Collection[str]) -> list[FoldSite]:
    """Fold every affine map of the given kinds that folds exactly, in place.

    Args:
        graph_module: Rewritten; the weights of its convolutions change.
        kinds: Of ``Origin``; maps of other kinds are left where they are.

    Returns:
        One entry per layer that was lowered to an affine map, those left alone included.
    """
    folder = _Folder(graph_module, kinds)
    while any(folder.step(node) for node in folder.candidates()):
        pass
    graph_module.graph.lint()
    return folder.report()


class _Folder:
    def __init__(self, graph_module: fx.GraphModule, kinds: Collection[str]) -> None:
        self.graph_module = graph_module
        self.kinds = kinds
        self.into: dict[Origin, dict[str, None]] = {
            origin: {} for _, affine in self.affines() for origin in affine.origins
        }

    def affines(self) -> list[tuple[fx.Node, Affine]]:
        nodes = self.graph_module.graph.nodes
        return [(n, module) for n in nodes if isinstance(module := module_of(n), Affine)]

    def candidates(self) -> list[fx.Node]:
        return [
            node
            for node, affine in self.affines()
            if all(origin.kind in self.kinds for origin in affine.origins)
        ]

    def step(self, node: fx.Node) -> bool:
        """Try the folds of one node, the cheapest result first; return whether one was made."""
        if node not in self.graph_module.graph.nodes:
            return False
        return (
            self.into_producer(node)
            or self.into_previous_affine(node)
            or self.into_consumers(node)
            or self.across_concat(node)
        )

    def into_producer(self, node: fx.Node) -> bool:
        affine, producer = _affine(node), node.all_input_nodes[0]
        target = producer
        if affine.shift is None and isinstance(module_of(producer), nn.ReLU | nn.LeakyReLU):
            assert affine.scale is not None
            if len(producer.users) > 1 or not bool((affine.scale > 0).all()):
                return False
            target = producer.all_input_nodes[0]
        conv = own_convolution(target)
        if conv is None or len(target.users) > 1:
            return False
        _absorb_behind(conv, affine)
        self.note(affine, str(target.target))
        remove_module(node, producer)
        return True

    def into_previous_affine(self, node: fx.Node) -> bool:
        producer = node.all_input_nodes[0]
        first = module_of(producer)
        if not isinstance(first, Affine) or len(producer.users) > 1:
            return False
        if any(origin.kind not in self.kinds for origin in first.origins):
            return False
        merged = _affine(node).after(first)
        source = producer.all_input_nodes[0]
        new = insert_module(self.graph_module, merged, source, before=node)
        remove_module(node, new)
        remove_module(producer, source)
        return True

    def into_consumers(self, node: fx.Node) -> bool:
        affine = _affine(node)
        width = channels_of(node)
        try:
            sinks = _sinks(node, _wide(affine.scale, width), _wide(affine.shift, width))
        except _CannotFold:
            return False
        for sink in sinks:
            _absorb_before(sink)
            self.note(affine, str(sink.node.target))
        remove_module(node, node.all_input_nodes[0])
        return True

    def across_concat(self, node: fx.Node) -> bool:
        concat = node.all_input_nodes[0]
        pieces = concat_pieces(concat)
        if pieces is None or len(concat.users) > 1:
            return False
        if not any(own_convolution(p) is not None and len(p.users) == 1 for p in pieces):
            return False
        affine, begin, moved = _affine(node), 0, []
        for piece in pieces:
            end = begin + channels_of(piece)
            part = affine.part(begin, end)
            moved.append(insert_module(self.graph_module, part, piece, before=concat))
            begin = end
        concat.args = (moved, *concat.args[1:])
        remove_module(node, concat)
        return True

    def note(self, affine: Affine, conv: str) -> None:
        for origin in affine.origins:
            self.into[origin][conv] = None

    def report(self) -> list[FoldSite]:
        kept: dict[Origin, str] = {}
        for node, affine in self.affines():
            for origin in affine.origins:
                kept.setdefault(origin, self.why_kept(node, origin))
        return [
            FoldSite(origin.layer, origin.kind, tuple(into), kept.get(origin))
            for origin, into in self.into.items()
        ]

    def why_kept(self, node: fx.Node, origin: Origin) -> str:
        if origin.kind not in self.kinds:
            return "not asked for"
        affine, width = _affine(node), channels_of(node)
        try:
            _sinks(node, _wide(affine.scale, width), _wide(affine.shift, width))
        except _CannotFold as reason:
            return str(reason)
        return "its convolution is used by others too"


def _affine(node: fx.Node) -> Affine:
    module = module_of(node)
    assert isinstance(module, Affine)
    return module


def _wide(vector: Tensor | None, width: int) -> Tensor | None:
    """Return a vector of one value per channel; implicit vectors may hold a single one."""
    return None if vector is None else vector.expand(width) if vector.numel() == 1 else vector


def _sinks(node: fx.Node, scale: Tensor | None, shift: Tensor | None) -> list[_Sink]:
    """Return the convolutions that an affine map of a node's output can be moved into.

    Args:
        node: Whose output is mapped.
        scale: float [channels of node], or None for 1.
        shift: float [channels of node], or None for 0.

    Raises:
        _CannotFold: One of the ways forward ends in something else, with the reason.
    """
    found: list[_Sink] = []
    if not node.users:
        raise _CannotFold("nothing reads it")
    for user in node.users:
        found += _sinks_of_user(node, user, scale, shift)
    return found


def _sinks_of_user(
    node: fx.Node, user: fx.Node, scale: Tensor | None, shift: Tensor | None
) -> list[_Sink]:
    module = module_of(user)
    conv = own_convolution(user)
    if conv is not None:
        if shift is not None and any(int(p) for p in conv.padding):
            raise _CannotFold(
                f"{user.target} pads its border with 0, which a shift before it would change"
            )
        return [_Sink(user, conv, scale, shift)]
    if isinstance(module, nn.MaxPool2d):
        if scale is not None and not bool((scale >= 0).all()):
            raise _CannotFold(f"{user.target} is a max-pool behind a negative factor")
        return _sinks(user, scale, shift)
    if isinstance(module, nn.Upsample):
        return _sinks(user, scale, shift)
    if isinstance(module, ReOrg):
        repeat = len(ReOrg.OFFSETS)
        return _sinks(
            user,
            None if scale is None else scale.repeat(repeat),
            None if shift is None else shift.repeat(repeat),
        )
    if user.target in (operator.add, torch.add) and scale is None:
        return _sinks(user, None, shift)
    pieces = concat_pieces(user)
    if pieces is not None:
        return _sinks_across_concat(node, user, pieces, scale, shift)
    raise _CannotFold(_obstacle(user, module))


def _sinks_across_concat(
    node: fx.Node,
    concat: fx.Node,
    pieces: list[fx.Node],
    scale: Tensor | None,
    shift: Tensor | None,
) -> list[_Sink]:
    """Spread the vectors to the channels that the node has in the concatenation."""
    template = scale if scale is not None else shift
    assert template is not None
    width = sum(channels_of(piece) for piece in pieces)
    wide_scale = None if scale is None else template.new_ones(width)
    wide_shift = None if shift is None else template.new_zeros(width)
    begin = 0
    for piece in pieces:
        end = begin + channels_of(piece)
        if piece is node:
            if wide_scale is not None and scale is not None:
                wide_scale[begin:end] = scale
            if wide_shift is not None and shift is not None:
                wide_shift[begin:end] = shift
        begin = end
    return _sinks(concat, wide_scale, wide_shift)


def _obstacle(user: fx.Node, module: nn.Module | None) -> str:
    if user.op == "output":
        return "it is an output of the network"
    if isinstance(module, _ACTIVATIONS):
        return f"the activation {user.target} stands between it and the next convolution"
    if isinstance(module, nn.Conv2d):
        return f"{user.target} is used more than once"
    name = str(user.target) if module is not None else user.name
    return f"{user.meta.get('scope') or name} is not a convolution"


def _absorb_behind(conv: nn.Conv2d, affine: Affine) -> None:
    """Make a convolution apply an affine map to its result."""
    weight, bias = conv.weight.detach(), conv.bias
    scale = _wide(affine.scale, conv.out_channels)
    shift = _wide(affine.shift, conv.out_channels)
    new_bias = weight.new_zeros(conv.out_channels) if bias is None else bias.detach()
    if scale is not None:
        conv.weight = nn.Parameter(weight * scale.reshape(-1, 1, 1, 1), requires_grad=False)
        new_bias = new_bias * scale
    if shift is not None:
        new_bias = new_bias + shift
    conv.bias = nn.Parameter(new_bias, requires_grad=False)


def _absorb_before(sink: _Sink) -> None:
    """Make a convolution apply an affine map to its input."""
    conv = sink.conv
    weight = conv.weight.detach()
    grouped = weight.reshape(conv.groups, -1, *weight.shape[1:])
    if sink.shift is not None:
        shift = sink.shift.reshape(conv.groups, 1, -1, 1, 1)
        change = (grouped * shift).sum((2, 3, 4)).reshape(-1)
        bias = change if conv.bias is None else conv.bias.detach() + change
        conv.bias = nn.Parameter(bias, requires_grad=False)
    if sink.scale is not None:
        scale = sink.scale.reshape(conv.groups, 1, -1, 1, 1)
        conv.weight = nn.Parameter((grouped * scale).reshape(weight.shape), requires_grad=False)
