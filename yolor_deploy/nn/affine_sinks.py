"""Where the affine map of a value can go forward, so that its result stays exactly the same.

With ``conv(x) = W x + b`` and the affine map ``s * x + t``::

    W (s * x + t) + b          =  (W s) x + (b + W t)          t only without padding, since a
                                                               padded pixel is 0, not t
    cat(s * x + t, y)          =  (s, 1) * cat(x, y) + (t, 0)
    pool(s * x + t)            =  s * pool(x) + t              s >= 0; torch pads with -inf
    up(s * x + t)              =  s * up(x) + t                nearest; space to depth likewise
    (x + t) + y                =  (x + y) + t

Source: algebra.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from yolor_deploy.nn.graph_edit import (
    channels_of,
    concat_pieces,
    module_of,
    name_of,
    not_a_convolution,
    own_convolution,
)
from yolor_deploy.nn.layers import ReOrg

_ACTIVATIONS = (nn.SiLU, nn.Mish, nn.Sigmoid, nn.ReLU, nn.LeakyReLU)


@dataclass(frozen=True, slots=True)
class Change:
    """What is missing from a value when an affine map before it is left out.

    Attributes:
        scale: float [channels of the value], or None for 1.
        shift: float [channels of the value], or None for 0.
    """

    scale: Tensor | None
    shift: Tensor | None


@dataclass(frozen=True, slots=True)
class Sink:
    """A convolution that has to make up for a change of its input.

    Attributes:
        node: The call of the convolution.
        conv: Called by no other node.
        change: Of its input.
    """

    node: fx.Node
    conv: nn.Conv2d
    change: Change


class CannotMoveError(Exception):
    """An affine map cannot go forward; the message says why. Control flow, not a failure."""


def wide(vector: Tensor | None, width: int) -> Tensor | None:
    """Return a vector of one value per channel; implicit vectors may hold a single one."""
    return vector.expand(width) if vector is not None and vector.numel() == 1 else vector


def sinks_of(node: fx.Node, change: Change) -> list[Sink]:
    """Return the convolutions that together make up for a change of a node's output.

    Args:
        node: Its output is read as if the affine map were there.
        change: The map.

    Raises:
        CannotMoveError: One of the ways forward ends in something else, with the reason.
    """
    changes, sinks = {node: change}, []
    waiting = _readers(node)
    user = node
    while waiting:  # the order of the graph: a node comes after all that it reads
        user = user.next
        if user not in waiting:
            continue
        waiting.remove(user)
        conv = own_convolution(user)
        if conv is None:
            changes[user] = _change_behind(user, changes)
            waiting |= _readers(user)
        else:
            sinks.append(_sink(user, conv, changes))
    return sinks


def _readers(node: fx.Node) -> set[fx.Node]:
    if not node.users:
        raise CannotMoveError("nothing reads it")
    return set(node.users)


def _sink(user: fx.Node, conv: nn.Conv2d, changes: dict[fx.Node, Change]) -> Sink:
    change = changes[user.all_input_nodes[0]]
    if change.shift is not None and any(int(p) for p in conv.padding):
        raise CannotMoveError(
            f"{user.target} pads its border with 0, which a shift before it would change"
        )
    return Sink(user, conv, change)


def _change_behind(user: fx.Node, changes: dict[fx.Node, Change]) -> Change:
    """Return what is missing from the output of a node that is no convolution."""
    pieces = concat_pieces(user)
    if pieces is not None:
        return _joined(pieces, changes)
    if user.target in {operator.add, torch.add}:
        return _added(user, changes)
    module, change = module_of(user), changes.get(user.all_input_nodes[0])
    if isinstance(module, nn.MaxPool2d) and change is not None:
        if change.scale is not None and not bool((change.scale >= 0).all()):
            raise CannotMoveError(f"{user.target} is a max-pool behind a negative factor")
        return change
    if isinstance(module, nn.Upsample) and change is not None:
        return change
    if isinstance(module, ReOrg) and change is not None:
        blocks = len(ReOrg.OFFSETS)
        return Change(
            None if change.scale is None else change.scale.repeat(blocks),
            None if change.shift is None else change.shift.repeat(blocks),
        )
    if isinstance(module, _ACTIVATIONS):
        raise CannotMoveError(
            f"the activation {user.target} stands between it and the next convolution"
        )
    raise CannotMoveError(not_a_convolution(user))


def _joined(pieces: Sequence[fx.Node], changes: dict[fx.Node, Change]) -> Change:
    """Spread the vectors to the channels that each changed piece has in a concatenation."""
    parts = [changes.get(piece, Change(None, None)) for piece in pieces]
    widths = [channels_of(piece) for piece in pieces]
    return Change(
        _cat([part.scale for part in parts], widths, missing=1.0),
        _cat([part.shift for part in parts], widths, missing=0.0),
    )


def _cat(vectors: list[Tensor | None], widths: list[int], *, missing: float) -> Tensor | None:
    like = next((vector for vector in vectors if vector is not None), None)
    if like is None:
        return None
    return torch.cat(
        [
            like.new_full((width,), missing) if vector is None else vector
            for vector, width in zip(vectors, widths, strict=True)
        ]
    )


def _added(user: fx.Node, changes: dict[fx.Node, Change]) -> Change:
    """Add the shifts of all operands: the same map may be both."""
    parts = [changes[arg] for arg in user.args if isinstance(arg, fx.Node) and arg in changes]
    if any(part.scale is not None for part in parts):
        raise CannotMoveError(f"{name_of(user)} adds another map, which a factor would not reach")
    return Change(None, torch.stack([p.shift for p in parts if p.shift is not None]).sum(0))
