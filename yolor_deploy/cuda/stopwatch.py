"""Times of what a stream is given, by events between its parts."""

from __future__ import annotations

import logging
from itertools import pairwise

from yolor_deploy.core.errors import RunError
from yolor_deploy.cuda.device import Device
from yolor_deploy.cuda.events import Event
from yolor_deploy.cuda.spin import Spin

logger = logging.getLogger(__name__)

_LEAD_MS = 0.3
"""For which the GPU is kept busy before the first moment: a run of graphs is queued by then.

A GPU that waits for its host would have the host's time in its own.
"""


class Stopwatch:
    """Moments between the parts of what a stream is given; used again and again.

    Args:
        device: The GPU.
        stream: Handle of the stream.
    """

    def __init__(self, device: Device, stream: int) -> None:
        self._device = device
        self._stream = stream
        self._events: list[Event] = []
        self._marks = 0
        self._spin: Spin | None = None
        try:
            self._spin = Spin(device)
        except RunError as error:
            logger.warning("times of short stages include the host's: %s", error.problem)

    def begin(self) -> None:
        """Take the first moment, behind a short time in which the host can queue the rest."""
        self._marks = 0
        if self._spin is not None:
            self._spin.launch(_LEAD_MS, self._stream)
        self.mark()

    def mark(self) -> None:
        """Take the next moment; nothing waits."""
        if self._marks == len(self._events):
            self._events.append(self._device.event())
        self._events[self._marks].record(self._stream)
        self._marks += 1

    def ms(self) -> tuple[float, ...]:
        """Wait for the last moment, and return the milliseconds between each and the next.

        Raises:
            RunError: The GPU failed.
        """
        events = self._events[: self._marks]
        events[-1].synchronize()
        return tuple(b.ms_since(a) for a, b in pairwise(events))

    def close(self) -> None:
        """Free the events."""
        for event in self._events:
            event.close()
        self._events.clear()
        self._marks = 0
