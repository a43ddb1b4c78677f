"""The network that a darknet plan describes, with the authors' names for its weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from yolor_deploy.families.darknet.layers import IMPLICIT_MEANS, Layer
from yolor_deploy.families.darknet.plan import Plan
from yolor_deploy.families.whole_maps import layers_behind
from yolor_deploy.nn.implicit import ImplicitVector
from yolor_deploy.nn.layers import (
    Concat,
    Gate,
    PrependChannels,
    Product,
    ReOrg,
    Sum,
    WeightedShortcut,
    activation,
)

BATCHNORM_EPS = 1e-4  # set by the authors' cfg code; models trained in darknet load with it too


_PLAIN: dict[str, type[nn.Module]] = {
    "route": Concat,
    "shift_channels": Sum,
    "control_channels": Product,
    "scale_channels": Product,
    "sam": Product,
    "select_channels": Gate,
    "alternate_channels": PrependChannels,
}


class DarknetNetwork(nn.Module):
    """The layers of a cfg file.

    Weights are named as in the authors' files: ``module_list.0.Conv2d.weight``,
    ``module_list.0.BatchNorm2d.running_mean``, ``module_list.164.implicit``.

    Args:
        plan: What the cfg file says.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.module_list = nn.ModuleList([_module(layer, plan) for layer in plan.layers])
        reads = {layer.index: layer.sources for layer in plan.layers}
        self._needed = layers_behind(reads, plan.heads)
        self._last_use = _last_uses(plan, self._needed)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps of an image batch.

        Args:
            images: float [n, 3, h, w], RGB in 0..1, height and width multiples of the strides.

        Returns:
            float [n, anchors * (5 + classes), h / stride, w / stride] per level, finest first.
        """
        outputs: dict[int, Tensor] = {-1: images}
        for layer, module in zip(self.plan.layers, self.module_list, strict=True):
            if layer.index not in self._needed:
                continue  # such as the [yolo] layers, whose decoding is not part of a network here
            outputs[layer.index] = module(*(outputs[source] for source in layer.sources))
            for source in set(layer.sources):
                if self._last_use[source] == layer.index:
                    del outputs[source]
        return [outputs[head] for head in self.plan.heads]


def network_from_plan(plan: Plan) -> DarknetNetwork:
    """Build the network with freshly drawn weights, in evaluation mode."""
    return DarknetNetwork(plan).eval()


def _last_uses(plan: Plan, needed: frozenset[int]) -> dict[int, int]:
    """Return for each layer the last needed one that reads it; heads are never dropped."""
    readers = [layer for layer in plan.layers if layer.index in needed]
    last = {source: layer.index for layer in readers for source in layer.sources}
    return {**last, **dict.fromkeys(plan.heads, len(plan.layers))}


def _module(layer: Layer, plan: Plan) -> nn.Module:
    channels = 3
    if layer.sources and layer.sources[0] >= 0:
        channels = plan.layers[layer.sources[0]].channels
    make = _MAKERS.get(layer.kind)
    return make(layer, channels) if make else _PLAIN.get(layer.kind, nn.Identity)()


def _convolution(layer: Layer, channels: int) -> nn.Module:
    section = layer.section
    size = section.integer("size", 1)
    is_normalised = section.integer("batch_normalize", 0, minimum=0) > 0
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["Conv2d"] = nn.Conv2d(
        channels,
        layer.channels,
        size,
        section.integer("stride", 1),
        size // 2 if section.integer("pad", 0, minimum=0) else 0,
        groups=section.integer("groups", 1),
        bias=not is_normalised,
    )
    if is_normalised:
        parts["BatchNorm2d"] = nn.BatchNorm2d(layer.channels, eps=BATCHNORM_EPS, momentum=0.03)
    act = activation(section.options.get("activation", "linear"))
    if act is not None and not isinstance(act, nn.Identity):
        parts["activation"] = act
    return nn.Sequential(parts)


def _maxpool(layer: Layer, _: int) -> nn.Module:
    step = layer.section.integer("stride", 1)
    size = layer.section.integer("size", step)
    pool = nn.MaxPool2d(size, step, (size - 1) // 2)
    if size == 2 and step == 1:  # noqa: PLR2004 - keeps the size, as in yolov3-tiny
        return nn.Sequential(OrderedDict(ZeroPad2d=nn.ZeroPad2d((0, 1, 0, 1)), MaxPool2d=pool))
    return pool


def _implicit(layer: Layer, _: int) -> nn.Module:
    section = layer.section
    atoms = section.integer("atoms") if section.kind.endswith("_2d") else 0
    return ImplicitVector(section.integer("filters"), mean=IMPLICIT_MEANS[layer.kind], atoms=atoms)


def _upsample(layer: Layer, _: int) -> nn.Module:
    return nn.Upsample(scale_factor=layer.section.integer("stride", 2), mode="nearest")


def _shortcut(layer: Layer, _: int) -> nn.Module:
    if "weights_type" in layer.section.options:
        return WeightedShortcut(len(layer.sources))
    return Sum()


_MAKERS: dict[str, Callable[[Layer, int], nn.Module]] = {
    "convolutional": _convolution,
    **dict.fromkeys(IMPLICIT_MEANS, _implicit),
    "maxpool": _maxpool,
    "upsample": _upsample,
    "shortcut": _shortcut,
    "reorg": lambda _layer, _channels: nn.Sequential(OrderedDict(Reorg=ReOrg())),
}
