"""Runs the plans of the stand-in, by ONNX Runtime, on memory of the host."""

from __future__ import annotations

import ctypes
import importlib
import json
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.graph.head_function import NMS_OP, nms_function

CALLS: list[tuple[Any, ...]] = []
"""What was called, in order."""

_DTYPES = ("float32", "float16", "int8", "int32", "uint8")
_HEADER = 8
_SCRATCH = 4096


class Behaviour:
    """What goes wrong.

    Attributes:
        is_capturing: Whether a stream is being captured.
        refuses_capture: Whether a run cannot be captured.
        shares_profiles: Whether contexts may use the same profile.
        is_short_of_memory: Whether there is no memory for a plan.
        fails_at_run: What a run reports, and returns false; None if it succeeds.
        reports_at_run: What a run reports although it returns true; None for nothing.
        elapses: Called at each run.
        layers: What a profiler is told of the next runs, the last of which is for all that follow.
        weights_size: What an engine tells of its weights.
    """

    is_capturing = False
    refuses_capture = False
    shares_profiles = True
    is_short_of_memory = False
    fails_at_run: str | None = None
    reports_at_run: str | None = None
    elapses: Callable[[], None] = staticmethod(lambda: None)
    layers: tuple[tuple[tuple[str, float], ...], ...] = ()
    weights_size = 1234


class TensorIOMode(IntEnum):
    """Input or output."""

    NONE, INPUT, OUTPUT = range(3)


class ExecutionContextAllocationStrategy(IntEnum):
    """Who gives a context its memory."""

    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class IErrorRecorder:
    """Told every error."""


class Runtime:
    """Loads plans."""

    error_recorder: Any = None

    def __init__(self, log: Any) -> None:
        self.log = log

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        """Return an engine, or tell why not."""
        module = importlib.import_module("tensorrt")  # the stand-in itself

        CALLS.append(("deserialize", len(plan)))
        if Behaviour.is_short_of_memory:
            return self._refuse("Error Code 1: Cuda Runtime (out of memory)")
        length = int.from_bytes(plan[4:_HEADER], "little")
        try:
            header = json.loads(plan[_HEADER : _HEADER + length])
        except ValueError:
            header = None
        model = plan[_HEADER + length :]
        if header is None or len(model) != header["bytes"]:
            return self._refuse(
                "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization "
                "assertion plan.header.size == blobSize failed. In parsePlan at runtime.cpp:780)"
            )
        if header["version"] != module.__version__:
            return self._refuse(
                "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization "
                "assertion stdVersionRead == kSERIALIZATION_VERSION failed. Version tag does not "
                "match. Note: Current Version: 239, Serialized Engine Version: 237)"
            )
        return ICudaEngine(header, model)

    def _refuse(self, text: str) -> ICudaEngine | None:
        self.error_recorder.report_error(1, text)
        return None


class ICudaEngine:
    """A model that is loaded."""

    device_memory_size = device_memory_size_v2 = _SCRATCH
    error_recorder: Any = None

    def __init__(self, header: dict[str, Any], model: bytes) -> None:
        self.header = header
        self.tensors = {**header["inputs"], **header["outputs"]}
        self.profiles = header["told"]["profiles"]
        self.used: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            _with_meaning(model), options, providers=["CPUExecutionProvider"]
        )

    @property
    def num_io_tensors(self) -> int:
        """Inputs and outputs."""
        return len(self.tensors)

    @property
    def num_optimization_profiles(self) -> int:
        """At least one."""
        return max(1, len(self.profiles))

    def get_tensor_name(self, index: int) -> str:
        """Return the name of one."""
        return str(list(self.tensors)[index])

    def get_tensor_dtype(self, name: str) -> Any:
        """Return its type."""
        return importlib.import_module("tensorrt").DataType(self.tensors[name][0])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return its shape."""
        return tuple(self.tensors[name][1])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Return which it is."""
        return TensorIOMode.INPUT if name in self.header["inputs"] else TensorIOMode.OUTPUT

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        """Return smallest, most frequent and largest shape."""
        return self.profiles[profile][name]

    def get_engine_stat(self, stat: Any) -> int:
        """Return the size of the weights."""
        assert stat.name == "TOTAL_WEIGHTS_SIZE"
        return Behaviour.weights_size

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy
    ) -> IExecutionContext:
        """Return one whose memory is the caller's."""
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self)

    def create_execution_context_without_device_memory(self) -> IExecutionContext:
        """Return one, as versions before 10 do."""
        return IExecutionContext(self)


class IExecutionContext:
    """Runs an engine."""

    device_memory = 0
    error_recorder: Any = None
    profiler: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self.profile: int | None = None
        self.batch = 0
        self.addresses: dict[str, int] = {}
        self.is_captured = False

    def set_device_memory(self, memory: int, num_bytes: int) -> None:
        """Take memory, as since 10.1."""
        assert num_bytes == _SCRATCH
        self.device_memory = memory

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        """Take a profile that no other context has."""
        assert stream
        self._change("profile", profile)
        others = [context.profile for context in self.engine.used if context is not self]
        if not Behaviour.shares_profiles and profile in others:
            return self._refuse(
                f"Profile {profile} has been chosen by another IExecutionContext. Use another"
            )
        self.profile = profile
        self.engine.used.add(self)
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Take a shape of the profile."""
        self._change("shape", name, shape)
        assert self.profile is not None, "a dynamic shape before its profile"
        least, _, most = self.engine.profiles[self.profile][name]
        if not all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True)):
            return self._refuse(f"Supplied binding dimension {shape} exceed min ~ max range")
        self.batch = shape[0]
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Take an address."""
        self._change("address", name)
        assert name in self.engine.tensors
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """Run at once."""
        CALLS.append(("execute", self.batch, self.profile, stream, Behaviour.is_capturing))
        Behaviour.elapses()
        if self.profiler is not None:
            assert not Behaviour.is_capturing
            told, *others = Behaviour.layers or ((),)
            Behaviour.layers = tuple(others) or (told,)
            for name, ms in told:
                self.profiler.report_layer_time(name, ms)
        assert self.device_memory
        assert set(self.addresses) == set(self.engine.tensors)
        if Behaviour.reports_at_run is not None:
            self.error_recorder.report_error(1, Behaviour.reports_at_run)
        if Behaviour.fails_at_run is not None:
            return self._refuse(Behaviour.fails_at_run)
        if Behaviour.is_capturing:
            if Behaviour.refuses_capture:
                return self._refuse("operation not permitted when stream is capturing")
            self.is_captured = True
        feed = {name: self._at(name).copy() for name in self.engine.header["inputs"]}
        names = list(self.engine.header["outputs"])
        for name, values in zip(names, self.engine.session.run(names, feed), strict=True):
            self._at(name)[:] = values
        return True

    def _at(self, name: str) -> Any:
        dtype, dims = self.engine.tensors[name]
        first = dims[0] if dims[0] != -1 else self.batch
        values = np.empty((first, *dims[1:]), _DTYPES[dtype])
        memory = (ctypes.c_uint8 * values.nbytes).from_address(self.addresses[name])
        return np.frombuffer(memoryview(memory), values.dtype).reshape(values.shape)

    def _change(self, *what: Any) -> None:
        assert not self.is_captured, f"{what} after the capture"
        CALLS.append(what)

    def _refuse(self, text: str) -> bool:
        self.error_recorder.report_error(3, text)
        return False


def _with_meaning(model: bytes) -> bytes:
    """Give a node of the plugin its meaning: here it is a function, for the plugin a kernel."""
    network = ir.from_proto(onnx.load_from_string(model))
    node = network.graph.outputs[0].producer()
    assert node is not None
    if node.op_type == NMS_OP and not network.functions:
        levels = len(node.inputs) - len(THRESHOLD_INPUTS)
        flags = {
            name: bool(node.attributes[name].as_int()) for name in ("multi_label", "class_agnostic")
        }
        function = nms_function(levels, **flags)
        network.functions[function.identifier()] = function
        network.opset_imports.setdefault(function.domain, 1)
    return bytes(ir.to_proto(network).SerializeToString())


def header_of(plan: bytes) -> Any:
    """Return what the build of a plan was told."""
    length = int.from_bytes(plan[4:_HEADER], "little")
    return json.loads(plan[_HEADER : _HEADER + length])
