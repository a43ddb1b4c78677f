"""What a session of ONNX Runtime offers to a benchmark."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from yolor_deploy.backends.onnxruntime.cuda import CudaRuntime, failed_run, session_on_gpu
from yolor_deploy.backends.onnxruntime.head_session import load_head, load_network
from yolor_deploy.backends.onnxruntime.machine_peak import Kind, peak_of_copy, peak_of_products
from yolor_deploy.backends.onnxruntime.profile import profile_on_cpu
from yolor_deploy.backends.onnxruntime.self_test import products_test, waiting_test
from yolor_deploy.backends.onnxruntime.session import OnnxRuntimeSession, inference_session
from yolor_deploy.backends.onnxruntime.stages import (
    ClockNs,
    DeviceStages,
    HostStages,
    run_head_on_device,
    run_head_on_host,
)
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.cgroup import granted_cores
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.run_input import require_images
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
from yolor_deploy.cuda import driver

_WARM_ON_CPU, _WARM_ON_GPU = 1, 2  # runs of stages that are new, or of a new batch size


class OnnxRuntimeInstruments:
    """A ``core.runtime.Instruments`` of ONNX Runtime, on the CPU and on a GPU.

    For stages of an artifact that detects, the network and its head are two sessions of their own,
    loaded when they are first needed: the weights are in memory a second time until ``close``. A
    profile loads them once more, for as long as it takes. Raw maps of half precision are rounded
    to it between the two, which ONNX Runtime leaves out on the CPU where they are one.

    Args:
        session: Of a portable artifact, as ``open_session`` gives it.
        clock_ns: Nanoseconds of the host.
        wait: Pauses for seconds, by the timer of the system.
    """

    def __init__(
        self,
        session: OnnxRuntimeSession,
        *,
        clock_ns: ClockNs = time.perf_counter_ns,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._session, self._clock_ns, self._wait = session, clock_ns, wait
        self._artifact: Artifact = session.artifact
        runtime = session.runtime
        self._gpu: RuntimeDevice | None = runtime.device if _is_on_gpu(runtime) else None
        self._detects = self._artifact.meta.output == "detections"
        self._head: Any = None
        self._staged: HostStages | DeviceStages | None = None
        self._warm_batch: int | None = None
        self._activation_bytes: int | None = None

    @property
    def clock(self) -> Clock:
        """The host's, on a GPU too: ONNX Runtime gives no events; the host waits for the device."""
        return "host"

    @property
    def stages(self) -> tuple[str, ...]:
        """``model``, ``nms`` where the artifact detects, and on a GPU the copies around them."""
        inner = ("model", "nms") if self._detects else ("model",)
        return inner if self._gpu is None else ("host_to_device", *inner, "device_to_host")

    @property
    def pci_bus_id(self) -> str | None:
        """Where the GPU is; None on the CPU."""
        return None if self._gpu is None else driver.pci_bus_id(self._gpu.index)

    def conditions(self) -> RunConditions:
        """Return how the session runs; the host waits for a GPU as CUDA does if it is not told."""
        on_gpu = self._gpu is not None
        return RunConditions(
            runtime=f"onnxruntime {onnxruntime.__version__}",
            device=self._device_name(),
            threads=None if on_gpu else self._session.threads,
            cuda_graph=False if on_gpu else None,
            waiting="spin" if on_gpu else "none",
            nms="graph" if self._detects else "none",
        )

    def memory_bytes(self) -> Mapping[str, int]:
        """Return the bytes of the weights as they are in the file, before a runtime packs them.

        After ``profile`` on the CPU also ``activations``: the most that were in use in these runs,
        scratch of the operators included, where this version of ONNX Runtime tells.
        """
        values = ir.load(self._artifact.path).graph.initializers.values()
        found = {"weights": sum(v.const_value.nbytes for v in values if v.const_value is not None)}
        if self._activation_bytes is not None:
            found["activations"] = self._activation_bytes
        return found

    def run_stages(self, images: Array) -> tuple[Mapping[str, float], RawOutput]:
        """Run one batch with every stage timed apart; see ``core.runtime.Instruments``.

        Times are by the host's clock, on a GPU too, where the host waits at the end of each stage.

        What is loaded for it, and a new batch size, are run untimed first. In the first run the
        GPU's libraries search, and memory is planned; in the second the plan is allocated. On the
        CPU, where a large model takes half a minute, it is one run: the second is a little slower
        than those behind it.

        Raises:
            ArtifactError: The images are not what the artifact takes, or there is no place on disk
                for a copy of its network.
            RunError: The GPU has not enough memory, or failed.
        """
        require_images(self._artifact, images.dtype, images.shape)
        if self._gpu is None and not self._detects:
            start = self._clock_ns()
            outputs = self._session.run(images)
            return {"model": (self._clock_ns() - start) / 1e6}, outputs
        with self._failures(len(images)):
            if self._staged is None:
                self._staged, self._warm_batch = self._load_stages(), None
            if self._warm_batch != len(images):
                for _ in range(_WARM_ON_CPU if self._gpu is None else _WARM_ON_GPU):
                    self._staged.run(images)
                self._warm_batch = len(images)
            return self._staged.run(images)

    def run_nms(self, raw_maps: Sequence[Array]) -> tuple[float, RawOutput]:
        """Run the head alone; see ``core.runtime.Instruments``. It is loaded without the network.

        Raises:
            BackendUnavailableError: The artifact does not detect.
            RunError: The GPU has not enough memory, or failed.
        """
        if not self._detects:
            raise BackendUnavailableError(
                f"output is {self._artifact.meta.output!r}: there is no post-processing in it",
                where=str(self._artifact.path),
                hint="export the model with detections as its output",
            )
        with self._failures(len(raw_maps[0])):
            head = self._loaded_head()
            if self._gpu is None:
                return run_head_on_host(head, raw_maps, clock_ns=self._clock_ns)
            return run_head_on_device(
                head, raw_maps, clock_ns=self._clock_ns, **_place_of(self._gpu)
            )

    def profile(self, images: Array, runs: int) -> tuple[LayerTime, ...]:
        """Return the time of every node on the CPU, by names of the file; nothing on a GPU.

        There ONNX Runtime times how long a node takes to be handed to the device, which tells
        nothing of how long it takes.
        """
        require_images(self._artifact, images.dtype, images.shape)
        if self._gpu is not None:
            return ()
        layers, self._activation_bytes = profile_on_cpu(
            self._artifact, images, runs=runs, threads=self._session.threads
        )
        return layers

    def another(self) -> Session:
        """Return a session that can run at the same time, with a ``close`` of its own.

        On the CPU it is the same network with the same threads, as ONNX Runtime lets one be run by
        several callers. On a GPU it is loaded again, as a network there has one stream.
        """
        threads, runtime = self._session.threads, self._session.runtime
        if self._gpu is not None:
            runtime = CudaRuntime(self._artifact, self._gpu, threads=threads)
        return OnnxRuntimeSession(self._artifact, threads=threads, runtime=runtime)

    def self_test(self) -> SelfTest:
        """Show work of known length to the clock of ``run_stages``, on the device that computes."""
        if self._gpu is None:
            return waiting_test(self._clock_ns, self._wait)
        with self._failures(None):
            return products_test(self._load, self._clock_ns, **_place_of(self._gpu))

    def peak(self) -> Peak:
        """Measure matrix products and copies, through ONNX Runtime with the session's threads.

        On the CPU it computes half precision in float32, and so do the products. A model of 8 bits
        is compared with products of 8 bits, though some of its layers may be in float.
        """
        kind = self._kind_of_products()
        place = {} if self._gpu is None else _place_of(self._gpu)
        threads = granted_cores()
        with self._failures(None):
            gflops, products = peak_of_products(kind, self._load, self._clock_ns, **place)
            gbytes, copy = peak_of_copy(self._load, self._clock_ns, threads=threads, **place)
        where = self._device_name() if self._gpu else f"{self._session.threads} threads"
        note = f"{products} in {kind} by ONNX Runtime on {where}; {copy}; the best of several each"
        return Peak(gflops, gbytes, kind, note)

    def close(self) -> None:
        """Free the sessions that were loaded for stages; the session itself stays open."""
        self._head = self._staged = None

    def _load_stages(self) -> HostStages | DeviceStages:
        if self._gpu is None:
            network = load_network(self._artifact, self._load)
            return HostStages(network, self._loaded_head(), clock_ns=self._clock_ns)
        network, head = self._session.runtime.inference_session, None
        if self._detects:
            network, head = load_network(self._artifact, self._load), self._loaded_head()
        return DeviceStages(network, head, clock_ns=self._clock_ns, **_place_of(self._gpu))

    def _loaded_head(self) -> Any:
        if self._head is None:
            self._head = load_head(self._artifact, self._load)
        return self._head

    def _load(self, path: Path) -> Any:
        threads = self._session.threads
        if self._gpu is None:
            return inference_session(
                path, threads=threads, shares_memory=self._session.shares_memory
            )
        return session_on_gpu(path, self._gpu, threads=threads)

    def _kind_of_products(self) -> Kind:
        precision = Precision.from_name(self._artifact.meta.precision)
        if self._gpu is not None:
            return "fp16" if precision.base == "fp16" else "fp32"
        return "int8" if precision.quantised == "int8" else "fp32"

    def _device_name(self) -> str:
        if self._gpu is None:
            return "cpu"
        return driver.gpus().gpus[self._gpu.index].name

    @contextlib.contextmanager
    def _failures(self, batch: int | None) -> Iterator[None]:
        """Turn what a GPU's failure raises into ours; on the CPU there is none."""
        try:
            yield
        except (state.Fail, state.EPFail, state.RuntimeException, RuntimeError) as error:
            if self._gpu is None:
                raise
            where = f"{self._artifact.path} on {self._gpu.name}"
            raise failed_run(str(error), where=where, batch=batch) from error


def _is_on_gpu(runtime: object) -> bool:
    return isinstance(runtime, CudaRuntime)


def _place_of(gpu: RuntimeDevice) -> dict[str, Any]:
    """Return how a GPU is called where memory is made on it."""
    return {"device": gpu.kind, "index": gpu.index}
