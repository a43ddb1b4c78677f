"""One layer of a cfg file: what it reads, how many channels it gives, at which stride.

``RULES`` has a function for each kind of section. It takes the section's index, the section and
the layers before it, and raises ``CheckpointError`` where the layer cannot be built as the authors'
code builds it.

Source: cfg parser of YOLOR and of Scaled-YOLOv4's csp branch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from yolor_deploy.families.darknet.cfg import Section
from yolor_deploy.families.whole_maps import is_exact_step

IMPLICIT_MEANS = {"implicit_add": 0.0, "implicit_mul": 1.0, "implicit_cat": 0.0}
CHANNEL_OPS = ("shift_channels", "control_channels", "select_channels", "alternate_channels")
ACTIVATIONS = ("linear", "leaky", "silu", "swish", "mish", "logistic")
# Far above any detector, far below what a machine could not hold.
_MAX_KERNEL = 31
_MAX_POOL = 63
_MAX_STEP = 32


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
    if "," in section.options.get("size", ""):
        raise section.error(
            f"size={section.options['size'][:60]} asks for convolutions side by side (MixConv2d), "
            "which are not supported",
            "only one size is",
        )
    size = section.integer("size", 1, maximum=_MAX_KERNEL)
    groups = section.integer("groups", 1)
    step = section.integer("stride", 1, maximum=_MAX_STEP)
    padding = size // 2 if section.integer("pad", 0, minimum=0) else 0
    if channels % groups or filters % groups:
        raise section.error(
            f"groups={groups} does not divide {channels} channels into {filters}",
            "correct groups=",
        )
    _require_activation(section)
    _require_exact_step(section, size, step, padding)
    return Layer(index, section.kind, section, (source,), filters, stride * step)


def _require_activation(section: Section) -> None:
    act = section.options.get("activation")
    if act is None:
        raise section.error(
            "[convolutional] has no activation=",
            "add it; what it means without one differs: darknet takes logistic",
        )
    if act not in ACTIVATIONS:
        raise section.error(
            f"activation={act[:60]!r} is not supported",
            f"known: {', '.join(ACTIVATIONS)}; the authors' PyTorch code takes any other word as "
            "linear: write activation=linear if the model was trained with it",
        )


def _require_exact_step(section: Section, size: int, step: int, padding: int) -> None:
    """Require that a window divides the sides of a map by its step, with nothing over."""
    if not is_exact_step(size, step, padding):
        raise section.error(
            f"[{section.kind}] with size={size}, stride={step} and a border of {padding} does not "
            f"give 1/{step} of its map",
            "use an odd size, with pad=1 in a convolution",
        )


def _implicit(index: int, section: Section, layers: list[Layer]) -> Layer:
    del layers
    kind = section.kind.removesuffix("_2d")
    filters = section.integer("filters")
    atoms = section.integer("atoms") if section.kind.endswith("_2d") else 1
    return Layer(index, kind, section, (), filters * atoms, Fraction(0))


def _channel_op(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    vector = _only(section, _referenced(section, "from", index, layers))
    kind = section.kind.removesuffix("_2d")
    if vector.kind not in IMPLICIT_MEANS:
        raise section.error(
            f"from={vector.index} is a [{vector.kind}], expected an implicit layer",
            "refer to an [implicit_add], [implicit_mul] or [implicit_cat] layer",
        )
    if vector.section.kind.endswith("_2d") and not section.kind.endswith("_2d"):
        raise section.error(
            f"[{section.kind}] reads [{vector.section.kind}] of layer {vector.index}",
            f"write [{section.kind}_2d]",
        )
    if vector.channels not in ({channels} if kind == "alternate_channels" else {channels, 1}):
        raise section.error(
            f"[{vector.section.kind}] of layer {vector.index} has {vector.channels} channels, "
            f"the map that it meets has {channels}",
            f"write filters={channels} in layer {vector.index} ({vector.section.where}); it "
            "changes with the number of classes",
        )
    doubled = 2 if kind == "alternate_channels" else 1
    return Layer(index, kind, section, (source, vector.index), channels * doubled, stride)


def _only(section: Section, found: list[Layer]) -> Layer:
    if len(found) > 1:
        raise section.error(
            f"from={section.options['from'][:60]} names {len(found)} layers, expected one",
            "the authors' code reads the first alone: leave the others out",
        )
    return found[0]


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
    if section.kind != "shortcut":
        _only(section, others)
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
    step = section.integer("stride", 1, maximum=_MAX_STEP)
    size = section.integer("size", step, maximum=_MAX_POOL)
    if (size, step) != (2, 1):  # that one has a border of its own, as in yolov3-tiny
        _require_exact_step(section, size, step, (size - 1) // 2)
    return Layer(index, section.kind, section, (source,), channels, stride * step)


def _upsample(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    factor = section.integer("stride", 2, maximum=_MAX_STEP)
    return Layer(index, section.kind, section, (source,), channels, stride / factor)


def _reorg(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    return Layer(index, section.kind, section, (source,), 4 * channels, stride * 2)


def _pass_through(index: int, section: Section, layers: list[Layer]) -> Layer:
    source, channels, stride = _previous(index, section, layers)
    return Layer(index, section.kind, section, (source,), channels, stride)


RULES: dict[str, Callable[[int, Section, list[Layer]], Layer]] = {
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
    "silence": _pass_through,
    "dropout": _pass_through,
    "yolo": _pass_through,
}
