"""Red and blue in each other's place, noticed by what a detector makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.measure.inputs import FLOAT, FORMS, SIZE, good_tensors, pictures, spec_of
from yolor_deploy.core.image import letterbox, tensor_from_images
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, InputDtype, InputLayout
from yolor_deploy.measure.input_check import swapped_channels_finding


def red_detector(layout: InputLayout, seen: list[Array] | None = None) -> Callable[[Array], float]:
    """Return a detector that is the surer the more of the colour is red."""
    planes = (0, slice(None)) if layout == "NCHW" else (0, ..., slice(None))

    def run(tensor: Array) -> float:
        if seen is not None:
            seen.append(tensor)
        values = tensor[planes].astype(np.float64)
        channels = values if layout == "NCHW" else values.transpose(2, 0, 1)
        return float(channels[0].sum() / channels.sum())

    return run


def tinted(spec: DetectorSpec, factors: tuple[float, float, float], count: int = 8) -> list[Array]:
    """Return pictures whose channels were multiplied."""
    pixels = [
        letterbox((p * factors).astype(np.uint8), SIZE, SIZE, spec.letterbox)[0]
        for p in pictures()[:count]
    ]
    return [tensor_from_images([item], spec.input) for item in pixels]


REDDISH, BLUISH = (1.0, 0.5, 0.1), (0.1, 0.5, 1.0)


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
def test_swapped_channels_are_noticed(dtype: InputDtype, layout: InputLayout) -> None:
    """Red things that come as blue ones are detected better after a swap."""
    spec = spec_of(dtype, layout)

    found = swapped_channels_finding(red_detector(layout), tinted(spec, BLUISH), spec)

    assert found is not None
    assert (found.kind, found.severity) == ("swapped_channels", "warning")
    assert "BGR, expected RGB" in found.problem


@pytest.mark.parametrize("factors", [REDDISH, (1.0, 1.0, 1.0)])
def test_right_channels_are_left_alone(factors: tuple[float, float, float]) -> None:
    """Pictures in the right order, or in all colours, are no evidence."""
    tensors = tinted(FLOAT, factors)

    assert swapped_channels_finding(red_detector("NCHW"), tensors, FLOAT) is None


def test_swap_is_of_red_and_blue_alone() -> None:
    """The detector sees each tensor as it is and with red and blue exchanged, eight at most."""
    seen: list[Array] = []
    tensors = tinted(FLOAT, BLUISH, count=10)

    swapped_channels_finding(red_detector("NCHW", seen), tensors, FLOAT)

    assert len(seen) == 16
    for index in range(8):
        np.testing.assert_array_equal(seen[2 * index], tensors[index])
        np.testing.assert_array_equal(seen[2 * index + 1], tensors[index][:, [2, 1, 0]])


def test_grey_images_are_left_out() -> None:
    """A grey image is its own swap; it is not even given to the detector."""
    grey = [np.repeat(tensor[:, :1], 3, axis=1) for tensor in good_tensors(FLOAT, 8)]
    coloured = tinted(FLOAT, BLUISH, count=4)
    seen: list[Array] = []

    found = swapped_channels_finding(red_detector("NCHW", seen), [*grey, *coloured], FLOAT)

    assert len(seen) == 8
    assert found is not None
    assert swapped_channels_finding(red_detector("NCHW"), grey, FLOAT) is None


def scripted(pairs: Sequence[tuple[float, float]]) -> Callable[[Array], float]:
    """Return a detector with these scores, as given and swapped, for one tensor after another."""
    scores = iter([score for pair in pairs for score in pair])
    return lambda _tensor: next(scores)


@pytest.mark.parametrize(
    ("pairs", "fires"),
    [
        pytest.param([(1.0, 1.16)] * 8, True, id="16 % more"),
        pytest.param([(1.0, 1.14)] * 8, False, id="14 % more"),
        pytest.param([(1.0, 1.5)] * 6 + [(1.0, 0.9)] * 2, True, id="six of eight better"),
        pytest.param([(1.0, 9.0)] * 5 + [(1.0, 0.9)] * 3, False, id="five of eight better"),
        pytest.param([(0.0, 0.9)] * 4 + [(0.0, 0.0)] * 4, True, id="four with detections"),
        pytest.param([(0.0, 0.9)] * 3 + [(0.0, 0.0)] * 5, False, id="three with detections"),
        pytest.param([(0.0, 0.0)] * 8, False, id="nothing detected"),
        pytest.param([(math.nan, math.nan)] * 8, False, id="NaN"),
    ],
)
def test_swap_needs_clear_evidence(pairs: Sequence[tuple[float, float]], fires: bool) -> None:
    """15 % more in all, 75 % of the images better, and four images with anything in them."""
    tensors = tinted(FLOAT, (1.0, 1.0, 1.0))

    found = swapped_channels_finding(scripted(pairs), tensors, FLOAT)

    assert (found is not None) is fires
