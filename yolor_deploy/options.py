"""What `export` and `build` are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yolor_deploy.backends.tensorrt import Flavour
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.core.density import Density
from yolor_deploy.core.precision import GraphTarget, Precision
from yolor_deploy.core.spec import BatchRange, InputDtype, InputLayout, NmsConfig, OutputKind
from yolor_deploy.measure.ranges import CalibrationMethod
from yolor_deploy.precision_stages import DEFAULT_METHODS, CalibrationConfig


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What ``export`` is told.

    Attributes:
        source: Path of a checkpoint, or name of a published model for random weights.
        output: ONNX file; None for the name of the source with ``.onnx``.
        cfg: Darknet description: a file, or the name of a published one.
        names: File with one class name a line.
        size: (height, width) in pixels; None for the model's own.
        batch: Batch sizes.
        output_kind: What the artifact ends in.
        dtype: Of the image input.
        layout: Of the image input.
        nms: Post-processing, for detections.
        fold_implicit: Whether implicit knowledge is folded into convolutions.
        seed: Of random weights, and of the images of the proof.
        density: Candidates and objects that the head of random weights is biased to; None to leave
            it.
    """

    source: str
    output: Path | None = None
    cfg: str | None = None
    names: Path | None = None
    size: tuple[int, int] | None = None
    batch: BatchRange = field(default_factory=BatchRange)
    output_kind: OutputKind = "detections"
    dtype: InputDtype = "float32"
    layout: InputLayout = "NCHW"
    nms: NmsConfig = field(default_factory=NmsConfig)
    fold_implicit: bool = True
    seed: int = 0
    density: Density | None = None


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What ``build`` is told.

    Attributes:
        model: What ``export`` wrote, in float32.
        output: ONNX file; None for the name of the model with the precision in it.
        precision: What it becomes.
        target: Runtime that the graph is laid out for.
        calibration: Images and method; None for none.
        keep: Names of nodes that are not quantised.
    """

    model: Path
    output: Path | None = None
    precision: Precision = field(default_factory=Precision)
    target: GraphTarget = "onnxruntime"
    calibration: CalibrationConfig | None = None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What ``build`` is told for an engine.

    Attributes:
        model: What ``export`` or ``build`` wrote.
        output: The plan; None for the name of the model with precision and backend in it.
        backend: What builds it.
        precision: What the model becomes first; None to leave it.
        calibration: As for ``BuildConfig``.
        keep: As for ``BuildConfig``.
        engine: What the backend is told.
    """

    model: Path
    output: Path | None = None
    backend: Flavour = "tensorrt"
    precision: Precision | None = None
    calibration: CalibrationConfig | None = None
    keep: tuple[str, ...] = ()
    engine: EngineOptions = field(default_factory=EngineOptions)


def method_of(config: BuildConfig) -> CalibrationMethod:
    """Return how the ranges of a build are chosen."""
    asked = config.calibration.method if config.calibration else None
    return asked or DEFAULT_METHODS[config.precision.quantised or "int8"]
