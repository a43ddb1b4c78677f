"""What a session of TensorRT offers to a benchmark: times by events of the GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from yolor_deploy.backends.tensorrt.layer_profile import layer_times
from yolor_deploy.backends.tensorrt.nms_alone import NmsAlone
from yolor_deploy.backends.tensorrt.peak import PeakLoad, measure_peak, precision_of
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.backends.tensorrt.stages import StagedExecution
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.runtime import (
    Array,
    Clock,
    LayerTime,
    Peak,
    RawOutput,
    RunConditions,
    SelfTest,
    Session,
)
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.spin import self_test
from yolor_deploy.cuda.stopwatch import Stopwatch

logger = logging.getLogger(__name__)


class TensorRTInstruments:
    """A ``core.runtime.Instruments`` of a session, which does not run meanwhile.

    Close it before the session.

    Args:
        session: What is measured.
        library: Of the kernels that ``run_nms`` runs where the session has none; None for the one
            of the package.
        load: Of ``peak``.
        clock_ns: Of the host, nanoseconds: what whole runs are timed by, for ``self_test``.
    """

    def __init__(
        self,
        session: TensorRTSession,
        *,
        library: NmsLibrary | None = None,
        load: PeakLoad | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._session = session
        self._library = library
        self._load = load or PeakLoad()
        self._clock_ns = clock_ns
        self._device = session.device
        self._device.make_current()
        self._watch = Stopwatch(self._device, session.stream)
        self._staged: dict[int, StagedExecution] = {}
        self._nms_alone: NmsAlone | None = None

    @property
    def clock(self) -> Clock:
        """Events in the order of the session's stream."""
        return "device"

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages of ``run_stages``; the NMS is one only where its kernels run behind the plan."""
        nms = ("nms",) if self._session.buffers.nms is not None else ()
        return ("host_to_device", "model", *nms, "device_to_host")

    @property
    def pci_bus_id(self) -> str:
        """Where the GPU is, which NVML knows it by."""
        return self._device.pci_bus_id

    def conditions(self) -> RunConditions:
        """Return how the session runs; see ``Instruments.conditions``."""
        engine, buffers = self._session.engine, self._session.buffers
        nms = self._nms_place()
        library = buffers.library.path if buffers.library else engine.plugin
        has_code = nms in {"kernels", "plugin"} and library is not None
        return RunConditions(
            runtime=f"{engine.flavour} {engine.version}",
            device=self._device.name,
            cuda_graph=self._session.uses_graphs,
            waiting=self._device.waiting,
            nms=nms,
            plugin_sha256=sha256_of_file(library) if has_code and library else None,
        )

    def memory_bytes(self) -> Mapping[str, int]:
        """Return bytes by kind on the GPU, for the largest batch."""
        engine, buffers = self._session.engine, self._session.buffers
        workspace = {"workspace": buffers.nms.workspace_bytes} if buffers.nms else {}
        return {
            "weights": engine.weights_bytes,
            "activations": engine.context_bytes,
            **workspace,
            "io": buffers.io_bytes,
        }

    def run_stages(self, images: Array) -> tuple[Mapping[str, float], RawOutput]:
        """Run one batch with events around every stage; see ``Instruments.run_stages``.

        The host writes images to page-locked memory before, and reads outputs from there after:
        neither is in a stage. A batch size that is new is run twice first, untimed.

        Raises:
            ArtifactError, RunError, ValueError: As ``Session.run``.
        """
        session, watch = self._session, self._watch
        session.prepare(images)
        batch, stream = len(images), session.stream
        staged = self._staged.get(batch) or self._warmed(batch, images.nbytes)
        watch.begin()
        session.buffers.upload(images.nbytes, stream)
        watch.mark()
        staged.model.launch(stream)
        watch.mark()
        if staged.nms is not None:
            staged.nms.launch(stream)
            watch.mark()
        outputs = session.buffers.outputs(batch, stream).to_host(queued=watch.mark)
        return dict(zip(self.stages, watch.ms(), strict=True)), outputs

    def run_nms(self, raw_maps: Sequence[Array]) -> tuple[float, RawOutput]:
        """Run the kernels alone on raw maps; see ``Instruments.run_nms``.

        Also for engines that have them as a plugin, which is the same code. Maps are rounded to
        what the engine's are.

        Raises:
            BackendUnavailableError: The model does not detect, or there are no kernels.
            RunError: A map has another shape, or the GPU failed.
        """
        self._device.make_current()
        if self._nms_alone is None:
            self._nms_alone = NmsAlone(self._session, self._library)
        return self._nms_alone.run(raw_maps, self._watch)

    def profile(self, images: Array, runs: int) -> tuple[LayerTime, ...]:
        """Return TensorRT's times of its layers, on a context of its own without a graph.

        Empty where this TensorRT tells none, which is logged.

        Args:
            images: As ``Session.run`` takes them.
            runs: Whose median is taken, after one that is not.

        Raises:
            ArtifactError, RunError, ValueError: As ``Session.run``.
        """
        session, stream = self._session, self._session.stream
        times = session.engine.layer_times()
        if times is None:
            logger.warning("%s has no profiler", session.engine.flavour)
            return ()
        session.prepare(images)
        session.buffers.upload(images.nbytes, stream)
        context = session.new_context(len(images), stream)
        context.time_layers(times)
        told = []
        for _ in range(1 + runs):
            context.enqueue(stream)
            self._device.synchronize(stream)
            told.append(times.take())
        found = layer_times(told[1:])
        if not found:
            logger.warning("%s tells no times of layers", session.engine.flavour)
        return found

    def another(self) -> Session:
        """Return a session of the same plan; see ``TensorRTSession.clone``."""
        return self._session.clone()

    def self_test(self) -> SelfTest:
        """Show a kernel of known length to the events, and to the clock of the host.

        Both are in the result, events first.

        Raises:
            RunError: The GPU failed.
        """
        self._device.make_current()
        return self_test(self._device, self._session.stream, clock_ns=self._clock_ns)

    def peak(self) -> Peak:
        """Measure a chain of matrix products and a copy; see ``measure_peak``.

        Raises:
            BuildError: TensorRT does not build the chain.
            RunError: The GPU is short of memory, or failed.
        """
        self._device.make_current()
        precision = precision_of(self._session.artifact.meta)
        return measure_peak(self._session.engine.flavour, self._device, precision, self._load)

    def close(self) -> None:
        """Wait for what runs, and free what was made for measuring."""
        self._device.make_current()
        self._device.synchronize(self._session.stream)
        self._staged.clear()
        self._watch.close()
        if self._nms_alone is not None:
            self._nms_alone.close()
            self._nms_alone = None

    def _nms_place(self) -> Literal["graph", "plugin", "kernels", "none"]:
        session = self._session
        if session.artifact.meta.output != "detections":
            return "none"
        if session.buffers.nms is not None:
            return "kernels"
        return "plugin" if session.engine.plugin is not None else "graph"

    def _warmed(self, batch: int, num_bytes: int) -> StagedExecution:
        session = self._session
        self._staged.clear()  # one is enough: a benchmark has one batch size
        staged = self._staged[batch] = StagedExecution(session, batch)
        session.buffers.upload(num_bytes, session.stream)
        for _ in range(2):  # the first is plain, the second is captured
            staged.launch(session.stream)
        self._device.synchronize(session.stream)
        return staged
