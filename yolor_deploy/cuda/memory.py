"""Memory of a GPU, and page-locked memory of its host, by ``cuda.core``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class CudaMemory:
    """A ``device.Memory``.

    Args:
        buffer: Of cuda.core.
        stream_of: Gives cuda.core's object for the handle of a stream.
    """

    def __init__(self, buffer: Any, stream_of: Callable[[int], Any]) -> None:
        self._buffer = buffer
        self._stream_of = stream_of
        self.pointer = int(buffer.handle)

    def fill(self, value: bytes, stream: int) -> None:
        """Fill it; see ``device.Memory.fill``."""
        self._buffer.fill(value, stream=self._stream_of(stream))

    def close(self) -> None:
        """Free it."""
        self._buffer.close()


class PinnedMemory:
    """A ``device.HostMemory``.

    Args:
        buffer: Of cuda.core.
    """

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self.pointer = int(buffer.handle)
        host = (ctypes.c_uint8 * int(buffer.size)).from_address(self.pointer)
        self.array: npt.NDArray[np.uint8] = np.frombuffer(memoryview(host), np.uint8)

    def close(self) -> None:
        """Free it; the array cannot be used afterwards."""
        self._buffer.close()
