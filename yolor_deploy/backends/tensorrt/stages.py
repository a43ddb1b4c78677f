"""One batch size of an engine with its model and its post-processing apart, to be timed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from yolor_deploy.backends.tensorrt.execution import Execution
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.errors import RunError
from yolor_deploy.cuda.device import Device, Graph

logger = logging.getLogger(__name__)


class Repeated:
    """Work of a stream whose first run is a plain one, and all others replay its CUDA graph.

    Args:
        device: The GPU.
        work: Gives the stream what is to be done; it is the same each time.
    """

    def __init__(self, device: Device, work: Callable[[int], None]) -> None:
        self._device = device
        self._work = work
        self._wants_graph = True
        self._is_warm = False
        self._graph: Graph | None = None

    def launch(self, stream: int) -> None:
        """Do it, in the order of a stream; nothing waits."""
        if self._is_warm and self._wants_graph:
            self._wants_graph = False  # it is tried once
            try:
                self._graph = self._device.capture(self._work)
            except RunError as error:
                logger.warning("post-processing is timed without a graph: %s", error.problem)
        if self._graph is not None:
            self._graph.launch(stream)
        else:
            self._work(stream)
            self._is_warm = True


class Launch(Protocol):
    """Work that can be given to a stream again and again."""

    def launch(self, stream: int) -> None:
        """Do it, in the order of a stream; nothing waits."""
        ...


class _NetworkOfRuns:
    """The network on the context that the runs of a session have."""

    def __init__(self, session: TensorRTSession, batch: int) -> None:
        self._session, self._batch = session, batch

    def launch(self, stream: int) -> None:
        """Run it; a session that has dropped its context makes one again."""
        self._session.execution(self._batch, stream).launch_network(stream)


class StagedExecution:
    """A batch size of a session, on its memory, with contexts and graphs of its own.

    The model is captured as the session does it, so it has a graph if and only if runs have one.
    Before TensorRT 8.6 a profile is for one context alone, which the runs keep: there the model is
    launched on it without a graph, and that is logged.

    Args:
        session: Not running.
        batch: Images.

    Attributes:
        model: The network.
        nms: What runs behind it; None for nothing.

    Raises:
        ArtifactError: No profile holds the batch.
        RunError: TensorRT refuses.
    """

    def __init__(self, session: TensorRTSession, batch: int) -> None:
        buffers, stream = session.buffers, session.stream
        context = session.spare_context(batch, stream)
        self.model: Launch
        if context is None:
            logger.warning("the model is timed without a graph: its profile has one context")
            self.model = _NetworkOfRuns(session, batch)
        else:
            renewed = partial(session.new_context, batch)
            self.model = Execution(context, session.device, None, (), batch, renewed=renewed)
        self.nms: Repeated | None = None
        if buffers.nms is not None:
            nms, maps = buffers.nms, buffers.map_pointers
            self.nms = Repeated(session.device, lambda stream: nms.enqueue(maps, batch, stream))

    def launch(self, stream: int) -> None:
        """Run both, in the order of a stream."""
        self.model.launch(stream)
        if self.nms is not None:
            self.nms.launch(stream)
