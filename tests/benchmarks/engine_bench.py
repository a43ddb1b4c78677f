"""Engines of a model of a few layers, of the stand-in for TensorRT, and what spoils them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tensorrt_check.rig import Reference, Rig
from benchmarks.tensorrt_check.verdict import Report
from tests.backends.artifacts import network_of, spec_of, written
from tests.backends.tensorrt.engines import CapturingDevice, built, plugin_file
from tests.cuda.host_device import HostLaunches
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.cuda.arrays import ArrayView
from yolor_deploy.cuda.outputs import DeviceArray

WAYS: tuple[NmsWay, ...] = ("plugin", "kernels", "ops")
V8 = (
    "IExecutionContext.set_device_memory,ICudaEngine.device_memory_size_v2,"
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED,IProgressMonitor,"
    "ExecutionContextAllocationStrategy"
)
"""What TensorRT 8.6 does not have."""

Spoil = Callable[[Any], None]
"""Changes what a context has written."""


class ReadingDevice(CapturingDevice):
    """A device that takes its own arrays, as a GPU does; it may lose memory."""

    lost_bytes = 0
    lost_at_each_look = 0

    def view(self, array: Any, stream: int, *, is_ordered: bool = True) -> ArrayView:
        """Look at an array of a session, or of NumPy."""
        if isinstance(array, DeviceArray):
            return ArrayView(array.pointer, array.shape, str(array.dtype), True, array)
        return super().view(array, stream, is_ordered=is_ordered)

    def with_own_stream(self) -> ReadingDevice:
        """Return another device that has the same memory."""
        return ReadingDevice(self.trt, self.free_bytes, stream=self.stream + 1)

    def memory_bytes(self) -> tuple[int, int]:
        """Return what is free, which may be less at each look."""
        self.lost_bytes += self.lost_at_each_look
        free, total = super().memory_bytes()
        return free - self.lost_bytes, total


class Bench:
    """Engines of a model of a few layers, and what opens them."""

    def __init__(self, trt: Any, folder: Path, library: Path) -> None:
        self.trt = trt
        self.folder = folder
        self.plugin = plugin_file(folder)
        self.device = ReadingDevice(trt)
        self.rig = Rig(self.device, self.plugin, HostLaunches(library))
        self.model = self.model_of("fp32")
        self.reference = Reference.compute(self.model.path, 2)

    def model_of(self, precision: str) -> Artifact:
        """Write the model; its precision is only told."""
        spec = spec_of(batch=BatchRange(1, 1, 4))
        path = self.folder / f"model.{precision}.onnx"
        return written(path, network_of(spec), spec, precision=precision)

    def engine(self, way: NmsWay, precision: str = "fp32") -> Path:
        """Build an engine."""
        plugin = self.plugin if way == "plugin" else None
        options = EngineOptions(nms=way, plugin=plugin)
        name = f"{precision}.{way}.engine"
        return built(self.model_of(precision), options, name=name).artifact.path

    def spoil(self, monkeypatch: pytest.MonkeyPatch, change: Spoil) -> None:
        """Change what every run of TensorRT writes."""
        context = self.trt.IExecutionContext
        right = context.execute_async_v3

        def wrong(this: Any, stream: int) -> bool:
            done: bool = right(this, stream)
            change(this)
            return done

        monkeypatch.setattr(context, "execute_async_v3", wrong)


def states(found: Report) -> dict[str, str]:
    """Return the state of each target."""
    return {verdict["target"]: verdict["state"] for verdict in found["verdicts"]}


def shifted(name: str, by: float) -> Spoil:
    """Return what adds to one value of an output, where the engine has it."""

    def change(context: Any) -> None:
        if name in context.engine.tensors:
            context._at(name).reshape(-1)[:1] += by

    return change
