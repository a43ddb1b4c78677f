"""YolorNMS on head maps that are on the GPU already."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolor_deploy.core.errors import RunError
from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.cuda.device import (
    ArrayView,
    CudaDevice,
    Device,
    Graph,
    Memory,
    stream_handle,
)
from yolor_deploy.cuda.library import NmsCall, NmsLibrary, output_shapes
from yolor_deploy.cuda.structs import (
    MAX_LEVELS,
    InputsStruct,
    MapFormat,
    OutputsStruct,
    ShapeStruct,
    params_struct,
    shape_struct,
)

_THRESHOLDS = ("score_threshold", "iou_threshold")


@dataclass(frozen=True)
class DeviceArray:
    """An output on the GPU, for any library that knows ``__cuda_array_interface__``.

    Attributes:
        pointer: Address of its first element.
        shape: Of the array, dense.
        dtype: int32 or float32.
        stream: Handle of the stream that writes it.
        owner: The memory: the next run overwrites it.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int
    owner: Memory

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The CUDA array interface, version 3."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": self.stream or 1,
            "version": 3,
        }


class DeviceNms:
    """Decodes, selects and suppresses on the GPU; memory is allocated once.

    One run at a time: a run uses the memory of the one before, its outputs too. Runs on different
    streams have to be ordered by the caller.

    Args:
        spec: The detector; maps have the size of its input.
        config: Limits, and the thresholds that a run has unless it is given others.
        max_batch: Most images of a run.
        map_format: Dtype and layout of the raw maps.
        library: The NMS library; None for the one of the package.
        device: The GPU; None for the current one.

    Raises:
        BackendUnavailableError: The library or the GPU is missing.
        RunError: The library refuses the detector or the limits, or the GPU is short of memory.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        config: NmsConfig,
        *,
        max_batch: int | None = None,
        map_format: MapFormat | None = None,
        library: NmsLibrary | None = None,
        device: Device | None = None,
    ) -> None:
        self.spec = spec
        self.config = config
        self.max_batch = max_batch or spec.input.batch.maximum
        self.map_format = map_format or MapFormat("float16")
        self._library = library or NmsLibrary()
        self._device = device or CudaDevice()
        self._params = params_struct(config)
        self._outputs_of_batch = output_shapes(self.max_batch, config.max_detections)
        self._shapes: dict[int, ShapeStruct] = {}
        self.workspace_bytes = self._library.workspace_bytes(
            self._shape(self.max_batch), self._params
        )
        self._memory: dict[str, Memory] = {}
        self._thresholds: dict[str, float] = {}
        try:
            self._allocate()
        except RunError:
            self.close()
            raise

    def _allocate(self) -> None:
        self._memory["workspace"] = self._device.allocate(self.workspace_bytes)
        for name in _THRESHOLDS:
            self._memory[name] = self._device.allocate(np.dtype(np.float32).itemsize)
        for name, (dims, dtype) in self._outputs_of_batch.items():
            num_bytes = int(np.prod(dims)) * np.dtype(dtype).itemsize
            self._memory[name] = self._device.allocate(num_bytes)
        self._set_thresholds(None, None, self._device.stream)
        self._device.synchronize(self._device.stream)  # any stream may be the first

    def run(
        self,
        raw_maps: Sequence[Any],
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        class_mask: Any = None,
        stream: Any = None,
    ) -> DeviceDetections:
        """Detect. Nothing waits: the result is there in the order of the stream.

        Args:
            raw_maps: One per level of the detector, on the GPU, of the format given before:
                anything with ``__cuda_array_interface__`` (PyCUDA, CuPy, numba) or DLPack (torch).
                The stream waits for the one that an array names.
            score_threshold: Instead of the configuration's.
            iou_threshold: Instead of the configuration's.
            class_mask: uint8 [n, classes] on the GPU, 0 where a class of an image is ignored.
            stream: Of any library, or its handle; None for a stream of this object.

        Raises:
            RunError: An array has another shape, dtype or layout than expected, or is not on the
                GPU; a threshold is not 0 to 1; CUDA refuses the launch.
        """
        handle = self._handle(stream)
        views = self._views(raw_maps, handle, is_ordered=True)
        mask = self._mask(class_mask, len_of(views), handle)
        self._set_thresholds(score_threshold, iou_threshold, handle)
        self._launch(views, mask, handle)
        return self._detections(views, handle)

    def capture(self, raw_maps: Sequence[Any]) -> NmsGraph:
        """Return a run on these very arrays as a CUDA graph, to be repeated with one call.

        Args:
            raw_maps: As for ``run``; they are read where they are whenever the graph is launched.

        Raises:
            RunError: As for ``run``.
        """
        views = self._views(raw_maps, self._device.stream, is_ordered=False)
        graph = self._device.capture(lambda stream: self._launch(views, None, stream))

        def replay(score: float | None, iou: float | None, stream: Any) -> DeviceDetections:
            handle = self._handle(stream)
            self._set_thresholds(score, iou, handle)
            graph.launch(handle)
            return self._detections(views, handle)

        return NmsGraph(replay, graph)

    def close(self) -> None:
        """Free the memory; the object cannot be used afterwards."""
        for memory in self._memory.values():
            memory.close()
        self._memory.clear()

    def _handle(self, stream: Any) -> int:
        return self._device.stream if stream is None else stream_handle(stream)

    def _shape(self, batch: int) -> ShapeStruct:
        if batch not in self._shapes:
            sizes = [self.spec.head_shape(level)[1:] for level in self.spec.levels]
            self._shapes[batch] = shape_struct(
                self.spec, sizes, batch=batch, map_format=self.map_format
            )
        return self._shapes[batch]

    def _views(
        self, raw_maps: Sequence[Any], stream: int, *, is_ordered: bool
    ) -> tuple[ArrayView, ...]:
        """Look at the maps, and refuse what the kernel would misread."""
        if len(raw_maps) != len(self.spec.levels):
            raise RunError(
                f"{len(raw_maps)} raw maps, expected {len(self.spec.levels)}",
                where="raw maps",
                hint="give one map per level of the detector, finest stride first",
            )
        views = tuple(self._device.view(raw, stream, is_ordered=is_ordered) for raw in raw_maps)
        batch = views[0].shape[0] if views[0].shape else 0
        if not 1 <= batch <= self.max_batch:
            raise RunError(
                f"batch of {batch}, expected 1 to {self.max_batch}",
                where="raw map 0",
                hint="split the batch, or make DeviceNms with a larger max_batch",
            )
        for i, (view, level) in enumerate(zip(views, self.spec.levels, strict=True)):
            expected = self.map_format.shape(batch, *self.spec.head_shape(level))
            if view.shape != expected or view.dtype != self.map_format.dtype:
                raise RunError(
                    f"{view.dtype} {list(view.shape)}, expected "
                    f"{self.map_format.dtype} {list(expected)} ({self.map_format.layout})",
                    where=f"raw map {i}",
                    hint="give the raw outputs of the network, as `DeviceNms` was told they are",
                )
            if not view.is_contiguous:
                raise RunError(
                    f"not dense in memory: {list(view.shape)} with gaps or permuted axes",
                    where=f"raw map {i}",
                    hint="copy it first, such as with .contiguous() or ascontiguousarray()",
                )
        return views

    def _mask(self, class_mask: Any, batch: int, stream: int) -> ArrayView | None:
        if class_mask is None:
            return None
        view = self._device.view(class_mask, stream)
        expected = (batch, self.spec.num_classes)
        if view.shape != expected or view.dtype != "uint8" or not view.is_contiguous:
            raise RunError(
                f"{view.dtype} {list(view.shape)}, expected dense uint8 {list(expected)}",
                where="class_mask",
                hint="give one byte per image and class, 0 where the class is ignored",
            )
        return view

    def _set_thresholds(self, score: float | None, iou: float | None, stream: int) -> None:
        """Write the thresholds that changed, in the order of the stream."""
        for name, given in zip(_THRESHOLDS, (score, iou), strict=True):
            value = getattr(self.config, name) if given is None else given
            if not 0.0 <= value <= 1.0:
                raise RunError(
                    f"{name} is {value}, expected 0 to 1", where=name, hint="give a fraction"
                )
            if self._thresholds.get(name) != value:
                self._memory[name].fill(np.float32(value).tobytes(), stream)
                self._thresholds[name] = value

    def _launch(self, views: Sequence[ArrayView], mask: ArrayView | None, stream: int) -> None:
        memory = self._memory
        call = NmsCall(
            self._shape(len_of(views)),
            self._params,
            InputsStruct(
                (ctypes.c_void_p * MAX_LEVELS)(*(view.pointer for view in views)),
                memory["score_threshold"].pointer,
                memory["iou_threshold"].pointer,
                mask.pointer if mask else None,
            ),
            OutputsStruct(*(memory[name].pointer for name in self._outputs_of_batch)),
            memory["workspace"].pointer,
            self.workspace_bytes,
        )
        self._library.launch(call, stream=stream)

    def _detections(self, views: Sequence[ArrayView], stream: int) -> DeviceDetections:
        arrays = {
            name: DeviceArray(
                self._memory[name].pointer,
                (len_of(views), *dims[1:]),
                np.dtype(dtype),
                stream,
                self._memory[name],
            )
            for name, (dims, dtype) in self._outputs_of_batch.items()
        }
        return DeviceDetections(arrays, stream)


class DeviceDetections:
    """The outputs of a run, on the GPU until they are asked for.

    Attributes:
        arrays: ``num_detections``, ``boxes_xyxy``, ``scores``, ``class_ids``, as in ``core.nms``.
    """

    def __init__(self, arrays: dict[str, DeviceArray], stream: int) -> None:
        self.arrays = arrays
        self._stream = stream

    def to_host(self) -> RawOutput:
        """Wait for the run, and return its outputs in host memory."""
        outputs: dict[str, Any] = {}
        for name, array in self.arrays.items():
            num_bytes = int(np.prod(array.shape)) * array.dtype.itemsize
            values = array.owner.read(num_bytes, self._stream)
            outputs[name] = values.view(array.dtype).reshape(array.shape)
        return outputs


_Replay = Callable[[float | None, float | None, Any], DeviceDetections]


class NmsGraph:
    """A captured run. It reads the arrays that it was captured with, and thresholds as they are."""

    def __init__(self, replay: _Replay, graph: Graph) -> None:
        self._replay = replay
        self.graph = graph

    def launch(
        self,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        stream: Any = None,
    ) -> DeviceDetections:
        """Run again; nothing waits.

        Args:
            score_threshold: Instead of the configuration's.
            iou_threshold: Instead of the configuration's.
            stream: Of any library, or its handle; None for a stream of the ``DeviceNms``. It must
                be ordered after what writes the maps.

        Raises:
            RunError: A threshold is not 0 to 1.
        """
        return self._replay(score_threshold, iou_threshold, stream)


def len_of(views: Sequence[ArrayView]) -> int:
    """Return the batch of maps."""
    return views[0].shape[0]
