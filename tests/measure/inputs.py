"""Inputs of networks, as inference makes them and as others do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from benchmarks.shapes.generate import scene
from tests.sessions import artifact
from yolor_deploy.core.image import ImageArray, letterbox, tensor_from_images
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, InputDtype, InputLayout, InputSpec
from yolor_deploy.measure.input_statistics import InputStatistics

SIZE = 48
COUNT = 32
FORMS: Sequence[tuple[InputDtype, InputLayout]] = [
    ("float32", "NCHW"),
    ("uint8", "NCHW"),
    ("float32", "NHWC"),
    ("uint8", "NHWC"),
]


def spec_of(
    dtype: InputDtype = "float32",
    layout: InputLayout = "NCHW",
    *,
    height: int = SIZE,
    width: int = SIZE,
) -> DetectorSpec:
    """Return a detector with an input of this form."""
    return artifact(image=InputSpec(height, width, dtype=dtype, layout=layout)).meta.spec


FLOAT, UINT8 = spec_of(), spec_of("uint8")


@cache
def pictures() -> tuple[ImageArray, ...]:
    """Return pictures of shapes of many sizes, uint8 [h, w, 3]."""
    return tuple(scene("calibration", index).picture[::4, ::4] for index in range(COUNT))


def good_tensors(spec: DetectorSpec, count: int = COUNT) -> list[Array]:
    """Letterbox pictures as inference does."""
    image = spec.input
    placed = [letterbox(p, image.height, image.width, spec.letterbox)[0] for p in pictures()]
    return [tensor_from_images([pixels], image) for pixels in placed[:count]]


def stretched_tensors(spec: DetectorSpec, count: int = COUNT) -> list[Array]:
    """Bring pictures to the size of the input without keeping their aspect ratio."""
    stretched = []
    for pixels in pictures()[:count]:
        rows = np.arange(spec.input.height) * pixels.shape[0] // spec.input.height
        columns = np.arange(spec.input.width) * pixels.shape[1] // spec.input.width
        stretched.append(tensor_from_images([pixels[rows][:, columns]], spec.input))
    return stretched


def statistics_of(
    tensors: Sequence[Array], spec: DetectorSpec, *, sizes: Sequence[tuple[int, int]] | None = None
) -> InputStatistics:
    """Add tensors; with the sizes of the files that they come from, if any."""
    statistics = InputStatistics(spec)
    for index, tensor in enumerate(tensors):
        statistics.add(tensor, image_size=sizes[index] if sizes else None)
    return statistics
