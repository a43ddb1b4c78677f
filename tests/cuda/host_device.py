"""A device whose memory is the host's, and a library that runs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import RunError
from yolor_deploy.cuda.device import ArrayView, Graph, Memory
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

    def read(self, num_bytes: int, stream: int) -> npt.NDArray[np.uint8]:
        """Return its first bytes."""
        assert stream
        return np.array(self.values[:num_bytes])

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

    stream = OWN_STREAM

    def __init__(self, free_bytes: int = 1 << 40) -> None:
        self.free_bytes = free_bytes
        self.memory: list[HostMemory] = []
        self.ordered_views: list[tuple[int, bool]] = []

    def allocate(self, num_bytes: int) -> Memory:
        """Return memory as long as there is some."""
        self.free_bytes -= num_bytes
        if self.free_bytes < 0:
            raise RunError("no memory left", where="test", hint="none")
        self.memory.append(HostMemory(num_bytes))
        return self.memory[-1]

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

    def synchronize(self, stream: int) -> None:
        """Everything is done at once here."""
        assert stream


class HostLaunches(NmsLibrary):
    """The library, which takes the host for its GPU."""

    def launch(self, call: NmsCall, *, stream: int) -> None:
        """Detect on the host."""
        assert stream
        self.run_on_host(call)
