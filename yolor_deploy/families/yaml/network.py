"""The network that a yaml plan describes, with the authors' names for its weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from yolor_deploy.families.yaml import blocks
from yolor_deploy.families.yaml.plan import (
    DETECT,
    REPEATING,
    Layer,
    Plan,
    argument_integer,
    argument_sizes,
)
from yolor_deploy.nn.layers import HaarTransform, ReOrg, activation


class YamlNetwork(nn.Module):
    """The layers of a yaml model.

    Weights are named as in the authors' files: ``model.1.conv.weight``, ``model.41.m.0.bias``,
    ``model.41.ia.0.implicit``.

    Args:
        plan: What the structure says.
        act: Name of the activation, ``silu`` or ``mish``.
        wavelet_taps: Filter coefficient of each ``DWT`` layer by its index; one that is missing
            is a plain ``ReOrg``, which is what the authors' class is without its library.
    """

    def __init__(self, plan: Plan, *, act: str, wavelet_taps: dict[int, float]) -> None:
        super().__init__()
        self.plan = plan
        self.model = nn.ModuleList(
            [_module(layer, plan, act, wavelet_taps) for layer in plan.layers]
        )
        self._last_use = {source: layer.index for layer in plan.layers for source in layer.sources}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps of an image batch.

        Args:
            images: float [n, 3, h, w], RGB in 0..1, height and width multiples of the strides.

        Returns:
            float [n, anchors * (5 + classes), h / stride, w / stride] per level, finest first.
        """
        outputs: dict[int, Any] = {-1: images}
        for layer, module in zip(self.plan.layers, self.model, strict=True):
            inputs = [outputs[source] for source in layer.sources]
            if layer.kind == "Concat":
                outputs[layer.index] = torch.cat(inputs, 1)
            elif layer.kind in DETECT:
                outputs[layer.index] = module(inputs)
            else:
                outputs[layer.index] = module(inputs[0])
            for source in set(layer.sources):
                if self._last_use[source] == layer.index:
                    del outputs[source]
        raw: list[Tensor] = outputs[len(self.plan.layers) - 1]
        return [raw[position] for position in level_order(self.plan)]


def level_order(plan: Plan) -> list[int]:
    """Return the head's inputs from the finest stride to the coarsest, as positions."""
    return sorted(range(len(plan.strides)), key=lambda position: plan.strides[position])


def network_from_plan(
    plan: Plan, *, act: str = "silu", wavelet_taps: dict[int, float] | None = None
) -> YamlNetwork:
    """Build the network with freshly drawn weights, in evaluation mode."""
    return YamlNetwork(plan, act=act, wavelet_taps=wavelet_taps or {}).eval()


def _module(layer: Layer, plan: Plan, act: str, wavelet_taps: dict[int, float]) -> nn.Module:
    if layer.kind in DETECT:
        widths = tuple(plan.layers[source].channels for source in layer.sources)
        outputs = plan.num_anchors * (5 + plan.num_classes)
        return blocks.Head(widths, outputs, has_implicit=layer.kind == "IDetect")
    if layer.kind == "DWT":
        tap = wavelet_taps.get(layer.index)
        return ReOrg() if tap is None else HaarTransform(layer.read, tap=tap)
    copies = 1 if layer.kind in REPEATING or layer.kind in {"SPPCSP", "DownC"} else layer.repeats
    modules = [_block(layer, act) for _ in range(copies)]
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _block(layer: Layer, act: str) -> nn.Module:
    """Return one copy of the block of a row."""

    def make_act() -> nn.Module:
        module = activation(act)
        assert module is not None
        return module

    integer = partial(argument_integer, layer.arguments, where=layer.where)
    build = partial(_BLOCKS.get(layer.kind, nn.Identity), layer.read, layer.channels, make_act)
    options: dict[str, Any] = {}
    if layer.kind in REPEATING:
        options = {"repeats": layer.repeats}
        if len(layer.arguments) > 1:
            options["shortcut"] = bool(layer.arguments[1])
    elif layer.kind in {"Conv", "DWConv"}:
        groups = layer.channels if layer.kind == "DWConv" else integer(4, 1)
        options = {"size": integer(1, 1), "stride": integer(2, 1), "groups": groups}
    elif layer.kind == "Focus":
        options = {"size": integer(1, 1)}
    elif layer.kind in {"SPP", "SPPCSP"} and len(layer.arguments) > 1:
        options = {"sizes": argument_sizes(layer)}
    elif layer.kind not in _BLOCKS:
        return _plain(layer, integer)
    return build(**options)


_BLOCKS: dict[str, type[nn.Module]] = {
    "Conv": blocks.Conv,
    "DWConv": blocks.Conv,
    "Focus": blocks.Focus,
    "Bottleneck": blocks.Bottleneck,
    "BottleneckCSP": blocks.BottleneckCSP,
    "BottleneckCSPF": blocks.BottleneckCSPF,
    "BottleneckCSP2": blocks.BottleneckCSP2,
    "SPP": blocks.SPP,
    "SPPCSP": blocks.SPPCSP,
    "DownC": blocks.DownC,
}


def _plain(layer: Layer, integer: Any) -> nn.Module:
    """Return a layer of torch's own."""
    if layer.kind == "Upsample":
        return nn.Upsample(scale_factor=integer(1, None), mode="nearest")
    if layer.kind in {"MaxPool2d", "MP"}:
        size = integer(0, 2)
        stride = integer(1, size)
        padding = integer(2, 1) if layer.arguments[2:] and layer.arguments[2] else 0
        return nn.MaxPool2d(size, stride, padding)
    if layer.kind == "Conv2d":
        padding = integer(3, 1) if layer.arguments[3:] and layer.arguments[3] else 0
        return nn.Conv2d(layer.read, layer.channels, integer(1, None), integer(2, 1), padding)
    if layer.kind == "BatchNorm2d":
        return nn.BatchNorm2d(layer.channels, eps=blocks.BATCHNORM_EPS, momentum=0.03)
    simple: dict[str, type[nn.Module]] = {
        "ReOrg": ReOrg,
        "SiLU": nn.SiLU,
        "Mish": nn.Mish,
        "ReLU": nn.ReLU,
        "LeakyReLU": nn.LeakyReLU,
    }
    return simple[layer.kind]() if layer.kind in simple else nn.Identity()
