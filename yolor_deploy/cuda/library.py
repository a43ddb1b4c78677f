"""``libyolor_nms.so``: where it is, and its functions."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolor_deploy.core.errors import BackendUnavailableError, RunError
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.cuda.structs import (
    INTERFACE_VERSION,
    MAX_LEVELS,
    InputsStruct,
    MapFormat,
    OutputsStruct,
    ParamsStruct,
    ShapeStruct,
    params_struct,
    shape_struct,
)

LIBRARY = "libyolor_nms.so"
FOLDER = Path(__file__).parents[1] / "lib"
"""Inside the package, because a library is code: it is loaded from nowhere else unless asked to."""

BUILD_HINT = "install from source where cmake and a C++ compiler are, and nvcc for the GPU part"


def output_shapes(batch: int, max_detections: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return shape and dtype of each output, by its name, in the order of the interface."""
    return {
        "num_detections": ((batch, 1), np.int32),
        "boxes_xyxy": ((batch, max_detections, 4), np.float32),
        "scores": ((batch, max_detections), np.float32),
        "class_ids": ((batch, max_detections), np.int32),
    }


def why_unavailable(path: Path | None = None) -> str | None:
    """Return why the library cannot be used, or None if it can. Never raises."""
    try:
        NmsLibrary(path)
    except BackendUnavailableError as error:
        return error.problem
    return None


class NmsCall(NamedTuple):
    """What a run is told, as in ``c_api.h``."""

    shape: ShapeStruct
    params: ParamsStruct
    inputs: InputsStruct
    outputs: OutputsStruct
    workspace: int
    workspace_bytes: int

    def arguments(self) -> tuple[Any, ...]:
        """Return them for ctypes."""
        structs = (self.shape, self.params, self.inputs, self.outputs)
        return (
            *map(ctypes.byref, structs),
            ctypes.c_void_p(self.workspace),
            ctypes.c_size_t(self.workspace_bytes),
        )


class NmsLibrary:
    """The C interface of YolorNMS.

    Args:
        path: The library; None for the one that was built with the package.

    Raises:
        BackendUnavailableError: It is not there, does not load, or is of another version.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or FOLDER / LIBRARY
        where = str(self.path)
        if not self.path.is_file():
            raise BackendUnavailableError(
                "the NMS library was not built", where=where, hint=BUILD_HINT
            )
        try:
            self._library = ctypes.CDLL(where)
            self.version = int(self._library.yolor_nms_version())
        except (OSError, AttributeError) as error:
            raise BackendUnavailableError(
                f"the NMS library does not load: {error}", where=where, hint=BUILD_HINT
            ) from error
        if self.version != INTERFACE_VERSION:
            raise BackendUnavailableError(
                f"the NMS library is of version {self.version}, expected {INTERFACE_VERSION}",
                where=where,
                hint="build it again from the source of this package",
            )
        self._library.yolor_nms_workspace_bytes.restype = ctypes.c_size_t
        self._library.yolor_nms_error_text.restype = ctypes.c_char_p
        self._library.yolor_nms_cuda_architectures.restype = ctypes.c_char_p

    @property
    def cuda_architectures(self) -> tuple[str, ...]:
        """Compute capabilities that it has machine code for; empty if built without CUDA."""
        return tuple(self._library.yolor_nms_cuda_architectures().decode().split())

    def workspace_bytes(self, shape: ShapeStruct, params: ParamsStruct) -> int:
        """Return the scratch memory that a run needs.

        Raises:
            RunError: The library refuses the shape or the limits.
        """
        error = ctypes.c_int32()
        num_bytes = self._library.yolor_nms_workspace_bytes(
            ctypes.byref(shape), ctypes.byref(params), ctypes.byref(error)
        )
        self._raise_for(error.value)
        return int(num_bytes)

    def launch(self, call: NmsCall, *, stream: int) -> None:
        """Detect on the current GPU: ``yolor_nms_run``. Nothing waits.

        Args:
            call: Every pointer is to the GPU's memory.
            stream: Handle of a CUDA stream of the current device.

        Raises:
            RunError: The library refuses an argument, or CUDA refuses the launch.
        """
        code = self._library.yolor_nms_run(*call.arguments(), ctypes.c_void_p(stream))
        self._raise_for(code)

    def run_on_host(self, call: NmsCall) -> None:
        """Detect on the host: ``yolor_nms_run_host``.

        Args:
            call: Every pointer is to host memory.

        Raises:
            RunError: The library refuses an argument.
        """
        self._raise_for(self._library.yolor_nms_run_host(*call.arguments()))

    def detect(
        self,
        raw_maps: Sequence[Array],
        spec: DetectorSpec,
        config: NmsConfig,
        *,
        map_format: MapFormat | None = None,
        class_mask: Array | None = None,
    ) -> RawOutput:
        """Detect on the host, in arrays.

        Args:
            raw_maps: One per level of ``spec``, all float32 or all float16, of ``map_format``.
            spec: Gives strides, anchors and the number of classes.
            config: Thresholds and limits.
            map_format: None for NCHW of the dtype of the first map.
            class_mask: uint8 [n, classes], 0 where a class is ignored; None for all classes.

        Returns:
            What ``core.nms_exact.exact_detections`` returns, to the bit.

        Raises:
            RunError: The library refuses an argument; its text.
        """
        maps = [np.ascontiguousarray(raw) for raw in raw_maps]
        if map_format is None:
            map_format = MapFormat("float16" if maps[0].dtype == np.float16 else "float32")
        is_planar = map_format.layout == "NCHW"
        shape = shape_struct(
            spec,
            [map_format.size_of(raw.shape) for raw in maps],
            batch=len(maps[0]),
            map_format=map_format,
            channels=[raw.shape[1] for raw in maps] if is_planar else None,
        )
        params = params_struct(config)
        thresholds = np.array([config.score_threshold, config.iou_threshold], np.float32)
        mask = None if class_mask is None else np.ascontiguousarray(class_mask, np.uint8)
        inputs = InputsStruct(
            (ctypes.c_void_p * MAX_LEVELS)(*(raw.ctypes.data for raw in maps)),
            thresholds.ctypes.data,
            thresholds.ctypes.data + thresholds.itemsize,
            None if mask is None else mask.ctypes.data,
        )
        outputs: dict[str, Array] = {
            name: np.empty(dims, dtype)
            for name, (dims, dtype) in output_shapes(len(maps[0]), config.max_detections).items()
        }
        num_bytes = self.workspace_bytes(shape, params)
        workspace = np.empty(num_bytes, np.uint8)  # of this size, aligned to 16 bytes
        self.run_on_host(
            NmsCall(
                shape,
                params,
                inputs,
                OutputsStruct(*(values.ctypes.data for values in outputs.values())),
                workspace.ctypes.data,
                num_bytes,
            )
        )
        return outputs

    def _raise_for(self, code: int) -> None:
        if code == 0:
            return
        text = self._library.yolor_nms_error_text(ctypes.c_int32(code)).decode()
        if code > 0:
            raise RunError(
                text, where="YolorNMS", hint="give the head maps that the detector's spec describes"
            )
        raise RunError(
            f"CUDA refused the launch: {text}",
            where="YolorNMS",
            hint="run `yolor-deploy doctor`; look for an earlier error of the same stream",
        )
