"""Whole pictures: a background, clutter, shapes that overlap, noise; and the box of each shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.shapes.render import (
    CLASS_NAMES,
    COVERED,
    PAINTS,
    Colour,
    Picture,
    Shape,
    clipped,
    coverage,
    paint_shape,
)

MIN_SIDE, MAX_SIDE = 256, 480
MIN_EXTENT = 12  # pixels, about the diameter of the smallest shape
MAX_EXTENT = 0.6  # of the shorter side
MAX_SHAPES = 7
MIN_VISIBLE = 0.4  # of a shape's pixels, or it is drawn somewhere else
MIN_CONTRAST = 90  # sum over the channels, between a shape and what lies under it
HOLLOW_FROM = 26  # pixels; a smaller hole would be lost when a network shrinks the picture
_ATTEMPTS = 12
_RING = CLASS_NAMES.index("ring")
_CIRCLE = CLASS_NAMES.index("circle")


@dataclass(frozen=True, slots=True)
class Annotation:
    """A shape that can be seen.

    Attributes:
        kind: Index into ``CLASS_NAMES``.
        box_xywh: Left, top, width, height of its visible pixels.
        area: Number of its visible pixels.
    """

    kind: int
    box_xywh: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, and what is in it.

    Attributes:
        picture: uint8 [h, w, 3], RGB.
        annotations: One per shape; there is no shape without one.
        owner: int16 [h, w], for each pixel the index of the shape on top, or -1.
    """

    picture: Picture
    annotations: tuple[Annotation, ...]
    owner: npt.NDArray[np.int16]


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw one picture; the same state of ``rng`` gives the same pixels."""
    width, height = (int(rng.integers(MIN_SIDE, MAX_SIDE + 1)) for _ in range(2))
    picture = _background(rng, width, height)
    _clutter(rng, picture, count=int(rng.integers(0, 9)), marks=(_line, _blob, _writing, _arc))
    owner = np.full((height, width), -1, np.int16)
    shapes: list[Shape] = []
    sizes: list[int] = []
    for _ in range(int(rng.integers(1, MAX_SHAPES + 1))):
        for _ in range(_ATTEMPTS):
            shape = _shape(rng, width, height)
            placed = _place(shape, owner, sizes)
            if placed is not None:
                owner = placed
                sizes.append(int((coverage(shape).alpha >= COVERED).sum()))
                shapes.append(_coloured(rng, shape, picture))
                paint_shape(picture, shapes[-1])
                break
    _clutter(rng, picture, count=int(rng.integers(0, 3)), marks=(_line,))
    picture = _exposed(rng, picture)
    annotations = tuple(
        _annotation(shape.kind, owner == index) for index, shape in enumerate(shapes)
    )
    return Scene(picture, annotations, owner)


def _place(
    shape: Shape, owner: npt.NDArray[np.int16], sizes: list[int]
) -> npt.NDArray[np.int16] | None:
    """Return the owners of the pixels with ``shape`` on top, or None if it hides too much.

    A shape of which little is left is not drawn at all, rather than drawn without an annotation:
    what looks like a shape is one.
    """
    whole = coverage(shape)
    left, top, alpha = clipped(whole, owner.shape[1], owner.shape[0])
    inside = alpha >= COVERED
    if inside.sum() < MIN_VISIBLE * (whole.alpha >= COVERED).sum():
        return None
    after: npt.NDArray[np.int16] = owner.copy()
    after[top : top + alpha.shape[0], left : left + alpha.shape[1]][inside] = len(sizes)
    visible = np.bincount(after[after >= 0], minlength=len(sizes))
    if any(visible[index] < MIN_VISIBLE * size for index, size in enumerate(sizes)):
        return None
    return after


def _annotation(kind: int, mask: npt.NDArray[np.bool_]) -> Annotation:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)
    return Annotation(kind, box, int(mask.sum()))


def _shape(rng: np.random.Generator, width: int, height: int) -> Shape:
    largest = MAX_EXTENT * min(width, height)
    extent = MIN_EXTENT * (largest / MIN_EXTENT) ** (rng.random() ** 0.8)
    kind = int(rng.integers(len(CLASS_NAMES)))
    hole = 0.0
    if kind == _RING:
        hole = rng.uniform(0.5, 0.72)
    elif kind != _CIRCLE and extent >= HOLLOW_FROM and rng.random() < 0.3:  # noqa: PLR2004
        hole = rng.uniform(0.5, 0.75)
    return Shape(
        kind=kind,
        centre=(rng.uniform(0, width), rng.uniform(0, height)),
        radius=extent / 2,
        stretch=rng.uniform(0.88, 1.14),
        angle=rng.uniform(0, 2 * math.pi),
        hole=hole,
        paint=PAINTS[int(rng.integers(len(PAINTS)))],
        period=int(rng.integers(3, 10)),
        seed=int(rng.integers(1 << 31)),
    )


def _coloured(rng: np.random.Generator, shape: Shape, picture: Picture) -> Shape:
    """Return the shape in colours that stand out from what it will cover."""
    left, top, alpha = clipped(coverage(shape), picture.shape[1], picture.shape[0])
    under = picture[top : top + alpha.shape[0], left : left + alpha.shape[1]]
    around = under.reshape(-1, 3).mean(axis=0)
    colours = (_contrasting(rng, around), _contrasting(rng, around))
    return replace(shape, colours=colours)


def _contrasting(rng: np.random.Generator, around: npt.NDArray[np.float64]) -> Colour:
    while True:
        colour = _colour(rng)
        if np.abs(np.array(colour) - around).sum() >= MIN_CONTRAST:
            return colour


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue


def _background(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Return a smooth field of colours: a few random values, enlarged."""
    cells = int(rng.integers(1, 6))
    spread = int(rng.integers(1, 70))
    base = np.array(_colour(rng)) + rng.integers(-spread, spread + 1, (cells, cells, 3))
    field = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    return np.array(field.resize((width, height), Image.Resampling.BICUBIC))


def _exposed(rng: np.random.Generator, picture: Picture) -> Picture:
    """Return the picture as a camera might see it: blurred, darker or brighter, with noise."""
    if rng.random() < 0.2:  # noqa: PLR2004
        picture = np.asarray(Image.fromarray(picture).filter(ImageFilter.BoxBlur(1)))
    gain, lift = int(rng.integers(150, 340)), int(rng.integers(-25, 26))
    amplitude = int(rng.integers(1, 14))
    size = (2, *picture.shape)
    noise = rng.integers(-amplitude, amplitude + 1, size, dtype=np.int16).sum(axis=0)
    value = picture.astype(np.int32) * gain // 256 + lift + noise
    return np.asarray(np.clip(value, 0, 255), np.uint8)


Mark = Callable[[np.random.Generator, ImageDraw.ImageDraw, int, int], None]


def _clutter(
    rng: np.random.Generator, picture: Picture, *, count: int, marks: tuple[Mark, ...]
) -> None:
    """Draw marks that are not of any class, in place."""
    if not count:
        return
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        marks[int(rng.integers(len(marks)))](rng, draw, *image.size)
    picture[...] = np.asarray(image)


def _point(rng: np.random.Generator, width: int, height: int) -> tuple[int, int]:
    return int(rng.integers(width)), int(rng.integers(height))


def _line(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    ends = [_point(rng, width, height), _point(rng, width, height)]
    draw.line(ends, fill=_colour(rng), width=int(rng.integers(1, 4)))


def _arc(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    x, y = _point(rng, width, height)
    w, h, start = (int(rng.integers(20, 160)) for _ in range(3))
    end = start + int(rng.integers(40, 200))
    draw.arc((x, y, x + w, y + h), start, end, fill=_colour(rng), width=int(rng.integers(1, 4)))


def _blob(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """A lump with an uneven rim, longer than wide."""
    x, y = _point(rng, width, height)
    reach, flat = int(rng.integers(8, 60)), rng.uniform(0.25, 0.6)
    corners, turned = int(rng.integers(7, 14)), rng.uniform(0, math.pi)
    rim = []
    for corner in range(corners):
        turn = 2 * math.pi * corner / corners
        away = reach * rng.uniform(0.45, 1.0)
        u, v = away * math.cos(turn), away * math.sin(turn) * flat
        rim.append(
            (
                round(x + u * math.cos(turned) - v * math.sin(turned)),
                round(y + u * math.sin(turned) + v * math.cos(turned)),
            )
        )
    draw.polygon(rim, fill=_colour(rng))


def _writing(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """A row of strokes that looks like a word from afar."""
    x, y = _point(rng, width, height)
    size, colour = int(rng.integers(5, 16)), _colour(rng)
    for _ in range(int(rng.integers(3, 12))):
        strokes = rng.integers(0, size + 1, (int(rng.integers(2, 5)), 2))
        draw.line([(x + int(u), y + int(v)) for u, v in strokes], fill=colour, width=1 + size // 9)
        x += size + 2
