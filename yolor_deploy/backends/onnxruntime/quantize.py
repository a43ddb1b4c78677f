"""Quantise a network for the CPU: the layout that ONNX Runtime computes in integers.

Activations are unsigned with a zero point of their own, and every operator between convolutions is
quantised too, so that the chain stays in 8 bits. The layout for TensorRT (``graph.insert_qdq``) is
slower than float there: its activations are signed, and its activation functions float.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from yolor_deploy.graph.insert_qdq import detection_end, plan_qdq

logger = logging.getLogger(__name__)

_OPERATORS = ["Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize", "LeakyRelu"]
_ACTIVATIONS = frozenset({"Sigmoid", "Softplus", "Tanh", "LeakyRelu", "Relu"})
_FEWEST_CHANNELS = 8  # below, the integer kernel was the slower one in a profile of one net
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CpuSites:
    """What became of the convolutions.

    Attributes:
        convolutions: Names of those that run in 8 bits.
        kept: Name and reason of those that do not.
        ranges: Lowest and highest value of each quantised tensor.
    """

    convolutions: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    ranges: dict[str, Range]


def quantise_for_cpu(
    model: ir.Model, range_of: Callable[[str], Range], *, keep: Collection[str] = ()
) -> tuple[ir.Model, CpuSites]:
    """Quantise a network by ``onnxruntime.quantization``, with ranges that are known already.

    - Weights have 7 bits, one scale per output channel: two products of 8 bits, added up in 16 as
      processors without VNNI do, may saturate (255 * 127 * 2 > 32767, 255 * 64 * 2 is below).
    - Float stay: the detection convolutions and what follows them; convolutions of fewer than 8
      input channels, where the integer kernel is slower; those named in ``keep``; the activation
      functions of these, and Mish, which has no integer kernel.

    Args:
        model: A network without head, in float32; used up.
        range_of: Returns the lowest and highest value of a tensor, told its name.
        keep: Names of nodes that stay float32.

    Returns:
        The quantised network, and what became of its convolutions.
    """
    from onnxruntime.quantization import QuantType  # noqa: PLC0415 - slow to load
    from onnxruntime.quantization.calibrate import (  # noqa: PLC0415 - slow to load
        CalibrationMethod,
        TensorData,
        TensorsData,
    )
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # noqa: PLC0415 - slow

    kept = _kept(model, keep)
    excluded = _excluded(model, dict(kept), keep)
    ranges = {str(value.name): range_of(str(value.name)) for value in _float_values(model)}
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    quantizer = QDQQuantizer(
        ir.to_proto(model),
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=None,
        nodes_to_exclude=sorted(excluded),
        op_types_to_quantize=_OPERATORS,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    result = ir.from_proto(quantizer.model.model)
    result.graph.sort()  # the pairs were appended at the end
    names = [str(node.name) for node in model.graph if node.op_type == "Conv"]
    done = tuple(name for name in names if name not in dict(kept))
    used = {
        str(node.inputs[0].name)
        for node in result.graph
        if node.op_type == "QuantizeLinear" and node.inputs[0] is not None
    }
    logger.info("quantise_for_cpu: %d convolutions, %d kept", len(done), len(kept))
    return result, CpuSites(done, kept, {n: r for n, r in ranges.items() if n in used})


def _kept(model: ir.Model, keep: Collection[str]) -> tuple[tuple[str, str], ...]:
    kept = dict(plan_qdq(model, keep=keep).kept)
    for node in model.graph:
        if node.op_type != "Conv" or str(node.name) in kept:
            continue
        weight = node.inputs[1]
        assert weight is not None
        assert weight.shape is not None
        channels = weight.shape[1]
        assert isinstance(channels, int)
        if channels < _FEWEST_CHANNELS:
            kept[str(node.name)] = f"{channels} input channels: faster in float"
    return tuple(kept.items())


def _excluded(model: ir.Model, kept: dict[str, str], keep: Collection[str]) -> set[str]:
    """Return the nodes that stay float: those asked for, and activations of float results."""
    excluded = set(keep) | kept.keys()
    excluded |= {str(node.name) for node in detection_end(model.graph)}
    for node in model.graph:
        name = str(node.name)
        if node.op_type in {"Softplus", "Tanh"}:
            excluded.add(name)
        producers = [value.producer() for value in node.inputs if value is not None]
        inside = [str(p.name) in excluded for p in producers if p]
        is_function = node.op_type in _ACTIVATIONS and all(inside)
        is_product = node.op_type == "Mul" and any(
            p is not None and p.op_type in _ACTIVATIONS and str(p.name) in excluded
            for p in producers
        )
        if inside and (is_function or is_product):
            excluded.add(name)
    return excluded


def _float_values(model: ir.Model) -> list[ir.Value]:
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return [value for value in values if value.dtype == ir.DataType.FLOAT]
