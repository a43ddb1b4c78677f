"""What of a network is kept in float or not as one: a layer, or a block of them; and its cost."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from yolor_deploy.core.precision import FloatKind, GraphTarget
from yolor_deploy.graph.costs import multiply_adds_of

if TYPE_CHECKING:
    import onnx_ir as ir

Grouping = Literal["layer", "block"]

_BLOCK = re.compile(r".*?(?:^|[./_])\d+(?=[./_]|$)")  # up to the first number of a name
# How many 8-bit multiply-adds take the time of one in float. TensorRT: the ratio of the dense
# rates of one GPU, the same for A100 and H100; fp32 runs as TF32 there. Source: NVIDIA A100 and
# H100 data sheets. ONNX Runtime on AVX2: three instructions for 32 products, against one for 8.
_RATES: Mapping[tuple[GraphTarget, FloatKind], float] = {
    ("tensorrt", "fp16"): 2.0,
    ("tensorrt", "bf16"): 2.0,
    ("tensorrt", "fp32"): 4.0,
    ("onnxruntime", "fp32"): 4 / 3,
}


@dataclass(frozen=True, slots=True)
class Unit:
    """Convolutions that are quantised together or not at all.

    Attributes:
        name: Of the layer, or of the block.
        layers: Names of its convolutions.
        multiply_adds: Of one image.
    """

    name: str
    layers: tuple[str, ...]
    multiply_adds: int


def units_of(network: ir.Model, layers: Collection[str], by: Grouping) -> tuple[Unit, ...]:
    """Group the convolutions that can be quantised.

    A block is what a name says up to its first number: ``model.5`` has ``model.5.cv1.conv`` and all
    else of that module. Where that leaves every convolution alone, as in the flat lists of Darknet,
    a block is a run of convolutions whose results have the same height and width.

    Args:
        network: Without head, shapes known.
        layers: Names of the convolutions.
        by: Layers, or blocks.

    Returns:
        In the order of the network; every layer is in one of them.
    """
    counts = {name: n for name, n in multiply_adds_of(network).items() if name in layers}
    if by == "layer":
        return tuple(Unit(name, (name,), count) for name, count in counts.items())
    blocks: dict[str, list[str]] = {}
    for name in counts:
        found = _BLOCK.match(name)
        blocks.setdefault(found.group() if found else name, []).append(name)
    if len(blocks) == len(counts):
        blocks = _runs_of_equal_size(network, list(counts))
    return tuple(
        Unit(name, tuple(members), sum(counts[member] for member in members))
        for name, members in blocks.items()
    )


def predicted_time(float_share: float, *, target: GraphTarget, base: FloatKind) -> float:
    """Return the time of the arithmetic alone, relative to all of it in float.

    Memory, conversions between the two and what a runtime makes of them are not in it.

    Args:
        float_share: Share of the multiply-adds that stay in float, 0..1.
        target: Runtime.
        base: What float is.
    """
    return float_share + (1 - float_share) / rate_of(target, base)


def rate_of(target: GraphTarget, base: FloatKind) -> float:
    """Return how many 8-bit multiply-adds are assumed to take the time of one in float."""
    return _RATES[(target, base)]


def _runs_of_equal_size(network: ir.Model, layers: Sequence[str]) -> dict[str, list[str]]:
    sizes = {
        str(node.name): tuple(node.outputs[0].shape[2:])
        for node in network.graph
        if node.op_type == "Conv" and node.outputs[0].shape is not None
    }
    runs: list[list[str]] = []
    for name in layers:
        if runs and sizes[runs[-1][-1]] == sizes[name]:
            runs[-1].append(name)
        else:
            runs.append([name])
    return {run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}": run for run in runs}
