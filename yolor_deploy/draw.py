"""Detections drawn into their image."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from yolor_deploy.core.detections import Detections
from yolor_deploy.core.image import ImageArray, rgb_from_pil

Colour = tuple[int, int, int]

_GOLDEN_RATIO = 0.618034  # successive multiples of it, as hues, never come close to each other
_FIRST_HUE = 0.58
_LIGHTNESS_AND_SATURATION = ((0.55, 0.90), (0.72, 0.85), (0.38, 0.75))
_SHADOW = (0, 0, 0, 110)
_MIN_FONT_PX = 10
_MIN_LINE_PX = 2


class _Rectangle(NamedTuple):
    """Left, top, right and bottom in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: _Rectangle) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class _Label(NamedTuple):
    text: str
    tab: _Rectangle
    colour: Colour


class LabelledBox(NamedTuple):
    """A box to draw, and what is written at it.

    Attributes:
        box_xyxy: Left, top, right, bottom in pixels of the image.
        colour: Of the outline and of the label.
        name: Start of the label; shortened where the image is narrow.
        note: End of the label, never shortened; without both there is no label.
        is_thin: Whether the outline is a single pixel.
    """

    box_xyxy: Sequence[float]
    colour: Colour
    name: str = ""
    note: str = ""
    is_thin: bool = False


def annotate(
    image: ImageArray | Image.Image, detections: Detections, class_names: Sequence[str]
) -> Image.Image:
    """Draw boxes, names and scores; lines and letters grow with the image.

    The label of a better detection is placed first, and lies on top where there is no free place.

    Args:
        image: uint8 [h, w, 3] RGB, or a Pillow image; it is not changed.
        detections: In pixels of that image.
        class_names: By class id.

    Returns:
        An RGB image of the same size.

    Raises:
        EvaluationError: The Pillow image cannot be read.
    """
    boxes = [
        LabelledBox(box, colour_of_class(class_id), class_names[class_id], f" {score:.2f}")
        for box, class_id, score in zip(
            detections.boxes_xyxy.tolist(),
            detections.class_ids.tolist(),
            detections.scores,
            strict=True,
        )
    ]
    return draw_boxes(image, boxes)


def draw_boxes(image: ImageArray | Image.Image, boxes: Sequence[LabelledBox]) -> Image.Image:
    """Draw boxes and labels, the most important first: it gets the best place, and lies on top.

    Args:
        image: uint8 [h, w, 3] RGB, or a Pillow image; it is not changed.
        boxes: In pixels of that image.

    Returns:
        An RGB image of the same size.

    Raises:
        EvaluationError: The Pillow image cannot be read.
    """
    pixels = rgb_from_pil(image) if isinstance(image, Image.Image) else image
    result = Image.fromarray(pixels).copy()
    draw = ImageDraw.Draw(result, "RGBA")  # so that a shadow can be translucent
    mean_side = sum(result.size) / 2
    line_px = max(_MIN_LINE_PX, round(mean_side / 320))
    font = ImageFont.load_default(max(_MIN_FONT_PX, round(mean_side / 50)))
    outlines = [_pixels_of_box(box.box_xyxy, result.size) for box in boxes]
    for box, outline in reversed(list(zip(boxes, outlines, strict=True))):
        _draw_box(draw, outline, box.colour, 1 if box.is_thin else line_px)
    named = [(b, o) for b, o in zip(boxes, outlines, strict=True) if b.name or b.note]
    labels = _place_labels(
        [(box.name, box.note) for box, _ in named],
        [outline for _, outline in named],
        [box.colour for box, _ in named],
        font=font,
        size=result.size,
    )
    for label in reversed(labels):
        _draw_label(draw, label, font)
    return result


def colour_of_class(class_id: int) -> Colour:
    """Return the colour of a class: the same in every image, and far from those of its neighbours.

    Returns:
        Red, green and blue, 0..255.
    """
    hue = (_FIRST_HUE + class_id * _GOLDEN_RATIO) % 1
    # Beyond some ten hues the eye needs another difference
    lightness, saturation = _LIGHTNESS_AND_SATURATION[(class_id // 8) % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour_on(background: Colour) -> Colour:
    """Return black or white, whichever has the higher contrast on ``background``.

    Source: relative luminance and contrast ratio of WCAG 2; both contrasts are equal at 0.179.
    """
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
        for value in (channel / 255 for channel in background)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)  # noqa: PLR2004


def _pixels_of_box(box_xyxy: Sequence[float], size: tuple[int, int]) -> _Rectangle:
    """Round a box to pixels of which at least one is inside the image."""
    width, height = size
    left = min(max(round(box_xyxy[0]), 0), width - 1)
    top = min(max(round(box_xyxy[1]), 0), height - 1)
    right = min(max(round(box_xyxy[2]), left + 1), width)
    bottom = min(max(round(box_xyxy[3]), top + 1), height)
    return _Rectangle(left, top, right, bottom)


def _draw_box(draw: ImageDraw.ImageDraw, box: _Rectangle, colour: Colour, line_px: int) -> None:
    """Draw an outline with a thin shadow on both sides: it shows on any background."""
    inner = (box.left, box.top, box.right - 1, box.bottom - 1)
    outer = (inner[0] - 1, inner[1] - 1, inner[2] + 1, inner[3] + 1)
    draw.rectangle(outer, outline=_SHADOW, width=line_px + 2)
    draw.rectangle(inner, outline=colour, width=line_px)


def _place_labels(
    texts: Sequence[tuple[str, str]],
    boxes: Sequence[_Rectangle],
    colours: Sequence[Colour],
    *,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> list[_Label]:
    """Give each label a place inside the image, free of better labels where there is one."""
    _, _, _, line_height = (int(value) for value in font.getbbox("Ag|"))
    pad_px = max(2, line_height // 4)
    placed: list[_Label] = []
    for (name, score), box, colour in zip(texts, boxes, colours, strict=True):
        text = _shortened(name, score, font, size[0] - 2 * pad_px)
        extent = (round(font.getlength(text)) + 2 * pad_px, line_height + pad_px)
        places = list(_places(box, extent, size))
        taken = [label.tab for label in placed]
        free = (place for place in places if not any(place.overlaps(tab) for tab in taken))
        placed.append(_Label(text, next(free, places[0]), colour))
    return placed


def _places(
    box: _Rectangle, extent: tuple[int, int], size: tuple[int, int]
) -> Iterator[_Rectangle]:
    """Yield places for a label, the best first; all are inside the image if the label fits it."""
    width, height = extent
    for top, left in (
        (box.top - height, box.left),  # above
        (box.top, box.left),  # inside
        (box.top - height, box.right - width),
        (box.bottom, box.left),  # below
        (box.bottom - height, box.left),
        (box.bottom, box.right - width),
        (box.bottom - height, box.right - width),
        (box.top, box.right - width),
        (box.top, box.right),  # beside
        (box.top, box.left - width),
    ):
        if 0 <= top <= size[1] - height:
            inside = max(0, min(left, size[0] - width))
            yield _Rectangle(inside, top, inside + width, top + height)
    # The image is hardly higher than the label, or the box leaves no room
    inside = max(0, min(box.left, size[0] - width))
    top = max(0, min(box.top, size[1] - height))
    yield _Rectangle(inside, top, inside + width, top + height)


def _shortened(
    name: str,
    score: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    limit_px: int,
) -> str:
    """Return name and score, of the name only as much as fits in that many pixels."""
    if font.getlength(name + score) <= limit_px:
        return name + score
    for length in range(len(name) - 1, 0, -1):
        text = f"{name[:length]}.{score}"
        if font.getlength(text) <= limit_px:
            return text
    return name[:1]


def _draw_label(
    draw: ImageDraw.ImageDraw,
    label: _Label,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    tab = label.tab
    radius = (tab.bottom - tab.top) // 6
    draw.rounded_rectangle(
        (tab.left, tab.top, tab.right - 1, tab.bottom - 1), radius, fill=label.colour
    )
    middle = ((tab.left + tab.right) / 2, (tab.top + tab.bottom) / 2)
    draw.text(middle, label.text, font=font, fill=text_colour_on(label.colour), anchor="mm")
