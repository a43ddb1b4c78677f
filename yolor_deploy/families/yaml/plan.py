"""From the ``yaml`` attribute of a pickled model to a checked plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite
from typing import Any

from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError

_STRUCTURE_HINT = "the file is damaged, or its model was changed by hand"
REPEATING = ("BottleneckCSP", "BottleneckCSPF", "BottleneckCSP2")
SCALED = (*REPEATING, "Conv", "DWConv", "Focus", "Bottleneck", "SPP", "SPPCSP", "DownC", "Conv2d")
DETECT = ("Detect", "IDetect")
_KEEPS_SHAPE = ("Identity", "SiLU", "Mish", "LeakyReLU", "ReLU", "BatchNorm2d")
_MAX_LAYERS = 2_000
_MAX_WIDTH = 100_000


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of a yaml model, resolved.

    Attributes:
        index: As in the names ``model.<index>``.
        kind: Name of the block, without its module.
        sources: Layers whose outputs it reads; -1 is the image.
        arguments: As written; the first one of a scaled block replaced by ``channels``.
        repeats: After the depth multiple.
        read: Channels of its input.
        channels: Of its output.
        stride: Image pixels per cell of its output.
        where: For messages.
    """

    index: int
    kind: str
    sources: tuple[int, ...]
    arguments: tuple[Any, ...]
    repeats: int
    read: int
    channels: int
    stride: Fraction
    where: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole yaml model, resolved; the last layer is its head.

    Attributes:
        layers: In order; the last one is ``Detect`` or ``IDetect``.
        num_classes: Number of classes.
        num_anchors: Per cell, the same for all levels.
        strides: Of the levels, in the order of the head's inputs.
    """

    layers: tuple[Layer, ...]
    num_classes: int
    num_anchors: int
    strides: tuple[int, ...]


def plan_from_structure(structure: Mapping[str, Any], *, where: str) -> Plan:
    """Resolve the structure of a yaml model.

    Args:
        structure: ``nc``, ``depth_multiple``, ``width_multiple``, ``anchors``, ``backbone``,
            ``head``: rows of from, repeats, block, arguments.
        where: For messages.

    Raises:
        CheckpointError: The structure is not of that form.
        UnsupportedModelError: A block is not one that these families have.

    Source: the authors' model parsers; widths are rounded up to multiples of 8, but one that
    equals anchors * (5 + classes) is not scaled.
    """
    try:
        classes = int(structure["nc"])
        depth, width = float(structure["depth_multiple"]), float(structure["width_multiple"])
        anchors = structure["anchors"]
        per_level = anchors if isinstance(anchors, int) else len(anchors[0]) // 2
        rows = [*structure["backbone"], *structure["head"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"the model's structure lacks a part or holds a wrong one: {error!r}",
            where=where,
            hint=_STRUCTURE_HINT,
        ) from error
    is_sane = isfinite(depth) and isfinite(width) and 0 < len(rows) <= _MAX_LAYERS
    if not is_sane or not 0 < classes < _MAX_WIDTH or not 0 < per_level < _MAX_WIDTH:
        raise CheckpointError(
            f"{len(rows)} layers, {classes} classes, {per_level} anchors a level, "
            f"multiples {depth} and {width} are not a model",
            where=where,
            hint=_STRUCTURE_HINT,
        )
    resolver = _Resolver(depth, width, per_level, classes, where)
    for row in rows:
        resolver.add(row)
    return resolver.plan()


class _Resolver:
    def __init__(self, depth: float, width: float, anchors: int, classes: int, where: str) -> None:
        self.depth, self.width = depth, width
        self.anchors, self.classes = anchors, classes
        self.where = where
        self.layers: list[Layer] = []

    def add(self, row: Any) -> None:
        index = len(self.layers)
        where = f"{self.where}, layer {index}"
        try:
            sources, number, block, arguments = row
            kind = str(block).rsplit(".", 1)[-1]
            given = sources if isinstance(sources, Sequence) else (sources,)
            read = tuple(self.source(int(source), index, where) for source in given)
            number, arguments = int(number), tuple(arguments)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"row {str(row)[:80]} is not [from, repeats, block, arguments]",
                where=where,
                hint=_STRUCTURE_HINT,
            ) from error
        if not 0 <= number <= _MAX_LAYERS or not read:
            raise CheckpointError(
                f"{len(read)} inputs and {number} repeats", where=where, hint=_STRUCTURE_HINT
            )
        if self.layers and self.layers[-1].kind in DETECT:
            raise CheckpointError(f"layer {kind} after the head", where=where, hint=_STRUCTURE_HINT)
        repeats = max(round(number * self.depth), 1) if number > 1 else number
        self.layers.append(self.resolve(index, kind, read, arguments, repeats, where))

    def source(self, source: int, index: int, where: str) -> int:
        target = index + source if source < 0 else source
        if not -1 <= target < index:
            raise CheckpointError(
                f"reads layer {target}, expected an earlier one", where=where, hint=_STRUCTURE_HINT
            )
        return target

    def resolve(
        self,
        index: int,
        kind: str,
        sources: tuple[int, ...],
        arguments: tuple[Any, ...],
        repeats: int,
        where: str,
    ) -> Layer:
        maps = [self.layers[source] if source >= 0 else None for source in sources]
        widths = [layer.channels if layer else 3 for layer in maps]
        strides = [layer.stride if layer else Fraction(1) for layer in maps]
        if kind not in DETECT and len(set(strides)) > 1:
            raise CheckpointError(
                f"{kind} joins maps of strides {', '.join(map(str, strides))}",
                where=where,
                hint=_STRUCTURE_HINT,
            )
        channels, stride = widths[0], strides[0]
        if kind in SCALED:
            channels = self.scaled_width(arguments, where)
            arguments = (channels, *arguments[1:])
            stride *= _step(kind, arguments, where)
        elif kind == "Concat":
            channels = sum(widths)
        elif kind in {"ReOrg", "DWT"}:
            channels, stride = 4 * channels, stride * 2
        elif kind == "Upsample":
            stride /= argument_integer(arguments, 1, None, where)
        elif kind in {"MaxPool2d", "MP"}:
            size = argument_integer(arguments, 0, 2, where)
            stride *= argument_integer(arguments, 1, size, where)
        elif kind not in (*DETECT, *_KEEPS_SHAPE):
            raise UnsupportedModelError(
                f"block {kind!r} is not one of YOLOR or Scaled-YOLOv4",
                where=where,
                hint=f"known blocks: {', '.join(sorted({*SCALED, *DETECT, 'Concat', 'ReOrg'}))}",
            )
        return Layer(index, kind, sources, arguments, repeats, widths[0], channels, stride, where)

    def scaled_width(self, arguments: tuple[Any, ...], where: str) -> int:
        width = argument_integer(arguments, 0, None, where)
        if width != self.anchors * (5 + self.classes):
            width = ceil(width * self.width / 8) * 8
        if not 0 < width <= _MAX_WIDTH:
            raise CheckpointError(f"width {width}", where=where, hint=_STRUCTURE_HINT)
        return width

    def plan(self) -> Plan:
        head = self.layers[-1]
        if head.kind not in DETECT:
            raise UnsupportedModelError(
                f"the last layer is {head.kind}, expected Detect or IDetect",
                where=head.where,
                hint="give a detector; classifiers and backbones have no boxes",
            )
        strides = [self.layers[source].stride for source in head.sources if source >= 0]
        if len(strides) != len(head.sources) or any(s.denominator != 1 for s in strides):
            raise CheckpointError(
                f"the head reads maps of strides {', '.join(map(str, strides))}",
                where=head.where,
                hint=_STRUCTURE_HINT,
            )
        return Plan(tuple(self.layers), self.classes, self.anchors, tuple(int(s) for s in strides))


def _step(kind: str, arguments: tuple[Any, ...], where: str) -> int:
    """Return by how much a scaled block divides the map."""
    if kind in {"Conv", "DWConv"}:
        return argument_integer(arguments, 2, 1, where)
    if kind == "Conv2d":
        return argument_integer(arguments, 2, 1, where)
    return 2 if kind in {"DownC", "Focus"} else 1


def argument_integer(
    arguments: Sequence[Any], position: int, default: int | None, where: str
) -> int:
    """Return an argument of a block as a whole number between 1 and 100 000."""
    value = arguments[position] if position < len(arguments) else default
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise CheckpointError(
            f"argument {position} is {value!r}, expected a whole number",
            where=where,
            hint=_STRUCTURE_HINT,
        )
    if not 1 <= value <= _MAX_WIDTH:
        raise CheckpointError(
            f"argument {position} is {value}, expected 1 to {_MAX_WIDTH}",
            where=where,
            hint=_STRUCTURE_HINT,
        )
    return int(value)


def argument_sizes(layer: Layer) -> tuple[int, ...]:
    """Return the pool sizes that a row gives as its second argument.

    Raises:
        CheckpointError: They are not odd whole numbers.
    """
    given = layer.arguments[1]
    sizes = tuple(given) if isinstance(given, list | tuple) else ()
    if not sizes or not all(isinstance(s, int) and 0 < s < 64 and s % 2 for s in sizes):  # noqa: PLR2004 - far above any
        raise CheckpointError(
            f"pool sizes {given!r}, expected odd numbers", where=layer.where, hint=_STRUCTURE_HINT
        )
    return sizes
