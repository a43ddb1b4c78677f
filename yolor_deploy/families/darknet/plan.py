"""From cfg sections to a checked plan: which layer reads what, how many channels, which stride."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.core.spec import HeadLevel
from yolor_deploy.families.darknet.cfg import Section
from yolor_deploy.families.darknet.layers import IMPLICIT_MEANS, RULES, Layer
from yolor_deploy.families.darknet.options import require_known_options, without_early_sigmoid
from yolor_deploy.families.whole_maps import first_broken_map

# Far above any detector, far below what a machine could not hold.
_MAX_CHANNELS = 100_000
_MAX_WEIGHTS = 4_000_000_000  # 16 GB of float32


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole cfg file, resolved.

    Attributes:
        layers: In order.
        heads: Index of each layer that gives a raw map, finest stride first.
        levels: The scale of each head.
        num_classes: The same for all heads.
    """

    layers: tuple[Layer, ...]
    heads: tuple[int, ...]
    levels: tuple[HeadLevel, ...]
    num_classes: int


def plan_from_sections(sections: tuple[Section, ...]) -> Plan:
    """Resolve the sections of a cfg file, ``[net]`` first.

    Raises:
        CheckpointError: A layer is unknown or does not fit those before it; it is named.
    """
    if sections[0].integer("channels", 3) != 3:  # noqa: PLR2004 - red, green, blue
        raise sections[0].error("channels= is not 3", "give a model of colour images")
    layers: list[Layer] = []
    for index, section in enumerate(without_early_sigmoid(sections[1:])):
        if section.kind not in RULES:
            raise _unknown_kind(section)
        require_known_options(section)
        layer = RULES[section.kind](index, section, layers)
        if layer.channels > _MAX_CHANNELS:
            raise section.error(
                f"[{section.kind}] gives {layer.channels:,} channels, expected at most "
                f"{_MAX_CHANNELS:,}",
                "correct filters= of the layers before it",
            )
        layers.append(layer)
    return _plan_from_layers(tuple(layers))


def _unknown_kind(section: Section) -> CheckpointError:
    near = difflib.get_close_matches(section.kind.lower(), RULES, n=1)
    return section.error(
        f"layer kind [{section.kind}] is not supported",
        (f"write [{near[0]}] if that was meant; " if near else "")
        + f"known kinds: {', '.join(sorted(RULES))}",
    )


def _plan_from_layers(layers: tuple[Layer, ...]) -> Plan:
    heads = [layer for layer in layers if layer.kind == "yolo"]
    if not heads:
        raise layers[-1].section.error(
            "no [yolo] layer", "give the cfg of a detector, with its [yolo] sections"
        )
    classes = {layer.section.integer("classes") for layer in heads}
    if len(classes) > 1:
        raise heads[-1].section.error(
            f"[yolo] layers have {sorted(classes)} classes", "give all of them the same classes="
        )
    num_classes = classes.pop()
    pairs: list[tuple[HeadLevel, int]] = []
    for layer in heads:
        level = _head_level(layer, num_classes, layers)
        if level.stride in {other.stride for other, _ in pairs}:
            raise layer.section.error(
                f"two [yolo] layers of stride {level.stride}", "give each scale one [yolo] layer"
            )
        pairs.append((level, layer.sources[0]))
    pairs.sort(key=lambda pair: pair[0].stride)
    broken = first_broken_map(
        {layer.index: layer.sources for layer in layers},
        {layer.index: layer.stride for layer in layers},
        [source for _, source in pairs],
    )
    if broken is not None:
        raise layers[broken].section.error(
            f"[{layers[broken].section.kind}] gives a map of stride {layers[broken].stride}, "
            f"expected a divisor of {pairs[-1][0].stride}, the stride of the coarsest [yolo]",
            "check the stride= of the layers up to it",
        )
    return Plan(
        layers=layers,
        heads=tuple(source for _, source in pairs),
        levels=tuple(level for level, _ in pairs),
        num_classes=num_classes,
    )


def _head_level(layer: Layer, num_classes: int, layers: Sequence[Layer]) -> HeadLevel:
    section = layer.section
    values = section.floats("anchors")
    if len(values) % 2 or min(values) <= 0:
        raise section.error(
            f"anchors= holds {len(values)} numbers from {min(values):g} on",
            "give pairs of width, height above 0",
        )
    anchors = list(zip(values[::2], values[1::2], strict=True))
    mask = section.integers("mask") if "mask" in section.options else tuple(range(len(anchors)))
    if any(not 0 <= index < len(anchors) for index in mask):
        raise section.error(
            f"mask={','.join(map(str, mask))[:60]} points outside {len(anchors)} anchors",
            "correct mask= or anchors=",
        )
    expected = len(mask) * (5 + num_classes)
    if layer.channels != expected:
        raise section.error(
            f"[yolo] reads {layer.channels} channels, expected {expected} = "
            f"{len(mask)} anchors x (5 + {num_classes} classes)",
            f"write filters={expected} in {_widths_behind(layer, layers)}, or correct classes=",
        )
    if layer.stride.denominator != 1 or layer.stride < 1:
        raise section.error(
            f"[yolo] lies at stride {layer.stride}", "check the stride= of the layers before it"
        )
    return HeadLevel(layer.stride.numerator, tuple(anchors[index] for index in mask))


def _widths_behind(layer: Layer, layers: Sequence[Layer]) -> str:
    """Return the layers that give a head its channels: its convolution, and vectors on the way."""
    found: list[int] = []
    while layer.sources and layer.sources[0] >= 0:
        found += layer.sources
        layer = layers[layer.sources[0]]
        if layer.kind == "convolutional":
            break
    named = [
        f"layer {index} [{layers[index].section.kind}]"
        for index in found
        if layers[index].kind in {"convolutional", *IMPLICIT_MEANS}
    ]
    return " and ".join(named) or "the convolution before it"


def require_reasonable(plan: Plan, *, where: str) -> None:
    """Refuse a plan whose weights would not fit any machine that runs detectors.

    Raises:
        CheckpointError: More than 4e9 weights, as if no convolution had groups.
    """
    total = 0
    for layer in plan.layers:
        if layer.kind == "convolutional":
            read = layer.sources[0]
            channels = plan.layers[read].channels if read >= 0 else 3
            total += channels * layer.channels * layer.section.integer("size", 1) ** 2
    if total > _MAX_WEIGHTS:
        raise CheckpointError(
            f"the cfg describes {total:,} weights, expected at most {_MAX_WEIGHTS:,}",
            where=where,
            hint="correct its filters=",
        )
