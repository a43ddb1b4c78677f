"""The post-processing of an engine alone, on raw maps from the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.backends.tensorrt.stages import Repeated
from yolor_deploy.core.errors import BackendUnavailableError, RunError
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.cuda.device import Memory
from yolor_deploy.cuda.library import BUILD_HINT, NmsLibrary
from yolor_deploy.cuda.nms import DeviceNms
from yolor_deploy.cuda.stopwatch import Stopwatch
from yolor_deploy.cuda.structs import MapFormat


class NmsAlone:
    """The CUDA kernels with memory of their own, each batch size as a CUDA graph.

    Maps are NCHW here; in a plugin TensorRT may have chosen another layout for them.

    Args:
        session: Whose detector, limits and precision they have.
        library: Of the kernels; None for the one of the session, else of the package.

    Raises:
        BackendUnavailableError: The model does not detect, or there are no kernels.
        RunError: The GPU is short of memory.
    """

    def __init__(self, session: TensorRTSession, library: NmsLibrary | None = None) -> None:
        meta = session.artifact.meta
        if meta.nms is None or meta.output != "detections":
            raise BackendUnavailableError(
                f"the model ends in {meta.output}, and has no post-processing",
                where=str(session.artifact.path),
                hint="export it with --output detections",
            )
        library = library or session.buffers.library or NmsLibrary()
        if not library.cuda_architectures:
            raise BackendUnavailableError(
                "the NMS library has no CUDA part", where=str(library.path), hint=BUILD_HINT
            )
        self._spec = meta.spec
        self._device, self._stream = session.device, session.stream
        own = session.buffers.nms
        base = Precision.from_name(meta.precision).base
        self._format = (
            own.map_format if own else MapFormat("float16" if base == "fp16" else "float32")
        )
        self._maps: list[Memory] = []
        self._runs: dict[int, Repeated] = {}
        self._nms = DeviceNms(
            meta.spec,
            meta.nms,
            max_batch=session.buffers.max_batch,
            map_format=self._format,
            library=library,
            device=self._device,
        )
        try:
            for level in meta.spec.levels:
                shape = self._format.shape(self._nms.max_batch, *meta.spec.head_shape(level))
                size = int(np.prod(shape)) * self._format.numpy_dtype.itemsize
                self._maps.append(self._device.allocate(size))
        except RunError:
            self.close()
            raise

    def run(self, raw_maps: Sequence[Array], watch: Stopwatch) -> tuple[float, RawOutput]:
        """Copy maps to the GPU, and time the kernels on them.

        Args:
            raw_maps: float32 [n, anchors * (5 + classes), h, w], finest stride first.
            watch: Of the session's stream.

        Returns:
            Milliseconds, and the outputs.

        Raises:
            RunError: A map has another shape, or the GPU failed.
        """
        batch = self._require_maps(raw_maps)
        for memory, raw in zip(self._maps, raw_maps, strict=True):
            values = np.ascontiguousarray(raw, self._format.numpy_dtype)
            self._device.copy(memory.pointer, values.ctypes.data, values.nbytes, self._stream)
            self._device.synchronize(self._stream)  # the host's memory may go
        run = self._runs.get(batch)
        if run is None:
            pointers = [memory.pointer for memory in self._maps]
            run = Repeated(self._device, lambda stream: self._nms.enqueue(pointers, batch, stream))
            self._runs[batch] = run
            for _ in range(2):  # the first is plain, the second is captured
                run.launch(self._stream)
        watch.begin()
        run.launch(self._stream)
        watch.mark()
        outputs = self._nms.outputs(batch, self._stream).to_host()
        return watch.ms()[0], outputs

    def close(self) -> None:
        """Free the memory."""
        self._nms.close()
        for memory in self._maps:
            memory.close()
        self._maps.clear()
        self._runs.clear()

    def _require_maps(self, raw_maps: Sequence[Array]) -> int:
        batch = len(raw_maps[0]) if raw_maps else 0
        expected = [(batch, *self._spec.head_shape(level)) for level in self._spec.levels]
        found = [raw.shape for raw in raw_maps]
        if found != expected or not 1 <= batch <= self._nms.max_batch:
            raise RunError(
                f"raw maps of {found}, expected {expected} and 1 to {self._nms.max_batch} images",
                where="raw maps",
                hint="give one map per level of the detector, finest stride first",
            )
        return batch
