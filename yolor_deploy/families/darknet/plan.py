"""From cfg sections to a checked plan: which layer reads what, how many channels, which stride."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.core.spec import HeadLevel
from yolor_deploy.families.darknet.cfg import Section

IMPLICIT_MEANS = {"implicit_add": 0.0, "implicit_mul": 1.0, "implicit_cat": 0.0}
CHANNEL_OPS = ("shift_channels", "control_channels", "select_channels", "alternate_channels")
_UNSUPPORTED = {  # option that would change the result: its value that does not
    "convolutional": {
        "stride_x": "1",
        "stride_y": "1",
        "dilation": "1",
        "antialiasing": "0",
        "padding": "0",
        "xnor": "0",
        "binary": "0",
    },
    "maxpool": {"padding": "0", "maxpool_depth": "0", "antialiasing": "0"},
    "shortcut": {"activation": "linear"},
    "upsample": {"scale": "1"},
}
ACTIVATIONS = ("linear", "leaky", "silu", "swish", "mish", "logistic")


@dataclass(frozen=True, slots=True)
class Layer:
    """One section of a cfg file, resolved.

    Attributes:
        index: Position after ``[net]``, as in the names ``module_list.<index>``.
        kind: Of the section; the ``_2d`` forms of channel operations count as the plain ones.
        section: What was written.
        sources: Layers whose outputs it reads; -1 is the image.
        channels: Of its output.
        stride: Image pixels per cell of its output; 0 for an implicit vector.
    """

    index: int
    kind: str
    section: Section
    sources: tuple[int, ...]
    channels: int
    stride: Fraction


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
    layers: list[Layer] = []
    for index, section in enumerate(_without_early_sigmoid(sections[1:])):
        for key, harmless in _UNSUPPORTED.get(section.kind, {}).items():
            value = section.options.get(key, harmless)
            if value != harmless:
                raise section.error(
                    f"[{section.kind}] with {key}={value} is not supported",
                    f"only {key}={harmless} is; without that line it is the same",
                )
        if section.kind not in _RULES:
            raise section.error(
                f"layer kind [{section.kind}] is not supported",
                f"known kinds: {', '.join(sorted(_RULES))}",
            )
        layers.append(_RULES[section.kind](index, section, layers))
    return _plan_from_layers(tuple(layers))


def _without_early_sigmoid(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """Return the sections with heads as the authors' PyTorch code has them.

    darknet may take the sigmoid of the boxes in the last convolution (``activation=logistic``) and
    say so in ``new_coords=1``; with ``scale_x_y=2`` the boxes are those that the sigmoid of the
    decoding gives. The convolution is linear here.

    Raises:
        CheckpointError: A head takes the sigmoid twice, or decodes boxes in another way.
    """
    result = list(sections)
    for index, section in enumerate(sections):
        if section.kind != "yolo" or index == 0:
            continue
        before = sections[index - 1]
        is_early = before.options.get("activation") == "logistic"
        is_new = section.options.get("new_coords", "0") == "1"
        if is_early != is_new:
            raise section.error(
                f"new_coords={int(is_new)} behind a layer with activation="
                f"{before.options.get('activation', 'linear')}",
                "give activation=logistic and new_coords=1 together, or neither",
            )
        if is_new:
            scale = section.floats("scale_x_y")[0] if "scale_x_y" in section.options else 1.0
            if scale != 2.0:  # noqa: PLR2004 - what the decoding of these families multiplies with
                raise section.error(
                    f"new_coords=1 with scale_x_y={scale:g} decodes boxes in another way",
                    "only scale_x_y=2.0 is supported",
                )
            options = {**before.options, "activation": "linear"}
            result[index - 1] = replace(before, options=options)
    return tuple(result)


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
        level = _head_level(layer, num_classes)
        if level.stride in {other.stride for other, _ in pairs}:
            raise layer.section.error(
                f"two [yolo] layers of stride {level.stride}", "give each scale one [yolo] layer"
            )
        pairs.append((level, layer.sources[0]))
    pairs.sort(key=lambda pair: pair[0].stride)
    return Plan(
        layers=layers,
        heads=tuple(source for _, source in pairs),
        levels=tuple(level for level, _ in pairs),
        num_classes=num_classes,
    )


def _head_level(layer: Layer, num_classes: int) -> HeadLevel:
    section = layer.section
    values = section.floats("anchors")
    if len(values) % 2:
        raise section.error(f"anchors= holds {len(values)} numbers", "give pairs of width, height")
    anchors = list(zip(values[::2], values[1::2], strict=True))
    mask = section.integers("mask") if "mask" in section.options else tuple(range(len(anchors)))
    if any(not 0 <= index < len(anchors) for index in mask):
        raise section.error(
            f"mask={','.join(map(str, mask))} points outside {len(anchors)} anchors",
            "correct mask= or anchors=",
        )
    expected = len(mask) * (5 + num_classes)
    if layer.channels != expected:
        raise section.error(
            f"[yolo] reads {layer.channels} channels, expected {expected} = "
            f"{len(mask)} anchors x (5 + {num_classes} classes)",
            "make filters= of the convolution and implicit_mul before it agree with classes=",
        )
    if layer.stride.denominator != 1 or layer.stride < 1:
        raise section.error(
            f"[yolo] lies at stride {layer.stride}", "check the stride= of the layers before it"
        )
    return HeadLevel(layer.stride.numerator, tuple(anchors[index] for index in mask))


def _previous(index: int, section: Section, layers: list[Layer]) -> tuple[int, int, Fraction]:
    """Return index, channels and stride of what the layer before gives; the image for the first."""
    if index == 0:
        return -1, 3, Fraction(1)
    before = layers[index - 1]
    if before.kind in IMPLICIT_MEANS:
        raise section.error(
            f"[{section.kind}] reads the implicit vector of layer {before.index} as an image",
            "put a [route] to the last feature map before it",
        )
    return before.index, before.channels, before.stride


def _referenced(section: Section, name: str, index: int, layers: list[Layer]) -> list[Layer]:
    """Return the layers that an option refers to: negative is relative, else absolute."""
    found = []
    for number in section.integers(name):
        target = index + number if number < 0 else number
        if not 0 <= target < index:
            raise section.error(
                f"{name}={number} refers to layer {target}, expected 0 to {index - 1}",
                "refer to an earlier layer",
            )
        found.append(layers[target])
    return found


def _convolutional(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    filters = section.integer("filters")
    size = section.integer("size", 1)
    groups = section.integer("groups", 1)
    step = section.integer("stride", 1)
    act = section.options.get("activation", "linear")
    if size > 31 or step > 32:  # noqa: PLR2004 - far above any detector, far below a memory bomb
        raise section.error(f"size={size} with stride={step} is too large", "correct that line")
    if channels % groups or filters % groups:
        raise section.error(
            f"groups={groups} divides neither {channels} nor {filters} channels", "correct groups="
        )
    if act not in ACTIVATIONS:
        raise section.error(
            f"activation={act!r} is not supported", f"known activations: {', '.join(ACTIVATIONS)}"
        )
    return Layer(index, section.kind, section, (source,), filters, stride * step)


def _implicit(index: int, section: Section, layers: list[Layer]) -> Layer:
    del layers
    kind = section.kind.removesuffix("_2d")
    filters = section.integer("filters")
    atoms = section.integer("atoms") if section.kind.endswith("_2d") else 1
    return Layer(index, kind, section, (), filters * atoms, Fraction(0))


def _channel_op(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    vector = _referenced(section, "from", index, layers)[0]
    kind = section.kind.removesuffix("_2d")
    if vector.kind not in IMPLICIT_MEANS:
        raise section.error(
            f"from={vector.index} is a [{vector.kind}], expected an implicit layer",
            "refer to an [implicit_add], [implicit_mul] or [implicit_cat] layer",
        )
    if vector.channels not in ({channels} if kind == "alternate_channels" else {channels, 1}):
        raise section.error(
            f"implicit vector of layer {vector.index} has {vector.channels} channels, "
            f"the map that it meets has {channels}",
            "make filters= of the implicit layer equal to the channels of the map",
        )
    doubled = 2 if kind == "alternate_channels" else 1
    return Layer(index, kind, section, (source, vector.index), channels * doubled, stride)


def _same_stride(section: Section, maps: list[Layer]) -> Fraction:
    for layer in maps:
        if layer.kind in IMPLICIT_MEANS:
            raise section.error(
                f"[{section.kind}] reads the implicit vector of layer {layer.index} as an image",
                "refer to a feature map",
            )
        if layer.stride != maps[0].stride:
            raise section.error(
                f"layers {maps[0].index} and {layer.index} have strides {maps[0].stride} and "
                f"{layer.stride}, expected equal ones",
                "correct the layers that it refers to",
            )
    return maps[0].stride


def _route(index: int, section: Section, layers: list[Layer]) -> Layer:
    if "groups" in section.options or "group_id" in section.options:
        raise section.error(
            "[route] with groups is not supported", "use a cfg without grouped routes"
        )
    maps = _referenced(section, "layers", index, layers)
    stride = _same_stride(section, maps)
    sources = tuple(layer.index for layer in maps)
    return Layer(index, "route", section, sources, sum(m.channels for m in maps), stride)


def _combine(index: int, section: Section, layers: list[Layer]) -> Layer:
    """Resolve [shortcut], [scale_channels] and [sam]: maps of one shape."""
    source, channels, _ = _previous(index, section, layers)
    if source < 0:
        raise section.error(f"[{section.kind}] as first layer", "put a layer before it")
    others = _referenced(section, "from", index, layers)
    first = layers[source]
    stride = _same_stride(section, [first, *others])
    for other in others:
        if other.channels != channels:
            raise section.error(
                f"layer {other.index} has {other.channels} channels, layer {source} has "
                f"{channels}, expected equal ones",
                "correct from= or filters= of the layers before it",
            )
    sources = (source, *(other.index for other in others))
    return Layer(index, section.kind, section, sources, channels, stride)


def _maxpool(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    step = section.integer("stride", 1)
    size = section.integer("size", step)
    if size > 63 or step > 32:  # noqa: PLR2004 - far above any detector, far below a memory bomb
        raise section.error(f"size={size} with stride={step} is too large", "correct that line")
    return Layer(index, section.kind, section, (source,), channels, stride * step)


def _upsample(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    return Layer(
        index, section.kind, section, (source,), channels, stride / section.integer("stride", 2)
    )


def _reorg(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    return Layer(index, section.kind, section, (source,), 4 * channels, stride * 2)


def _pass_through(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    return Layer(index, section.kind, section, (source,), channels, stride)


_RULES: dict[str, Callable[[int, Section, list[Layer]], Layer]] = {
    "convolutional": _convolutional,
    **{kind + form: _implicit for kind in IMPLICIT_MEANS for form in ("", "_2d")},
    **{kind + form: _channel_op for kind in CHANNEL_OPS for form in ("", "_2d")},
    "route": _route,
    "shortcut": _combine,
    "scale_channels": _combine,
    "sam": _combine,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "reorg": _reorg,
    "dwt": _reorg,
    "silence": _pass_through,
    "dropout": _pass_through,
    "yolo": _pass_through,
}


def total_parameters(plan: Plan) -> int:
    """Return an upper bound of the weights of a plan, to refuse absurd ones before building."""
    total = 0
    for layer in plan.layers:
        if layer.kind == "convolutional":
            read = layer.sources[0]
            channels = plan.layers[read].channels if read >= 0 else 3
            total += channels * layer.channels * layer.section.integer("size", 1) ** 2
    return total


def require_reasonable(plan: Plan, *, where: str) -> None:
    """Refuse a plan whose weights would not fit any machine that runs detectors.

    Raises:
        CheckpointError: More than 4e9 weights.
    """
    total = total_parameters(plan)
    if total > 4_000_000_000:  # noqa: PLR2004 - 16 GB of float32
        raise CheckpointError(
            f"the cfg describes {total:,} weights", where=where, hint="correct its filters="
        )
