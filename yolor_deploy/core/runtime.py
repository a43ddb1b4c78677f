"""The seam between artifacts and the runtimes that execute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
RawOutput = Mapping[str, Array]
"""Outputs by name, as the artifact declares them: see ``Artifact.output_names``."""


class Session(Protocol):
    """A loaded artifact."""

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        ...

    def run(
        self,
        images: Array,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> RawOutput:
        """Run the network on one batch.

        Args:
            images: As ``artifact.meta.spec.input`` says: float32 [n, 3, h, w] in 0..1 or uint8.
            score_threshold: Instead of the artifact's default; artifacts that detect only.
            iou_threshold: Instead of the artifact's default; artifacts that detect only.

        Returns:
            Every output by its name.

        Raises:
            ArtifactError: The array has another shape or type than the artifact takes.
            RunError: The device has not enough memory, or failed.
        """
        ...

    def close(self) -> None:
        """Free what the runtime holds; the session cannot be used afterwards."""
        ...


class Backend(Protocol):
    """A runtime: ``build`` and ``open`` are its two words; ``build`` comes with its first user."""

    name: str

    def why_unavailable(self) -> str | None:
        """Return why this runtime cannot be used here, or None if it can."""
        ...

    def open(
        self, artifact: Artifact, *, device: RuntimeDevice | None = None, trust: bool = False
    ) -> Session:
        """Load an artifact.

        Args:
            artifact: For this runtime, or a portable one.
            device: What it is to run on; None for the runtime's own choice.
            trust: Whether an engine is opened, which is code, that is not the one of its passport;
                a model is none, and always is.
        """
        ...


Clock = Literal["host", "device"]
"""What times are read from: the clock of the CPU, or events in the order of a GPU's stream."""

STAGES = ("preprocess", "host_to_device", "model", "nms", "device_to_host")
"""What an image goes through, in order; a backend leaves out what it does not have."""


@dataclass(frozen=True, slots=True)
class RunConditions:
    """Under which conditions a session runs: a latency means nothing without them.

    Attributes:
        runtime: Name and version, such as ``onnxruntime 1.32.0``.
        device: As the runtime calls it, such as ``cpu`` or the name of a GPU.
        threads: Of one run on the CPU; None on a GPU.
        cuda_graph: Whether runs replay a CUDA graph; None where there is none.
        waiting: How the host waits for the device: ``none`` where it computes itself.
        nms: Where post-processing runs: ``graph``, ``plugin``, ``kernels`` behind, or ``none``.
        plugin_sha256: Of the library with the plugin or the kernels; None without one.
    """

    runtime: str
    device: str
    threads: int | None = None
    cuda_graph: bool | None = None
    waiting: Literal["none", "spin", "blocking"] = "none"
    nms: Literal["graph", "plugin", "kernels", "none"] = "graph"
    plugin_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class LayerTime:
    """What a runtime's own profile tells of one thing that it ran.

    Attributes:
        name: As the runtime calls it; of a fused layer all names, as it joins them.
        ms: Milliseconds of one run, the median over the runs of the profile.
    """

    name: str
    ms: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Whether the clock sees work of known length: a clock that does not wait sees none.

    Attributes:
        clock: That was tested; with ``device`` the host's too, by which whole runs are timed.
        asked_ms: Length of each piece of work, milliseconds; of two clocks first those for the
            device's, then those for the host's.
        seen_ms: What the clock said of each, in that order.
        passed: Whether each was seen within the tolerance.
        note: How the work was made, and the tolerance.
    """

    clock: Clock
    asked_ms: tuple[float, ...]
    seen_ms: tuple[float, ...]
    passed: bool
    note: str


@dataclass(frozen=True, slots=True)
class Peak:
    """What this machine reaches at best, measured through the runtime itself.

    Attributes:
        gflops: 1e9 multiplications and additions a second, of a chain of matrix products.
        gbytes_per_s: 1e9 bytes a second, read and written together, of a copy.
        precision: Of the products, such as ``fp16``.
        note: Sizes, and how it was measured.
    """

    gflops: float
    gbytes_per_s: float
    precision: str
    note: str


class Instruments(Protocol):
    """What a session offers to a benchmark, beyond its outputs."""

    @property
    def clock(self) -> Clock:
        """What the times of ``run_stages`` are read from."""
        ...

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of ``run_stages``, a part of ``STAGES`` in their order."""
        ...

    @property
    def pci_bus_id(self) -> str | None:
        """Where the GPU is, such as ``0000:0b:00.0``; None where none is in use."""
        ...

    def conditions(self) -> RunConditions:
        """Return how the session runs. Called after at least two runs."""
        ...

    def memory_bytes(self) -> Mapping[str, int]:
        """Return bytes by kind: ``weights``, ``activations``, ``workspace``, ``io``; as known."""
        ...

    def run_stages(self, images: Array) -> tuple[Mapping[str, float], RawOutput]:
        """Run one batch with every stage timed apart.

        Args:
            images: As ``Session.run`` takes them.

        Returns:
            Milliseconds by stage, and what ``Session.run`` returns.
        """
        ...

    def run_nms(self, raw_maps: Sequence[Array]) -> tuple[float, RawOutput]:
        """Run the post-processing alone, on raw maps in host memory; copies are not timed.

        Args:
            raw_maps: float32 [n, anchors * (5 + classes), h, w], finest stride first.

        Returns:
            Milliseconds, and the outputs.

        Raises:
            BackendUnavailableError: It cannot be run alone here; the error says why.
        """
        ...

    def profile(self, images: Array, runs: int) -> tuple[LayerTime, ...]:
        """Return the runtime's own profile of its layers, in the order in which they run."""
        ...

    def another(self) -> Session:
        """Return a session of the same artifact that can run at the same time as this one."""
        ...

    def self_test(self) -> SelfTest:
        """Show work of known length to the clock of ``run_stages``, and to that of whole runs."""
        ...

    def peak(self) -> Peak:
        """Measure what the machine reaches in the precision of the artifact, in some seconds."""
        ...

    def close(self) -> None:
        """Free what was made for measuring; the session stays open."""
        ...
