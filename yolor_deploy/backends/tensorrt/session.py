"""An engine that runs: images in, outputs out, with memory that is allocated once."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from yolor_deploy.backends.tensorrt.engine import Context, Engine
from yolor_deploy.backends.tensorrt.execution import Execution, profile_for
from yolor_deploy.backends.tensorrt.signature import IMAGES, require_signature
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, RunError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.run_input import require_images, require_threshold
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.cuda.device import Device, HostMemory, Memory, stream_handle
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.nms import DeviceNms
from yolor_deploy.cuda.outputs import DeviceArray, DeviceOutputs, Readback
from yolor_deploy.cuda.structs import MapFormat
from yolor_deploy.cuda.thresholds import DeviceThresholds

_MOST_EXECUTIONS = 8  # batch sizes whose contexts and graphs are kept
_MOST_STREAMS = 16  # whose arrays are kept
_SCRATCH = "scratch of the contexts"


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
        self._engine = engine
        self._device = device
        self._library = library
        self._signature = require_signature(artifact, engine.inputs, engine.outputs)
        self._max_batch = max(batch.maximum for batch in engine.profiles)
        self._executions: OrderedDict[int, Execution] = OrderedDict()
        self._memory: dict[str, Memory] = {}
        self._nms: DeviceNms | None = None
        self._own_thresholds: DeviceThresholds | None = None
        self._readback = Readback(device)
        self._staging: HostMemory | None = None
        self._inputs: dict[int, DeviceArray] = {}
        self._is_open = True
        try:
            self._allocate()
        except RunError:
            self.close()
            raise

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        return self._artifact

    @property
    def stream(self) -> int:
        """Handle of the stream that runs are on unless they are given another."""
        return self._device.stream

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
        require_images(self._artifact, images.dtype, images.shape)
        self._begin(score_threshold, iou_threshold)
        staging = self._staged()
        stream, num_bytes = self._device.stream, images.nbytes
        np.copyto(staging.array[:num_bytes].view(images.dtype).reshape(images.shape), images)
        self._device.copy(self._memory[IMAGES].pointer, staging.pointer, num_bytes, stream)
        return self._launch(len(images), stream).to_host()

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
        handle = self._device.stream if stream is None else stream_handle(stream)
        self._device.make_current()
        view = self._device.view(images, handle)
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
            self._device.copy(target.pointer, view.pointer, target.num_bytes, handle)
        return self._launch(batch, handle)

    def input_array(self, batch: int) -> DeviceArray:
        """Return the memory that the network reads, for programs that write images there.

        Args:
            batch: Images.
        """
        if batch not in self._inputs:
            spec = self._artifact.meta.spec.input
            memory, dtype = self._memory[IMAGES], np.dtype(spec.dtype)
            self._inputs[batch] = DeviceArray(
                memory.pointer, spec.shape(batch), dtype, self._device.stream, memory
            )
        return self._inputs[batch]

    def synchronize(self) -> None:
        """Wait for all runs on the session's own stream.

        Raises:
            RunError: The GPU failed at one.
        """
        self._device.synchronize(self._device.stream)

    def clone(self) -> TensorRTSession:
        """Return a session of the same plan with memory and a stream of its own.

        Raises:
            RunError: The GPU is short of memory.
        """
        self._require_open()
        return TensorRTSession(
            self._artifact,
            self._engine,
            self._device.with_own_stream(),
            library=self._library,
        )

    def close(self) -> None:
        """Wait for what runs, and free what it needs; the session cannot be used afterwards."""
        if self._is_open:
            self._device.make_current()
            with contextlib.suppress(RunError):  # of a GPU that failed, which is told already
                self._device.synchronize(None)
        self._is_open = False
        self._executions.clear()
        for part in (self._nms, self._own_thresholds, self._staging, *self._memory.values()):
            if part is not None:
                part.close()
        self._readback.close()
        self._memory.clear()
        self._inputs.clear()
        self._nms = self._own_thresholds = self._staging = None

    def _allocate(self) -> None:
        meta, signature = self._artifact.meta, self._signature
        spec = meta.spec.input
        sizes = {IMAGES: _num_bytes(spec.shape(self._max_batch), spec.dtype)}
        for name, info in self._engine.outputs.items():
            sizes[name] = _num_bytes(signature.shape_of(name, self._max_batch), info.dtype)
        sizes[_SCRATCH] = self._engine.context_bytes or 1
        for name, num_bytes in sizes.items():
            self._memory[name] = self._device.allocate(num_bytes)
        if signature.has_thresholds:
            self._own_thresholds = DeviceThresholds(self._device, meta.nms or NmsConfig())
        if signature.map_dtype is not None:
            self._nms = DeviceNms(
                meta.spec,
                meta.nms or NmsConfig(),
                max_batch=self._max_batch,
                map_format=MapFormat(signature.map_dtype),
                library=self._library,
                device=self._device,
            )

    def _staged(self) -> HostMemory:
        if self._staging is None:
            spec = self._artifact.meta.spec.input
            self._staging = self._device.pinned(_num_bytes(spec.shape(self._max_batch), spec.dtype))
        return self._staging

    def _begin(self, score: float | None, iou: float | None, stream: int | None = None) -> None:
        """Check the thresholds of a run, and set them."""
        self._require_open()
        self._device.make_current()
        for name, value in zip(THRESHOLD_INPUTS, (score, iou), strict=True):
            if value is not None:
                require_threshold(self._artifact, name, value)
        thresholds = self._nms.thresholds if self._nms else self._own_thresholds
        if thresholds is not None:
            thresholds.set(score, iou, self._device.stream if stream is None else stream)
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
        execution = self._execution(batch, stream)
        execution.launch(stream)
        found = execution.outputs.get(stream)
        if found is None:  # made once a stream: it costs as much as the launch
            if len(execution.outputs) >= _MOST_STREAMS:
                execution.outputs.clear()
            found = execution.outputs[stream] = self._outputs(batch, stream)
        return found

    def _outputs(self, batch: int, stream: int) -> DeviceOutputs:
        if self._nms is not None:
            return self._nms.outputs(batch, stream)
        arrays = {
            name: DeviceArray(
                self._memory[name].pointer,
                self._signature.shape_of(name, batch),
                np.dtype(self._engine.outputs[name].dtype),
                stream,
                self._memory[name],
            )
            for name in self._artifact.output_names
        }
        return DeviceOutputs(arrays, stream, self._readback)

    def _execution(self, batch: int, stream: int) -> Execution:
        execution = self._executions.get(batch)
        if execution is not None:
            self._executions.move_to_end(batch)
            return execution
        profile = profile_for(self._engine.profiles, batch, where=str(self._artifact.path))
        if len(self._executions) >= _MOST_EXECUTIONS:
            self._device.synchronize(None)  # it may be running
            self._executions.popitem(last=False)
        context = self._context(batch, profile, stream)
        execution = Execution(
            context,
            self._device,
            self._nms,
            self._map_pointers(),
            batch,
            renewed=partial(self._context, batch, profile),
        )
        self._executions[batch] = execution
        return execution

    def _context(self, batch: int, profile: int, stream: int) -> Context:
        addresses = {name: memory.pointer for name, memory in self._memory.items()}
        scratch = addresses.pop(_SCRATCH)
        if self._own_thresholds is not None:
            addresses |= {name: self._own_thresholds.pointer(name) for name in THRESHOLD_INPUTS}
        made = self._engine.new_context(scratch, profile, batch, addresses, stream)
        if made is None and self._executions:  # before 8.6 a profile is for one context alone
            self._device.synchronize(None)
            self._executions.clear()
            made = self._engine.new_context(scratch, profile, batch, addresses, stream)
        if made is None:
            raise RunError(
                f"another session of this engine uses profile {profile}",
                where=str(self._artifact.path),
                hint="open the engine again for it, or build with TensorRT 8.6 or newer",
            )
        return made

    def _map_pointers(self) -> tuple[int, ...]:
        if self._nms is None:
            return ()
        return tuple(self._memory[name].pointer for name in self._signature.map_names)

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError(f"session of {self._artifact.path} is closed")


def _num_bytes(shape: Sequence[int], dtype: str) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize
