"""Exports of tiny checkpoints, and their files in stock ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tests.tiny_checkpoints import TinyCheckpoint
from yolor_deploy import pipeline
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.pipeline import ExportConfig, ExportResult

LOW = NmsConfig(score_threshold=0.05, max_detections=250)
"""Finds something in the tiny model, whose weights are not trained."""


def silent(_: str) -> None:
    """Take a note of a stage, and show nothing."""


def exported(tiny: TinyCheckpoint, **options: Any) -> ExportResult:
    """Export the tiny checkpoint."""
    options.setdefault("nms", LOW)
    config = ExportConfig(str(tiny.path), cfg=str(tiny.cfg), **options)
    return pipeline.export(config, note=silent)


def stock_session(path: Path) -> Any:
    """Load a file as anybody would who has ONNX Runtime and nothing of ours."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def outputs_of(path: Path, images: Array, **thresholds: float) -> dict[str, Array]:
    """Run a file in stock ONNX Runtime."""
    session = stock_session(path)
    feed = {name: np.array([value], np.float32) for name, value in thresholds.items()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images, **feed}), strict=True))


def tensor(pixels: Array) -> Array:
    """Return uint8 [n, h, w, 3] as float32 [n, 3, h, w] in 0..1."""
    scaled: Array = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    return scaled


def assert_same_detections(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """Compare detections: counts and classes exactly, scores and boxes within rounding."""
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    np.testing.assert_array_equal(found["class_ids"], expected["class_ids"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_allclose(found["boxes_xyxy"], expected["boxes_xyxy"], atol=1e-3)


def names_in(folder: Path) -> list[str]:
    """Return what is in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())
