"""What is changed in a head so that it finds something: counted by the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.random_models import random_spec
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import Density, candidates_of, objects_of
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.planted_head import planted_head
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

FloatArray = npt.NDArray[np.float32]
NMS = NmsConfig(max_detections=200)


def smooth_maps(spec: DetectorSpec, *, batch: int = 1, seed: int = 0) -> list[FloatArray]:
    """Return raw maps as of random weights: nearly constant, alike in neighbouring cells."""
    rng = np.random.default_rng(seed)
    maps = []
    for level in spec.levels:
        channels, height, width = spec.head_shape(level)
        noise = rng.normal(0, 1, (batch, channels, height + 2, width + 2))
        rows = noise[:, :, :-2] + noise[:, :, 1:-1] + noise[:, :, 2:]
        values = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        centre = rng.normal(-4, 1, (channels, 1, 1))
        maps.append((centre + 0.005 * values).astype(np.float32))
    return maps


@pytest.mark.parametrize(
    "density",
    [Density(0, 0), Density(1, 1), Density(10, 3), Density(100, 20), Density(576, 100)],
    ids=str,
)
@pytest.mark.parametrize(
    "nms",
    [
        NMS,
        NmsConfig(0.001),
        NmsConfig(0.9, multi_label=False),
        NmsConfig(class_agnostic=True),
    ],
)
def test_planted_head_gives_what_is_asked_for(density: Density, nms: NmsConfig) -> None:
    """Candidates come out exactly, objects within a tenth."""
    spec = random_spec()
    maps = smooth_maps(spec)

    head = planted_head(maps, spec, nms, density)

    changed = [change.of(raw) for change, raw in zip(head.changes, maps, strict=True)]
    predictions = predictions_from_raw(changed, spec)
    assert candidates_of(predictions, nms) == head.candidates == (density.candidates,)
    assert objects_of(predictions, nms) == head.objects
    assert abs(head.objects[0] - density.objects) <= 0.1 * density.objects


def test_strict_suppression_leaves_more_objects() -> None:
    """Where boxes must overlap by two thirds to be one object, boxes are as large as they need."""
    spec = random_spec()

    head = planted_head(smooth_maps(spec), spec, NmsConfig(0.001, 0.65), Density(100, 50))

    assert head.candidates == (100,)
    assert abs(head.objects[0] - 50) <= 5


def test_planted_density_is_a_mean_over_images() -> None:
    """All images together have what is asked for, whichever has more."""
    spec = random_spec()

    head = planted_head(smooth_maps(spec, batch=3), spec, NMS, Density(100, 40))

    assert sum(head.candidates) == 300
    assert len(head.objects) == 3
    assert abs(sum(head.objects) - 120) <= 12
    assert min(head.candidates) > 50


def test_candidates_have_several_classes_and_one_each() -> None:
    """Every anchor has one class above the threshold, and not all the same."""
    spec = random_spec()
    maps = smooth_maps(spec)

    head = planted_head(maps, spec, NMS, Density(200, 60))

    changed = [change.of(raw) for change, raw in zip(head.changes, maps, strict=True)]
    rows = predictions_from_raw(changed, spec)[0]
    passing = rows[:, 4:5] * rows[:, 5:] > NMS.score_threshold
    assert set(passing.sum(axis=1)) == {0, 1}
    assert len(set(np.nonzero(passing)[1])) > 2


def test_candidates_are_not_those_of_the_border_alone() -> None:
    """Where the border of a map stands out, as padding makes it, candidates are inside."""
    spec = random_spec()
    maps = smooth_maps(spec)
    for raw in maps:
        raw[..., 0, :] += 0.5
        raw[..., -1, :] += 0.5

    head = planted_head(maps, spec, NMS, Density(60, 20))

    first = head.changes[0].of(maps[0]).reshape(1, 2, -1, *maps[0].shape[2:])
    found = first[0, :, 4] > 0
    assert found[:, 1:-1].any()
    assert not found[:, 0].any()
    assert not found[:, -1].any()


def test_one_class_is_enough() -> None:
    """A detector of one class is planted too."""
    spec = random_spec(num_classes=1)

    head = planted_head(smooth_maps(spec), spec, NMS, Density(100, 30))

    assert head.candidates == (100,)
    assert abs(head.objects[0] - 30) <= 3


def test_constant_map_passes_as_a_whole_or_not_at_all() -> None:
    """Anchors of equal values cannot be told apart: the number is off, and it is told."""
    spec = random_spec()
    maps = [np.full((1, *spec.head_shape(level)), -3.0, np.float32) for level in spec.levels]

    head = planted_head(maps, spec, NMS, Density(100, 30))

    assert all(np.isfinite(change.scale).all() for change in head.changes)
    assert head.candidates[0] in {0, spec.num_boxes}


def test_planted_head_refuses_what_does_not_fit() -> None:
    """More candidates than anchors are refused before anything is computed."""
    spec = random_spec()

    with pytest.raises(BuildError, match="1153 candidates, custom has"):
        planted_head([], spec, replace(NMS, max_detections=2000), Density(1153, 1))
