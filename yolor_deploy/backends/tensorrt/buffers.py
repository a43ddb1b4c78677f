"""Memory of a session: what its runs read and write, allocated once for the largest batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolor_deploy.backends.tensorrt.engine import Context, Engine
from yolor_deploy.backends.tensorrt.signature import IMAGES, require_signature
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import RunError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.cuda.device import Device, HostMemory, Memory
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.nms import DeviceNms
from yolor_deploy.cuda.outputs import DeviceArray, DeviceOutputs, Readback
from yolor_deploy.cuda.structs import MapFormat
from yolor_deploy.cuda.thresholds import DeviceThresholds

_SCRATCH = "scratch of the contexts"


class Buffers:
    """Images, outputs, thresholds, scratch, and what runs behind a plan that gives raw maps.

    Args:
        artifact: Of the engine.
        engine: Its plan, loaded.
        device: The GPU that it is loaded on.
        library: Of the kernels behind a plan without post-processing; None for the one of the
            package, which is loaded where they are needed.

    Attributes:
        nms: What runs behind the plan; None for nothing.
        library: Of that; None without it.
        max_batch: Most images of a run.

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
        library: NmsLibrary | None,
    ) -> None:
        self._artifact = artifact
        self._engine = engine
        self._device = device
        self._signature = require_signature(artifact, engine.inputs, engine.outputs)
        self.max_batch = max(batch.maximum for batch in engine.profiles)
        self.nms: DeviceNms | None = None
        self.library: NmsLibrary | None = None
        self._memory: dict[str, Memory] = {}
        self._sizes: dict[str, int] = {}
        self._own_thresholds: DeviceThresholds | None = None
        self._readback = Readback(device)
        self._staging: HostMemory | None = None
        self._inputs: dict[int, DeviceArray] = {}
        try:
            self._allocate(library)
        except RunError:
            self.close()
            raise

    @property
    def thresholds(self) -> DeviceThresholds | None:
        """Where runs read them; None for a plan that has them built in, or has none."""
        return self.nms.thresholds if self.nms else self._own_thresholds

    @property
    def map_pointers(self) -> tuple[int, ...]:
        """Addresses of the raw maps that ``nms`` reads; empty without it."""
        if self.nms is None:
            return ()
        return tuple(self._memory[name].pointer for name in self._signature.map_names)

    @property
    def io_bytes(self) -> int:
        """Size of images and outputs of the plan on the GPU."""
        return sum(size for name, size in self._sizes.items() if name != _SCRATCH)

    def stage(self, images: Array) -> None:
        """Write images to page-locked memory, which copies to the GPU start from.

        Args:
            images: As ``Session.run`` takes them.
        """
        if self._staging is None:
            spec = self._artifact.meta.spec.input
            self._staging = self._device.pinned(_num_bytes(spec.shape(self.max_batch), spec.dtype))
        target = self._staging.array[: images.nbytes].view(images.dtype)
        np.copyto(target.reshape(images.shape), images)

    def upload(self, num_bytes: int, stream: int) -> None:
        """Copy what was staged to where the network reads it, in the order of a stream."""
        assert self._staging is not None
        self._device.copy(self._memory[IMAGES].pointer, self._staging.pointer, num_bytes, stream)

    def input_array(self, batch: int) -> DeviceArray:
        """Return the memory that the network reads."""
        if batch not in self._inputs:
            spec = self._artifact.meta.spec.input
            memory, dtype = self._memory[IMAGES], np.dtype(spec.dtype)
            self._inputs[batch] = DeviceArray(
                memory.pointer, spec.shape(batch), dtype, self._device.stream, memory
            )
        return self._inputs[batch]

    def outputs(self, batch: int, stream: int) -> DeviceOutputs:
        """Return what a run on a stream writes, or has written."""
        if self.nms is not None:
            return self.nms.outputs(batch, stream)
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

    def new_context(self, profile: int, batch: int, stream: int) -> Context | None:
        """Return a context that reads and writes here; see ``Engine.new_context``."""
        addresses = {name: memory.pointer for name, memory in self._memory.items()}
        scratch = addresses.pop(_SCRATCH)
        if self._own_thresholds is not None:
            addresses |= {name: self._own_thresholds.pointer(name) for name in THRESHOLD_INPUTS}
        return self._engine.new_context(scratch, profile, batch, addresses, stream)

    def close(self) -> None:
        """Free the memory, which nothing uses any more."""
        for part in (self.nms, self._own_thresholds, self._staging, *self._memory.values()):
            if part is not None:
                part.close()
        self._readback.close()
        self._memory.clear()
        self._inputs.clear()
        self.nms = self._own_thresholds = self._staging = None

    def _allocate(self, library: NmsLibrary | None) -> None:
        meta, signature = self._artifact.meta, self._signature
        spec = meta.spec.input
        self._sizes = {IMAGES: _num_bytes(spec.shape(self.max_batch), spec.dtype)}
        for name, info in self._engine.outputs.items():
            self._sizes[name] = _num_bytes(signature.shape_of(name, self.max_batch), info.dtype)
        self._sizes[_SCRATCH] = self._engine.context_bytes or 1
        for name, num_bytes in self._sizes.items():
            self._memory[name] = self._device.allocate(num_bytes)
        if signature.has_thresholds:
            self._own_thresholds = DeviceThresholds(self._device, meta.nms or NmsConfig())
        if signature.map_dtype is not None:
            self.library = library or NmsLibrary()
            self.nms = DeviceNms(
                meta.spec,
                meta.nms or NmsConfig(),
                max_batch=self.max_batch,
                map_format=MapFormat(signature.map_dtype),
                library=self.library,
                device=self._device,
            )


def _num_bytes(shape: Sequence[int], dtype: str) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize
