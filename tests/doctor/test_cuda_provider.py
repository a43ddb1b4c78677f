"""What ``doctor`` says of ONNX Runtime on a GPU."""

from __future__ import annotations

import sys

import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from tests.backends.cuda_provider import NO_DRIVER, TWO_GPUS, FakeCuda, install
from yolor_deploy.backends.onnxruntime.cuda import INSTALL
from yolor_deploy.doctor.cuda_provider import examine_cuda_provider


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A runtime with CUDA."""
    return install(monkeypatch)


def test_provider_that_works_is_tried(provider: FakeCuda) -> None:
    """A convolution has run on the first GPU before it is called well."""
    (found,) = examine_cuda_provider(TWO_GPUS)

    assert found.state == "ok"
    assert found.detail == f"{onnxruntime.__version__}, tried on NVIDIA H100"
    assert provider.providers[0][0][1]["device_id"] == "0"


def test_package_without_cuda_is_missing_with_the_line_that_installs_it(
    provider: FakeCuda,
) -> None:
    """Models run on the CPU there, so that nothing is broken."""
    provider.available = ("CPUExecutionProvider",)

    (found,) = examine_cuda_provider(TWO_GPUS)

    assert (found.state, found.hint) == ("missing", INSTALL)
    assert "without it" in found.detail
    assert provider.providers == []


def test_machine_without_gpu_is_not_tried(provider: FakeCuda) -> None:
    """The line above says what is missing there."""
    (found,) = examine_cuda_provider(NO_DRIVER)

    assert (found.state, found.hint) == ("missing", None)
    assert provider.providers == []


def test_provider_that_falls_back_is_broken(provider: FakeCuda) -> None:
    """The list of providers names it, and the session is on the CPU."""
    provider.taken = ("CPUExecutionProvider",)

    (found,) = examine_cuda_provider(TWO_GPUS)

    assert found.state == "broken"
    assert "cannot use CUDA here" in found.detail
    assert found.hint is not None
    assert INSTALL in found.hint


def test_convolution_that_fails_is_broken(provider: FakeCuda) -> None:
    """The first convolution loads cuDNN; the provider loads without it."""
    provider.run_error = state.Fail("CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED")

    (found,) = examine_cuda_provider(TWO_GPUS)

    assert found.state == "broken"
    assert "CUDNN_STATUS_NOT_INITIALIZED" in found.detail


def test_runtime_that_does_not_load_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the packages."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    assert examine_cuda_provider(TWO_GPUS) == []
