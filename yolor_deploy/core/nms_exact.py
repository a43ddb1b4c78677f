"""The arithmetic of YolorNMS to the bit: what ``plugins/nms`` computes, in NumPy.

No two implementations of exp agree in the last place. The plugin has its own, in plain float32
operations (``core.h``), and this is the same one: with it the reference returns the plugin's bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, FloatArray, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

_LARGEST = np.float32(float.fromhex("0x1.62e430p+6"))  # above it the result is infinite
_LEAST = np.float32(-104.0)  # below it the result is 0
_PER_LN_2 = np.float32(float.fromhex("0x1.715476p+0"))
_LN_2_HIGH = np.float32(float.fromhex("0x1.63p-1"))
_LN_2_LOW = np.float32(float.fromhex("-0x1.bd0106p-13"))
_TAYLOR = tuple(np.float32(1.0) / np.float32(n) for n in (5040, 720, 120, 24, 6, 2))
_ONE = np.float32(1.0)


def exact_exponential(values: FloatArray) -> FloatArray:
    """Return e^x within 1.03 units in the last place, the same bits as ``exponential`` of core.h.

    Args:
        values: float32 of any shape; infinities and NaN too.

    Returns:
        float32 of the same shape.
    """
    x = np.clip(values, _LEAST, _LARGEST)  # NaN stays
    k = np.rint(x * _PER_LN_2)
    r = (x - k * _LN_2_HIGH) - k * _LN_2_LOW
    p = np.full_like(r, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        p = p * r + coefficient
    p = p * (r * r) + r

    exponent = np.nan_to_num(k).astype(np.int32)
    first = np.trunc(exponent / 2).astype(np.int32)  # two steps: 2^k alone may not be a float32
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(np.ldexp(p + _ONE, first), exponent - first)
    scaled = np.where(values > _LARGEST, np.float32(np.inf), scaled)
    return np.asarray(np.where(values < _LEAST, np.float32(0.0), scaled))


def exact_sigmoid(logits: Array) -> FloatArray:
    """Return 1 / (1 + e^-x) in float32, the same bits as ``sigmoid`` of core.h.

    Args:
        logits: float32 or float16 of any shape.
    """
    return np.asarray(_ONE / (_ONE + exact_exponential(-logits.astype(np.float32))))


def exact_detections(raw_maps: Sequence[Array], spec: DetectorSpec, config: NmsConfig) -> RawOutput:
    """Return, bit by bit, what the plugin does: decoding and ``non_max_suppression``.

    Args:
        raw_maps: One per level of ``spec``, as ``predictions_from_raw`` takes them; float16 is
            computed with as float32.
        spec: Gives strides, anchors and the number of classes.
        config: Thresholds and limits.

    Raises:
        ValueError: A map does not have the channels that ``spec`` tells, or one is missing.
    """
    maps = [raw.astype(np.float32) for raw in raw_maps]
    predictions = predictions_from_raw(maps, spec, activation=exact_sigmoid)
    return non_max_suppression(predictions, config)
