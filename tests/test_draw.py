from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from yolor_deploy.core.detections import Detections
from yolor_deploy.core.image import ImageArray
from yolor_deploy.draw import LabelledBox, annotate, colour_of_class, draw_boxes, text_colour_on

NAMES = ("circle", "a class with a very long name", "x")


def found(*boxes_xyxy: tuple[float, float, float, float], class_id: int = 0) -> Detections:
    """Return detections of one class, all with the score 0.87."""
    n = len(boxes_xyxy)
    return Detections(
        np.array(boxes_xyxy, np.float32).reshape(n, 4),
        np.full(n, 0.87, np.float32),
        np.full(n, class_id, np.int32),
    )


def grey(height: int, width: int) -> ImageArray:
    """Return an image of middle grey, which is no colour of a class."""
    return np.full((height, width, 3), 128, np.uint8)


def test_annotate_without_detections_changes_nothing() -> None:
    """An image in which nothing was found is the image."""
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)

    assert np.array_equal(np.asarray(annotate(image, Detections.empty(), NAMES)), image)


def test_annotate_leaves_its_input_alone() -> None:
    """Neither an array nor a Pillow image is drawn into."""
    image = grey(60, 80)
    picture = Image.fromarray(image.copy())

    annotate(image, found((10, 30, 50, 50)), NAMES)
    annotate(picture, found((10, 30, 50, 50)), NAMES)

    assert (image == 128).all()
    assert np.array_equal(np.asarray(picture), image)


def test_annotate_draws_the_outline_where_the_box_is() -> None:
    """The four edges have the colour of the class; inside and far outside stay as they were."""
    result = np.asarray(annotate(grey(300, 300), found((100, 120, 200, 220)), NAMES))

    colour = colour_of_class(0)
    for y, x in ((120, 150), (219, 150), (170, 100), (170, 199)):
        assert tuple(result[y, x]) == colour
    assert (result[130:210, 110:190] == 128).all()
    assert (result[230:, :] == 128).all()


def test_annotate_grows_with_the_image() -> None:
    """In a picture ten times as large the outline is wider, so that it can still be seen."""
    widths = []
    for side in (300, 3000):
        box = found((side * 0.3, side * 0.4, side * 0.7, side * 0.8))
        row = np.asarray(annotate(grey(side, side), box, NAMES))[side * 6 // 10, : side // 2]
        widths.append(int((row == colour_of_class(0)).all(axis=1).sum()))

    assert widths[0] >= 2
    assert widths[1] >= 4 * widths[0]


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 60, 40), id="top-left"),
        pytest.param((240, 160, 300, 200), id="bottom-right"),
        pytest.param((290, 0, 300, 200), id="right-edge"),
        pytest.param((0, 0, 300, 200), id="whole-image"),
    ],
)
def test_label_is_inside_the_image(box: tuple[float, float, float, float]) -> None:
    """At every edge the whole label is in the image: as much of it is seen as in the middle."""

    def label_area(box: tuple[float, float, float, float]) -> int:
        with_box = np.asarray(annotate(grey(200, 300), found(box), NAMES))
        letters = (with_box == text_colour_on(colour_of_class(0))).all(axis=2)
        return int(letters.sum())

    assert label_area(box) == pytest.approx(label_area((100, 80, 200, 150)), rel=0.05)


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    """Of two detections with the same box both labels can be read."""
    box = (60.0, 60.0, 240.0, 140.0)
    letters = []
    for detections in (found(box), found(box, box)):
        image = np.asarray(annotate(grey(200, 300), detections, NAMES))
        letters.append(int((image == text_colour_on(colour_of_class(0))).all(axis=2).sum()))

    assert letters[1] == pytest.approx(2 * letters[0], rel=0.05)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    boxes=st.lists(st.tuples(*[st.floats(-50, 200, width=32)] * 4), max_size=6),
    class_id=st.integers(0, 2),
)
def test_annotate_takes_any_boxes(
    size: tuple[int, int], boxes: list[tuple[float, float, float, float]], class_id: int
) -> None:
    """Boxes outside, empty or turned around, in images down to one pixel, can all be drawn."""
    result = annotate(grey(*size), found(*boxes, class_id=class_id), NAMES)

    assert result.size == (size[1], size[0])
    assert result.mode == "RGB"


def test_colours_are_distinct() -> None:
    """Any two of the first 24 classes differ by more than 20 of 255 in some channel."""
    colours = np.array([colour_of_class(class_id) for class_id in range(24)], float)

    distances = [float(np.abs(a - b).max()) for a, b in combinations(colours, 2)]

    assert min(distances) > 20


def test_colours_are_stable() -> None:
    """The colour of a class is part of what users get used to: it does not change by accident."""
    assert [colour_of_class(class_id) for class_id in (0, 1, 8)] == [
        (37, 144, 244),
        (205, 244, 37),
        (123, 227, 244),
    ]


@pytest.mark.parametrize("class_id", range(24))
def test_text_has_contrast_on_every_colour(class_id: int) -> None:
    """Letters on a tab have the contrast 4.5 that WCAG asks for normal text."""

    def luminance(colour: tuple[int, int, int]) -> float:
        share = np.array(colour) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    background = colour_of_class(class_id)
    low, high = sorted([luminance(background), luminance(text_colour_on(background))])

    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_thin_box_is_a_single_pixel_of_its_colour() -> None:
    """Without name and note there is a line of one pixel, and no label."""
    drawn = np.asarray(
        draw_boxes(grey(60, 80), [LabelledBox((10, 20, 50, 40), (255, 0, 0), is_thin=True)])
    )

    rows, columns = np.nonzero((drawn == (255, 0, 0)).all(axis=2))
    assert len(rows) == 2 * 40 + 2 * 18  # the outline of 40 x 20 pixels
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 39, 10, 49)


def test_first_box_lies_on_top() -> None:
    """Of boxes in one place the most important is seen."""
    box = (10, 20, 50, 40)

    drawn = draw_boxes(grey(60, 80), [LabelledBox(box, (255, 0, 0)), LabelledBox(box, (0, 0, 255))])

    assert drawn.getpixel((10, 30)) == (255, 0, 0)
