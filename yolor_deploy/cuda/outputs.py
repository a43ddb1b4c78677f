"""Outputs of a run: on the GPU until they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.cuda.device import Device, HostMemory, Memory


@dataclass(frozen=True)
class DeviceArray:
    """An array on the GPU, for any library that knows ``__cuda_array_interface__``.

    Attributes:
        pointer: Address of its first element.
        shape: Of the array, dense.
        dtype: Of its elements.
        stream: Handle of the stream that writes it.
        owner: The memory: the next run overwrites it.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int
    owner: Memory

    @property
    def num_bytes(self) -> int:
        """Of all its elements."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The CUDA array interface, version 3."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": self.stream or 1,
            "version": 3,
        }


class Readback:
    """Page-locked host memory that outputs are copied to; allocated at the first copy.

    Args:
        device: The GPU.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory: dict[str, HostMemory] = {}

    def read(
        self,
        arrays: Mapping[str, DeviceArray],
        stream: int,
        *,
        queued: Callable[[], None] = lambda: None,
    ) -> RawOutput:
        """Return arrays in host memory, after all that was given to the stream before.

        This waits, once.

        Args:
            arrays: By name.
            stream: Handle.
            queued: Called when the stream has been given the copies, before the wait.

        Raises:
            RunError: The GPU failed.
        """
        self._device.make_current()  # perhaps in another thread than the run
        for name, array in arrays.items():
            host = self._host(name, array.num_bytes)
            self._device.copy(host.pointer, array.pointer, array.num_bytes, stream)
        queued()
        self._device.synchronize(stream)
        return {
            name: self._memory[name]
            .array[: array.num_bytes]
            .view(array.dtype)
            .reshape(array.shape)
            .copy()
            for name, array in arrays.items()
        }

    def close(self) -> None:
        """Free the memory."""
        for memory in self._memory.values():
            memory.close()
        self._memory.clear()

    def _host(self, name: str, num_bytes: int) -> HostMemory:
        memory = self._memory.get(name)
        if memory is None or memory.array.size < num_bytes:
            if memory is not None:
                memory.close()
            self._memory[name] = memory = self._device.pinned(num_bytes)
        return memory


class DeviceOutputs:
    """The outputs of a run, on the GPU until they are asked for.

    Args:
        arrays: By name.
        stream: Handle of the stream that writes them.
        readback: What copies them to the host.

    Attributes:
        arrays: By name, such as ``num_detections``, ``boxes_xyxy``, ``scores``, ``class_ids``.
    """

    def __init__(self, arrays: dict[str, DeviceArray], stream: int, readback: Readback) -> None:
        self.arrays = arrays
        self._stream = stream
        self._readback = readback

    def to_host(self, *, queued: Callable[[], None] = lambda: None) -> RawOutput:
        """Wait for the run, and return its outputs in host memory.

        Args:
            queued: Called when the stream has been given the copies, before the wait.

        Raises:
            RunError: The GPU failed.
        """
        return self._readback.read(self.arrays, self._stream, queued=queued)
