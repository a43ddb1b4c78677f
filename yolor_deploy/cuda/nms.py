"""YolorNMS on head maps that are on the GPU already."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from yolor_deploy.core.errors import RunError
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.cuda.arrays import ArrayView
from yolor_deploy.cuda.device import (
    CudaDevice,
    Device,
    Graph,
    Memory,
    stream_handle,
)
from yolor_deploy.cuda.library import NmsCall, NmsLibrary, output_shapes
from yolor_deploy.cuda.outputs import DeviceArray, DeviceOutputs, Readback
from yolor_deploy.cuda.structs import (
    MAX_LEVELS,
    InputsStruct,
    MapFormat,
    OutputsStruct,
    ShapeStruct,
    params_struct,
    shape_struct,
)
from yolor_deploy.cuda.thresholds import DeviceThresholds


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

    Attributes:
        thresholds: Of the next run, in memory of the GPU.

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
        self.thresholds = DeviceThresholds(self._device, config)
        self._readback = Readback(self._device)
        self._memory: dict[str, Memory] = {}
        try:
            self._allocate()
        except RunError:
            self.close()
            raise

    def _allocate(self) -> None:
        self._memory["workspace"] = self._device.allocate(self.workspace_bytes)
        for name, (dims, dtype) in self._outputs_of_batch.items():
            num_bytes = int(np.prod(dims)) * np.dtype(dtype).itemsize
            self._memory[name] = self._device.allocate(num_bytes)

    def run(
        self,
        raw_maps: Sequence[Any],
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        class_mask: Any = None,
        stream: Any = None,
    ) -> DeviceOutputs:
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
        self.thresholds.set(score_threshold, iou_threshold, handle)
        self.enqueue(pointers_of(views), len_of(views), handle, class_mask=mask)
        return self.outputs(len_of(views), handle)

    def capture(self, raw_maps: Sequence[Any]) -> NmsGraph:
        """Return a run on these very arrays as a CUDA graph, to be repeated with one call.

        Args:
            raw_maps: As for ``run``; they are read where they are whenever the graph is launched.

        Raises:
            RunError: As for ``run``.
        """
        views = self._views(raw_maps, self._device.stream, is_ordered=False)
        pointers, batch = pointers_of(views), len_of(views)
        graph = self._device.capture(lambda stream: self.enqueue(pointers, batch, stream))

        def replay(score: float | None, iou: float | None, stream: Any) -> DeviceOutputs:
            handle = self._handle(stream)
            self.thresholds.set(score, iou, handle)
            graph.launch(handle)
            return self.outputs(len_of(views), handle)  # which keeps the arrays, too

        return NmsGraph(replay, graph)

    def enqueue(
        self,
        pointers: Sequence[int],
        batch: int,
        stream: int,
        *,
        class_mask: ArrayView | None = None,
    ) -> None:
        """Launch the kernel on maps that are known to fit, with the thresholds as they are.

        Args:
            pointers: Address of each map.
            batch: Images, 1 to ``max_batch``.
            stream: Handle.
            class_mask: uint8 [n, classes].

        Raises:
            RunError: CUDA refuses the launch.
        """
        memory = self._memory
        call = NmsCall(
            self._shape(batch),
            self._params,
            InputsStruct(
                (ctypes.c_void_p * MAX_LEVELS)(*pointers),
                self.thresholds.pointer("score_threshold"),
                self.thresholds.pointer("iou_threshold"),
                class_mask.pointer if class_mask else None,
            ),
            OutputsStruct(*(memory[name].pointer for name in self._outputs_of_batch)),
            memory["workspace"].pointer,
            self.workspace_bytes,
        )
        self._library.launch(call, stream=stream)

    def outputs(self, batch: int, stream: int) -> DeviceOutputs:
        """Return what the run before has written, or is going to.

        Args:
            batch: Images of that run.
            stream: Handle of its stream.
        """
        arrays = {
            name: DeviceArray(
                self._memory[name].pointer,
                (batch, *dims[1:]),
                np.dtype(dtype),
                stream,
                self._memory[name],
            )
            for name, (dims, dtype) in self._outputs_of_batch.items()
        }
        return DeviceOutputs(arrays, stream, self._readback)

    def close(self) -> None:
        """Wait for what runs, and free the memory; the object cannot be used afterwards."""
        if self._memory:
            self._device.synchronize(None)
        self.thresholds.close()
        self._readback.close()
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


_Replay = Callable[[float | None, float | None, Any], DeviceOutputs]


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
    ) -> DeviceOutputs:
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


def pointers_of(views: Sequence[ArrayView]) -> list[int]:
    """Return the addresses of maps."""
    return [view.pointer for view in views]
