"""A device whose memory is the host's, and a library that runs there."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import RunError
from yolor_deploy.cuda.arrays import ArrayView
from yolor_deploy.cuda.device import Graph, Memory, Waiting
from yolor_deploy.cuda.events import Event
from yolor_deploy.cuda.kernels import Kernel
from yolor_deploy.cuda.library import NmsCall, NmsLibrary

OWN_STREAM = 77


class HostClock:
    """The time of a device, which stands until something takes some."""

    def __init__(self) -> None:
        self.now_ms = 0.0

    def advance(self, ms: float) -> None:
        """Let some pass."""
        self.now_ms += ms


class HostEvent:
    """A moment of that time."""

    def __init__(self, device: HostDevice) -> None:
        self.device = device
        self.at_ms: float | None = None
        self.is_closed = False

    def record(self, stream: int) -> None:
        """Take it, unless the device's events see nothing."""
        assert stream
        self.device.records.append(stream)
        self.at_ms = 0.0 if self.device.is_blind else self.device.clock.now_ms

    def synchronize(self) -> None:
        """Let the host see the time of the device."""
        assert self.at_ms is not None
        self.device.wait()

    def ms_since(self, earlier: Event) -> float:
        """Return what passed."""
        assert isinstance(earlier, HostEvent)
        assert self.at_ms is not None
        assert earlier.at_ms is not None
        return self.at_ms - earlier.at_ms

    def close(self) -> None:
        """Note that it was freed."""
        self.is_closed = True


class HostKernel:
    """Takes as many nanoseconds as it is told, on a device that may run late."""

    def __init__(self, device: HostDevice) -> None:
        self.device = device

    def launch(self, stream: int, value: int) -> None:
        """Let them pass."""
        assert stream
        self.device.clock.advance(value / 1e6 * self.device.slowness)


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
        self.clock = HostClock()
        self.copy_ms = 0.0
        self.is_blind = False
        self.slowness = 1.0
        self.compiles = True
        self.never_waits = False
        self.host_ms = 0.0
        self.records: list[int] = []
        self.events: list[HostEvent] = []
        self.name = "host"
        self.compute_capability = "9.0"
        self.pci_bus_id = "0000:01:00.0"
        self.waiting: Waiting = "spin"

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
        self.clock.advance(self.copy_ms)
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

    def event(self) -> Event:
        """Return a moment of the clock."""
        self.events.append(HostEvent(self))
        return self.events[-1]

    def kernel(self, ptx: str, name: str) -> Kernel:
        """Return one that takes time, whatever its text."""
        assert name in ptx
        if not self.compiles:
            raise RunError(f"{name} is not compiled", where="test", hint="none")
        return HostKernel(self)

    def synchronize(self, stream: int | None) -> None:
        """Note it; everything is done at once here, but for the time that the host sees."""
        assert stream != 0
        self.waits.append(stream)
        self.wait()

    def wait(self) -> None:
        """Let the host's clock have the time of the device, unless its waits do nothing."""
        if not self.never_waits:
            self.host_ms = self.clock.now_ms

    def host_clock_ns(self) -> int:
        """Return the time as the host sees it: what it waited for, and nothing else."""
        return round(self.host_ms * 1e6)


class HostLaunches(NmsLibrary):
    """The library, which takes the host for its GPU.

    Attributes:
        elapses: Called at each launch.
    """

    elapses: Callable[[], None] = staticmethod(lambda: None)

    @property
    def cuda_architectures(self) -> tuple[str, ...]:
        """The host's."""
        return ("host",)

    def launch(self, call: NmsCall, *, stream: int) -> None:
        """Detect on the host."""
        assert stream
        self.elapses()
        self.run_on_host(call)
