"""Differences of many images, and what a sign-off allows of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.measure.test_difference import A, B, C, Row, found, shifted
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.difference import match_detections
from yolor_deploy.measure.difference_report import (
    DifferenceLimits,
    DifferenceReport,
    ImageDifference,
    ScoreShift,
    Spread,
    violations,
)

NO_LIMITS = DifferenceLimits(None, None, None, None, None, None)


def difference(name: str, before: tuple[Row, ...], after: tuple[Row, ...]) -> ImageDifference:
    """Return what changed in one image, at the score threshold 0.25."""
    match = match_detections(found(*before), found(*after), score_threshold=0.25)
    return ImageDifference.of_match(name, match)


def report(*images: ImageDifference, left_out: tuple[str, ...] = ()) -> DifferenceReport:
    """Return a report on these images."""
    return DifferenceReport("a.onnx", "b.onnx", 0.25, 0.05, 0.5, images, left_out)


CLEAN = difference("clean", (A, B, C), (A, B, C))
LOST = difference("lost", (A, B), (A,))
ADDED = difference("added", (A,), (A, B, C))
RELABELLED = difference("relabelled", (A,), (shifted(A, class_id=1),))
MOVED = difference("moved", (A,), (shifted(A, x=3),))
RESCORED = difference("rescored", (A, B), (shifted(A, score=-0.25), shifted(B, score=0.125)))
CROSSING = difference("crossing", (C,), (shifted(C, score=-0.15625),))


def test_report_adds_up_images() -> None:
    """Each count is the sum over the images, and the boxes of each side are all in a count."""
    total = report(CLEAN, LOST, ADDED, RELABELLED, CROSSING)

    assert (total.boxes_before, total.boxes_after) == (3 + 2 + 1 + 1 + 1, 3 + 1 + 3 + 1)
    assert (total.kept, total.at_threshold, total.relabelled) == (5, 1, 1)
    assert (total.lost, total.added) == (1, 2)
    assert total.fraction(total.lost) == 1 / 8


def test_report_spreads_movement() -> None:
    """Percentiles are over all pairs of all images, those at the threshold included."""
    total = report(CLEAN, MOVED)

    assert (total.moved_px.p50, total.moved_px.maximum) == (0.0, 3.0)
    assert total.moved_px.p99 == pytest.approx(3 * 0.97)  # between the last two of four
    assert total.iou_loss.maximum == pytest.approx(1 - 17 / 23)


def test_report_sums_up_scores() -> None:
    """The bias has a sign, the others are of the absolute change."""
    rescored = report(RESCORED).rescored

    assert (rescored.bias, rescored.mean, rescored.maximum) == (-0.0625, 0.1875, 0.25)
    assert rescored.p99 == pytest.approx(0.125 + 0.99 * 0.125)


def test_report_of_nothing_is_0() -> None:
    """Without pairs there is no movement and no change of score; without boxes no fraction."""
    empty = report(difference("empty", (), ()))

    assert empty.moved_px == empty.iou_loss == Spread(0.0, 0.0, 0.0)
    assert empty.rescored == ScoreShift(0.0, 0.0, 0.0, 0.0)
    assert (empty.fraction(0), empty.fraction(3)) == (0.0, 3.0)


def test_worst_images_come_first() -> None:
    """Images are ranked by changed boxes, then movement, then score; equal ones as given."""
    also_lost = difference("also lost", (A, B), (A,))
    total = report(CLEAN, RESCORED, MOVED, LOST, also_lost, ADDED)

    names = [image.name for image in total.worst(10)]

    assert names == ["added", "lost", "also lost", "moved", "rescored"]
    assert [image.name for image in total.worst(2)] == names[:2]
    assert total.worst(0) == ()


def test_report_as_json() -> None:
    """JSON holds the counts, fractions and spreads, and a line of numbers per image."""
    value = json.loads(json.dumps(report(LOST, MOVED, left_out=("x.png",)).to_json()))

    assert (value["kept"], value["lost"], value["lost_fraction"]) == (2, 1, 1 / 3)
    assert value["moved_px"]["maximum"] == 3.0
    assert value["images"][0] == {
        "file": "lost",
        "boxes_before": 2,
        "boxes_after": 1,
        "kept": 1,
        "at_threshold": 0,
        "relabelled": 0,
        "lost": 1,
        "added": 0,
        "max_moved_px": 0.0,
        "max_iou_loss": 0.0,
        "max_rescored": 0.0,
    }
    assert value["left_out"] == ["x.png"]


def test_equal_models_violate_nothing() -> None:
    """Limits of 0 allow what does not change."""
    assert violations(report(CLEAN), DifferenceLimits(0, 0, 0, 0, 0, 0)) == []


@pytest.mark.parametrize(
    ("image", "limits", "expected"),
    [
        pytest.param(
            LOST,
            DifferenceLimits(),
            "boxes lost: 1, 50.00% of the 2 before, allowed 1.00%",
            id="lost",
        ),
        pytest.param(
            ADDED,
            DifferenceLimits(max_added_fraction=0.5),
            "boxes added: 2, 200.00% of the 1 before, allowed 50.00%",
            id="added",
        ),
        pytest.param(
            RELABELLED,
            DifferenceLimits(),
            "boxes relabelled: 1, 100.00% of the 1 before, allowed 1.00%",
            id="relabelled",
        ),
        pytest.param(
            MOVED,
            DifferenceLimits(),
            "boxes moved by 3 px at the 99th percentile, allowed 2 px",
            id="moved",
        ),
        pytest.param(
            MOVED,
            DifferenceLimits(max_moved_px=None, max_iou_loss=0.25),
            "boxes lost IoU of 0.2609 at the 99th percentile, allowed 0.25",
            id="iou",
        ),
        pytest.param(
            RESCORED,
            DifferenceLimits(),
            "scores changed by 0.2487 at the 99th percentile, allowed 0.05",
            id="rescored",
        ),
        pytest.param(
            difference("empty", (), ()),
            NO_LIMITS,
            "neither model finds a box above score 0.25",
            id="nothing-compared",
        ),
    ],
)
def test_violation_quotes_value_and_limit(
    image: ImageDifference, limits: DifferenceLimits, expected: str
) -> None:
    """One thing beyond its limit is one sentence."""
    assert violations(report(image), limits) == [expected]


def test_violations_name_each_reason() -> None:
    """Several limits are several sentences, and damaged images are one."""
    found_reasons = violations(report(LOST, ADDED, MOVED, left_out=("x",)), DifferenceLimits())

    assert [reason.split(",")[0] for reason in found_reasons] == [
        "1 of 4 images cannot be read",
        "boxes lost: 1",
        "boxes added: 2",
        "boxes moved by 2.94 px at the 99th percentile",
    ]


def test_value_at_its_limit_is_allowed() -> None:
    """A limit is the most that may happen."""
    limits = DifferenceLimits(max_lost_fraction=0.5, max_moved_px=3.0)

    assert violations(report(LOST), limits) == []
    assert violations(report(MOVED), limits) == []


@pytest.mark.parametrize("image", [LOST, ADDED, RELABELLED, MOVED, RESCORED])
def test_without_limits_nothing_is_refused(image: ImageDifference) -> None:
    """None and infinity are no limits."""
    infinite = DifferenceLimits(*[math.inf] * 6)

    assert violations(report(image), NO_LIMITS) == violations(report(image), infinite) == []


@pytest.mark.parametrize("value", [-0.01, float("nan")])
def test_limits_refuse_nonsense(value: float) -> None:
    """A negative limit and NaN are refused by name."""
    with pytest.raises(EvaluationError, match="expected 0 or more") as caught:
        DifferenceLimits(max_moved_px=value)

    assert caught.value.where == "--max-moved"


def test_a_crossed_threshold_violates_nothing_but_scores() -> None:
    """What only crosses the threshold is neither lost nor added; its score counts as changed."""
    assert violations(report(CROSSING), DifferenceLimits(max_rescored=0.2)) == []
    assert np.array_equal(CROSSING.score_change, [-0.15625])
