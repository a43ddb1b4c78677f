"""Pictures that are drawn: the same for the same seed, and no noise."""

from __future__ import annotations

import numpy as np
import pytest

from yolor_deploy.pictures import draw_picture


def test_seed_and_number_decide() -> None:
    """A picture can be drawn again, and no two of a seed are the same."""
    first = draw_picture(3, 1)

    assert first.dtype == np.uint8
    assert first.shape == (720, 1280, 3)
    np.testing.assert_array_equal(draw_picture(3, 1), first)
    assert not np.array_equal(draw_picture(3, 2), first)
    assert not np.array_equal(draw_picture(4, 1), first)


@pytest.mark.parametrize("size", [(720, 1280), (90, 40)])
def test_drawn_picture_has_areas_and_edges(size: tuple[int, int]) -> None:
    """Most neighbours are nearly equal, as in no noise, and there are many colours all the same."""
    picture = draw_picture(0, size=size).astype(np.int16)

    steps = np.abs(np.diff(picture, axis=1)).max(axis=2)

    assert picture.shape[:2] == size
    assert np.mean(steps <= 4) > 0.7
    assert np.mean(steps > 40) > 0.001
    assert np.ptp(picture) > 200
