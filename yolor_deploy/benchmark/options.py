"""What ``bench`` is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from yolor_deploy.benchmark.planting import Density
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.measure.latency.record import Settings

if TYPE_CHECKING:
    from yolor_deploy.backends.tensorrt import Flavour
    from yolor_deploy.core.precision import Precision

SUITES = {
    "yolor": (
        "yolor-p6",
        "yolor-w6",
        "yolor-e6",
        "yolor-d6",
        "yolor_csp",
        "yolor_csp_x",
        "yolov4-p5",
        "yolov4-p6",
        "yolov4-p7",
    )
}
"""Names of published models by suite; ratios are taken against the last."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the model of a published name is made.

    Attributes:
        precision: What it is brought to; None to leave it in float32.
        backend: What runs it: ``onnxruntime`` the model itself, the others an engine of it; None
            where nothing was asked for.
        optimization_level: Of TensorRT; None for its own.
    """

    precision: Precision | None = None
    backend: Literal["onnxruntime"] | Flavour | None = None
    optimization_level: int | None = None

    def completed_by(self, other: Recipe) -> Recipe:
        """Return this, with what it leaves open taken from another."""
        return Recipe(
            self.precision or other.precision,
            self.backend or other.backend,
            other.optimization_level
            if self.optimization_level is None
            else self.optimization_level,
        )


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What ``bench`` is told.

    Attributes:
        subjects: Paths of artifacts, or names of published models.
        settings: When to stop, batch, thresholds.
        against: Path or name of one more, which is the reference; None for none.
        recipe: How models of published names are made; what it leaves open is as in the first
            artifact.
        images: Files, folders or patterns of pictures; empty for drawn ones.
        density: Candidates and objects per image of models with random weights; None for that of
            the first artifact, or the default.
        device: What runs models; None for the runtime's own choice.
        trust: As of ``open_session``.
        work: Folder that models of published names are kept in.
        allow_shared_gpu: Whether a GPU that other processes compute on is measured too.
        allow_different_work: Whether artifacts of other classes or thresholds are compared too.
        layers: Whether the layers are counted and profiled, and the machine's peak measured.
        curve: Whether the post-processing is timed at several densities.
        output: JSON file with all samples; None for none. One that is there and was not finished
            goes on.
        seed: Of random weights and drawn pictures.
        command: As the user called it.
    """

    subjects: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    against: str | None = None
    recipe: Recipe = field(default_factory=Recipe)
    images: tuple[str, ...] = ()
    density: Density | None = None
    device: RuntimeDevice | None = None
    trust: bool = False
    work: Path = Path("yolor-bench")
    allow_shared_gpu: bool = False
    allow_different_work: bool = False
    layers: bool = True
    curve: bool = True
    output: Path | None = None
    seed: int = 0
    command: tuple[str, ...] = ()

    @property
    def all_subjects(self) -> tuple[str, ...]:
        """All that is measured, ``against`` last."""
        return (*self.subjects, *([self.against] if self.against else []))
