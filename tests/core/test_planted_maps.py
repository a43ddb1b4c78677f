"""Raw maps with so many candidates and objects, counted by the reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graph.tiny_graphs import tiny_spec
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import candidates_in, objects_of
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.planted_maps import planted_maps
from yolor_deploy.core.spec import DetectorSpec, HeadLevel, InputSpec, NmsConfig

SMALL = tiny_spec(size=(128, 192), levels=3)
P6 = DetectorSpec(
    family="yaml",
    variant="yolor-p6",
    class_names=tuple(map(str, range(80))),
    levels=(
        HeadLevel(8, ((19.0, 27.0), (44.0, 40.0), (38.0, 94.0))),
        HeadLevel(16, ((96.0, 68.0), (86.0, 152.0), (180.0, 137.0))),
        HeadLevel(32, ((140.0, 301.0), (303.0, 264.0), (238.0, 542.0))),
        HeadLevel(64, ((436.0, 615.0), (739.0, 380.0), (925.0, 792.0))),
    ),
    input=InputSpec(1280, 1280),
)
CONFIGS = [
    NmsConfig(),
    NmsConfig(0.001, 0.65),
    NmsConfig(0.9, 0.3, multi_label=False),
    NmsConfig(class_agnostic=True),
]


@pytest.mark.parametrize("nms", CONFIGS)
@pytest.mark.parametrize(("candidates", "objects"), [(0, 0), (1, 1), (10, 3), (100, 20)])
def test_planted_maps_hold_what_is_asked_for(candidates: int, objects: int, nms: NmsConfig) -> None:
    """Candidates and objects come out exactly, on a small detector."""
    maps = planted_maps(SMALL, candidates=candidates, objects=objects, seed=0, nms=nms)

    assert [raw.shape for raw in maps] == [(1, *SMALL.head_shape(level)) for level in SMALL.levels]
    assert {raw.dtype for raw in maps} == {np.dtype(np.float32)}
    assert candidates_in(maps, SMALL, nms) == (candidates,)
    assert objects_of(predictions_from_raw(maps, SMALL), nms) == (objects,)


@pytest.mark.parametrize(("candidates", "objects"), [(0, 0), (10, 3), (1000, 100), (30_000, 300)])
def test_planted_maps_fill_a_real_detector(candidates: int, objects: int) -> None:
    """The detector of YOLOR-P6 holds thirty thousand candidates of three hundred objects."""
    nms = NmsConfig()

    maps = planted_maps(P6, candidates=candidates, objects=objects, seed=1, nms=nms)

    assert candidates_in(maps, P6, nms) == (candidates,)
    assert objects_of(predictions_from_raw(maps, P6), nms) == (objects,)


@pytest.mark.parametrize("nms", CONFIGS)
def test_half_precision_finds_the_same_numbers(nms: NmsConfig) -> None:
    """Candidates and objects are so far from the thresholds that rounding does not matter."""
    maps = planted_maps(SMALL, candidates=100, objects=20, seed=0, nms=nms)

    halved = [raw.astype(np.float16).astype(np.float32) for raw in maps]

    assert candidates_in(halved, SMALL, nms) == (100,)
    assert objects_of(predictions_from_raw(halved, SMALL), nms) == (20,)


def test_objects_are_found_in_several_classes_and_levels() -> None:
    """Objects have different classes, and their anchors are of more than one level."""
    nms = NmsConfig()

    maps = planted_maps(SMALL, candidates=100, objects=20, seed=0, nms=nms)

    found = non_max_suppression(predictions_from_raw(maps, SMALL), nms)
    sizes = np.diff(found["boxes_xyxy"][0, :20].reshape(-1, 2, 2), axis=1).reshape(-1, 2)
    assert len(set(found["class_ids"][0, :20].tolist())) == 3
    assert np.ptp(sizes[:, 0]) > 20
    levels = [
        candidates_in(
            [r if k == n else np.full_like(r, -20) for k, r in enumerate(maps)], SMALL, nms
        )[0]
        for n in range(3)
    ]
    assert min(levels) > 0


def test_seed_decides() -> None:
    """The same seed gives the same maps, another one others."""
    first, same, other = (
        planted_maps(SMALL, candidates=50, objects=10, seed=seed, nms=NmsConfig())
        for seed in (3, 3, 4)
    )

    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("candidates", "objects", "problem"),
    [
        (100_000, 10, "100000 candidates, custom has"),
        (400, 301, "301 objects, the artifact gives at most 300"),
        (700, 1, "there are not 700 free anchors about object 1"),
    ],
)
def test_planted_maps_refuse_what_does_not_fit(candidates: int, objects: int, problem: str) -> None:
    """What a detector has no room for is refused."""
    with pytest.raises(BuildError, match=problem):
        planted_maps(SMALL, candidates=candidates, objects=objects, seed=0, nms=NmsConfig())
