"""From the ``yaml`` attribute of a pickled model to a checked plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError
from yolor_deploy.families.whole_maps import first_broken_map, is_exact_step
from yolor_deploy.families.yaml.arguments import (
    MAX_WIDTH,
    SIGNATURES,
    STRUCTURE_HINT,
    options_of,
    shown,
    whole,
)

REPEATING = ("BottleneckCSP", "BottleneckCSPF", "BottleneckCSP2")
SCALED = (*REPEATING, "Conv", "DWConv", "Focus", "Bottleneck", "SPP", "SPPCSP", "DownC", "Conv2d")
DETECT = ("Detect", "IDetect")
_IGNORES_REPEATS = ("SPPCSP", "DownC")  # they take the number and do not use it
_MAX_LAYERS = 2_000
_MAX_MULTIPLE = 1_000
_MAX_BLOCKS = 4_000  # of all rows together: each is several modules
_MAX_WAVELET_CHANNELS = 64  # its fixed filter is a dense, real convolution


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of a yaml model, resolved.

    Attributes:
        index: As in the names ``model.<index>``.
        kind: Name of the block, without its module.
        sources: Layers whose outputs it reads; -1 is the image.
        options: Its arguments by name, as ``SIGNATURES`` lists them.
        repeats: After the depth multiple.
        read: Channels of its input.
        channels: Of its output.
        stride: Image pixels per cell of its output.
        where: For messages.
    """

    index: int
    kind: str
    sources: tuple[int, ...]
    options: Mapping[str, Any]
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
    depth, width, anchors, classes, rows = _parts(structure, where)
    resolver = _Resolver(depth, width, anchors, classes, where)
    for row in rows:
        resolver.add(row)
    return resolver.plan()


def _parts(structure: Mapping[str, Any], where: str) -> tuple[float, float, int, int, list[object]]:
    """Return both multiples, anchors a level, classes, and all rows."""
    names = ("depth_multiple", "width_multiple", "nc", "anchors", "backbone", "head")
    for name in names:
        if name not in structure:
            raise _damaged(f"the model's structure has no {name}", where)
    depth, width, classes, anchors, backbone, head = (structure[name] for name in names)
    for name, value in (("depth_multiple", depth), ("width_multiple", width)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value <= _MAX_MULTIPLE:
            raise _damaged(
                f"{name} is {shown(value)}, expected a number above 0, at most {_MAX_MULTIPLE}",
                where,
            )
    for name, value in (("backbone", backbone), ("head", head)):
        if not isinstance(value, list | tuple) or len(value) > _MAX_LAYERS:
            raise _damaged(
                f"{name} is {shown(value)}, expected a list of at most {_MAX_LAYERS} rows", where
            )
    if isinstance(anchors, list | tuple) and anchors and isinstance(anchors[0], list | tuple):
        anchors = len(anchors[0]) // 2
    return (
        float(depth),
        float(width),
        _whole(anchors, "anchors", where, maximum=1_000),
        _whole(classes, "nc", where),
        [*backbone, *head],
    )


def _whole(
    value: object, name: str, where: str, *, minimum: int = 1, maximum: int = MAX_WIDTH
) -> int:
    try:
        return whole(value, minimum=minimum, maximum=maximum)
    except ValueError as error:
        raise _damaged(f"{name} is {shown(value)}, expected {error}", where) from error


def _damaged(problem: str, where: str) -> CheckpointError:
    return CheckpointError(problem, where=where, hint=STRUCTURE_HINT)


class _Resolver:
    """Takes the rows one after the other; each is resolved against those before it."""

    def __init__(self, depth: float, width: float, anchors: int, classes: int, where: str) -> None:
        self.depth, self.width = depth, width
        self.anchors, self.classes = anchors, classes
        self.where = where
        self.layers: list[Layer] = []
        self.blocks = 0

    def add(self, row: object) -> None:
        index = len(self.layers)
        where = f"{self.where}, layer {index}"
        if not isinstance(row, list | tuple) or len(row) != 4:  # noqa: PLR2004 - the form below
            raise _damaged(f"row {shown(row)} is not [from, repeats, block, arguments]", where)
        given, number, block, arguments = row
        if not isinstance(block, str) or not isinstance(arguments, list | tuple):
            raise _damaged(f"row {shown(row)} is not [from, repeats, block, arguments]", where)
        kind = block.rsplit(".", 1)[-1]
        if self.layers and self.layers[-1].kind in DETECT:
            raise _damaged(f"layer {kind[:60]} after the head", where)
        if kind not in SIGNATURES:
            raise UnsupportedModelError(
                f"block {kind[:60]!r} is not one of YOLOR or Scaled-YOLOv4",
                where=where,
                hint=f"known blocks: {', '.join(sorted(SIGNATURES))}",
            )
        sources = self.sources(given, kind, where)
        options = dict(options_of(kind, tuple(arguments), where=where))
        layer = self.resolve(kind, sources, options, self.repeats(number, where), where)
        _require_buildable(layer)
        self.layers.append(layer)

    def sources(self, given: object, kind: str, where: str) -> tuple[int, ...]:
        """Return the layers that a row reads: negative counts back from it."""
        index = len(self.layers)
        several = given if isinstance(given, list | tuple) else (given,)
        found = []
        for one in several:
            source = _whole(one, "from", where, minimum=-MAX_WIDTH)
            target = index + source if source < 0 else source
            if not -1 <= target < index:
                raise _damaged(f"reads layer {target}, expected an earlier one", where)
            found.append(target)
        if not found or (len(found) > 1 and kind not in {"Concat", *DETECT}):
            raise _damaged(f"{kind} reads {len(found)} layers, expected one", where)
        return tuple(found)

    def repeats(self, number: object, where: str) -> int:
        """Return how often a block follows itself, and count it."""
        written = _whole(number, "the number of repeats", where, minimum=0, maximum=_MAX_LAYERS)
        repeats = max(round(written * self.depth), 1) if written > 1 else written
        self.blocks += repeats
        if self.blocks > _MAX_BLOCKS:
            raise _damaged(
                f"{self.blocks} blocks up to here, expected at most {_MAX_BLOCKS}", where
            )
        return repeats

    def resolve(
        self,
        kind: str,
        sources: tuple[int, ...],
        options: dict[str, Any],
        repeats: int,
        where: str,
    ) -> Layer:
        maps = [self.layers[source] if source >= 0 else None for source in sources]
        widths = [layer.channels if layer else 3 for layer in maps]
        strides = [layer.stride if layer else Fraction(1) for layer in maps]
        if kind not in DETECT and len(set(strides)) > 1:
            raise _damaged(f"{kind} joins maps of strides {', '.join(map(str, strides))}", where)
        if kind in SCALED:
            options["width"] = self.scaled_width(options["width"], where)
        if kind == "DWT" and widths[0] > _MAX_WAVELET_CHANNELS:
            raise _damaged(
                f"DWT reads {widths[0]} channels, expected at most {_MAX_WAVELET_CHANNELS}", where
            )
        channels = {
            **dict.fromkeys(SCALED, options.get("width", 0)),
            **dict.fromkeys(("ReOrg", "DWT"), 4 * widths[0]),
            "Concat": sum(widths),
        }.get(kind, widths[0])
        if channels > MAX_WIDTH:
            raise _damaged(f"{kind} gives {channels} channels, expected at most {MAX_WIDTH}", where)
        return Layer(
            index=len(self.layers),
            kind=kind,
            sources=sources,
            options=options,
            repeats=repeats,
            read=widths[0],
            channels=channels,
            stride=strides[0] * _step(kind, options),
            where=where,
        )

    def scaled_width(self, written: int, where: str) -> int:
        width = written
        if width != self.anchors * (5 + self.classes):
            width = ceil(width * self.width / 8) * 8
        return _whole(width, f"width {written} times {self.width}", where)

    def plan(self) -> Plan:
        if not self.layers or self.layers[-1].kind not in DETECT:
            last = self.layers[-1].kind if self.layers else "none"
            raise UnsupportedModelError(
                f"the last layer is {last}, expected Detect or IDetect",
                where=self.where,
                hint="give a detector; classifiers and backbones have no boxes",
            )
        head = self.layers[-1]
        strides = [self.layers[source].stride for source in head.sources if source >= 0]
        if len(strides) != len(head.sources) or any(s.denominator != 1 for s in strides):
            raise _damaged(
                f"the head reads maps of strides {', '.join(map(str, strides))}", head.where
            )
        broken = first_broken_map(
            {layer.index: layer.sources for layer in self.layers},
            {layer.index: layer.stride for layer in self.layers},
            head.sources,
        )
        if broken is not None:
            layer = self.layers[broken]
            raise _damaged(
                f"{layer.kind} gives a map of stride {layer.stride}, expected a divisor of "
                f"{max(strides)}, the stride of the coarsest level",
                layer.where,
            )
        return Plan(tuple(self.layers), self.classes, self.anchors, tuple(int(s) for s in strides))


def _step(kind: str, options: Mapping[str, Any]) -> Fraction:
    """Return by how much a block divides the sides of its map."""
    if kind in {"DownC", "Focus", "ReOrg", "DWT"}:
        return Fraction(2)
    if kind == "Upsample":
        return Fraction(1, options["factor"])
    if kind in {"MaxPool2d", "MP"}:
        return Fraction(options.get("stride") or options["size"])
    return Fraction(options.get("stride", 1))


def _require_buildable(layer: Layer) -> None:
    """Refuse what the authors' code would fail on, and windows that leave a rest."""
    options, kind = layer.options, layer.kind
    padding = options.get("padding")
    if kind in {"Conv", "DWConv", "Focus"}:
        half = options["size"] // 2
        if padding not in {None, half}:
            raise _damaged(
                f"{kind} of size {options['size']} has padding {padding}, expected {half}",
                layer.where,
            )
        padding = half
    if "size" in options and kind != "Upsample":
        step = 1 if kind == "Focus" else int(_step(kind, options))
        if not is_exact_step(options["size"], step, padding or 0):
            raise _damaged(
                f"{kind} of size {options['size']}, stride {step} and padding {padding or 0} does "
                f"not give 1/{step} of its map",
                layer.where,
            )
    groups = options.get("groups", 1)
    if layer.read % groups or layer.channels % groups or (kind == "DownC" and layer.channels % 2):
        raise _damaged(
            f"{kind} cannot split {layer.read} channels into {layer.channels}", layer.where
        )
    repeats_itself = layer.repeats > 1 and kind not in {*REPEATING, *_IGNORES_REPEATS}
    is_same = layer.channels == layer.read and _step(kind, options) == 1
    if repeats_itself and (not is_same or kind in {"Concat", *DETECT}):
        raise _damaged(f"{kind} cannot follow itself {layer.repeats} times", layer.where)
