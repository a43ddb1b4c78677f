"""What a TensorRT module has: asked once, by the presence of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from yolor_deploy.backends.tensorrt import Flavour

PluginKind = Literal["v2", "v3"]

_PRECISION_FLAGS = ("FP16", "BF16", "INT8", "FP8")
_OPTIONS = ("builder_optimization_level", "max_aux_streams")  # since 8.6


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a module has.

    Attributes:
        flavour: Which of the two.
        version: As the module tells it.
        plugins: The newest kind that it takes; None if it takes none.
        loads_libraries: Whether its registry loads a plugin library by itself.
        is_strongly_typed: Whether the types of the graph are kept as they are.
        precision_flags: Flags that allow a type where types are not the graph's; else empty.
        options: Names in ``IBuilderConfig`` that not every version has.
        has_targets: Whether it builds for named GPUs, without one.
        has_progress: Whether a build tells how far it is.
        has_timing_cache: Whether what was timed can be kept for the next build.
        has_nms: Whether it knows standard non-maximum suppression.
    """

    flavour: Flavour
    version: str
    plugins: PluginKind | None
    loads_libraries: bool
    is_strongly_typed: bool
    precision_flags: tuple[str, ...]
    options: tuple[str, ...]
    has_targets: bool
    has_progress: bool
    has_timing_cache: bool
    has_nms: bool


def capabilities_of(module: Any) -> Capabilities:
    """Ask a module, 8.5 to 11 or RTX, what it has."""
    network = module.INetworkDefinition
    is_rtx = hasattr(module, "ComputeCapability")
    has_v3, has_v2 = (hasattr(network, name) for name in ("add_plugin_v3", "add_plugin_v2"))
    is_strong = hasattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    flags = [name for name in _PRECISION_FLAGS if hasattr(module.BuilderFlag, name)]
    return Capabilities(
        flavour="tensorrt_rtx" if is_rtx else "tensorrt",
        version=str(module.__version__),
        plugins="v3" if has_v3 else "v2" if has_v2 else None,
        loads_libraries=hasattr(module.IPluginRegistry, "load_library"),
        is_strongly_typed=is_strong,
        precision_flags=() if is_strong else tuple(flags),
        options=tuple(name for name in _OPTIONS if hasattr(module.IBuilderConfig, name)),
        has_targets=is_rtx,
        has_progress=hasattr(module, "IProgressMonitor"),
        # It is there in RTX too, does nothing, and ends the process when it is written
        has_timing_cache=not is_rtx and hasattr(module, "ITimingCache"),
        has_nms=not is_rtx and hasattr(network, "add_nms"),
    )


@dataclass(frozen=True, slots=True)
class RuntimeCapabilities:
    """What a module has for engines that run.

    Attributes:
        has_allocation_strategy: Whether a context is told at its creation who gives it memory.
        takes_sized_memory: Whether a context is told how much memory it is given.
        has_sized_memory: Whether an engine tells how much its contexts need as 64 bits.
        tells_capturable: Whether a context tells if it can be captured in a CUDA graph.
        specialises_shapes: Whether kernels for a shape are compiled once it is known.
        has_profiler: Whether a context tells how long its layers take.
        has_statistics: Whether an engine tells the size of its weights.
    """

    has_allocation_strategy: bool
    takes_sized_memory: bool
    has_sized_memory: bool
    tells_capturable: bool
    specialises_shapes: bool
    has_profiler: bool
    has_statistics: bool


def runtime_capabilities_of(module: Any) -> RuntimeCapabilities:
    """Ask a module, 8.5 to 11 or RTX, what it has for engines that run."""
    context, engine = module.IExecutionContext, module.ICudaEngine
    return RuntimeCapabilities(
        has_allocation_strategy=hasattr(module, "ExecutionContextAllocationStrategy"),
        takes_sized_memory=hasattr(context, "set_device_memory"),
        has_sized_memory=hasattr(engine, "device_memory_size_v2"),
        tells_capturable=hasattr(context, "is_stream_capturable"),
        specialises_shapes=hasattr(module, "DynamicShapesKernelSpecializationStrategy"),
        has_profiler=hasattr(module, "IProfiler") and hasattr(context, "profiler"),
        has_statistics=hasattr(engine, "get_engine_stat") and hasattr(module, "EngineStat"),
    )
