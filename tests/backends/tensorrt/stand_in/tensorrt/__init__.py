"""Stands in for TensorRT: builds a plan that is the model itself, and runs it on the host.

The addresses that it is given are the host's. What the real one refuses is refused here with its
texts; a context that is changed after its capture is an assertion. ``STAND_IN_LACKS`` names what is
missing, apart by commas, to be an older version; ``STAND_IN_VERSION`` is the version.
"""

from __future__ import annotations

import json
import os
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx

from . import running as running
from .running import (
    CALLS,
    ExecutionContextAllocationStrategy,
    ICudaEngine,
    IErrorRecorder,
    IExecutionContext,
    Runtime,
    TensorIOMode,
)

__version__ = os.environ.get("STAND_IN_VERSION", "10.16.1.11")
__all__ = ["CALLS", "ExecutionContextAllocationStrategy", "ICudaEngine", "IErrorRecorder"]
__all__ += ["IExecutionContext", "Runtime", "TensorIOMode"]

_TYPES = {1: "FLOAT", 2: "UINT8", 6: "INT32", 10: "HALF"}


class DataType(IntEnum):
    """Types of tensors."""

    FLOAT, HALF, INT8, INT32, UINT8 = range(5)


class NetworkDefinitionCreationFlag(IntEnum):
    """Of ``create_network``."""

    EXPLICIT_BATCH, STRONGLY_TYPED = range(2)


class BuilderFlag(IntEnum):
    """Of a configuration."""

    FP16, BF16, INT8, TF32, OBEY_PRECISION_CONSTRAINTS = range(5)


class MemoryPoolType(IntEnum):
    """What can be limited."""

    WORKSPACE = 0


class PreviewFeature(IntEnum):
    """What is new."""

    PROFILE_SHARING_0806 = 0


class ILogger:
    """Told what happens."""

    class Severity(IntEnum):
        """Worst first."""

        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    """Told how far a build is."""


class IProfiler:
    """Told how long layers take."""


class EngineStat(IntEnum):
    """What an engine tells of itself."""

    TOTAL_WEIGHTS_SIZE = 0


class ITimingCache:
    """What was timed."""

    def __init__(self, kept: bytes) -> None:
        self.kept = kept

    def serialize(self) -> bytes:
        """Return it with one more entry."""
        return self.kept + b"timed;"


class IPluginRegistry:
    """Plugins by their names."""

    loaded: tuple[str, ...] = ()

    def load_library(self, path: str) -> object:
        """Load a library: anything but an empty file."""
        if not Path(path).stat().st_size:
            return None
        IPluginRegistry.loaded = (*self.loaded, path)
        return object()

    def get_creator(self, name: str, version: str, namespace: str) -> object:
        """Return the creator of what was loaded."""
        return (name, version, namespace) if self.loaded else None


def get_plugin_registry() -> IPluginRegistry:
    """Return the one registry."""
    return IPluginRegistry()


class INetworkDefinition:
    """A model."""

    add_plugin_v2 = add_plugin_v3 = add_nms = None
    num_layers = 1

    def __init__(self) -> None:
        self.path = ""
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    @property
    def num_inputs(self) -> int:
        """Their number."""
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        """Their number."""
        return len(self.outputs)

    def get_input(self, index: int) -> Any:
        """Return one."""
        return self.inputs[index]

    def get_output(self, index: int) -> Any:
        """Return one."""
        return self.outputs[index]

    def get_layer(self, index: int) -> Any:
        """Return the one."""
        del index
        return SimpleNamespace(name="all")


class OnnxParser:
    """Reads a model."""

    num_errors = 0

    def __init__(self, network: INetworkDefinition, log: Any) -> None:
        self.network = network
        self.log = log

    def parse_from_file(self, path: str) -> bool:
        """Read inputs and outputs."""
        model = onnx.load(path)
        constants = {value.name for value in model.graph.initializer}
        self.network.path = path
        self.network.inputs = [
            _tensor(value) for value in model.graph.input if value.name not in constants
        ]
        self.network.outputs = [_tensor(value) for value in model.graph.output]
        return True


def _tensor(value: Any) -> Any:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value or -1 for dim in tensor.shape.dim)
    return SimpleNamespace(name=value.name, dtype=DataType[_TYPES[tensor.elem_type]], shape=shape)


class IBuilderConfig:
    """What a build is told."""

    builder_optimization_level = 3
    max_aux_streams = 0
    progress_monitor: Any = None

    def __init__(self) -> None:
        self.told: dict[str, Any] = {"flags": [], "profiles": [], "features": []}
        self.cache = ITimingCache(b"")

    def set_flag(self, flag: BuilderFlag) -> None:
        """Note it."""
        self.told["flags"].append(flag.name)

    def clear_flag(self, flag: BuilderFlag) -> None:
        """Note it."""
        self.told["flags"].append(f"no {flag.name}")

    def set_preview_feature(self, feature: PreviewFeature, value: bool) -> None:
        """Note it."""
        assert value
        self.told["features"].append(feature.name)

    def set_memory_pool_limit(self, pool: MemoryPoolType, num_bytes: int) -> None:
        """Note it."""
        self.told[pool.name] = num_bytes

    def create_timing_cache(self, kept: bytes) -> ITimingCache:
        """Return one."""
        return ITimingCache(kept)

    def set_timing_cache(self, cache: ITimingCache, *, ignore_mismatch: bool) -> bool:
        """Take one."""
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        """Return it."""
        return self.cache

    def add_optimization_profile(self, profile: Any) -> None:
        """Note it."""
        self.told["profiles"].append(profile.shapes)


class IOptimizationProfile:
    """Shapes of inputs."""

    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *three: Any) -> None:
        """Note them."""
        self.shapes[name] = three


class Builder:
    """Makes plans."""

    def __init__(self, log: Any) -> None:
        self.log = log

    def create_network(self, flags: int) -> INetworkDefinition:
        """Return an empty one."""
        assert flags
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        """Return one."""
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        """Return one."""
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes:
        """Return the model, with what a run must know before it."""
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building engine", None, 2)
            monitor.step_complete("Building engine", 0)
            monitor.phase_finish("Building engine")
        model = Path(network.path).read_bytes()
        shapes = {"inputs": network.inputs, "outputs": network.outputs}
        header = {
            "version": __version__,
            "bytes": len(model),
            "told": config.told
            | {"level": config.builder_optimization_level, "aux": config.max_aux_streams},
            **{
                kind: {value.name: [int(value.dtype), list(value.shape)] for value in values}
                for kind, values in shapes.items()
            },
        }
        text = json.dumps(header).encode()
        return b"ftrt" + len(text).to_bytes(4, "little") + text + model


for _name in filter(None, os.environ.get("STAND_IN_LACKS", "").split(",")):
    _owner, _, _member = _name.rpartition(".")
    _class = globals().get(_owner)
    if _class is None:
        del globals()[_name]
    elif issubclass(_class, IntEnum):
        globals()[_owner] = IntEnum(_owner, {m.name: m.value for m in _class if m.name != _member})
    else:
        delattr(_class, _member)
