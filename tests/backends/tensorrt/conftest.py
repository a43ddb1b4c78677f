"""Sessions of the stand-in for TensorRT, on a device that is the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tensorrt.engines import CapturingDevice, Opened, built, plugin_file, stand_in
from tests.cuda.host_device import HostLaunches
from yolor_deploy.backends.tensorrt.open import open_engine
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.artifact import Artifact


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the stand-in."""
    with stand_in(monkeypatch) as module:
        yield module


@pytest.fixture
def opened(trt: Any, tmp_path: Path, host_library_path: Path) -> Opened:
    """Return a function that builds a model and opens it on a device that is the host."""

    def of(model: Artifact, **options: Any) -> TensorRTSession:
        options.setdefault("nms", "kernels" if model.meta.output == "detections" else None)
        plugin = plugin_file(tmp_path) if options["nms"] == "plugin" else None
        engine = built(model, EngineOptions(plugin=plugin, **options))
        return open_engine(
            engine.artifact,
            "tensorrt",
            plugin=plugin,
            device=CapturingDevice(trt),
            library=HostLaunches(host_library_path),
        )

    return of
