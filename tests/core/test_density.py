"""How much a post-processing has to do: written, checked, counted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graph.tiny_graphs import random_maps, tiny_spec
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import (
    Density,
    candidates_in,
    candidates_of,
    objects_of,
    require_density,
)
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.spec import NmsConfig


@pytest.mark.parametrize("density", [Density(), Density(0, 0), Density(1, 1), Density(30_000, 300)])
def test_density_is_read_as_it_is_written(density: Density) -> None:
    """The text of a density gives it back."""
    assert Density.parse(str(density)) == density


def test_default_density_is_that_of_a_street() -> None:
    """A thousand candidates are a hundred objects."""
    assert str(Density()) == "1000:100"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not CANDIDATES:OBJECTS"),
        ("1000", "'1000' is not CANDIDATES:OBJECTS"),
        ("1000:100:10", "is not CANDIDATES:OBJECTS"),
        ("1000:", "is not CANDIDATES:OBJECTS"),
        ("-5:1", "is not CANDIDATES:OBJECTS"),
        ("1e3:100", "is not CANDIDATES:OBJECTS"),
        ("٣:٣", "is not CANDIDATES:OBJECTS"),
        ("9999999999:1", "is not CANDIDATES:OBJECTS"),
        ("100:101", "100:101 is not 0 <= OBJECTS <= CANDIDATES"),
        ("10:0", "10:0: the best candidate is an object"),
    ],
)
def test_density_refuses_other_texts(text: str, problem: str) -> None:
    """What is not two numbers in order is quoted, with an example."""
    with pytest.raises(BuildError) as caught:
        Density.parse(text)

    assert problem in caught.value.problem
    assert caught.value.where == "--density"
    assert "1000:100" in caught.value.hint


@pytest.mark.parametrize(
    ("density", "nms", "problem"),
    [
        (Density(81, 1), NmsConfig(), "81 candidates, custom has 72 anchors at 32x64"),
        (Density(20, 6), NmsConfig(max_detections=5), "6 objects, the artifact gives at most 5"),
        (Density(1, 1), NmsConfig(score_threshold=0.0), "score threshold 0.0"),
        (Density(1, 1), NmsConfig(score_threshold=1.0), "score threshold 1.0"),
    ],
)
def test_density_must_fit_the_detector(density: Density, nms: NmsConfig, problem: str) -> None:
    """Anchors, rows and the threshold set limits, which are named."""
    with pytest.raises(BuildError, match=problem):
        require_density(density, tiny_spec(), nms)


def test_density_of_all_anchors_fits() -> None:
    """The limits themselves are allowed."""
    require_density(Density(72, 5), tiny_spec(), NmsConfig(max_detections=5))


def test_candidates_are_pairs_or_anchors() -> None:
    """With many labels an anchor counts once for every class above the threshold."""
    predictions = np.zeros((2, 3, 7), np.float32)
    predictions[0, 0, 4:] = 1.0, 0.9, 0.8  # both classes
    predictions[0, 1, 4:] = 0.5, 0.5, 0.1  # exactly the threshold is none
    predictions[1, 2, 4:] = 0.5, 0.51, 0.1
    predictions[1, 1] = 1.0
    predictions[1, 1, 2] = np.nan  # a box without a width

    assert candidates_of(predictions, NmsConfig(0.25)) == (2, 1)
    assert candidates_of(predictions, NmsConfig(0.25, multi_label=False)) == (1, 1)


def test_counts_of_maps_are_those_of_the_reference() -> None:
    """Without overlap allowed to suppress, every candidate is an object, of raw maps too."""
    spec = tiny_spec()
    maps = random_maps(spec, batch=2, rng=np.random.default_rng(0))
    nms = NmsConfig(0.25, 1.0, max_detections=300)

    counts = candidates_in(maps, spec, nms)

    assert min(counts) > 5
    assert objects_of(predictions_from_raw(maps, spec), nms) == counts
