"""Memory, streams and graphs of a GPU: what this project needs of ``cuda.core``, and no more.

Everything else of this package is written against the protocols here, so that it can be tried on a
machine without a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.errors import BackendUnavailableError, RunError
from yolor_deploy.cuda.arrays import ArrayView, view_of
from yolor_deploy.cuda.events import CudaEvent, Event
from yolor_deploy.cuda.failure import gpu_failure
from yolor_deploy.cuda.kernels import CudaKernel, Kernel
from yolor_deploy.cuda.memory import CudaMemory, PinnedMemory

INSTALL_HINT = "pip install 'yolor-deploy[cuda]', on a machine with an NVIDIA driver"
_LEGACY_STREAM = 1  # what the CUDA array interface calls the stream that CUDA calls 0
_NO_ORDERING = -1  # of the CUDA array interface, and of DLPack
_SCHEDULING = 7  # CU_CTX_SCHED_MASK
_BLOCKING = 4  # CU_CTX_SCHED_BLOCKING_SYNC

Waiting = Literal["spin", "blocking"]
"""What a thread does that waits for a GPU: it asks all the time, or it sleeps."""


class Memory(Protocol):
    """Memory of a device."""

    @property
    def pointer(self) -> int:
        """Its address."""
        ...

    def fill(self, value: bytes, stream: int) -> None:
        """Fill it with a value of 1, 2 or 4 bytes, in the order of a stream."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class HostMemory(Protocol):
    """Page-locked memory of the host, which copies need that nothing waits for."""

    @property
    def pointer(self) -> int:
        """Its address."""
        ...

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """Its bytes."""
        ...

    def close(self) -> None:
        """Free it; the array cannot be used afterwards."""
        ...


class Graph(Protocol):
    """Work of a device that can be repeated with one call."""

    def launch(self, stream: int) -> None:
        """Do it again, in the order of a stream; nothing waits."""
        ...


class Device(Protocol):
    """A GPU."""

    @property
    def stream(self) -> int:
        """Handle of a stream of its own."""
        ...

    @property
    def name(self) -> str:
        """The GPU's name."""
        ...

    @property
    def compute_capability(self) -> str:
        """As it is written, such as ``9.0``."""
        ...

    @property
    def pci_bus_id(self) -> str:
        """Where it is, such as ``0000:65:00.0``: NVML knows it by that."""
        ...

    @property
    def waiting(self) -> Waiting:
        """What a thread does that waits for it."""
        ...

    def allocate(self, num_bytes: int) -> Memory:
        """Return memory.

        Raises:
            RunError: There is not enough.
        """
        ...

    def pinned(self, num_bytes: int) -> HostMemory:
        """Return page-locked host memory.

        Raises:
            RunError: There is not enough.
        """
        ...

    def copy(self, target: int, source: int, num_bytes: int, stream: int) -> None:
        """Copy between addresses of host or device, in the order of a stream; nothing waits."""
        ...

    def memory_bytes(self) -> tuple[int, int]:
        """Return how much memory is free, and how much there is."""
        ...

    def make_current(self) -> None:
        """Make this the GPU that the calling thread works with."""
        ...

    def with_own_stream(self) -> Device:
        """Return the same GPU, with another stream."""
        ...

    def view(self, array: Any, stream: int, *, is_ordered: bool = True) -> ArrayView:
        """Look at an array of any library.

        Args:
            array: Anything with ``__cuda_array_interface__`` or DLPack.
            stream: Handle of the stream that will read it.
            is_ordered: Whether that stream is made to wait for what the array's own stream does.

        Raises:
            RunError: It is no array of this device.
        """
        ...

    def capture(self, work: Callable[[int], None]) -> Graph:
        """Return the graph of what ``work`` gives to the stream that it is called with.

        Raises:
            RunError: It cannot be captured.
        """
        ...

    def event(self) -> Event:
        """Return a moment that is still to be recorded."""
        ...

    def kernel(self, ptx: str, name: str) -> Kernel:
        """Return a kernel that the driver compiles.

        Raises:
            RunError: It does not.
        """
        ...

    def synchronize(self, stream: int | None) -> None:
        """Wait for all that was given to a stream, or with None to any.

        Raises:
            RunError: The GPU failed at some of it.
        """
        ...


def why_unavailable() -> str | None:
    """Return why no GPU can be used from here, or None if one can. Never raises."""
    try:
        from cuda.core import Device as CoreDevice  # noqa: PLC0415 - late, and may be missing

        CoreDevice().set_current()
    except Exception as error:  # noqa: BLE001 - a missing driver raises what it likes
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        return f"no GPU can be used: {first_line}"
    return None


def stream_handle(stream: Any) -> int:
    """Return the handle of a stream of any library.

    Args:
        stream: An int, or a stream of cuda.core or PyCUDA (``handle``), torch (``cuda_stream``),
            CuPy (``ptr``), or anything with ``__cuda_stream__``.

    Raises:
        RunError: It is none of these.
    """
    if isinstance(stream, int):
        return stream
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        return int(protocol()[1] if callable(protocol) else protocol[1])
    for name in ("handle", "cuda_stream", "ptr"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    raise RunError(
        f"{type(stream).__name__} is not a CUDA stream",
        where="stream",
        hint="give a stream of cuda.core, PyCUDA, CuPy or torch, or its handle as an int",
    )


class CudaDevice:
    """A GPU by ``cuda.core``; its context becomes the current one.

    Args:
        device_id: Ordinal; None for the current device.

    Raises:
        BackendUnavailableError: ``cuda.core``, the driver or the GPU is missing.
    """

    def __init__(self, device_id: int | None = None) -> None:
        try:
            from cuda import core  # noqa: PLC0415 - late, and may be missing
            from cuda.bindings import driver  # noqa: PLC0415

            self._core: Any = core
            self._driver: Any = driver
            self._device = core.Device(device_id)
            self._device.set_current()
            self._context = int(driver.cuCtxGetCurrent()[1])
            self._stream = self._device.create_stream()
            self._streams: dict[int, Any] = {}
        except Exception as error:
            raise BackendUnavailableError(
                f"no GPU can be used: {error}", where="cuda.core", hint=INSTALL_HINT
            ) from error

    @property
    def stream(self) -> int:
        """Handle of a stream of its own."""
        return int(self._stream.handle)

    @property
    def name(self) -> str:
        """The GPU's name."""
        return str(self._device.name)

    @property
    def compute_capability(self) -> str:
        """As it is written, such as ``9.0``."""
        major, minor = self._device.compute_capability
        return f"{major}.{minor}"

    @property
    def pci_bus_id(self) -> str:
        """Where it is; see ``Device.pci_bus_id``."""
        return str(self._device.pci_bus_id)

    @property
    def waiting(self) -> Waiting:
        """What waits; see ``Device.waiting``.

        A context that was made without asking, as cuda.core's, spins unless there are more contexts
        than processors; on Jetson CUDA decides by the power profile, and tells nothing of it.

        Source: CUDA driver API, ``cuCtxCreate``: ``CU_CTX_SCHED_AUTO``.
        """
        code, flags = self._driver.cuCtxGetFlags()
        is_blocking = int(code) == 0 and int(flags) & _SCHEDULING == _BLOCKING
        return "blocking" if is_blocking else "spin"

    def allocate(self, num_bytes: int) -> Memory:
        """Return memory; see ``Device.allocate``."""
        try:
            buffer = self._device.allocate(num_bytes, stream=self._stream)
            self._stream.sync()  # it may be used on other streams
        except Exception as error:
            free, total = self.memory_bytes()
            raise RunError(
                f"the GPU has no {num_bytes / 2**20:.1f} MiB left, {free / 2**20:.1f} of "
                f"{total / 2**20:.1f} MiB are free: {error}",
                where=self.name,
                hint="give smaller batches or fewer candidates, or end other programs on this GPU",
            ) from error
        return CudaMemory(buffer, self.stream_of)

    def pinned(self, num_bytes: int) -> HostMemory:
        """Return page-locked host memory; see ``Device.pinned``."""
        try:
            buffer = self._core.LegacyPinnedMemoryResource().allocate(num_bytes)
        except Exception as error:
            raise RunError(
                f"no {num_bytes / 2**20:.1f} MiB of page-locked host memory: {error}",
                where=self.name,
                hint="give smaller batches, or end other programs",
            ) from error
        return PinnedMemory(buffer)

    def copy(self, target: int, source: int, num_bytes: int, stream: int) -> None:
        """Copy; see ``Device.copy``."""
        (code,) = self._driver.cuMemcpyAsync(target, source, num_bytes, stream)
        if int(code) != 0:
            raise gpu_failure(self.name, f"a copy of {num_bytes} bytes: {code.name}")

    def memory_bytes(self) -> tuple[int, int]:
        """Return free and total memory; see ``Device.memory_bytes``."""
        code, free, total = self._driver.cuMemGetInfo()
        return (int(free), int(total)) if int(code) == 0 else (0, 0)  # of a GPU that failed

    def make_current(self) -> None:
        """Make it current; see ``Device.make_current``."""
        code, context = self._driver.cuCtxGetCurrent()
        if int(code) != 0 or int(context) != self._context:
            self._device.set_current()

    def with_own_stream(self) -> CudaDevice:
        """Return the same GPU; see ``Device.with_own_stream``."""
        return CudaDevice(self._device.device_id)

    def view(self, array: Any, stream: int, *, is_ordered: bool = True) -> ArrayView:
        """Look at an array; see ``Device.view``."""
        consumer = (stream or _LEGACY_STREAM) if is_ordered else _NO_ORDERING
        return view_of(array, consumer, device_id=self._device.device_id)

    def capture(self, work: Callable[[int], None]) -> Graph:
        """Return a graph; see ``Device.capture``."""
        builder = self._device.create_graph_builder()
        try:
            builder.begin_building(mode="thread_local")
            work(stream_handle(builder))
            return self._graph_of(builder)
        finally:  # `end_building` leaves a capture that CUDA broke off open, `close` ends it
            with contextlib.suppress(Exception):
                builder.close()

    def _graph_of(self, builder: Any) -> Graph:
        try:
            return _CudaGraph(self, builder.end_building().complete())
        except Exception as error:
            raise RunError(
                f"this cannot be captured in a CUDA graph: {error}",
                where=self.name,
                hint="run it without one",
            ) from error

    def event(self) -> Event:
        """Return a moment; see ``Device.event``."""
        options = self._core.EventOptions(timing_enabled=True)
        return CudaEvent(self._device.create_event(options), self.stream_of, self.name)

    def kernel(self, ptx: str, name: str) -> Kernel:
        """Return a kernel; see ``Device.kernel``."""
        try:
            code = self._core.ObjectCode.from_ptx(ptx.encode(), name=name)
            found = code.get_kernel(name)
        except Exception as error:
            raise RunError(
                f"the driver does not compile the kernel {name}: {error}",
                where=self.name,
                hint="unset CUDA_DISABLE_PTX_JIT, or install a newer driver",
            ) from error
        return CudaKernel(self._core, found, self.stream_of, self.name)

    def synchronize(self, stream: int | None) -> None:
        """Wait; see ``Device.synchronize``."""
        try:
            if stream is None:
                self._device.sync()
            else:
                self.stream_of(stream).sync()
        except Exception as error:
            raise gpu_failure(self.name, str(error)) from error

    def stream_of(self, handle: int) -> Any:
        """Return cuda.core's object for a stream; made once, since that takes its time."""
        if handle not in self._streams:
            self._streams[handle] = self._core.Stream.from_handle(handle)
        return self._streams[handle]


class _CudaGraph:
    def __init__(self, device: CudaDevice, graph: Any) -> None:
        self._device = device
        self._graph = graph

    def launch(self, stream: int) -> None:
        self._graph.launch(self._device.stream_of(stream))
