"""Run a network and its head with every stage timed apart, on the CPU or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolor_deploy.core.runtime import Array, RawOutput

ClockNs = Callable[[], int]
"""Nanoseconds since some moment, such as ``time.perf_counter_ns``."""

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
}


class HostStages:
    """The two halves of a detector on the CPU.

    Args:
        network: Session that ends in the raw maps.
        head: Session that begins with them.
        clock_ns: Of the stages.
    """

    def __init__(self, network: Any, head: Any, *, clock_ns: ClockNs) -> None:
        self._network, self._head, self._clock_ns = network, head, clock_ns
        self._raw = [value.name for value in network.get_outputs()]
        self._names = [value.name for value in head.get_outputs()]

    def run(self, images: Array) -> tuple[dict[str, float], RawOutput]:
        """Run one batch; return milliseconds of ``model`` and ``nms``, and the outputs."""
        start = self._clock_ns()
        maps = self._network.run_with_ort_values(self._raw, {"images": _on_host(images)})
        between = self._clock_ns()
        rows = self._head.run_with_ort_values(self._names, dict(zip(self._raw, maps, strict=True)))
        outputs = {name: _copy(row) for name, row in zip(self._names, rows, strict=True)}
        end = self._clock_ns()
        return {"model": _ms(between - start), "nms": _ms(end - between)}, outputs


def run_head_on_host(
    head: Any, raw_maps: Sequence[Array], *, clock_ns: ClockNs
) -> tuple[float, RawOutput]:
    """Run a head alone; return milliseconds without copies, and the outputs."""
    values = {name: _on_host(raw) for name, raw in _as_taken(head, raw_maps).items()}
    names = [value.name for value in head.get_outputs()]
    start = clock_ns()
    rows = head.run_with_ort_values(names, values)
    took = clock_ns() - start
    return _ms(took), {name: _copy(row) for name, row in zip(names, rows, strict=True)}


class DeviceStages:
    """A network, and a head behind it if there is one, on a GPU, with memory of their own there.

    A stage ends when the GPU has finished it: the host waits for that, and then reads its clock.

    Args:
        network: Session on the device.
        head: Session on the device that takes the outputs of the network; None without one.
        clock_ns: Of the stages.
        device: As ONNX Runtime calls it.
        index: Which.
    """

    def __init__(
        self, network: Any, head: Any, *, clock_ns: ClockNs, device: str = "cuda", index: int = 0
    ) -> None:
        self._network, self._head, self._clock_ns = network, head, clock_ns
        self._device, self._index = device, index
        self._buffers: dict[int, _Bound] = {}

    def run(self, images: Array) -> tuple[dict[str, float], RawOutput]:
        """Run one batch; return milliseconds by stage, and the outputs."""
        bound = self._bound_for(len(images))
        times: dict[str, float] = {}
        last = self._clock_ns()

        def finish(stage: str) -> None:
            nonlocal last
            now = self._clock_ns()
            times[stage], last = _ms(now - last), now

        bound.put(images)
        finish("host_to_device")
        bound.run_network()
        finish("model")
        if self._head is not None:
            bound.run_head()
            finish("nms")
        outputs = bound.outputs()
        finish("device_to_host")
        return times, outputs

    def _bound_for(self, batch: int) -> _Bound:
        """Return the memory of a batch size; that of another is freed."""
        if batch not in self._buffers:
            self._buffers.clear()
            allocate = _Allocator(self._device, self._index, batch)
            self._buffers[batch] = _Bound(self._network, self._head, allocate)
        return self._buffers[batch]


def run_head_on_device(
    head: Any,
    raw_maps: Sequence[Array],
    *,
    clock_ns: ClockNs,
    device: str = "cuda",
    index: int = 0,
) -> tuple[float, RawOutput]:
    """Run a head alone; return milliseconds without copies, and the outputs."""
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    binding = head.io_binding()
    for name, raw in _as_taken(head, raw_maps).items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(raw, device, index)
        binding.bind_ortvalue_input(name, value)
    allocate = _Allocator(device, index, len(raw_maps[0]))
    rows = _bind_outputs(binding, head, allocate)
    binding.synchronize_inputs()
    start = clock_ns()
    _run(head, binding)
    took = clock_ns() - start
    return _ms(took), {name: _copy(row) for name, row in rows.items()}


@dataclass(frozen=True, slots=True)
class _Allocator:
    """Makes values on a device for a batch."""

    device: str
    index: int
    batch: int

    def __call__(self, declared: Any) -> Any:
        """Return memory for a declared input or output, whose only dynamic side is the batch."""
        import onnxruntime  # noqa: PLC0415 - takes a while to load

        shape = [side if isinstance(side, int) else self.batch for side in declared.shape]
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            shape, _TYPES[declared.type], self.device, self.index
        )


class _Bound:
    """A network and a head with what they read and write on the device, for one batch size."""

    def __init__(self, network: Any, head: Any, allocate: _Allocator) -> None:
        self._network, self._head = network, head
        (images,) = network.get_inputs()
        self._images = allocate(images)
        self._of_network, self._of_head = network.io_binding(), None
        self._of_network.bind_ortvalue_input(images.name, self._images)
        self._rows = _bind_outputs(self._of_network, network, allocate)
        if head is not None:
            self._of_head = head.io_binding()
            for name, value in self._rows.items():
                self._of_head.bind_ortvalue_input(name, value)
            self._rows = _bind_outputs(self._of_head, head, allocate)

    def put(self, images: Array) -> None:
        """Copy images to the device."""
        self._images.update_inplace(np.ascontiguousarray(images))
        self._of_network.synchronize_inputs()

    def run_network(self) -> None:
        """Run the network, and wait for the device."""
        _run(self._network, self._of_network)

    def run_head(self) -> None:
        """Run the head on what the network gave, and wait for the device."""
        _run(self._head, self._of_head)

    def outputs(self) -> RawOutput:
        """Copy the outputs to the host."""
        return {name: _copy(row) for name, row in self._rows.items()}


def _bind_outputs(binding: Any, session: Any, allocate: _Allocator) -> dict[str, Any]:
    rows = {declared.name: allocate(declared) for declared in session.get_outputs()}
    for name, value in rows.items():
        binding.bind_ortvalue_output(name, value)
    return rows


def _run(session: Any, binding: Any) -> None:
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()


def _as_taken(head: Any, raw_maps: Sequence[Array]) -> dict[str, Array]:
    """Return raw maps by name in the type that a head takes."""
    return {
        declared.name: np.ascontiguousarray(raw, _TYPES[declared.type])
        for declared, raw in zip(head.get_inputs(), raw_maps, strict=True)
    }


def _on_host(array: Array) -> Any:
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _copy(value: Any) -> Array:
    """Return what a value holds as an array of its own: of one on the CPU, NumPy gets a view."""
    return np.array(value.numpy())


def _ms(nanoseconds: int) -> float:
    return nanoseconds / 1e6
