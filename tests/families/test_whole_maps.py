"""Which windows and strides leave whole maps."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolor_deploy.families.whole_maps import first_broken_map, is_exact_step


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_exact_step_is_what_the_formula_of_a_window_gives(
    size: int, step: int, padding: int
) -> None:
    """A window is exact if every multiple of its step gives that many steps of output."""
    sides = [step * count for count in range(10, 40)]
    outputs = [(side + 2 * padding - size) // step + 1 for side in sides]

    assert is_exact_step(size, step, padding) == (outputs == [side // step for side in sides])


@pytest.mark.parametrize(
    ("strides", "heads", "broken"),
    [
        ((1, 2, 4, 8), (3,), None),
        ((1, 2, 4, 8), (2, 3), None),
        ((1, 2, 4, 2), (3,), 2),
        ((1, 2, 4, 2), (1,), None),  # what no head reads does not count
        ((1, 3, 6, 8), (3,), 1),
        ((Fraction(1, 2), 1, 2, 2), (3,), 0),
        ((0, 2, 2, 2), (3,), None),  # 0 is no map
    ],
)
def test_broken_map_is_found(
    strides: tuple[Fraction | int, ...], heads: tuple[int, ...], broken: int | None
) -> None:
    """Of a chain of four layers, the first one is given that does not divide the coarsest head."""
    sources = {0: (-1,), 1: (0,), 2: (1,), 3: (2, 0)}

    found = first_broken_map(sources, {i: Fraction(s) for i, s in enumerate(strides)}, heads)

    assert found == broken
