"""Streams of other libraries, and what is said where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from yolor_deploy.core.errors import BackendUnavailableError, RunError
from yolor_deploy.cuda.arrays import is_contiguous, view_of
from yolor_deploy.cuda.device import CudaDevice, stream_handle, why_unavailable


class WithProtocol:
    """A stream as ``cuda.core`` and new versions of others have it."""

    def __cuda_stream__(self) -> tuple[int, int]:
        """Return version and handle."""
        return (0, 9)


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        pytest.param(5, 5, id="int"),
        pytest.param(WithProtocol(), 9, id="protocol"),
        pytest.param(SimpleNamespace(handle=3), 3, id="pycuda"),
        pytest.param(SimpleNamespace(cuda_stream=4), 4, id="torch"),
        pytest.param(SimpleNamespace(ptr=6), 6, id="cupy"),
        pytest.param(SimpleNamespace(__cuda_stream__=(0, 8)), 8, id="protocol-as-value"),
    ],
)
def test_stream_handle_takes_streams_of_any_library(stream: Any, handle: int) -> None:
    """A stream is known by what its library calls the handle."""
    assert stream_handle(stream) == handle


def test_stream_handle_refuses_what_is_no_stream() -> None:
    """The type that was given is named."""
    with pytest.raises(RunError, match="str is not a CUDA stream"):
        stream_handle("default")


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        pytest.param((2, 3), None, True, id="no-strides"),
        pytest.param((2, 3), (3, 1), True, id="dense"),
        pytest.param((2, 3), (1, 2), False, id="transposed"),
        pytest.param((2, 3), (6, 1), False, id="gaps"),
        pytest.param((1, 3), (99, 1), True, id="one-row-has-no-stride"),
        pytest.param((), (), True, id="scalar"),
    ],
)
def test_is_contiguous(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, expected: bool
) -> None:
    """Strides are in elements; those of axes of length 1 do not matter."""
    assert is_contiguous(shape, strides) == expected


def test_without_a_gpu_the_reason_is_told() -> None:
    """A machine without a driver gets one line, and an error with a hint."""
    reason = why_unavailable()
    if reason is None:
        pytest.skip("there is a GPU")

    assert "\n" not in reason
    with pytest.raises(BackendUnavailableError, match="no GPU can be used") as caught:
        CudaDevice()
    assert "yolor-deploy[cuda]" in caught.value.hint


class BrokenCapture:
    """A graph builder of ``cuda.core`` whose capture CUDA broke off."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __cuda_stream__(self) -> tuple[int, int]:
        """Return version and handle."""
        return (0, 7)

    def begin_building(self, mode: str) -> None:
        """Begin."""
        self.calls.append(mode)

    def end_building(self) -> None:
        """Refuse, and leave the capture open, as cuda.core 1.2 does."""
        raise RuntimeError("Build process encountered an error and has been invalidated.")

    def close(self) -> None:
        """End the capture, and tell that it was broken off."""
        self.calls.append("close")
        raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")


def _fails(stream: int) -> None:
    raise RunError(f"stream {stream} refuses", where="test", hint="none")


@pytest.mark.parametrize(
    ("work", "problem"),
    [
        pytest.param(_fails, "stream 7 refuses", id="work-fails"),
        pytest.param(lambda _: None, "cannot be captured .* invalidated", id="end-fails"),
    ],
)
def test_a_capture_that_fails_is_ended(work: Callable[[int], None], problem: str) -> None:
    """A thread with an open capture can do little else; the first error is the one that is told."""
    builder = BrokenCapture()
    device = CudaDevice.__new__(CudaDevice)
    device._device = SimpleNamespace(create_graph_builder=lambda: builder, name="test")

    with pytest.raises(RunError, match=problem):
        device.capture(work)

    assert builder.calls == ["thread_local", "close"]


@pytest.mark.parametrize(
    ("is_device_accessible", "device_id", "problem"),
    [
        pytest.param(False, -1, "is in host memory", id="host"),
        pytest.param(True, 2, "is on GPU 2, expected GPU 1", id="other-gpu"),
    ],
)
def test_view_refuses_arrays_elsewhere(
    monkeypatch: pytest.MonkeyPatch, is_device_accessible: bool, device_id: int, problem: str
) -> None:
    """The kernel would read memory of another GPU, or none."""
    found = SimpleNamespace(
        is_device_accessible=is_device_accessible,
        device_id=device_id,
        ptr=16,
        shape=(2, 3),
        strides=None,
        dtype="float32",
    )
    views = SimpleNamespace(from_any_interface=lambda _array, stream_ptr: found)  # noqa: ARG005
    monkeypatch.setattr("cuda.core.utils.StridedMemoryView", views)

    with pytest.raises(RunError, match=problem):
        view_of("array", 1, device_id=1)
    found.is_device_accessible, found.device_id = True, 1
    assert view_of("array", 1, device_id=1).pointer == 16
