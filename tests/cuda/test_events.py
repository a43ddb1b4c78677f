"""Events, kernels and facts of a GPU by ``cuda.core``, as far as that can be told without one."""

from __future__ import annotations

import ctypes
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from yolor_deploy.core.errors import RunError
from yolor_deploy.cuda.device import CudaDevice
from yolor_deploy.cuda.events import CudaEvent
from yolor_deploy.cuda.kernels import CudaKernel


class CoreEvent:
    """An event of ``cuda.core`` that came at a given time."""

    def __init__(self, at_ms: float | None) -> None:
        self.at_ms = at_ms
        self.calls: list[str] = []

    def __sub__(self, other: CoreEvent) -> float:
        """Return the difference."""
        if self.at_ms is None or other.at_ms is None:
            raise RuntimeError("Event was not recorded")
        return self.at_ms - other.at_ms

    def sync(self) -> None:
        """Note it, or fail as a lost GPU does."""
        self.calls.append("sync")
        if self.at_ms is None:
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


class CoreStream:
    """A stream of ``cuda.core``."""

    def __init__(self) -> None:
        self.recorded: list[CoreEvent] = []

    def record(self, event: CoreEvent) -> None:
        """Note it."""
        self.recorded.append(event)


def event_of(at_ms: float | None, stream: Any = None) -> CudaEvent:
    """Return an event of ours."""
    return CudaEvent(CoreEvent(at_ms), lambda _: stream, "GPU")


def test_event_is_recorded_on_the_stream_of_the_handle() -> None:
    """It is the same event each time, and freed once."""
    core, stream, asked = CoreEvent(1.0), CoreStream(), []

    def stream_of(handle: int) -> CoreStream:
        asked.append(handle)
        return stream

    event = CudaEvent(core, stream_of, "GPU")
    event.record(5)
    event.record(5)
    event.synchronize()
    event.close()

    assert asked == [5, 5]
    assert stream.recorded == [core, core]
    assert core.calls == ["sync", "close"]


def test_event_tells_milliseconds_since_an_earlier_one() -> None:
    """The later comes first in the difference."""
    assert event_of(7.5).ms_since(event_of(5.0)) == 2.5


def test_event_of_a_lost_gpu_is_an_error_of_ours() -> None:
    """What CUDA says is told, with the name of the GPU."""
    with pytest.raises(RunError, match="ILLEGAL_ADDRESS") as caught:
        event_of(None).synchronize()
    with pytest.raises(RunError, match="was not recorded"):
        event_of(1.0).ms_since(event_of(None))
    assert caught.value.where == "GPU"


def test_kernel_is_launched_with_64_bits_on_one_thread() -> None:
    """What does not fit 32 bits arrives whole."""
    launches: list[tuple[Any, ...]] = []
    core = SimpleNamespace(
        LaunchConfig=lambda grid, block: (grid, block), launch=lambda *args: launches.append(args)
    )

    CudaKernel(core, "kernel", lambda handle: f"stream {handle}", "GPU").launch(3, 1 << 40)

    stream, threads, kernel, argument = launches[0]
    assert (stream, threads, kernel) == ("stream 3", (1, 1), "kernel")
    assert isinstance(argument, ctypes.c_uint64)
    assert argument.value == 1 << 40


def test_a_kernel_that_the_driver_refuses_is_an_error_of_ours() -> None:
    """The hint names what may keep it from compiling."""
    device = CudaDevice.__new__(CudaDevice)
    device._device = SimpleNamespace(name="GPU")

    def refuses(code: bytes, *, name: str) -> Any:
        raise RuntimeError(f"{name}: CUDA_ERROR_JIT_COMPILATION_DISABLED of {len(code)} bytes")

    device._core = SimpleNamespace(ObjectCode=SimpleNamespace(from_ptx=refuses))

    with pytest.raises(RunError, match=r"the kernel spin.* of 4 bytes") as caught:
        device.kernel("text", "spin")
    assert "CUDA_DISABLE_PTX_JIT" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "flags", "waiting"),
    [
        pytest.param(0, 0, "spin", id="auto"),
        pytest.param(0, 1, "spin", id="spin"),
        pytest.param(0, 2, "spin", id="yield"),
        pytest.param(0, 4, "blocking", id="blocking"),
        pytest.param(0, 4 | 8, "blocking", id="blocking-and-mapped"),
        pytest.param(201, 4, "spin", id="no-context"),
    ],
)
def test_waiting_is_what_the_context_was_made_with(code: int, flags: int, waiting: str) -> None:
    """Other flags of it do not matter."""
    device = CudaDevice.__new__(CudaDevice)
    device._driver = SimpleNamespace(cuCtxGetFlags=lambda: (code, flags))

    assert device.waiting == waiting


def test_facts_are_written_as_nvidia_does() -> None:
    """Compute capability and place of the GPU are text."""
    device = CudaDevice.__new__(CudaDevice)
    device._device = SimpleNamespace(compute_capability=(9, 0), pci_bus_id="0000:65:00.0")

    assert (device.compute_capability, device.pci_bus_id) == ("9.0", "0000:65:00.0")


def test_cuda_core_has_what_is_called() -> None:
    """The names and arguments are those of the package that is installed."""
    core = pytest.importorskip("cuda.core")

    assert core.EventOptions(timing_enabled=True).timing_enabled
    assert core.LaunchConfig(grid=1, block=1).block == (1, 1, 1)
    assert "name" in inspect.signature(core.ObjectCode.from_ptx).parameters
    for owner, names in {
        core.Device: ("create_event", "compute_capability", "pci_bus_id"),
        core.Event: ("sync", "close", "__sub__"),
        core.ObjectCode: ("get_kernel",),
        core.Stream: ("record", "from_handle"),
    }.items():
        assert all(hasattr(owner, name) for name in names)
