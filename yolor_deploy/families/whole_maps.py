"""Which layers the heads depend on, and whether their maps are whole, for both families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction


def layers_behind(sources: Mapping[int, Sequence[int]], heads: Iterable[int]) -> frozenset[int]:
    """Return the layers that the heads depend on, themselves included.

    Args:
        sources: The layers that each layer reads; -1 is the image.
        heads: Layers that give the raw maps.
    """
    waiting = [head for head in heads if head >= 0]
    seen = set(waiting)
    while waiting:
        found = {source for source in sources[waiting.pop()] if source >= 0} - seen
        waiting += found
        seen |= found
    return frozenset(seen)


def first_broken_map(
    sources: Mapping[int, Sequence[int]], strides: Mapping[int, Fraction], heads: Sequence[int]
) -> int | None:
    """Return a layer whose map is finer than the image, or is not whole for some image.

    An image may have any multiple of the coarsest head's stride, so the stride of each layer must
    divide it. Only layers that a head depends on count.

    Args:
        sources: The layers that each layer reads; -1 is the image.
        strides: Image pixels per cell of each layer's output; 0 for what is no map.
        heads: Layers that give the raw maps.

    Returns:
        The first such layer, or None if there is none.
    """
    coarsest = max((strides[head] for head in heads if head >= 0), default=Fraction(1))
    for layer in sorted(layers_behind(sources, heads)):
        stride = strides[layer]
        if stride and (stride < 1 or (coarsest / stride).denominator != 1):
            return layer
    return None


def is_exact_step(size: int, step: int, padding: int) -> bool:
    """Return whether a window divides the sides of a map by its step, with nothing over.

    ``floor((n + 2 padding - size) / step) + 1`` is ``n / step`` for every multiple ``n`` of it.
    """
    return -step <= 2 * padding - size <= -1
