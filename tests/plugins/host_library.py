"""The host build of ``plugins/nms``: how it is built, and how it is called by ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

SOURCE = Path(__file__).parents[2] / "plugins" / "nms"
TOOLS = ("cmake", "ninja", "g++")
MAX_LEVELS = 6
MAX_ANCHORS = 8


class _Level(ctypes.Structure):
    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("num_anchors", ctypes.c_int32),
        ("anchors_px", ctypes.c_float * (2 * MAX_ANCHORS)),
    )


class _Shape(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("num_levels", ctypes.c_int32),
        ("data_type", ctypes.c_int32),
        ("layout", ctypes.c_int32),
        ("levels", _Level * MAX_LEVELS),
    )


class _Params(ctypes.Structure):
    _fields_ = (
        ("max_detections", ctypes.c_int32),
        ("max_candidates", ctypes.c_int32),
        ("multi_label", ctypes.c_int32),
        ("class_agnostic", ctypes.c_int32),
    )


class _Inputs(ctypes.Structure):
    _fields_ = (
        ("heads", ctypes.c_void_p * MAX_LEVELS),
        ("score_threshold", ctypes.POINTER(ctypes.c_float)),
        ("iou_threshold", ctypes.POINTER(ctypes.c_float)),
        ("class_mask", ctypes.c_void_p),
    )


class _Outputs(ctypes.Structure):
    _fields_ = (
        ("num_detections", ctypes.c_void_p),
        ("boxes_xyxy", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("class_ids", ctypes.c_void_p),
    )


def _path() -> str:
    """Return where tools are looked for: beside this Python too, where pip puts them."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


def why_unavailable() -> str | None:
    """Return which tool of the build is missing, or None if it can be built here."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]
    return f"plugins/nms needs {', '.join(missing)} to be built" if missing else None


def build_host(folder: Path) -> Path:
    """Build the library with g++ alone, in an empty folder, and return its path."""
    configure = ["cmake", "--preset", "host", "-B", str(folder), "-DCMAKE_CXX_COMPILER=g++"]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "yolor_nms"]):
        result = subprocess.run(
            [str(shutil.which(command[0], path=_path())), *command[1:]],
            cwd=SOURCE,
            env={**os.environ, "PATH": _path()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    return folder / "libyolor_nms.so"


class HostLibrary:
    """The C interface of the library."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.yolor_nms_workspace_bytes.restype = ctypes.c_size_t
        self._library.yolor_nms_error_text.restype = ctypes.c_char_p

    @property
    def version(self) -> int:
        """What ``yolor_nms_version`` returns."""
        return int(self._library.yolor_nms_version())

    def run(self, raw_maps: Sequence[Array], spec: DetectorSpec, config: NmsConfig) -> RawOutput:
        """Detect on the host.

        Args:
            raw_maps: One per level of ``spec``, all float32 or all float16, NCHW.
            spec: Gives strides, anchors and the number of classes.
            config: Thresholds and limits.

        Raises:
            ValueError: The library returned an error code; its text.
        """
        maps = [np.ascontiguousarray(raw) for raw in raw_maps]
        batch, rows = len(maps[0]), config.max_detections
        outputs: dict[str, Array] = {
            "num_detections": np.full((batch, 1), -1, np.int32),
            "boxes_xyxy": np.full((batch, rows, 4), -1, np.float32),
            "scores": np.full((batch, rows), -1, np.float32),
            "class_ids": np.full((batch, rows), -1, np.int32),
        }
        shape, params = _shape(maps, spec), _params(config)
        inputs = _Inputs(
            (ctypes.c_void_p * MAX_LEVELS)(*(raw.ctypes.data for raw in maps)),
            ctypes.pointer(ctypes.c_float(config.score_threshold)),
            ctypes.pointer(ctypes.c_float(config.iou_threshold)),
            None,
        )
        error = ctypes.c_int32()
        num_bytes = self._library.yolor_nms_workspace_bytes(
            ctypes.byref(shape), ctypes.byref(params), ctypes.byref(error)
        )
        self._raise_for(error.value)
        workspace = np.empty(num_bytes, np.uint8)  # of this size, aligned to 16 bytes
        code = self._library.yolor_nms_run_host(
            ctypes.byref(shape),
            ctypes.byref(params),
            ctypes.byref(inputs),
            ctypes.byref(_Outputs(*(values.ctypes.data for values in outputs.values()))),
            ctypes.c_void_p(workspace.ctypes.data),
            ctypes.c_size_t(num_bytes),
        )
        self._raise_for(code)
        return outputs

    def _raise_for(self, code: int) -> None:
        if code != 0:
            raise ValueError(self._library.yolor_nms_error_text(ctypes.c_int32(code)).decode())


def _shape(maps: Sequence[Array], spec: DetectorSpec) -> _Shape:
    shape = _Shape(len(maps[0]), spec.num_classes, len(maps), int(maps[0].dtype == np.float16), 0)
    for level, raw, target in zip(spec.levels, maps, shape.levels, strict=False):
        target.channels, target.height, target.width = raw.shape[1:]
        target.stride = level.stride
        target.num_anchors = level.num_anchors
        sides = [side for anchor in level.anchors_px for side in anchor]
        target.anchors_px[: len(sides)] = sides
    return shape


def _params(config: NmsConfig) -> _Params:
    return _Params(
        config.max_detections,
        config.max_candidates,
        int(config.multi_label),
        int(config.class_agnostic),
    )
