"""Moments in the order of a stream: the clock that times of a GPU are read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from yolor_deploy.cuda.failure import gpu_failure


class Event(Protocol):
    """A moment in the order of a stream; recorded again, it is a later one."""

    def record(self, stream: int) -> None:
        """Take the moment when all that the stream was given before is done; nothing waits."""
        ...

    def synchronize(self) -> None:
        """Wait for the moment.

        Raises:
            RunError: The GPU failed at something before it.
        """
        ...

    def ms_since(self, earlier: Event) -> float:
        """Return the milliseconds from another moment to this one; both have come.

        CUDA resolves about half a microsecond.

        Raises:
            RunError: One of them was not recorded, or has not come yet.
        """
        ...

    def close(self) -> None:
        """Free it."""
        ...


class CudaEvent:
    """An ``Event`` by ``cuda.core``.

    Args:
        event: Of cuda.core, made with timing.
        stream_of: Gives cuda.core's object for the handle of a stream.
        name: Of the GPU, for errors.
    """

    def __init__(self, event: Any, stream_of: Callable[[int], Any], name: str) -> None:
        self._event = event
        self._stream_of = stream_of
        self._name = name

    def record(self, stream: int) -> None:
        """Take the moment; see ``Event.record``."""
        try:
            self._stream_of(stream).record(self._event)
        except Exception as error:
            raise gpu_failure(self._name, str(error)) from error

    def synchronize(self) -> None:
        """Wait; see ``Event.synchronize``."""
        try:
            self._event.sync()
        except Exception as error:
            raise gpu_failure(self._name, str(error)) from error

    def ms_since(self, earlier: Event) -> float:
        """Return milliseconds; see ``Event.ms_since``."""
        assert isinstance(earlier, CudaEvent)
        try:
            return float(self._event - earlier._event)  # noqa: SLF001 - of the same class
        except Exception as error:
            raise gpu_failure(self._name, str(error)) from error

    def close(self) -> None:
        """Free it."""
        self._event.close()
