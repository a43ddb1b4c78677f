"""One batch size of an engine: its profile, its context, and its CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from yolor_deploy.backends.tensorrt.engine import Context
from yolor_deploy.core.describe import limits_text
from yolor_deploy.core.errors import ArtifactError, RunError
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.cuda.device import Device, Graph
from yolor_deploy.cuda.nms import DeviceNms
from yolor_deploy.cuda.outputs import DeviceOutputs

logger = logging.getLogger(__name__)


class Execution:
    """A context for one batch size, and its graph once there is one.

    Args:
        context: Ready to run.
        device: The GPU.
        nms: What runs behind it; None for nothing.
        maps: Addresses of the raw maps that it reads.
        batch: Images.
        renewed: Makes another context: one whose capture failed is not used again.

    Attributes:
        outputs: Of its runs, by stream.
    """

    def __init__(
        self,
        context: Context,
        device: Device,
        nms: DeviceNms | None,
        maps: Sequence[int],
        batch: int,
        *,
        renewed: Callable[[int], Context],
    ) -> None:
        self._context: Context | None = context
        self._renewed = renewed
        self._device = device
        self._nms = nms
        self._maps = maps
        self._batch = batch
        self.outputs: dict[int, DeviceOutputs] = {}
        self._graph: Graph | None = None
        self._wants_graph = True
        self._is_warm = False

    @property
    def uses_graph(self) -> bool | None:
        """Whether its runs replay a CUDA graph; None before the second, which decides it."""
        return None if self._wants_graph else self._graph is not None

    def launch(self, stream: int) -> None:
        """Run, in the order of a stream."""
        if self._graph is None and self._is_warm and self._wants_graph:
            self._graph = self._captured(stream)
        if self._graph is not None:
            self._graph.launch(stream)
        else:
            self._enqueue(stream)
            self._is_warm = True

    def launch_network(self, stream: int) -> None:
        """Run without graph and without what is behind, in the order of a stream."""
        assert self._context is not None
        self._context.enqueue(stream)

    def _enqueue(self, stream: int) -> None:
        self.launch_network(stream)
        if self._nms is not None:
            self._nms.enqueue(self._maps, self._batch, stream)

    def _captured(self, stream: int) -> Graph | None:
        self._wants_graph = False  # it is tried once
        assert self._context is not None
        if not self._context.is_capturable(self._device.stream):
            return None
        try:
            return self._device.capture(self._enqueue)
        except RunError as error:
            logger.warning("batch %d runs without a CUDA graph: %s", self._batch, error.problem)
        self._context = None  # first: its profile may be for one context alone
        self._context = self._renewed(stream)
        return None


def profile_for(profiles: Sequence[BatchRange], batch: int, *, where: str) -> int:
    """Return the profile that suits a batch best.

    Of those that hold it, one whose optimum it is; else the narrowest, else the first.

    Args:
        profiles: Of an engine.
        batch: Images.
        where: Of an error.

    Raises:
        ArtifactError: None holds it.
    """
    holding = [i for i, p in enumerate(profiles) if p.minimum <= batch <= p.maximum]
    if not holding:
        ranges = " and ".join(map(limits_text, profiles))
        raise ArtifactError(
            f"batch of {batch}, the engine was built for {ranges}",
            where=where,
            hint="split the batch, or build again with --profile MIN:OPT:MAX that holds it",
        )

    def cost(index: int) -> tuple[bool, int]:
        profile = profiles[index]
        return profile.optimum != batch, profile.maximum - profile.minimum

    return min(holding, key=cost)
