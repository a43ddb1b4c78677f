"""Engines of the stand-in for TensorRT, and a machine that has the GPU for them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.artifacts import NMS, network_of, spec_of, written
from tests.cuda.host_device import HostDevice, HostGraph
from tests.rows import assert_same_rows
from yolor_deploy.backends.onnxruntime import OnnxRuntimeSession
from yolor_deploy.backends.tensorrt import build, fit
from yolor_deploy.backends.tensorrt.build import BuiltEngine, build_engine
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import BatchRange, DetectorSpec, NmsConfig, OutputKind
from yolor_deploy.cuda.device import Graph
from yolor_deploy.cuda.driver import Driver, Gpu

Opened = Callable[..., TensorRTSession]
"""Builds a model, and opens the engine."""

FOLDER = Path(__file__).parent / "stand_in"
GPU = Gpu("NVIDIA H200", (9, 0), 141 << 30)
DRIVER = Driver(13000, (GPU,), None, "580.159.03")


@contextmanager
def stand_in(patch: pytest.MonkeyPatch, **environment: str) -> Iterator[Any]:
    """Import the stand-in as ``tensorrt``, on a machine with a GPU, for what is done within."""
    for name, value in environment.items():
        patch.setenv(name, value)
    patch.syspath_prepend(str(FOLDER))
    patch.setattr(build, "gpus", lambda: DRIVER)
    patch.setattr(fit, "gpus", lambda: DRIVER)
    try:
        yield importlib.import_module("tensorrt")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tensorrt"]:
            del sys.modules[name]


class CapturingDevice(HostDevice):
    """A device on which the stand-in sees that it is captured."""

    def __init__(self, trt: Any, free_bytes: int = 1 << 40, *, stream: int = 77) -> None:
        super().__init__(free_bytes, stream=stream)
        self.trt = trt
        self.launches = 0

    def capture(self, work: Any) -> Graph:
        """Do the work as while capturing, and keep it."""
        behaviour = self.trt.running.Behaviour
        behaviour.is_capturing = True
        try:
            work(self.stream + 1000)
        finally:
            behaviour.is_capturing = False

        def again(stream: int) -> None:
            self.launches += 1
            work(stream)

        return HostGraph(again)

    def with_own_stream(self) -> CapturingDevice:
        """Return another device that has the same memory."""
        return CapturingDevice(self.trt, self.free_bytes, stream=self.stream + 1)


def model_of(
    folder: Path,
    *,
    output: OutputKind = "detections",
    batch: BatchRange | None = None,
    uint8: bool = False,
) -> Artifact:
    """Write a model of a few layers."""
    spec = spec_of(batch=batch or BatchRange(1, 2, 8), uint8=uint8)
    return written(folder / "model.onnx", network_of(spec), spec, output=output)


def plugin_file(folder: Path) -> Path:
    """Write what the stand-in takes for a plugin library."""
    path = folder / "libplugin.so"
    path.write_bytes(b"code")
    return path


def built(model: Artifact, options: EngineOptions, *, name: str = "model.engine") -> BuiltEngine:
    """Build an engine with the stand-in, beside its model."""
    folder = model.path.parent / "engine"
    folder.mkdir(exist_ok=True)
    return build_engine(model, folder, name, flavour="tensorrt", options=options)


def images_of(spec: DetectorSpec, batch: int, *, seed: int = 0) -> Array:
    """Return drawn images."""
    rng = np.random.default_rng(seed)
    shape = spec.input.shape(batch)
    if spec.input.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.random(shape, np.float32)


def reference(model: Artifact, images: Array, **thresholds: float) -> RawOutput:
    """Return what ONNX Runtime computes of the model that an engine was built from."""
    return OnnxRuntimeSession(model, threads=1).run(images, **thresholds)


def assert_same_detections(found: RawOutput, expected: RawOutput, nms: NmsConfig = NMS) -> None:
    """Fail unless both have the same detections, and there are some."""
    assert assert_same_rows(found, expected, nms) > 0
