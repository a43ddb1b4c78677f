"""Stands in for a TensorRT module, whose build process runs on any machine.

``stand_in`` puts this file on the path of a process as ``tensorrt`` or ``tensorrt_rtx``. A plan
that it builds is the four bytes of such plans and a JSON text of what was asked of the builder.
``STAND_IN`` in the environment makes it behave badly: ``slow`` and ``stuck`` builds last a minute,
the second without asking whether to go on; ``crash`` ends the process. ``STAND_IN_FILE`` names a
file that gets the number of the process when the build begins.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_IS_RTX = __name__ == "tensorrt_rtx"
_MINUTE_S = 60.0

__version__ = "1.7.0" if _IS_RTX else "10.16.1"


class BuilderFlag(IntEnum):
    """Flags of a build."""

    FP16 = 0
    TF32 = 7


class NetworkDefinitionCreationFlag(IntEnum):
    """Flags of a network."""

    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    """Kinds of memory."""

    WORKSPACE = 0


class PreviewFeature(IntEnum):
    """Features that are not for everybody."""

    PROFILE_SHARING_0806 = 0


if _IS_RTX:

    class ComputeCapability(Enum):
        """GPUs to build for."""

        SM86 = 86


class ILogger:
    """Base of loggers."""

    class Severity(IntEnum):
        """How bad it is."""

        ERROR = 1
        WARNING = 2


class IProgressMonitor:
    """Base of monitors."""


class IPluginRegistry:
    """Knows the plugins."""

    libraries: list[str]

    def __init__(self) -> None:
        self.libraries = []

    def get_creator(self, *_: str) -> object | None:
        """Return a creator if a library was loaded."""
        return self.libraries or None

    def load_library(self, path: str) -> object:
        """Load a library."""
        self.libraries.append(Path(path).name)
        return object()


_REGISTRY = IPluginRegistry()


def get_plugin_registry() -> IPluginRegistry:
    """Return the registry of this process."""
    return _REGISTRY


class ITimingCache:
    """What was timed: how often."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        """Return it with one more."""
        return self.data + b"timed "


class IBuilderConfig:
    """Remembers what it is told."""

    builder_optimization_level = 3
    max_aux_streams = 1
    progress_monitor: Any = None

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.cache: ITimingCache | None = None

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.told.setdefault(name, []).append([str(item) for item in given])

    def create_timing_cache(self, data: bytes) -> ITimingCache | None:
        """Return a cache with what was timed before, unless it is damaged."""
        return None if data == b"damaged" else ITimingCache(data)

    def set_timing_cache(self, cache: ITimingCache, *, ignore_mismatch: bool) -> bool:
        """Use a cache, unless it is of another GPU."""
        assert not ignore_mismatch
        if cache.data == b"of another GPU":
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        """Return it; None if there is none."""
        return self.cache


class INetworkDefinition:
    """A network of one input and one output."""

    num_layers = num_inputs = num_outputs = 1
    add_plugin_v3 = add_nms = None

    def get_input(self, _: int) -> Any:
        """Return the input."""
        dtype = SimpleNamespace(name="FLOAT")
        return SimpleNamespace(name="images", dtype=dtype, shape=(-1, 3, 32, 64))

    get_output = get_input


class OnnxParser:
    """Reads nothing."""

    def __init__(self, network: INetworkDefinition, log: Any) -> None:
        del log
        self.network = network

    def parse_from_file(self, path: str) -> bool:
        """Say that a file was read."""
        return Path(path).is_file()


class Builder:
    """Builds after a while."""

    def __init__(self, log: Any) -> None:
        del log

    def create_network(self, _: int) -> INetworkDefinition:
        """Return an empty network."""
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        """Return a config."""
        return IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        """Return a profile."""
        return SimpleNamespace(set_shape=lambda *_: None)

    def build_serialized_network(self, _: Any, config: IBuilderConfig) -> bytes | None:
        """Return what was asked for as a plan, or None if it was given up."""
        how = os.environ.get("STAND_IN", "")
        monitor = config.progress_monitor
        monitor.phase_start("Timing [b]tactics[/b]\x07", None, 600)
        if "STAND_IN_FILE" in os.environ:
            Path(os.environ["STAND_IN_FILE"]).write_text(str(os.getpid()), encoding="utf-8")
        if how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        ends = time.monotonic() + (_MINUTE_S if how else 0)
        while time.monotonic() < ends:
            time.sleep(0.05)
            if how == "slow" and not monitor.step_complete("Timing [b]tactics[/b]\x07", 1):
                return None
        own = {key: value for key, value in vars(config).items() if isinstance(value, int)}
        asked: dict[str, Sequence[Any]] = config.told | {"libraries": _REGISTRY.libraries} | own
        return (b"vtrt" if _IS_RTX else b"ftrt") + json.dumps(asked).encode()
