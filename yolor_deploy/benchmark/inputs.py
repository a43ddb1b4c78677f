"""What a benchmark runs a network on: pictures, never noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from yolor_deploy.core.describe import limits_text
from yolor_deploy.core.errors import ArtifactError, EvaluationError
from yolor_deploy.core.image import ImageArray, load_image
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec
from yolor_deploy.image_files import find_images
from yolor_deploy.pictures import DRAWN_SIZE, draw_picture, tensor_from_pictures

_BATCHES = 8
_MOST_BYTES = 256_000_000  # of the tensors of all batches, and of the pictures


@dataclass(frozen=True, slots=True, eq=False)
class BenchInput:
    """Pictures as they come from a decoder, in batches that are rotated.

    Attributes:
        images: uint8 [h, w, 3] each, RGB, of any sizes.
        batch: Images a run.
        batches: Different batches.
        spec: Of the network.
        kind: ``images`` of the user's, or ``drawn``.
        source: Where the images are from, in words.
        seed: Of drawn ones; None for others.
    """

    images: tuple[ImageArray, ...] = field(repr=False)
    batch: int
    batches: int
    spec: DetectorSpec = field(repr=False)
    kind: Literal["images", "drawn"]
    source: str
    seed: int | None = None

    def pictures(self, index: int) -> tuple[ImageArray, ...]:
        """Return the pictures of a batch; with fewer than its images they come again.

        Args:
            index: 0 to ``batches`` - 1.
        """
        begin = index * self.batch
        return tuple(self.images[i % len(self.images)] for i in range(begin, begin + self.batch))

    def preprocess(self, index: int) -> Array:
        """Letterbox a batch, and make its tensor: what ``Detector`` does before each run.

        Args:
            index: 0 to ``batches`` - 1.

        Returns:
            ``spec.input.dtype`` of shape ``spec.input.shape(batch)``.
        """
        return tensor_from_pictures(self.pictures(index), self.spec)


def images_input(
    sources: Sequence[Path | str], spec: DetectorSpec, *, batch: int = 1, count: int | None = None
) -> BenchInput:
    """Read the user's pictures, as many as the batches need.

    Args:
        sources: Files, folders, patterns.
        spec: Of the network.
        batch: Images a run.
        count: Different batches, at most; None for 8. Fewer where there are not so many pictures,
            or where they would take more than 256 MB.

    Raises:
        ArtifactError: The network does not take that batch.
        EvaluationError: There is no image, or one cannot be read.
    """
    _require_batch(spec, batch)
    files = find_images(sources)
    if not files:
        raise EvaluationError(
            "no images", where="--images", hint="give files, folders or patterns of images"
        )
    batches = min(_batches(spec, batch, count), math.ceil(len(files) / batch))
    images: list[ImageArray] = []
    left = _MOST_BYTES
    for file in files[: batches * batch]:
        image = load_image(file.path)
        left -= image.nbytes
        if left < 0 and len(images) >= batch:
            break
        images.append(image)
    batches = min(batches, math.ceil(len(images) / batch))
    names = ", ".join(map(str, sources))
    source = f"{len(images)} of {len(files)} images in {names}"
    return BenchInput(tuple(images), batch, batches, spec, "images", source)


def drawn_input(
    spec: DetectorSpec, *, batch: int = 1, count: int | None = None, seed: int = 0
) -> BenchInput:
    """Draw pictures of 1280 x 720 pixels, the same for the same seed.

    Args:
        spec: Of the network.
        batch: Images a run.
        count: As of ``images_input``.
        seed: 0 or more.

    Raises:
        ArtifactError: The network does not take that batch.
    """
    _require_batch(spec, batch)
    batches = _batches(spec, batch, count)
    images = tuple(draw_picture(seed, number) for number in range(batches * batch))
    height, width = DRAWN_SIZE
    source = f"{len(images)} drawn pictures of {width} x {height} pixels, seed {seed}"
    return BenchInput(images, batch, batches, spec, "drawn", source, seed)


def _batches(spec: DetectorSpec, batch: int, count: int | None) -> int:
    """Return how many different batches fit into memory, as tensors, at least one."""
    asked = _BATCHES if count is None else count
    size = math.prod(spec.input.shape(batch)) * np.dtype(spec.input.dtype).itemsize
    return max(1, min(asked, _MOST_BYTES // size))


def _require_batch(spec: DetectorSpec, batch: int) -> None:
    limits = spec.input.batch
    if not limits.minimum <= batch <= limits.maximum:
        raise ArtifactError(
            f"batch of {batch}, {spec.variant} takes {limits_text(limits)}",
            where="--batch",
            hint="give another batch, or export and build the model for a wider range",
        )
