"""What ``Any`` is in our files that call TensorRT, and which names which version lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.backends.tensorrt.bindings import RTX
from yolor_deploy.backends.tensorrt import build, capabilities

MODULE = "module"
"""In a table: the TensorRT module itself."""
PLAIN = ""
"""In a table: nothing of TensorRT."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What cannot be seen in the code. Values are classes, ``Class.member``, MODULE or PLAIN.

    Attributes:
        variables: Parameters, fields and variables that are annotated with ``Any``, by name.
        functions: Functions of ours whose result is annotated with ``Any``, by name.
        returns: Classes of results and of properties, by path; ``path[]`` of what is in it.
        dynamic: Names that a ``getattr`` may be given, by its source text.
        own: Public methods of ours in a class whose base is TensorRT's, by path.
    """

    variables: Mapping[str, str]
    functions: Mapping[str, str]
    returns: Mapping[str, str]
    dynamic: Mapping[str, tuple[str, ...]]
    own: frozenset[str]


LOOKED_UP = frozenset({"IErrorRecorder.get_num_errors"})
"""Methods of ours that the bindings call, but do not have themselves (theirs is num_errors)."""

TABLES = Tables(
    variables={
        **dict.fromkeys(("module", "trt"), MODULE),
        "builder": "Builder",
        "config": "IBuilderConfig",
        "context": "IExecutionContext",
        "get": "INetworkDefinition.get_input",  # or get_output: both give tensors
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "registry": "IPluginRegistry",
        # A number or an enumerator that is compared and handed on
        **dict.fromkeys(("code", "severity"), PLAIN),
        # Of ours
        **dict.fromkeys(
            ("_", "log", "plugin", "profiler", "recorder", "reported", "stdout"), PLAIN
        ),
        # JSON, and arrays of whoever calls
        **dict.fromkeys(("images", "inputs", "outputs", "stream", "told"), PLAIN),
    },
    functions={
        **dict.fromkeys(("load_module", "require_module"), MODULE),
        "_bare_context": "IExecutionContext",
        "_configured": "IBuilderConfig",
        "_runtime_config": "IRuntimeConfig",
        # Of classes of ours, below TensorRT's
        **dict.fromkeys(("make_logger", "make_monitor", "make_profiler", "make_recorder"), PLAIN),
        **dict.fromkeys(("_tensors", "get_error_code", "to_json"), PLAIN),
    },
    returns={
        "Builder.create_builder_config": "IBuilderConfig",
        "Builder.create_network": "INetworkDefinition",
        "Builder.create_optimization_profile": "IOptimizationProfile",
        "ComputeCapability.__members__[]": PLAIN,
        "IBuilderConfig.create_timing_cache": "ITimingCache",
        "IBuilderConfig.get_timing_cache": "ITimingCache",
        "ICudaEngine.create_execution_context": "IExecutionContext",
        "ICudaEngine.create_execution_context_without_device_memory": "IExecutionContext",
        "ICudaEngine.create_runtime_config": "IRuntimeConfig",
        "ICudaEngine.get_tensor_dtype": "DataType",
        "INetworkDefinition.get_input": "ITensor",
        "INetworkDefinition.get_layer": "ILayer",
        "INetworkDefinition.get_output": "ITensor",
        "ITensor.dtype": "DataType",
        "OnnxParser.get_error": "ParserError",
        "Runtime.deserialize_cuda_engine": "ICudaEngine",
        "get_plugin_registry": "IPluginRegistry",
    },
    dynamic={
        "getattr(trt.BuilderFlag, flag)": capabilities._PRECISION_FLAGS,
        "getattr(trt.DataType, request.output_types[output.name])": tuple(
            sorted(set(build._TYPES_OF_MAPS.values()))
        ),
    },
    own=LOOKED_UP | {"IErrorRecorder.take", "IProfiler.take"},
)


Condition = Callable[[Mapping[str, Any], frozenset[str]], bool]


@dataclass(frozen=True, slots=True)
class Gap:
    """A name that not every version has.

    Attributes:
        lacking: Versions without it.
        used_if: Whether our code uses it, by what it makes of a module (the fields of the records
            in ``capabilities``) and by what the module has; None where it asks right there.
    """

    lacking: tuple[str, ...]
    used_if: Condition | None = None


def _is(field: str, *, wanted: bool = True) -> Condition:
    return lambda has, _: bool(has[field]) is wanted


def _flag(name: str) -> Condition:
    return lambda has, _: name in has["precision_flags"]


_V8, _V10, _V11 = "8.6.1", "10.16.1.11", "11.4.0.106"
_TARGETS = Gap((_V8, _V10, _V11), _is("has_targets"))
_PROGRESS = Gap((_V8,), _is("has_progress"))
_WEAK_TYPES = Gap((_V11, RTX), _is("is_strongly_typed", wanted=False))
_SPECIALISED = Gap((_V8, _V10, _V11), _is("specialises_shapes"))
_STRATEGY = Gap((_V8,), _is("has_allocation_strategy"))
_STATISTICS = Gap((_V8,), _is("has_statistics"))

GAPS = {
    "BuilderFlag.BF16": Gap((_V8, _V11, RTX), _flag("BF16")),
    "BuilderFlag.FP16": Gap((_V11, RTX), _flag("FP16")),
    "BuilderFlag.FP8": Gap((_V11, RTX), _flag("FP8")),
    "BuilderFlag.INT8": Gap((_V11, RTX), _flag("INT8")),
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": _WEAK_TYPES,
    "BuilderFlag.REQUIRE_USER_ALLOCATION": Gap((_V8, _V10, _V11)),
    "ComputeCapability": _TARGETS,
    "ComputeCapability.__members__": _TARGETS,
    "DynamicShapesKernelSpecializationStrategy": _SPECIALISED,
    "DynamicShapesKernelSpecializationStrategy.EAGER": _SPECIALISED,
    "EngineStat": _STATISTICS,
    "EngineStat.TOTAL_WEIGHTS_SIZE": _STATISTICS,
    "ExecutionContextAllocationStrategy": _STRATEGY,
    "ExecutionContextAllocationStrategy.USER_MANAGED": _STRATEGY,
    "IBuilderConfig.num_compute_capabilities": _TARGETS,
    "IBuilderConfig.num_compute_capabilities=": _TARGETS,
    "IBuilderConfig.progress_monitor": _PROGRESS,
    "IBuilderConfig.progress_monitor=": _PROGRESS,
    "IBuilderConfig.set_compute_capability": _TARGETS,
    "ICudaEngine.create_execution_context_without_device_memory": Gap(
        (_V11, RTX), _is("has_allocation_strategy", wanted=False)
    ),
    "ICudaEngine.create_runtime_config": Gap((_V8,), _is("specialises_shapes")),
    "ICudaEngine.device_memory_size": Gap((_V11, RTX), _is("has_sized_memory", wanted=False)),
    "ICudaEngine.device_memory_size_v2": Gap((_V8,), _is("has_sized_memory")),
    "ICudaEngine.get_engine_stat": _STATISTICS,
    "IExecutionContext.is_stream_capturable": Gap((_V8, _V10, _V11), _is("tells_capturable")),
    "IExecutionContext.set_device_memory": Gap((_V8,), _is("takes_sized_memory")),
    "ILayer.precision": _WEAK_TYPES,
    "ILayer.precision=": _WEAK_TYPES,
    "ILayer.set_output_type": _WEAK_TYPES,
    "INetworkDefinition.add_plugin_v2": Gap((RTX,)),
    "INetworkDefinition.add_plugin_v3": Gap((_V8, RTX)),
    "IPluginRegistry.get_creator": Gap((_V8,)),
    "IPluginRegistry.get_plugin_creator": Gap(
        (_V11, RTX), lambda _, present: "IPluginRegistry.get_creator" not in present
    ),
    "IProgressMonitor": _PROGRESS,
    "IProgressMonitor.__init__": _PROGRESS,
    "IProgressMonitor.phase_finish": _PROGRESS,
    "IProgressMonitor.phase_start": _PROGRESS,
    "IProgressMonitor.step_complete": _PROGRESS,
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy": _SPECIALISED,
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy=": _SPECIALISED,
    "IRuntimeConfig.set_execution_context_allocation_strategy": Gap(
        (_V8,), _is("specialises_shapes")
    ),
    "ITensor.dtype=": _WEAK_TYPES,
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": Gap((_V11, RTX)),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": Gap((_V8,)),
    "ParserError.node_name": Gap((_V8,)),
    "ParserError.node_operator": Gap((_V8,)),
    "PreviewFeature.PROFILE_SHARING_0806": Gap((_V11, RTX)),
}
"""By path; with ``=`` behind it, that it can be assigned to."""
