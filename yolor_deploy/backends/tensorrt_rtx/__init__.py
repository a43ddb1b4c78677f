"""TensorRT-RTX: builds plans for NVIDIA GPUs on a machine that has none.

It is a strict second reader of what `build` writes: every type is that of the graph. A plan holds
weights and a portable program; the GPU that runs it compiles the kernels when it loads it.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

INSTALL_HINT = "pip install 'yolor-deploy[tensorrt-rtx]'"
_MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")  # the first re-exports the second, if there


def load_tensorrt_rtx() -> Any:
    """Import the Python module of TensorRT-RTX.

    Raises:
        ImportError: It is not installed, or a library that it needs is missing.
    """
    found = (name for name in _MODULES if importlib.util.find_spec(name) is not None)
    return importlib.import_module(next(found, _MODULES[-1]))


def why_unavailable() -> str | None:
    """Return why TensorRT-RTX cannot build here, or None if it can. Never raises."""
    try:
        module = load_tensorrt_rtx()
    except Exception as error:  # noqa: BLE001 - a damaged installation raises what it likes
        return f"TensorRT-RTX cannot be imported: {error}"
    if not hasattr(module, "ComputeCapability"):
        return f"{module.__name__} cannot be told for which GPU to build: no ComputeCapability"
    return None
