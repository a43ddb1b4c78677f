"""Statistics of inputs, and the borders around them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.measure.inputs import FLOAT, FORMS, UINT8, good_tensors, spec_of, statistics_of
from yolor_deploy.core.image import letterbox
from yolor_deploy.core.spec import InputDtype, InputLayout, LetterboxRule
from yolor_deploy.measure.input_check import findings
from yolor_deploy.measure.input_statistics import Border, InputStatistics, border_of

PAD = (114, 114, 114)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((20, 40), Border(PAD, top=12, bottom=12)),
        ((40, 10), Border(PAD, left=18, right=18)),
        ((47, 48), Border(PAD, bottom=1)),
        ((48, 48), Border()),
    ],
)
def test_border_is_measured(shape: tuple[int, int], expected: Border) -> None:
    """The lines that the letterbox added are counted on each side, a single one included."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels, _ = letterbox(noise, 48, 48, LetterboxRule())

    border = border_of(pixels.transpose(2, 0, 1), full=255.0, pad=PAD)

    assert border == expected


@pytest.mark.parametrize(("lines", "found"), [(1, False), (2, True)])
def test_other_border_needs_two_lines(lines: int, found: bool) -> None:
    """A single white row is a clipped sky."""
    pixels = np.random.default_rng(0).integers(0, 200, (3, 16, 16), dtype=np.uint8)
    pixels[:, :lines] = 255

    border = border_of(pixels, full=255.0, pad=PAD)

    assert border == (Border((255, 255, 255), top=lines) if found else Border())


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
def test_statistics_are_those_of_all_tensors_together(
    dtype: InputDtype, layout: InputLayout
) -> None:
    """Adding up one by one gives what NumPy gives for the whole set at once."""
    spec = spec_of(dtype, layout)
    tensors = good_tensors(spec)
    whole = np.concatenate(tensors).astype(np.float64)
    axes = (0, 2, 3) if layout == "NCHW" else (0, 1, 2)

    statistics = statistics_of(tensors, spec)

    assert statistics.minimum == tuple(whole.min(axes))
    assert statistics.maximum == tuple(whole.max(axes))
    # Sums of float64 in another order
    np.testing.assert_allclose(statistics.mean, whole.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(statistics.std, whole.std(axes), rtol=1e-9)


def test_shares_are_counted_exactly() -> None:
    """A tensor whose pixels are known one by one."""
    tensor = np.zeros((1, 3, 4, 4), np.uint8)
    tensor[0, :, 0] = 114  # four pixels of the outermost twelve
    tensor[0, :, 1:, :2] = 7  # six pixels without colour
    tensor[0, 0, 1:, 2:] = 9  # six pixels in red, and two of them in yellow
    tensor[0, 1, 1, 2:] = 9
    statistics = statistics_of([tensor], spec_of("uint8", height=4, width=4))

    assert statistics.whole_number_share == (12 + 18 + 6 + 2) / 48
    assert statistics.pad_edge_share == 4 / 12
    assert statistics.grey_share == 6 / 12
    assert statistics.aspect_ratios == (4 / 3, 4 / 3)
    assert statistics.grey == 0


def test_statistics_refuse_another_form() -> None:
    """A tensor of another network is a bug, not a finding."""
    with pytest.raises(ValueError, match=r"uint8 .* expected float32 \(1, 3, 48, 48\)"):
        InputStatistics(FLOAT).add(good_tensors(UINT8, 1)[0])


def test_statistics_and_findings_are_json() -> None:
    """Both are stored with an artifact; an empty set has no infinite values in it."""
    for tensors in ([], good_tensors(FLOAT, 3)):
        statistics = statistics_of(tensors, FLOAT)
        values = [statistics.to_json(), *[f.to_json() for f in findings(statistics, FLOAT)]]

        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert values[0]["count"] == len(tensors)
