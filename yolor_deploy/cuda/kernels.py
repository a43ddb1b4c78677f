"""Kernels of our own that are small enough to be text."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from yolor_deploy.cuda.failure import gpu_failure


class Kernel(Protocol):
    """Code of a GPU for one thread, with one number."""

    def launch(self, stream: int, value: int) -> None:
        """Run it, in the order of a stream; nothing waits.

        Args:
            stream: Handle.
            value: 64 bits, without sign.
        """
        ...


class CudaKernel:
    """A ``Kernel`` by ``cuda.core``.

    Args:
        core: The module.
        kernel: Of it.
        stream_of: Gives cuda.core's object for the handle of a stream.
        name: Of the GPU, for errors.
    """

    def __init__(self, core: Any, kernel: Any, stream_of: Callable[[int], Any], name: str) -> None:
        self._core = core
        self._kernel = kernel
        self._stream_of = stream_of
        self._name = name
        self._one_thread = core.LaunchConfig(grid=1, block=1)

    def launch(self, stream: int, value: int) -> None:
        """Run it; see ``Kernel.launch``."""
        argument = ctypes.c_uint64(value)
        try:
            self._core.launch(self._stream_of(stream), self._one_thread, self._kernel, argument)
        except Exception as error:
            raise gpu_failure(self._name, str(error)) from error
