"""Boxes of two models, paired and counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_deploy.core.detections import Detections
from yolor_deploy.measure.difference import (
    BoxPair,
    DetectionMatch,
    match_detections,
)

Row = tuple[float, float, float, float, float, int]

A: Row = (10, 10, 30, 50, 0.75, 0)
B: Row = (100, 20, 160, 60, 0.5, 1)
C: Row = (200, 200, 240, 260, 0.375, 0)


def found(*rows: Row) -> Detections:
    """Return detections of (left, top, right, bottom, score, class)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(
        table[:, :4].astype(np.float32),
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.int32),
    )


def shifted(row: Row, *, x: float = 0.0, score: float = 0.0, class_id: int | None = None) -> Row:
    """Return a row moved to the right, rescored, or of another class."""
    left, top, right, bottom, old_score, old_class = row
    new_class = old_class if class_id is None else class_id
    return left + x, top, right + x, bottom, old_score + score, new_class


def rows_of(pairs: tuple[BoxPair, ...]) -> list[tuple[int, int]]:
    """Return which rows were paired."""
    return [(pair.before, pair.after) for pair in pairs]


def test_match_of_equal_boxes() -> None:
    """Each box is kept, with IoU 1, and nothing about it changed."""
    match = match_detections(found(A, B, C), found(C, A, B))

    assert sorted(match.kept) == [
        BoxPair(0, 1, 1.0, 0.0, 0.0),
        BoxPair(1, 2, 1.0, 0.0, 0.0),
        BoxPair(2, 0, 1.0, 0.0, 0.0),
    ]
    assert (match.lost, match.added, match.relabelled, match.at_threshold) == ((), (), (), ())
    assert (match.boxes_before, match.boxes_after) == (3, 3)


def test_match_of_nothing() -> None:
    """Two images without objects do not differ."""
    match = match_detections(found(), found())

    assert match == DetectionMatch((), (), (), (), (), 0, 0)


def test_match_counts_lost_boxes() -> None:
    """A box that is there before only is lost."""
    match = match_detections(found(A, B, C), found(A, C))

    assert (match.lost, match.added) == ((1,), ())
    assert rows_of(match.kept) == [(0, 0), (2, 1)]


def test_match_counts_added_boxes() -> None:
    """A box that is there after only is added; before there may be none at all."""
    match = match_detections(found(), found(A, B))

    assert (match.lost, match.added) == ((), (0, 1))


def test_match_measures_movement() -> None:
    """A box 20 wide that moves by 3 pixels shares 17 of 23 columns with itself."""
    (pair,) = match_detections(found(A), found(shifted(A, x=3))).kept

    assert (pair.moved_px, pair.score_change) == (3.0, 0.0)
    assert pair.iou == pytest.approx(17 / 23, abs=1e-12)


def test_match_measures_change_of_score() -> None:
    """The change has the sign of after minus before."""
    (pair,) = match_detections(found(A), found(shifted(A, score=-0.125))).kept

    assert (pair.score_change, pair.moved_px, pair.iou) == (-0.125, 0.0, 1.0)


def test_match_tells_another_class_apart() -> None:
    """A box of another class in the same place is relabelled, neither lost nor added."""
    match = match_detections(found(A, B), found(shifted(A, x=3, class_id=2), B))

    assert rows_of(match.relabelled) == [(0, 0)]
    assert match.relabelled[0].moved_px == 3.0
    assert rows_of(match.kept) == [(1, 1)]
    assert (match.lost, match.added) == ((), ())


def test_match_of_another_class_elsewhere() -> None:
    """A box of another class that does not overlap is one lost and one added."""
    match = match_detections(found(A), found(B))

    assert (match.relabelled, match.lost, match.added) == ((), (0,), (0,))


def test_match_without_classes() -> None:
    """Where the class is not looked at, a box of another class is kept."""
    other = shifted(A, class_id=2)

    match = match_detections(found(A), found(other), class_aware=False)

    assert rows_of(match.kept) == [(0, 0)]
    assert match.relabelled == ()


@pytest.mark.parametrize(
    ("iou_threshold", "kept"),
    [pytest.param(0.5, 1, id="reached"), pytest.param(0.5000001, 0, id="missed")],
)
def test_match_includes_the_iou_threshold(iou_threshold: float, kept: int) -> None:
    """Boxes that share 20 of 40 columns have an IoU of exactly 0.5, which is enough at 0.5."""
    before, after = found((0, 0, 30, 10, 0.5, 0)), found((10, 0, 40, 10, 0.5, 0))

    match = match_detections(before, after, iou_threshold=iou_threshold)

    assert len(match.kept) == kept
    assert len(match.lost) == len(match.added) == 1 - kept


def test_match_takes_one_of_many() -> None:
    """Of several boxes on one object the closest is its partner, and the others are added."""
    match = match_detections(found(A), found(shifted(A, x=2), shifted(A, x=1), shifted(A, x=-2)))

    assert rows_of(match.kept) == [(0, 1)]
    assert match.added == (0, 2)


def test_match_prefers_the_closest_pair() -> None:
    """A partner goes to the box that it overlaps most, whatever the order of rows."""
    before = found(shifted(A, x=2, score=0.125), A)

    match = match_detections(before, found(shifted(A, x=0.5)))

    assert rows_of(match.kept) == [(1, 0)]
    assert match.lost == (0,)


def test_match_prefers_the_higher_score_of_equals() -> None:
    """Of boxes that overlap equally, the one with the higher score is the partner."""
    match = match_detections(found(A), found(shifted(A, x=2, score=-0.25), shifted(A, x=-2)))

    assert rows_of(match.kept) == [(0, 1)]


def test_match_prefers_the_lower_row_of_equals() -> None:
    """Of boxes that are equal in all, the first is the partner."""
    match = match_detections(found(A), found(B, A, A))

    assert rows_of(match.kept) == [(0, 1)]
    assert match.added == (0, 2)


@pytest.mark.parametrize("swapped", [False, True], ids=["falls", "rises"])
def test_match_forgives_a_crossed_threshold(swapped: bool) -> None:
    """A score that goes from 0.251 to 0.249 at the threshold 0.25 is neither lost nor added."""
    sides = found((10, 10, 30, 50, 0.251, 0)), found((10, 10, 30, 50, 0.249, 0))
    before, after = sides[::-1] if swapped else sides

    match = match_detections(before, after, score_threshold=0.25)

    assert rows_of(match.at_threshold) == [(0, 0)]
    assert (match.kept, match.lost, match.added) == ((), (), ())
    assert (match.boxes_before, match.boxes_after) == ((0, 1) if swapped else (1, 0))


def test_match_forgives_no_other_class_at_the_threshold() -> None:
    """A box of another class below the threshold does not make up for a lost one."""
    other = shifted(A, score=-0.625, class_id=2)

    match = match_detections(found(A), found(other), score_threshold=0.25)

    assert (match.at_threshold, match.relabelled, match.lost) == ((), (), (0,))


def test_match_ignores_boxes_below_the_threshold() -> None:
    """Boxes that are below it both times, or without a partner, are in no place."""
    low = shifted(B, score=-0.375)

    match = match_detections(
        found(A, low), found(A, shifted(C, score=-0.25), low), score_threshold=0.25
    )

    assert rows_of(match.kept) == [(0, 0)]
    assert (match.at_threshold, match.lost, match.added) == ((), (), ())
    assert (match.boxes_before, match.boxes_after) == (1, 1)


def test_match_prefers_partners_above_the_threshold() -> None:
    """A box below the threshold takes no partner from one above it, even where it is closer."""
    low = shifted(A, score=-0.625)

    match = match_detections(found(A), found(shifted(A, x=3), low), score_threshold=0.25)

    assert rows_of(match.kept) == [(0, 0)]
    assert match.at_threshold == ()


def test_match_compares_scores_with_the_threshold_as_suppression_does() -> None:
    """A score equal to the threshold in float32 is not above it."""
    row = (10.0, 10.0, 30.0, 50.0, 0.1, 0)

    assert match_detections(found(row), found(row), score_threshold=0.1).boxes_before == 0


coordinates = st.sampled_from([0.0, 0.5, 10.0, 12.0, 30.0, 33.25, 1000.0])
scores = st.sampled_from([0.0, 0.125, 0.2, 0.25, 0.26, 0.5, 1.0])
detections = st.lists(
    st.tuples(coordinates, coordinates, coordinates, coordinates, scores, st.integers(0, 2)),
    max_size=8,
).map(lambda rows: found(*rows))
"""Boxes of few values, so that ties, equal boxes and boxes without area are frequent."""


@given(detections, st.sampled_from([None, 0.2, 0.25]), st.booleans())
@settings(deadline=None)
def test_match_with_itself_is_clean(
    same: Detections, threshold: float | None, class_aware: bool
) -> None:
    """A model does not differ from itself, whatever it finds."""
    match = match_detections(same, same, score_threshold=threshold, class_aware=class_aware)

    assert (match.lost, match.added, match.relabelled, match.at_threshold) == ((), (), (), ())
    assert len(match.kept) == match.boxes_before == match.boxes_after
    assert all(pair[2:] == (1.0, 0.0, 0.0) for pair in match.kept)


@given(detections, detections, st.sampled_from([None, 0.2, 0.25]), st.booleans())
@settings(deadline=None)
def test_match_is_the_same_from_both_sides(
    before: Detections, after: Detections, threshold: float | None, class_aware: bool
) -> None:
    """Exchanging the models exchanges lost and added, and both rows of each pair."""
    there, back = (
        match_detections(*sides, score_threshold=threshold, class_aware=class_aware)
        for sides in ((before, after), (after, before))
    )

    assert (back.lost, back.added) == (there.added, there.lost)
    for name in ("kept", "at_threshold", "relabelled"):
        turned = [
            (pair.after, pair.before, pair.iou, -pair.score_change, pair.moved_px)
            for pair in getattr(back, name)
        ]
        assert sorted(turned) == sorted(getattr(there, name))


@given(detections, detections, st.sampled_from([None, 0.2, 0.25]))
@settings(deadline=None)
def test_match_puts_each_box_in_one_place(
    before: Detections, after: Detections, threshold: float | None
) -> None:
    """No row is in two pairs, or in a pair and lost; all above the threshold are somewhere."""
    match = match_detections(before, after, score_threshold=threshold)

    pairs = match.pairs + match.relabelled
    rows = [pair.before for pair in pairs] + list(match.lost)
    columns = [pair.after for pair in pairs] + list(match.added)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    limit = np.float32(-1 if threshold is None else threshold)
    assert set(np.flatnonzero(before.scores > limit)) <= set(rows)
    assert set(np.flatnonzero(after.scores > limit)) <= set(columns)
