"""The structs of ``plugins/nms/include/yolor_nms/c_api.h``, field by field."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from yolor_deploy.core.spec import DetectorSpec, NmsConfig

INTERFACE_VERSION = 1
MAX_LEVELS = 6
MAX_ANCHORS = 8

MapLayout = Literal["NCHW", "HWC8"]
MapDtype = Literal["float16", "float32"]
_LAYOUTS: dict[MapLayout, int] = {"NCHW": 0, "HWC8": 1}
_DTYPES: dict[MapDtype, int] = {"float32": 0, "float16": 1}
_CHANNELS_OF_HWC8 = 8


class LevelStruct(ctypes.Structure):
    """``YolorNmsHeadLevel``."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("num_anchors", ctypes.c_int32),
        ("anchors_px", ctypes.c_float * (2 * MAX_ANCHORS)),
    )


class ShapeStruct(ctypes.Structure):
    """``YolorNmsShape``."""

    _fields_ = (
        ("batch", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("num_levels", ctypes.c_int32),
        ("data_type", ctypes.c_int32),
        ("layout", ctypes.c_int32),
        ("levels", LevelStruct * MAX_LEVELS),
    )


class ParamsStruct(ctypes.Structure):
    """``YolorNmsParams``."""

    _fields_ = (
        ("max_detections", ctypes.c_int32),
        ("max_candidates", ctypes.c_int32),
        ("multi_label", ctypes.c_int32),
        ("class_agnostic", ctypes.c_int32),
    )


class InputsStruct(ctypes.Structure):
    """``YolorNmsInputs``."""

    _fields_ = (
        ("heads", ctypes.c_void_p * MAX_LEVELS),
        ("score_threshold", ctypes.c_void_p),
        ("iou_threshold", ctypes.c_void_p),
        ("class_mask", ctypes.c_void_p),
    )


class OutputsStruct(ctypes.Structure):
    """``YolorNmsOutputs``."""

    _fields_ = (
        ("num_detections", ctypes.c_void_p),
        ("boxes_xyxy", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("class_ids", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class MapFormat:
    """How raw head maps lie in memory.

    Attributes:
        dtype: Of all of them.
        layout: ``NCHW``, or ``HWC8`` (float16 only): [n, h, w, c], the channels padded to a
            multiple of 8 with anything, which is TensorRT's ``kHWC8``.
    """

    dtype: MapDtype = "float32"
    layout: MapLayout = "NCHW"

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The dtype as NumPy has it."""
        return np.dtype(self.dtype)

    def shape(self, batch: int, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of an array of such a map."""
        if self.layout == "NCHW":
            return (batch, channels, height, width)
        padded = -(-channels // _CHANNELS_OF_HWC8) * _CHANNELS_OF_HWC8
        return (batch, height, width, padded)

    def size_of(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return (height, width) of a map by the shape of its array."""
        return (shape[2], shape[3]) if self.layout == "NCHW" else (shape[1], shape[2])


def shape_struct(
    spec: DetectorSpec,
    sizes: Sequence[tuple[int, int]],
    *,
    batch: int,
    map_format: MapFormat,
    channels: Sequence[int] | None = None,
) -> ShapeStruct:
    """Describe head maps to the library, which checks what it is told.

    Args:
        spec: Gives strides, anchors and the number of classes.
        sizes: (height, width) of each map, cells.
        batch: Images.
        map_format: Dtype and layout.
        channels: Of the maps as they are, where they may not be those of ``spec``.
    """
    struct = ShapeStruct(
        batch,
        spec.num_classes,
        len(spec.levels),
        _DTYPES[map_format.dtype],
        _LAYOUTS[map_format.layout],
    )
    expected = [spec.head_shape(level)[0] for level in spec.levels]
    for level, (height, width), count, target in zip(
        spec.levels, sizes, channels or expected, struct.levels, strict=False
    ):
        target.height, target.width, target.channels = height, width, count
        target.stride, target.num_anchors = level.stride, level.num_anchors
        sides = [side for anchor in level.anchors_px for side in anchor][: 2 * MAX_ANCHORS]
        target.anchors_px[: len(sides)] = sides
    return struct


def params_struct(config: NmsConfig) -> ParamsStruct:
    """Tell the library the limits and choices of a configuration."""
    return ParamsStruct(
        config.max_detections,
        config.max_candidates,
        int(config.multi_label),
        int(config.class_agnostic),
    )
