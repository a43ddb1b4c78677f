"""TensorRT 8.6, 10 and 11, and what TensorRT-RTX shares with them.

Nothing here compares versions: a module is asked once what it has (``capabilities``).
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Literal

from yolor_deploy.core.errors import BackendUnavailableError

Flavour = Literal["tensorrt", "tensorrt_rtx"]

_MODULES: dict[Flavour, tuple[str, ...]] = {
    # The bindings alone are enough where the first, which re-exports them, is not there
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
INSTALL_HINTS: dict[Flavour, str] = {
    "tensorrt": "install TensorRT: pip install tensorrt, NVIDIA's packages, or its container",
    "tensorrt_rtx": "pip install 'yolor-deploy[tensorrt-rtx]'",
}
NAMES: dict[Flavour, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


def load_module(flavour: Flavour) -> Any:
    """Import the Python module of a flavour.

    Raises:
        ImportError: It is not installed, or a library that it needs is missing.
    """
    names = _MODULES[flavour]
    found = (name for name in names if importlib.util.find_spec(name) is not None)
    return importlib.import_module(next(found, names[-1]))


def is_installed(flavour: Flavour) -> bool:
    """Return whether a package of that name is there, whether or not it can be imported."""
    return any(importlib.util.find_spec(name) is not None for name in _MODULES[flavour])


def why_unavailable(flavour: Flavour) -> str | None:
    """Return why a flavour cannot be used here, or None if it can be imported. Never raises."""
    try:
        module = load_module(flavour)
    except Exception as error:  # noqa: BLE001 - a damaged installation raises what it likes
        return f"{NAMES[flavour]} cannot be imported: {error}"
    if not hasattr(module, "Builder"):
        return f"{module.__name__} has no Builder: it is not {NAMES[flavour]}"
    if flavour == "tensorrt_rtx" and not hasattr(module, "ComputeCapability"):
        return f"{module.__name__} cannot be told for which GPU to build: no ComputeCapability"
    return None


def require_module(flavour: Flavour) -> Any:
    """Import the Python module of a flavour.

    Raises:
        BackendUnavailableError: It is not installed, or is something else.
    """
    reason = why_unavailable(flavour)
    if reason is not None:
        raise BackendUnavailableError(
            reason, where=f"backend {flavour}", hint=INSTALL_HINTS[flavour]
        )
    return load_module(flavour)
