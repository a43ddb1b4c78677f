"""Inputs that look wrong: each finding fires on a set made for it, and on no good one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.measure.inputs import (
    COUNT,
    FLOAT,
    FORMS,
    SIZE,
    UINT8,
    good_tensors,
    pictures,
    spec_of,
    statistics_of,
    stretched_tensors,
)
from yolor_deploy.core.image import letterbox, tensor_from_images
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, InputDtype, InputLayout, LetterboxRule
from yolor_deploy.measure.input_check import findings

IMAGENET_MEAN, IMAGENET_STD = (
    np.array(values, np.float32).reshape(1, 3, 1, 1)
    for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
)


def kinds(tensors: Sequence[Array], spec: DetectorSpec) -> list[str]:
    """Return what is found in tensors that the user's own preprocessing wrote."""
    return [item.kind for item in findings(statistics_of(tensors, spec), spec)]


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize(("height", "width"), [(48, 48), (32, 64), (64, 32)])
def test_letterboxed_pictures_are_fine(
    dtype: InputDtype, layout: InputLayout, height: int, width: int
) -> None:
    """What inference gives to the network raises no finding, in any form of input."""
    spec = spec_of(dtype, layout, height=height, width=width)
    sizes = [picture.shape[:2] for picture in pictures()]

    of_files = statistics_of(good_tensors(spec), spec, sizes=sizes)

    assert findings(of_files, spec) == []
    assert kinds(good_tensors(spec), spec) == []


def test_another_grey_of_the_letterbox_is_fine_where_the_model_says_so() -> None:
    """The border is compared with the model's own rule."""
    black = replace(FLOAT, letterbox=LetterboxRule(pad_value=0))

    assert kinds(good_tensors(black), black) == []


def test_overshoot_of_resampling_is_fine() -> None:
    """A sharp filter in floating point leaves the range by a few percent."""
    tensors = [tensor * np.float32(1.1) - np.float32(0.05) for tensor in good_tensors(FLOAT)]

    assert not {"above_range", "normalised"} & set(kinds(tensors, FLOAT))


def test_levels_given_to_a_float_input_are_an_error() -> None:
    """0 to 255 where 0 to 1 is expected: the error quotes both, and stands alone."""
    tensors = [np.rint(tensor * 255) for tensor in good_tensors(FLOAT)]

    found = findings(statistics_of(tensors, FLOAT), FLOAT)

    assert [(item.kind, item.severity) for item in found] == [("above_range", "error")]
    assert found[0].problem.startswith("32 of 32 images have values above 1, up to 255, ")
    assert found[0].problem.endswith("whole numbers above 1, expected 0 to 1")


def test_single_image_out_of_range_is_an_error() -> None:
    """One image that was not divided sets the range of every layer."""
    tensors = good_tensors(FLOAT)
    tensors[5] = tensors[5] * 255

    (found,) = findings(statistics_of(tensors, FLOAT), FLOAT)

    assert found.kind == "above_range"
    assert found.problem.startswith("1 of 32 images")


@pytest.mark.parametrize(
    ("scale", "hint"), [(0.0, "divide by 255 once"), (1 / 255, "divide by 255 once")]
)
def test_values_that_vanish_are_an_error(scale: float, hint: str) -> None:
    """Zeros, or values that were divided twice, are not 0 to 1."""
    tensors = [tensor * np.float32(scale) for tensor in good_tensors(FLOAT)]

    first = findings(statistics_of(tensors, FLOAT), FLOAT)[0]

    assert (first.kind, first.severity) == ("below_range", "error")
    assert first.hint.startswith(hint)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("threshold", [0.5, 2.0])
def test_fractions_given_to_a_uint8_input_are_an_error(
    layout: InputLayout, threshold: float
) -> None:
    """0..1 that was cast to whole numbers is 0 and 1, or 0 alone."""
    spec = spec_of("uint8", layout)
    tensors = [(tensor > 255 * threshold).astype(np.uint8) for tensor in good_tensors(spec)]

    first = findings(statistics_of(tensors, spec), spec)[0]

    assert (first.kind, first.severity) == ("below_range", "error")
    assert "expected 0 to 255" in first.problem
    assert "divides by 255 itself" in first.hint


@pytest.mark.parametrize(
    "normalise",
    [
        pytest.param(lambda x: (x - IMAGENET_MEAN) / IMAGENET_STD, id="mean and std"),
        pytest.param(lambda x: x * 2 - 1, id="-1 to 1"),
        pytest.param(lambda x: (x * 255 - 128).round(), id="signed levels"),
    ],
)
def test_normalised_values_are_an_error(normalise: Callable[[Array], Array]) -> None:
    """Negative values betray a mean that was subtracted."""
    tensors = [normalise(tensor).astype(np.float32) for tensor in good_tensors(FLOAT)]

    found = findings(statistics_of(tensors, FLOAT), FLOAT)

    assert [(item.kind, item.severity) for item in found] == [("normalised", "error")]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_an_error(bad: float) -> None:
    """They are counted, and do not enter the other statistics."""
    tensors = good_tensors(FLOAT)
    tensors[3][0, 1, 2, 3] = bad
    others = [*tensors[:3], *tensors[4:]]

    found = findings(statistics_of(tensors, FLOAT), FLOAT)

    assert [(item.kind, item.severity) for item in found] == [("not_finite", "error")]
    assert found[0].problem.startswith("1 of 32 images")
    assert statistics_of(tensors, FLOAT).mean == statistics_of(others, FLOAT).mean


@pytest.mark.parametrize(("level", "black"), [(0, True), (200, False)])
def test_constant_images_are_a_warning(level: int, black: bool) -> None:
    """A lens cap or a blank page is found within its letterbox, and counted."""
    blank = np.full((20, 40, 3), level, np.uint8)
    pixels, _ = letterbox(blank, SIZE, SIZE, UINT8.letterbox)
    tensors = [*good_tensors(UINT8), tensor_from_images([pixels], UINT8.input)]

    (found,) = findings(statistics_of(tensors, UINT8), UINT8)

    assert (found.kind, found.severity) == ("constant", "warning")
    assert found.problem == (
        "1 of 33 images show one single colour" + (", 1 of them black" if black else "")
    )


def test_black_image_without_border_is_constant() -> None:
    """A whole tensor of zeros among good ones is a warning, not an error."""
    tensors = [*good_tensors(FLOAT), np.zeros(FLOAT.input.shape(1), np.float32)]

    assert kinds(tensors, FLOAT) == ["constant"]


def test_nothing_but_blank_pages_has_no_border_to_judge() -> None:
    """Of images of one colour it cannot be told where a border would end."""
    shades = [np.full(UINT8.input.shape(1), 10 + 5 * index, np.uint8) for index in range(32)]

    assert kinds(shades, UINT8) == ["constant"]


def test_copies_of_one_image_are_a_warning() -> None:
    """All images the same: the ranges are those of one."""
    tensors = good_tensors(FLOAT)

    (found,) = findings(statistics_of([tensors[0]] * 32, FLOAT), FLOAT)

    assert (found.kind, found.severity) == ("duplicates", "warning")
    assert found.problem == "all 32 images are the same"


@pytest.mark.parametrize(("different", "fires"), [(16, True), (17, False)])
def test_many_copies_are_a_warning(different: int, fires: bool) -> None:
    """From one half on, copies are worth a word."""
    tensors = good_tensors(FLOAT)
    copies = [*tensors[:different], *[tensors[0]] * (32 - different)]

    assert kinds(copies, FLOAT) == (["duplicates"] if fires else [])


@pytest.mark.parametrize(("count", "fires"), [(1, True), (31, True), (32, False)])
def test_few_images_are_a_warning_with_their_number(count: int, fires: bool) -> None:
    """Below 32 the number is stated."""
    found = findings(statistics_of(good_tensors(FLOAT, count), FLOAT), FLOAT)

    assert [item.problem for item in found] == (
        [f"{count} images, expected 32 or more"] if fires else []
    )


def test_nothing_added_is_few() -> None:
    """An empty set has no values to judge, and says only that it is too small."""
    assert kinds([], FLOAT) == ["few_images"]


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
def test_stretched_tensors_are_a_warning(dtype: InputDtype, layout: InputLayout) -> None:
    """Images of many shapes, and none has a border: they were not letterboxed."""
    spec = spec_of(dtype, layout)

    found = findings(statistics_of(stretched_tensors(spec), spec), spec)

    assert [(item.kind, item.severity) for item in found] == [("no_letterbox", "warning")]
    assert "grey 114" in found[0].problem


@pytest.mark.parametrize(("count", "fires"), [(7, False), (8, True)])
def test_borders_are_judged_from_eight_images_on(count: int, fires: bool) -> None:
    """A few images may well have the shape of the input."""
    assert ("no_letterbox" in kinds(stretched_tensors(FLOAT, count), FLOAT)) is fires


def test_one_letterboxed_image_is_enough() -> None:
    """Whoever letterboxes one image letterboxes all; the others had the shape of the input."""
    tensors = [*stretched_tensors(FLOAT, 31), good_tensors(FLOAT, 1)[0]]

    assert kinds(tensors, FLOAT) == []


@pytest.mark.parametrize(
    ("pad", "name"), [(0, "black"), (255, "white"), (128, "grey 128"), (113, "grey 113")]
)
def test_border_of_another_colour_is_a_warning(pad: int, name: str) -> None:
    """The colour that was found is named beside the one of the letterbox."""
    other = replace(FLOAT, letterbox=LetterboxRule(pad_value=pad))

    found = findings(statistics_of(good_tensors(other), FLOAT), FLOAT)

    assert [(item.kind, item.severity) for item in found] == [("border_colour", "warning")]
    assert f"have a border of {name}, expected the grey 114" in found[0].problem


def test_border_on_one_side_is_a_border() -> None:
    """Some tools put the image into the upper left corner; the grey is what counts."""
    tensors = []
    for tensor in stretched_tensors(FLOAT):
        tensor[:, :, SIZE - 12 :] = np.float32(114) / np.float32(255)
        tensors.append(tensor)

    assert kinds(tensors, FLOAT) == []


@pytest.mark.parametrize(
    ("size", "fires"),
    [((SIZE, SIZE), True), ((SIZE, SIZE - 1), False), ((2 * SIZE, 2 * SIZE), False)],
)
def test_files_of_exactly_the_input_size_are_a_warning(size: tuple[int, int], fires: bool) -> None:
    """Files that all have the size of the network were probably stretched to it before."""
    tensors = stretched_tensors(FLOAT)
    statistics = statistics_of(tensors, FLOAT, sizes=[size] * COUNT)

    found = findings(statistics, FLOAT)

    assert [item.kind for item in found] == (["exact_size"] if fires else [])
    assert all("48 x 48" in item.problem for item in found)


def test_one_file_of_another_size_is_enough() -> None:
    """Not all files have the size of the input: nobody stretched them."""
    sizes = [(SIZE, SIZE)] * (COUNT - 1) + [(SIZE, 2 * SIZE)]

    assert findings(statistics_of(stretched_tensors(FLOAT), FLOAT, sizes=sizes), FLOAT) == []


def test_files_may_have_the_size_of_an_input_that_is_not_square() -> None:
    """Such an input is made for one camera."""
    spec = spec_of(height=32, width=64)
    statistics = statistics_of(stretched_tensors(spec), spec, sizes=[(32, 64)] * COUNT)

    assert findings(statistics, spec) == []
