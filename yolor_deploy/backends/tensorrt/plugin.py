"""The plugin library: where it is, and how a module takes it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from yolor_deploy.cuda.library import FOLDER

PLUGIN_NAME = "YolorNMS"
PLUGIN_VERSION = "1"
LIBRARY = "libyolor_nms_plugin.so"
PACKAGED = FOLDER / LIBRARY
"""Code is loaded from the package alone, unless a path is given."""


def load_plugin(trt: Any, library: Path, log: Any) -> str | None:
    """Load a plugin library into the registry of a module, once a process.

    Args:
        trt: The module.
        library: Of the plugin.
        log: The logger of the module, which hears why a library does not load.

    Returns:
        What is wrong, or None.
    """
    registry = trt.get_plugin_registry()
    if is_registered(registry):
        return None
    if not library.is_file():
        return f"no plugin library at {library}"
    if hasattr(registry, "load_library"):
        handle = registry.load_library(str(library))
        why = log.errors[-1] if log.errors else "TensorRT does not say why"
        return None if handle and is_registered(registry) else f"{library.name}: {why}"
    code = ctypes.CDLL(str(library)).yolor_nms_register_plugin()  # TensorRT 8.5
    return None if code == 0 else f"{library.name} does not register itself"


def is_registered(registry: Any) -> bool:
    """Return whether the plugin is known already, such as by an application that loaded it."""
    if hasattr(registry, "get_creator"):
        return registry.get_creator(PLUGIN_NAME, PLUGIN_VERSION, "") is not None
    return registry.get_plugin_creator(PLUGIN_NAME, PLUGIN_VERSION, "") is not None
