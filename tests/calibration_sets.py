"""Folders of images and of tensors for calibrations, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.shapes.generate import scene
from tests.sessions import artifact
from yolor_deploy.calibration.images import CalibrationImages
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, InputDtype, InputLayout, InputSpec

FORMS: Sequence[tuple[InputDtype, InputLayout]] = [
    ("float32", "NCHW"),
    ("uint8", "NCHW"),
    ("float32", "NHWC"),
    ("uint8", "NHWC"),
]

GOOD = np.full((3, 32, 32), 0.5, np.float32)


def spec_of(
    dtype: InputDtype = "float32", layout: InputLayout = "NCHW", *, height: int = 32
) -> DetectorSpec:
    """Return a detector whose input is 32 pixels wide."""
    return artifact(image=InputSpec(height, 32, dtype=dtype, layout=layout)).meta.spec


@cache
def picture(index: int) -> Array:
    """Return a picture of shapes, uint8 [h, w, 3], shrunk to be read fast."""
    return scene("calibration", index).picture[::8, ::8]


def folder_of(path: Path, count: int, *, suffix: str = ".png") -> Path:
    """Write pictures ``00.png``, ``01.png``, ..."""
    path.mkdir(exist_ok=True)
    for index in range(count):
        Image.fromarray(picture(index % 8)).save(path / f"{index:02d}{suffix}")
    return path


def tensor_at(path: Path, values: Array) -> Path:
    """Write one ``.npy`` file."""
    np.save(path, values)
    return path


def names_of(images: CalibrationImages) -> list[str]:
    """Return the names without folders."""
    return [Path(name).name for name in images.names]


def spoil_text(path: Path) -> None:
    """Replace an image by a text."""
    path.write_text("no image")


def spoil_truncated(path: Path) -> None:
    """Cut an image in the middle of its pixels."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


def spoil_removed(path: Path) -> None:
    """Remove an image after it was listed."""
    path.unlink()
