"""An engine that runs: images in, outputs out, with memory that is allocated once."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from functools import partial
from typing import Any

from yolor_deploy.backends.tensorrt.buffers import Buffers
from yolor_deploy.backends.tensorrt.engine import Context, Engine
from yolor_deploy.backends.tensorrt.execution import Execution, profile_for
from yolor_deploy.backends.tensorrt.signature import IMAGES
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, RunError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.run_input import require_images, require_threshold
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.cuda.device import Device, stream_handle
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.outputs import DeviceArray, DeviceOutputs

_MOST_EXECUTIONS = 8  # batch sizes whose contexts and graphs are kept
_MOST_STREAMS = 16  # whose arrays are kept


class TensorRTSession:
    """A ``core.runtime.Session`` on a GPU.

    One run at a time: a run uses the memory of the one before, and ``run_device`` returns arrays
    that the next run overwrites. For several runs at once take ``clone``, one for each thread.

    Each batch size has a context of its own. Its first run is a plain one, its second is captured
    as a CUDA graph, which all others replay; thresholds are read from memory, so the graph stays.

    Args:
        artifact: Of the engine.
        engine: Its plan, loaded.
        device: The GPU that it is loaded on.
        library: Of the kernels that run behind a plan without post-processing; None for the one of
            the package.

    Attributes:
        engine: As given.
        device: As given.
        buffers: What runs read and write.

    Raises:
        ArtifactError: The plan has other inputs or outputs than its metadata tell.
        BackendUnavailableError: The library is missing.
        RunError: The GPU is short of memory.
    """

    def __init__(
        self,
        artifact: Artifact,
        engine: Engine,
        device: Device,
        *,
        library: NmsLibrary | None = None,
    ) -> None:
        self._artifact = artifact
        self.engine = engine
        self.device = device
        self._library = library
        self.buffers = Buffers(artifact, engine, device, library=library)
        self._executions: OrderedDict[int, Execution] = OrderedDict()
        self._is_open = True

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        return self._artifact

    @property
    def stream(self) -> int:
        """Handle of the stream that runs are on unless they are given another."""
        return self.device.stream

    @property
    def uses_graphs(self) -> bool:
        """Whether runs of every batch size that ran twice replay a CUDA graph."""
        decided = [execution.uses_graph for execution in self._executions.values()]
        return True in decided and False not in decided

    def run(
        self,
        images: Array,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> RawOutput:
        """Run the network on one batch in host memory; see ``core.runtime.Session.run``.

        It waits once, for the outputs.

        Raises:
            ArtifactError: The images have another shape or dtype than the engine takes, or a
                threshold is none or has no use.
            RunError: The GPU or TensorRT failed.
            ValueError: The session is closed.
        """
        self.prepare(images, score_threshold=score_threshold, iou_threshold=iou_threshold)
        stream = self.device.stream
        self.buffers.upload(images.nbytes, stream)
        return self._launch(len(images), stream).to_host()

    def prepare(
        self,
        images: Array,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> None:
        """Do what the host has to do before a run: check, set thresholds, and stage the images.

        Args:
            images: As ``run`` takes them.
            score_threshold: As for ``run``.
            iou_threshold: As for ``run``.

        Raises:
            ArtifactError, RunError, ValueError: As ``run``.
        """
        require_images(self._artifact, images.dtype, images.shape)
        self._begin(score_threshold, iou_threshold)
        self.buffers.stage(images)

    def run_device(
        self,
        images: Any,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        stream: Any = None,
    ) -> DeviceOutputs:
        """Run the network on one batch that is on the GPU. Nothing waits.

        The outputs are there in the order of the stream. Images are copied on the GPU unless they
        were written to ``input_array``.

        Args:
            images: As ``run`` takes them, dense, with ``__cuda_array_interface__`` or DLPack. The
                stream waits for the one that the array names.
            score_threshold: As for ``run``.
            iou_threshold: As for ``run``.
            stream: Of any library, or its handle; None for the session's. Runs on different
                streams have to be ordered by the caller.

        Raises:
            ArtifactError, RunError, ValueError: As ``run``; or the array is not on the GPU.
        """
        handle = self.device.stream if stream is None else stream_handle(stream)
        self.device.make_current()
        view = self.device.view(images, handle)
        require_images(self._artifact, view.dtype, view.shape)
        if not view.is_contiguous:
            raise RunError(
                f"not dense in memory: {list(view.shape)} with gaps or permuted axes",
                where=IMAGES,
                hint="copy it first, such as with .contiguous() or ascontiguousarray()",
            )
        batch = view.shape[0]
        self._begin(score_threshold, iou_threshold, handle)
        target = self.input_array(batch)
        if view.pointer != target.pointer:
            self.device.copy(target.pointer, view.pointer, target.num_bytes, handle)
        return self._launch(batch, handle)

    def input_array(self, batch: int) -> DeviceArray:
        """Return the memory that the network reads, for programs that write images there.

        Args:
            batch: Images.
        """
        return self.buffers.input_array(batch)

    def spare_context(self, batch: int, stream: int) -> Context | None:
        """Return another context beside those of the runs, on the memory of the session.

        Args:
            batch: Images.
            stream: Handle of the stream that its profile is set in.

        Returns:
            None where the profile is for one context alone: before TensorRT 8.6.

        Raises:
            ArtifactError: No profile holds the batch.
            RunError: TensorRT refuses.
        """
        self.execution(batch, stream)  # first: what is left over is spare
        profile = profile_for(self.engine.profiles, batch, where=str(self._artifact.path))
        return self.buffers.new_context(profile, batch, stream)

    def new_context(self, batch: int, stream: int) -> Context:
        """Return another context for a batch size, on the memory of the session.

        Args:
            batch: Images.
            stream: Handle of the stream that its profile is set in.

        Raises:
            ArtifactError: No profile holds the batch.
            RunError: TensorRT refuses.
        """
        profile = profile_for(self.engine.profiles, batch, where=str(self._artifact.path))
        made = self.buffers.new_context(profile, batch, stream)
        if made is None and self._executions:  # before 8.6 a profile is for one context alone
            self.device.synchronize(None)
            self._executions.clear()
            made = self.buffers.new_context(profile, batch, stream)
        if made is None:
            raise RunError(
                f"another session of this engine uses profile {profile}",
                where=str(self._artifact.path),
                hint="open the engine again for it, or build with TensorRT 8.6 or newer",
            )
        return made

    def synchronize(self) -> None:
        """Wait for all runs on the session's own stream.

        Raises:
            RunError: The GPU failed at one.
        """
        self.device.synchronize(self.device.stream)

    def clone(self) -> TensorRTSession:
        """Return a session of the same plan with memory and a stream of its own.

        Raises:
            RunError: The GPU is short of memory.
        """
        self._require_open()
        return TensorRTSession(
            self._artifact,
            self.engine,
            self.device.with_own_stream(),
            library=self._library,
        )

    def close(self) -> None:
        """Wait for what runs, and free what it needs; the session cannot be used afterwards."""
        if self._is_open:
            self.device.make_current()
            with contextlib.suppress(RunError):  # of a GPU that failed, which is told already
                self.device.synchronize(None)
        self._is_open = False
        self._executions.clear()
        self.buffers.close()

    def _begin(self, score: float | None, iou: float | None, stream: int | None = None) -> None:
        """Check the thresholds of a run, and set them."""
        self._require_open()
        self.device.make_current()
        for name, value in zip(THRESHOLD_INPUTS, (score, iou), strict=True):
            if value is not None:
                require_threshold(self._artifact, name, value)
        thresholds = self.buffers.thresholds
        if thresholds is not None:
            thresholds.set(score, iou, self.device.stream if stream is None else stream)
        else:
            self._require_built_in(score, iou)

    def _require_built_in(self, score: float | None, iou: float | None) -> None:
        """Refuse thresholds other than those of a plan that has them as constants."""
        nms = self._artifact.meta.nms
        for name, value in zip(THRESHOLD_INPUTS, (score, iou), strict=True):
            if value is not None and nms is not None and value != getattr(nms, name):
                raise ArtifactError(
                    f"{name} is {value}, and the plan has {getattr(nms, name)} built in",
                    where=str(self._artifact.path),
                    hint="build the engine with `yolor-deploy build`, which keeps it an input",
                )

    def _launch(self, batch: int, stream: int) -> DeviceOutputs:
        execution = self.execution(batch, stream)
        execution.launch(stream)
        found = execution.outputs.get(stream)
        if found is None:  # made once a stream: it costs as much as the launch
            if len(execution.outputs) >= _MOST_STREAMS:
                execution.outputs.clear()
            found = execution.outputs[stream] = self.buffers.outputs(batch, stream)
        return found

    def execution(self, batch: int, stream: int) -> Execution:
        """Return what runs a batch size; made where there is none.

        Args:
            batch: Images.
            stream: Handle of the stream that its profile is set in.

        Raises:
            ArtifactError: No profile holds the batch.
            RunError: TensorRT refuses.
        """
        execution = self._executions.get(batch)
        if execution is not None:
            self._executions.move_to_end(batch)
            return execution
        if len(self._executions) >= _MOST_EXECUTIONS:
            self.device.synchronize(None)  # it may be running
            self._executions.popitem(last=False)
        execution = Execution(
            self.new_context(batch, stream),
            self.device,
            self.buffers.nms,
            self.buffers.map_pointers,
            batch,
            renewed=partial(self.new_context, batch),
        )
        self._executions[batch] = execution
        return execution

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError(f"session of {self._artifact.path} is closed")
