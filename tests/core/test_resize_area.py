"""Images made smaller by means of areas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolor_deploy.core.resize_area import resize_area

OPENCV = Path(__file__).parents[1] / "data" / "resize_area_opencv.npz"


@pytest.mark.parametrize("case", range(8))
def test_resize_area_equals_opencv(case: int) -> None:
    """Pixels are those of OpenCV's INTER_AREA, within one grey level of its float32 sums."""
    with np.load(OPENCV) as stored:
        image, expected = stored[f"image{case}"], stored[f"result{case}"]

    result = resize_area(image, *expected.shape[:2])

    difference = result.astype(int) - expected
    assert result.dtype == np.uint8
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01


@given(
    sides=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    parts=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    level=st.integers(0, 255),
)
def test_resize_area_keeps_one_colour(
    sides: tuple[int, int], parts: tuple[float, float], level: int
) -> None:
    """The mean of equal pixels is that pixel, whatever the sizes."""
    image = np.full((*sides, 3), level, np.uint8)
    height, width = (max(1, int(side * part)) for side, part in zip(sides, parts, strict=True))

    result = resize_area(image, height, width)

    assert result.shape == (height, width, 3)
    assert (result == level).all()


def test_resize_area_of_bands_is_that_of_the_whole() -> None:
    """Rows far below the first band are means of the rows that they cover, too."""
    rows = np.repeat(np.arange(200, dtype=np.uint8), 2)
    image = np.repeat(rows[:, None, None], 3, axis=2)

    result = resize_area(image, 200, 1)

    assert result[:, 0, 0].tolist() == list(range(200))


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((0, 5), id="empty"),
        pytest.param((11, 5), id="taller"),
        pytest.param((10, 9), id="wider"),
    ],
)
def test_resize_area_refuses_to_enlarge(size: tuple[int, int]) -> None:
    """There is no mean of less than a pixel."""
    with pytest.raises(ValueError, match="expected 1 x 1 to 10 x 8"):
        resize_area(np.zeros((10, 8, 3), np.uint8), *size)
