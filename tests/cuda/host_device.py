"""A device whose memory is the host's, and a library that runs there."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import RunError
from yolor_deploy.cuda.arrays import ArrayView
from yolor_deploy.cuda.device import Graph, Memory
from yolor_deploy.cuda.library import NmsCall, NmsLibrary

OWN_STREAM = 77


class HostMemory:
    """Memory that was never written."""

    def __init__(self, num_bytes: int) -> None:
        self.values: npt.NDArray[np.uint8] = np.full(num_bytes, 0xA5, np.uint8)
        self.is_closed = False

    @property
    def pointer(self) -> int:
        """Its address."""
        return self.values.ctypes.data

    def fill(self, value: bytes, stream: int) -> None:
        """Fill it at once."""
        assert stream
        self.values[:] = np.frombuffer(value, np.uint8)

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """Its bytes."""
        return self.values

    def close(self) -> None:
        """Note that it was freed."""
        self.is_closed = True


class HostGraph:
    """Work that is done again when it is launched."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work

    def launch(self, stream: int) -> None:
        """Do it."""
        self._work(stream)


class HostDevice:
    """A device of limited memory that takes NumPy arrays for its own."""

    def __init__(self, free_bytes: int = 1 << 40, *, stream: int = OWN_STREAM) -> None:
        self.stream = stream
        self.free_bytes = free_bytes
        self.memory: list[HostMemory] = []
        self.pinned_memory: list[HostMemory] = []
        self.copies: list[tuple[int, int, int]] = []
        self.waits: list[int | None] = []
        self.times_current = 0
        self.ordered_views: list[tuple[int, bool]] = []

    def allocate(self, num_bytes: int) -> Memory:
        """Return memory as long as there is some."""
        self.free_bytes -= num_bytes
        if self.free_bytes < 0:
            raise RunError("no memory left", where="test", hint="none")
        self.memory.append(HostMemory(num_bytes))
        return self.memory[-1]

    def pinned(self, num_bytes: int) -> HostMemory:
        """Return memory that is not the device's."""
        self.pinned_memory.append(HostMemory(num_bytes))
        return self.pinned_memory[-1]

    def copy(self, target: int, source: int, num_bytes: int, stream: int) -> None:
        """Copy at once."""
        assert stream
        self.copies.append((target, source, num_bytes))
        ctypes.memmove(target, source, num_bytes)

    def memory_bytes(self) -> tuple[int, int]:
        """Return what is free, and a size that was made up."""
        return self.free_bytes, 1 << 40

    def make_current(self) -> None:
        """Count how often this was asked for."""
        self.times_current += 1

    def with_own_stream(self) -> HostDevice:
        """Return another device that has the same memory."""
        return HostDevice(self.free_bytes, stream=self.stream + 1)

    def view(self, array: Any, stream: int, *, is_ordered: bool = True) -> ArrayView:
        """Look at an array, and note who asked."""
        self.ordered_views.append((stream, is_ordered))
        return ArrayView(
            array.ctypes.data,
            array.shape,
            str(array.dtype),
            bool(array.flags.c_contiguous),
            array,
        )

    def capture(self, work: Callable[[int], None]) -> Graph:
        """Keep the work."""
        return HostGraph(work)

    def synchronize(self, stream: int | None) -> None:
        """Everything is done at once here."""
        assert stream != 0
        self.waits.append(stream)


class HostLaunches(NmsLibrary):
    """The library, which takes the host for its GPU."""

    def launch(self, call: NmsCall, *, stream: int) -> None:
        """Detect on the host."""
        assert stream
        self.run_on_host(call)
