"""Shapes, and how they are painted on a picture.

Pixels must be the same on every machine. So outlines are rounded to whole super-sampled pixels,
rasterised by Pillow and averaged in integers; no font is used, and no transcendental function is
taken of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

CLASS_NAMES = ("circle", "ring", "square", "triangle", "star", "cross", "hexagon", "heart")
SUPERSAMPLING = 4
COVERED = 128  # of 255: a pixel belongs to the shape that covers half of it

Point = tuple[float, float]
Colour = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]
Paint = Literal["solid", "gradient", "stripes", "checks", "speckle"]
PAINTS: tuple[Paint, ...] = ("solid", "gradient", "stripes", "checks", "speckle")


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape as it is to be drawn.

    Attributes:
        kind: Index into ``CLASS_NAMES``.
        centre: (x, y), pixels.
        radius: Of the circle around the outline before it is stretched, pixels.
        stretch: Width is multiplied by this, height divided by it, before the rotation.
        angle: Clockwise rotation in radians.
        hole: Scale of the same outline that is cut out of the middle; 0 is a filled shape.
        paint: How the two colours are spread over it.
        colours: RGB.
        period: Width of stripes and checks, pixels.
        seed: Of the speckles.
    """

    kind: int
    centre: Point
    radius: float
    stretch: float = 1.0
    angle: float = 0.0
    hole: float = 0.0
    paint: Paint = "solid"
    colours: tuple[Colour, Colour] = ((0, 0, 0), (0, 0, 0))
    period: int = 4
    seed: int = 0


class Coverage(NamedTuple):
    """The part of a picture's grid that a shape touches.

    Attributes:
        left, top: Pixels; negative where the shape reaches out of the picture.
        alpha: uint8 [h, w], 255 where a pixel is covered entirely.
    """

    left: int
    top: int
    alpha: Picture


def coverage(shape: Shape) -> Coverage:
    """Rasterise a shape with anti-aliasing, whether or not it lies within a picture."""
    outline = _placed(_OUTLINES[CLASS_NAMES[shape.kind]](), shape)
    left = math.floor(min(x for x, _ in outline)) - 1
    top = math.floor(min(y for _, y in outline)) - 1
    width = math.ceil(max(x for x, _ in outline)) + 2 - left
    height = math.ceil(max(y for _, y in outline)) + 2 - top
    mask = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(mask)
    draw.polygon(_super_sampled(outline, left, top), fill=255)
    if shape.hole:
        x, y = shape.centre
        inner = [(x + (u - x) * shape.hole, y + (v - y) * shape.hole) for u, v in outline]
        draw.polygon(_super_sampled(inner, left, top), fill=0)
    return Coverage(left, top, np.asarray(mask.reduce(SUPERSAMPLING)))


def clipped(shape: Coverage, width: int, height: int) -> Coverage:
    """Cut off what lies outside a picture; the result may be empty."""
    left, top = max(shape.left, 0), max(shape.top, 0)
    right = min(shape.left + shape.alpha.shape[1], width)
    bottom = min(shape.top + shape.alpha.shape[0], height)
    rows = slice(top - shape.top, max(bottom, top) - shape.top)
    columns = slice(left - shape.left, max(right, left) - shape.left)
    return Coverage(left, top, shape.alpha[rows, columns])


def paint_shape(picture: Picture, shape: Shape) -> None:
    """Paint a shape over a picture, in place.

    Args:
        picture: uint8 [h, w, 3].
        shape: What to paint.
    """
    height, width = picture.shape[:2]
    left, top, alpha = clipped(coverage(shape), width, height)
    if not alpha.size:
        return
    region = picture[top : top + alpha.shape[0], left : left + alpha.shape[1]]
    weight = _mix(shape, left, top, alpha.shape)[..., None]
    first, second = (np.array(colour, np.int32) for colour in shape.colours)
    colour = (first * (255 - weight) + second * weight) // 255
    opacity = alpha.astype(np.int32)[..., None]
    region[...] = (colour * opacity + region * (255 - opacity) + 127) // 255


def _mix(shape: Shape, left: int, top: int, size: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Return the share of the second colour, 0 to 255, in each pixel of a patch."""
    rows, columns = (axis.astype(np.int32) for axis in np.indices(size[:2], sparse=True))
    columns, rows = columns + (left - round(shape.centre[0])), rows + (top - round(shape.centre[1]))
    if shape.paint == "solid":
        return np.zeros(size[:2], np.int32)
    if shape.paint == "speckle":
        noise = np.random.default_rng(shape.seed).integers(0, 256, size[:2], dtype=np.int32)
        return np.where(noise < 96, noise * 2, 0).astype(np.int32)  # noqa: PLR2004
    if shape.paint == "checks":
        return np.asarray(((columns // shape.period + rows // shape.period) % 2) * 255)
    across, down = round(256 * math.cos(shape.angle)), round(256 * math.sin(shape.angle))
    along = columns * across + rows * down
    if shape.paint == "stripes":
        return np.asarray((along // (256 * shape.period)) % 2 * 255)
    reach = max(1, round(256 * shape.radius))
    return np.asarray(np.clip((along + reach) * 255 // (2 * reach), 0, 255))


def _placed(outline: list[Point], shape: Shape) -> list[Point]:
    cos, sin = math.cos(shape.angle), math.sin(shape.angle)
    placed = []
    for x, y in outline:
        u, v = x * shape.radius * shape.stretch, y * shape.radius / shape.stretch
        placed.append((shape.centre[0] + u * cos - v * sin, shape.centre[1] + u * sin + v * cos))
    return placed


def _super_sampled(outline: list[Point], left: int, top: int) -> list[tuple[int, int]]:
    return [
        (round((x - left) * SUPERSAMPLING), round((y - top) * SUPERSAMPLING)) for x, y in outline
    ]


def _regular(corners: int, *, first: float = -math.pi / 2) -> list[Point]:
    turns = [first + 2 * math.pi * corner / corners for corner in range(corners)]
    return [(math.cos(turn), math.sin(turn)) for turn in turns]


def _star() -> list[Point]:
    inner = 0.42
    return [
        (x * (inner if corner % 2 else 1.0), y * (inner if corner % 2 else 1.0))
        for corner, (x, y) in enumerate(_regular(10))
    ]


def _cross() -> list[Point]:
    a, b = 0.33, 0.94
    quarter = [(-a, -b), (a, -b), (a, -a)]
    corners = []
    for turn in range(4):
        for x, y in quarter:
            corners.append([(x, y), (-y, x), (-x, -y), (y, -x)][turn])
    return corners


def _heart() -> list[Point]:
    corners = []
    for step in range(64):
        t = 2 * math.pi * step / 64
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        corners.append((x / 16.5, -(y + 2.5) / 16.5))
    return corners


_OUTLINES: dict[str, Callable[[], list[Point]]] = {
    "circle": lambda: _regular(96),
    "ring": lambda: _regular(96),
    "square": lambda: _regular(4, first=math.pi / 4),
    "triangle": lambda: _regular(3),
    "star": _star,
    "cross": _cross,
    "hexagon": lambda: _regular(6),
    "heart": _heart,
}
