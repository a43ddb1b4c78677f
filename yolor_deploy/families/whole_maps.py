"""Which layer would give a map of a size that is not whole, for both families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction


def first_broken_map(
    sources: Mapping[int, Sequence[int]], strides: Mapping[int, Fraction], heads: Iterable[int]
) -> int | None:
    """Return a layer whose map is finer than the image, or is not whole for some image.

    An image may have any multiple of the coarsest head's stride, so the stride of each layer must
    divide it. Only layers that a head depends on count.

    Args:
        sources: The layers that each layer reads; -1 is the image.
        strides: Image pixels per cell of each layer's output; 0 for what is no map.
        heads: Layers that give the raw maps.

    Returns:
        The last such layer, or None if there is none.
    """
    waiting = [head for head in heads if head >= 0]
    coarsest = max((strides[head] for head in waiting), default=Fraction(1))
    seen = set(waiting)
    broken = None
    while waiting:
        layer = waiting.pop()
        stride = strides[layer]
        if stride and (stride < 1 or (coarsest / stride).denominator != 1):
            broken = layer if broken is None else max(layer, broken)
        found = {source for source in sources[layer] if source >= 0} - seen
        waiting += found
        seen |= found
    return broken


def is_exact_step(size: int, step: int, padding: int) -> bool:
    """Return whether a window divides the sides of a map by its step, with nothing over.

    ``floor((n + 2 padding - size) / step) + 1`` is ``n / step`` for every multiple ``n`` of it.
    """
    return -step <= 2 * padding - size <= -1
