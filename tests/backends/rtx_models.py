"""Models of a few layers for TensorRT-RTX: every activation, form of input, and family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.exports import LOW, silent
from tests.families.small import ANCHORS, SMALL_CFG, cfg_of, plan_of, structured, with_row
from tests.tiny_checkpoints import save, write_tiny_checkpoint
from yolor_deploy import pipeline
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.precision import FLOAT_KINDS, Precision
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.families.darknet.network import network_from_plan
from yolor_deploy.nn.loading import random_tensors
from yolor_deploy.pipeline import BuildConfig, ExportConfig
from yolor_deploy.precision_stages import CalibrationConfig

SHAPES = Path(__file__).parents[2] / "examples" / "shapes"
TARGETS = ("8.0", "8.6", "8.9", "12.0")
PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision(base, bits) for bits in (None, "int8", "fp8") for base in FLOAT_KINDS
    )
}
DYNAMIC = BatchRange(1, 2, 4)
# A residual block, a pyramid of pools, and a map of twice the size beside the one of its level.
LEAKY_CFG = (
    "net width=64 height=32 channels=3",
    "convolutional batch_normalize=1 filters=8 size=3 stride=2 pad=1 activation=leaky",
    "convolutional batch_normalize=1 filters=8 size=3 stride=1 pad=1 activation=leaky",
    "shortcut from=-2 activation=linear",
    "maxpool stride=1 size=5",
    "route layers=-1,-2",
    "convolutional batch_normalize=1 filters=8 size=3 stride=2 pad=1 activation=leaky",
    "upsample stride=2",
    "route layers=-1,-3",
    "convolutional filters=16 size=1 activation=linear",
    f"yolo mask=0,1 anchors={ANCHORS} classes=3",
    "route layers=5",
    "convolutional filters=16 size=1 activation=linear",
    f"yolo mask=2,3 anchors={ANCHORS} classes=3",
)


def _silu(folder: Path) -> Artifact:
    tiny = write_tiny_checkpoint(folder)
    return _export(tiny.path, cfg=tiny.cfg, batch=DYNAMIC)


def _mish(folder: Path) -> Artifact:
    return _export(
        *_drawn(folder, SMALL_CFG),
        batch=BatchRange(2, 2, 2),
        dtype="uint8",
        layout="NHWC",
        output_kind="predictions",
    )


def _leaky(folder: Path) -> Artifact:
    return _export(*_drawn(folder, LEAKY_CFG), batch=DYNAMIC, output_kind="raw")


def _yaml_silu(folder: Path) -> Artifact:
    return _yaml(folder, "IDetect", "torch.nn.SiLU", size=(64, 32))


def _yaml_mish(folder: Path) -> Artifact:
    return _yaml(folder, "Detect", "models.common.Mish", batch=DYNAMIC, dtype="uint8")


def _yaml(folder: Path, head: str, activation: str, **options: Any) -> Artifact:
    structure = with_row(7, [[6, 2], 1, head, ["nc", "anchors"]])
    checkpoint = structured(structure, module_classes=(activation,))
    options.setdefault("size", (32, 64))
    with patch.object(pipeline, "load_checkpoint", return_value=checkpoint):
        return _export(folder / "small.pt", **options)


def _shapes(folder: Path) -> Artifact:
    return _export(SHAPES / "shapes.pt", cfg=SHAPES / "shapes.cfg", folder=folder, batch=DYNAMIC)


EXPORTS: dict[str, Callable[[Path], Artifact]] = {
    "darknet-silu-detections": _silu,
    "darknet-mish-predictions-uint8-nhwc-static": _mish,
    "darknet-leaky-raw": _leaky,
    "yaml-silu-static": _yaml_silu,
    "yaml-mish-uint8": _yaml_mish,
    "shapes": _shapes,
}
"""By name: a function that exports the model into a folder."""


def built(source: Artifact, precision: Precision, images: Path) -> Artifact:
    """Bring an export to a precision, laid out for TensorRT; reads the images once."""
    calibration = CalibrationConfig((str(images),), source.path.with_suffix(".npz"))
    config = BuildConfig(source.path, None, precision, "tensorrt", calibration)
    return pipeline.build(config, note=silent).artifact


def _drawn(folder: Path, sections: tuple[str, ...]) -> tuple[Path, Path]:
    """Write a cfg and drawn weights for it."""
    path, cfg = folder / "drawn.pt", folder / "drawn.cfg"
    cfg.write_text(cfg_of(*sections).text, encoding="utf-8")
    save(path, random_tensors(network_from_plan(plan_of(*sections))))
    return path, cfg


def _export(
    source: Path, cfg: Path | None = None, *, folder: Path | None = None, **options: Any
) -> Artifact:
    output = (folder or source.parent) / f"{source.stem}.onnx"
    config = ExportConfig(
        str(source), output=output, cfg=str(cfg) if cfg else None, nms=LOW, **options
    )
    return pipeline.export(config, note=silent).artifact
