"""Fold scales and shifts into the convolutions around them, wherever that is exact.

With ``conv(x) = W x + b`` and the affine map ``s * x + t``::

    s * (W x + b) + t          =  (s W) x + (s b + t)          behind a convolution, always
    s * act(y)                 =  act(s * y)                   s > 0; act is ReLU or leaky ReLU
    s * cat(x, y) + t          =  cat(s1 x + t1, s2 y + t2)    if one part then folds
    W (s * x + t) + b          =  (W s) x + (b + W t)          before one, also through what
                                                               ``affine_sinks`` lists

What folds nowhere stays as one multiplication or addition per channel, and says why. All is
computed in the type of the network: make it float64 first and cast last.

Source: algebra; the cases are those of the YOLOR cfg layers [shift_channels], [control_channels],
[select_channels] and of batch normalisation behind a concatenation.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import fx, nn

from yolor_deploy.nn.affine import Affine, Origin
from yolor_deploy.nn.affine_sinks import CannotMoveError, Change, Sink, sinks_of, wide
from yolor_deploy.nn.graph_edit import (
    channels_of,
    concat_pieces,
    insert_module,
    module_of,
    own_convolution,
    remove_module,
)


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


def fold_affine(graph_module: fx.GraphModule, *, kinds: Collection[str]) -> list[FoldSite]:
    """Fold every affine map of the given kinds that folds exactly, in place.

    Args:
        graph_module: Rewritten; the weights of its convolutions change.
        kinds: Of ``Origin``; maps of other kinds are left where they are.

    Returns:
        One entry per layer that was lowered to an affine map, those left alone included.
    """
    folder = _Folder(graph_module, kinds)
    while folder.sweep():
        pass
    graph_module.graph.lint()
    return folder.report()


class _Folder:
    """The affine maps that are left, and where the others went."""

    def __init__(self, graph_module: fx.GraphModule, kinds: Collection[str]) -> None:
        self.graph_module = graph_module
        self.kinds = kinds
        nodes = graph_module.graph.nodes
        self.affines = {n: module for n in nodes if isinstance(module := module_of(n), Affine)}
        self.into: dict[Origin, dict[str, None]] = {
            origin: {} for affine in self.affines.values() for origin in affine.origins
        }

    def sweep(self) -> bool:
        """Try the folds of each node once; return whether one was made."""
        is_changed = False
        for node in list(self.affines):
            if node in self.affines and self.may_fold(self.affines[node]):
                is_changed |= self.step(node)
        return is_changed

    def may_fold(self, affine: Affine) -> bool:
        return all(origin.kind in self.kinds for origin in affine.origins)

    def step(self, node: fx.Node) -> bool:
        """Try the folds of one node, the cheapest result first; return whether one was made."""
        return (
            self.into_producer(node)
            or self.into_previous_affine(node)
            or self.into_consumers(node)
            or self.across_concat(node)
        )

    def into_producer(self, node: fx.Node) -> bool:
        affine, producer = self.affines[node], node.all_input_nodes[0]
        target = producer
        if isinstance(module_of(producer), nn.ReLU | nn.LeakyReLU):
            is_positive = affine.scale is not None and bool((affine.scale > 0).all())
            if affine.shift is not None or not is_positive or len(producer.users) > 1:
                return False
            target = producer.all_input_nodes[0]
        conv = own_convolution(target)
        if conv is None or len(target.users) > 1:
            return False
        _absorb_behind(conv, affine)
        self.note(affine, str(target.target))
        self.remove(node)
        return True

    def into_previous_affine(self, node: fx.Node) -> bool:
        producer = node.all_input_nodes[0]
        first = self.affines.get(producer)
        if first is None or len(producer.users) > 1 or not self.may_fold(first):
            return False
        merged = self.affines[node].after(first)
        new = self.insert(merged, producer.all_input_nodes[0], before=node)
        node.replace_all_uses_with(new)
        self.remove(node)
        self.remove(producer)
        return True

    def into_consumers(self, node: fx.Node) -> bool:
        affine = self.affines[node]
        try:
            sinks = sinks_of(node, _change(node, affine))
        except CannotMoveError:
            return False
        for sink in sinks:
            _absorb_before(sink)
            self.note(affine, str(sink.node.target))
        self.remove(node)
        return True

    def across_concat(self, node: fx.Node) -> bool:
        concat = node.all_input_nodes[0]
        pieces = concat_pieces(concat)
        if pieces is None or len(concat.users) > 1:
            return False
        if not any(own_convolution(p) is not None and len(p.users) == 1 for p in pieces):
            return False
        begin, moved = 0, []
        for piece in pieces:
            end = begin + channels_of(piece)
            part = self.affines[node].part(begin, end)
            moved.append(self.insert(part, piece, before=concat))
            begin = end
        concat.args = (moved, *concat.args[1:])
        self.remove(node)
        return True

    def insert(self, affine: Affine, source: fx.Node, *, before: fx.Node) -> fx.Node:
        node = insert_module(self.graph_module, affine, source, before=before)
        self.affines[node] = affine
        return node

    def remove(self, node: fx.Node) -> None:
        remove_module(node, node.all_input_nodes[0])
        del self.affines[node]

    def note(self, affine: Affine, conv: str) -> None:
        for origin in affine.origins:
            self.into[origin][conv] = None

    def report(self) -> list[FoldSite]:
        kept: dict[Origin, str] = {}
        for node, affine in self.affines.items():
            for origin in affine.origins:
                kept.setdefault(origin, self.why_kept(node))
        return [
            FoldSite(origin.layer, origin.kind, tuple(into), kept.get(origin))
            for origin, into in self.into.items()
        ]

    def why_kept(self, node: fx.Node) -> str:
        affine = self.affines[node]
        if not self.may_fold(affine):
            return "not asked for"
        try:
            sinks_of(node, _change(node, affine))
        except CannotMoveError as reason:
            return str(reason)
        raise AssertionError(f"{node} was left although it folds")


def _change(node: fx.Node, affine: Affine) -> Change:
    width = channels_of(node)
    return Change(wide(affine.scale, width), wide(affine.shift, width))


def _absorb_behind(conv: nn.Conv2d, affine: Affine) -> None:
    """Make a convolution apply an affine map to its result."""
    weight, bias = conv.weight.detach(), conv.bias
    scale = wide(affine.scale, conv.out_channels)
    shift = wide(affine.shift, conv.out_channels)
    new_bias = weight.new_zeros(conv.out_channels) if bias is None else bias.detach()
    if scale is not None:
        conv.weight = nn.Parameter(weight * scale.reshape(-1, 1, 1, 1), requires_grad=False)
        new_bias = new_bias * scale
    if shift is not None:
        new_bias = new_bias + shift
    conv.bias = nn.Parameter(new_bias, requires_grad=False)


def _absorb_before(sink: Sink) -> None:
    """Make a convolution apply an affine map to its input."""
    conv, change = sink.conv, sink.change
    weight = conv.weight.detach()
    grouped = weight.reshape(conv.groups, -1, *weight.shape[1:])
    if change.shift is not None:
        shift = change.shift.reshape(conv.groups, 1, -1, 1, 1)
        moved = (grouped * shift).sum((2, 3, 4)).reshape(-1)
        bias = moved if conv.bias is None else conv.bias.detach() + moved
        conv.bias = nn.Parameter(bias, requires_grad=False)
    if change.scale is not None:
        scale = change.scale.reshape(conv.groups, 1, -1, 1, 1)
        conv.weight = nn.Parameter((grouped * scale).reshape(weight.shape), requires_grad=False)
