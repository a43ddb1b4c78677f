"""Streams of other libraries, and what is said where there is no GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yolor_deploy.core.errors import BackendUnavailableError, RunError
from yolor_deploy.cuda.device import CudaDevice, _is_contiguous, stream_handle, why_unavailable


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
    ("shape", "strides", "is_contiguous"),
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
    shape: tuple[int, ...], strides: tuple[int, ...] | None, is_contiguous: bool
) -> None:
    """Strides are in elements; those of axes of length 1 do not matter."""
    assert _is_contiguous(shape, strides) == is_contiguous


def test_without_a_gpu_the_reason_is_told() -> None:
    """A machine without a driver gets one line, and an error with a hint."""
    reason = why_unavailable()
    if reason is None:
        pytest.skip("there is a GPU")

    assert "\n" not in reason
    with pytest.raises(BackendUnavailableError, match="no GPU can be used") as caught:
        CudaDevice()
    assert "yolor-deploy[cuda]" in caught.value.hint
