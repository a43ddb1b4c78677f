"""Pictures that are drawn, and the tensor that a network gets of pictures.

Drawn pictures are not noise: the maps of a network that sees noise are noise too, and everything is
as likely an object as anything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from yolor_deploy.core.image import ImageArray, letterbox, tensor_from_images
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec

DRAWN_SIZE = (720, 1280)
"""Height and width of a drawn picture, pixels: what many cameras give."""

_BACKGROUND_CELLS = (4, 6)  # coarse colours that the background is smoothed from
_OBJECTS = 60
_SMALLEST_SHARE = 0.012  # of the longer side
_LARGEST_SHARE = 0.45
_MOST_STRETCH = 0.8  # logarithm of width to height
_INNER_SHARE = 0.6  # of an object that has the second colour


def tensor_from_pictures(pictures: Sequence[ImageArray], spec: DetectorSpec) -> Array:
    """Letterbox pictures, and make the tensor that the network gets of them, as ``Detector`` does.

    Args:
        pictures: uint8 [h, w, 3] each, of any sizes.
        spec: Of the network.

    Returns:
        ``spec.input.dtype`` of shape ``spec.input.shape(len(pictures))``.
    """
    height, width = spec.input.height, spec.input.width
    placed = [letterbox(picture, height, width, spec.letterbox)[0] for picture in pictures]
    return tensor_from_images(placed, spec.input)


def draw_picture(seed: int, number: int = 0, *, size: tuple[int, int] = DRAWN_SIZE) -> ImageArray:
    """Draw a smooth background with objects of many sizes before it.

    Args:
        seed: 0 or more.
        number: Of the picture: those of a seed all differ, and each is always the same.
        size: Height and width, pixels.

    Returns:
        uint8 [h, w, 3], RGB.
    """
    rng = np.random.default_rng([seed, number])
    height, width = size
    coarse = rng.integers(40, 216, (*_BACKGROUND_CELLS, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    low, high = math.log(_SMALLEST_SHARE), math.log(_LARGEST_SHARE)
    shares = np.exp(rng.uniform(low, high, _OBJECTS))
    for share in sorted(shares.tolist(), reverse=True):  # small ones would be behind large ones
        _draw_object(draw, rng, size, share * max(size))
    return np.array(picture)


def _draw_object(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], extent_px: float
) -> None:
    """Draw a rectangle or an ellipse of two colours."""
    shape = (draw.rectangle, draw.ellipse)[int(rng.integers(2))]
    stretch = math.exp(rng.uniform(-_MOST_STRETCH, _MOST_STRETCH) / 2)
    x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
    for share in (1.0, _INNER_SHARE):
        half_w, half_h = share * extent_px * stretch / 2, share * extent_px / stretch / 2
        red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
        shape((x - half_w, y - half_h, x + half_w, y + half_h), fill=(red, green, blue))
