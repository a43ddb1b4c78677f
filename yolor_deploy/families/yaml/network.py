"""The network that a yaml plan describes, with the authors' names for its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from yolor_deploy.families.whole_maps import layers_behind
from yolor_deploy.families.yaml import blocks
from yolor_deploy.families.yaml.plan import DETECT, REPEATING, Layer, Plan
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
        reads = {layer.index: layer.sources for layer in plan.layers}
        self._needed = layers_behind(reads, [len(plan.layers) - 1])
        readers = [layer for layer in plan.layers if layer.index in self._needed]
        self._last_use = {source: layer.index for layer in readers for source in layer.sources}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps of an image batch.

        Args:
            images: float [n, 3, h, w], RGB in 0..1, height and width multiples of the strides.

        Returns:
            float [n, anchors * (5 + classes), h / stride, w / stride] per level, finest first.
        """
        outputs: dict[int, Any] = {-1: images}
        for layer, module in zip(self.plan.layers, self.model, strict=True):
            if layer.index not in self._needed:
                continue
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
    if layer.kind == "DWT" and layer.index in wavelet_taps:
        return HaarTransform(layer.read, tap=wavelet_taps[layer.index])
    takes_repeats = layer.kind in {*REPEATING, "SPPCSP", "DownC"}
    copies = 1 if takes_repeats else max(layer.repeats, 1)  # as the authors' parser: none is one
    modules = [_copy(layer, act) for _ in range(copies)]
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _copy(layer: Layer, act: str) -> nn.Module:
    """Return one copy of the block of a row."""
    if layer.kind in _PLAIN:
        return _PLAIN[layer.kind](layer)

    def make_act() -> nn.Module:
        module = activation(act)
        assert module is not None
        return module

    taken = _BLOCKS[layer.kind]
    options = {name: value for name, value in layer.options.items() if name in taken.options}
    if layer.kind in REPEATING:
        options["repeats"] = layer.repeats
    if layer.kind == "DWConv":
        options["groups"] = layer.channels  # the block takes what divides both widths
    return taken.block(layer.read, layer.channels, make_act, **options)


class _Block(NamedTuple):
    """A block, and the arguments of a row that it takes."""

    block: Callable[..., nn.Module]
    options: frozenset[str]


def _takes(block: Callable[..., nn.Module], *options: str) -> _Block:
    return _Block(block, frozenset(options))


_BLOCKS = {
    "Conv": _takes(blocks.Conv, "size", "stride", "groups"),
    "DWConv": _takes(blocks.Conv, "size", "stride"),
    "Focus": _takes(blocks.Focus, "size"),
    "Bottleneck": _takes(blocks.Bottleneck, "shortcut"),
    "BottleneckCSP": _takes(blocks.BottleneckCSP, "shortcut"),
    "BottleneckCSPF": _takes(blocks.BottleneckCSPF, "shortcut"),
    "BottleneckCSP2": _takes(blocks.BottleneckCSP2, "shortcut"),
    "SPP": _takes(blocks.SPP, "sizes"),
    "SPPCSP": _takes(blocks.SPPCSP, "sizes"),
    "DownC": _takes(blocks.DownC),
}


def _max_pool(layer: Layer) -> nn.Module:
    size, padding = layer.options["size"], layer.options.get("padding") or 0
    return nn.MaxPool2d(size, layer.options.get("stride") or size, padding)


def _bare_convolution(layer: Layer) -> nn.Module:
    options = layer.options
    padding = options["padding"] or 0
    return nn.Conv2d(layer.read, layer.channels, options["size"], options["stride"], padding)


def _batchnorm(layer: Layer) -> nn.Module:
    return nn.BatchNorm2d(layer.channels, eps=blocks.BATCHNORM_EPS, momentum=0.03)


_PLAIN: dict[str, Callable[[Layer], nn.Module]] = {
    "Upsample": lambda layer: nn.Upsample(scale_factor=layer.options["factor"], mode="nearest"),
    "MaxPool2d": _max_pool,
    "MP": _max_pool,
    "Conv2d": _bare_convolution,
    "BatchNorm2d": _batchnorm,
    "ReOrg": lambda _: ReOrg(),
    "DWT": lambda _: ReOrg(),  # what the authors' class is without its library
    "SiLU": lambda _: nn.SiLU(),
    "Mish": lambda _: nn.Mish(),
    "ReLU": lambda _: nn.ReLU(),
    "LeakyReLU": lambda layer: nn.LeakyReLU(layer.options["slope"]),
    "Identity": lambda _: nn.Identity(),
    "Concat": lambda _: nn.Identity(),  # joined in ``forward``
}
