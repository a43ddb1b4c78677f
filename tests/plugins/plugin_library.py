"""Where the built TensorRT plugin is, and which registries there are to load it into."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

RUNTIMES = tuple(
    name
    for name in ("tensorrt_lean_bindings", "tensorrt_rtx_bindings")
    if importlib.util.find_spec(name) is not None
)
"""Packages with a registry of TensorRT 10 or later that works without a GPU."""

_BUILT = "plugins/nms/build/tensorrt/libyolor_nms_plugin.so"
_VARIABLE = "YOLOR_NMS_PLUGIN"


def library_path() -> Path:
    """Return the path that the environment names, or else that of the preset ``tensorrt``."""
    return Path(os.environ.get(_VARIABLE) or Path(__file__).parents[2] / _BUILT)


def why_unavailable() -> str | None:
    """Return why the plugin cannot be loaded here, or None if it can."""
    if not library_path().is_file():
        return (
            f"no TensorRT plugin at {library_path()}: build plugins/nms with the preset tensorrt, "
            f"or name a library in {_VARIABLE}"
        )
    if not RUNTIMES:
        return "neither tensorrt_lean_bindings nor tensorrt_rtx_bindings is installed"
    return None
