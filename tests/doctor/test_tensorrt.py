"""What ``doctor`` says of TensorRT and of the plugin."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tensorrt.engines import DRIVER, plugin_file, stand_in
from yolor_deploy.backends import tensorrt
from yolor_deploy.cuda.driver import Driver
from yolor_deploy.doctor.finding import Finding
from yolor_deploy.doctor.tensorrt import examine_tensorrt

NO_GPU = Driver(0, (), "no NVIDIA driver")


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the stand-in, where TensorRT-RTX is not installed."""
    monkeypatch.setitem(tensorrt._MODULES, "tensorrt_rtx", ("no_such_module",))
    with stand_in(monkeypatch) as module:
        yield module


def finding(name: str, found: list[Finding]) -> Finding:
    """Return the finding of a name."""
    (item,) = [item for item in found if item.name == name]
    return item


def test_tensorrt_tells_version_and_plugin(trt: Any, tmp_path: Path) -> None:
    """What is there is said, and the plugin is loaded into its registry."""
    plugin = plugin_file(tmp_path)

    found = examine_tensorrt(NO_GPU, plugin)

    assert finding("TensorRT", found).detail == "10.16.1.11, types of the graph, plugins V3"
    assert finding("TensorRT-RTX", found).state == "missing"
    assert finding("YolorNMS plugin", found).detail == "version 1, TensorRT 10.16.1.11 takes it"
    assert trt.IPluginRegistry.loaded == (str(plugin),)


def test_plugin_that_does_not_load_is_broken(trt: Any, tmp_path: Path) -> None:
    """What the registry refuses is named with its TensorRT."""
    del trt
    plugin = tmp_path / "libempty.so"
    plugin.write_bytes(b"")

    item = finding("YolorNMS plugin", examine_tensorrt(NO_GPU, plugin))

    assert item.state == "broken"
    assert item.detail.startswith("TensorRT: libempty.so")


def test_plugin_that_was_not_built_is_missing(trt: Any, tmp_path: Path) -> None:
    """The line that builds it is told."""
    del trt

    item = finding("YolorNMS plugin", examine_tensorrt(NO_GPU, tmp_path / "nothing.so"))

    assert (item.state, item.detail) == ("missing", "not built")
    assert "scripts/build-plugins tensorrt" in str(item.hint)


def test_a_damaged_installation_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package that is there and cannot be imported is not called missing."""
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)

    item = finding("TensorRT", examine_tensorrt(NO_GPU))

    assert item.state == "broken"
    assert "libnvinfer.so.10: cannot open" in item.detail


@pytest.mark.tensorrt_rtx
def test_gpu_that_rtx_does_not_know_is_told() -> None:
    """TensorRT-RTX has no code for an H200."""
    found = examine_tensorrt(DRIVER)

    assert finding("TensorRT-RTX", found).state == "ok"
    item = finding("TensorRT-RTX on NVIDIA H200", found)
    assert item.state == "missing"
    assert "the GPU has 9.0" in item.detail
