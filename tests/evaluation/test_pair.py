"""Two artifacts on the same images, and how sure their difference is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.coco import OBJECTS, SCENES, eval_config, perfect, planting, session_of, write_coco
from yolor_deploy.evaluation.run import evaluate_pair


def test_evaluate_pair_sees_a_worse_model(tmp_path: Path) -> None:
    """B misses the object of every fourth image, so that the difference is known."""
    objects = [[OBJECTS[0]]] * 20
    data = write_coco(tmp_path / "data", objects)
    worse = planting({k: [(OBJECTS[0][0], 0.9, 0)] for k in range(20) if k % 4})

    result = evaluate_pair(
        session_of(perfect(objects)), session_of(worse), eval_config(data, bootstrap=200)
    )

    assert result.ap_difference == pytest.approx(76 / 101 - 1)  # recall ends at 15 of 20
    assert result.interval is not None
    assert result.interval.low < result.ap_difference < result.interval.high < 0
    assert result.verdict.startswith("B is worse by 24.75 points [")
    assert result.a.interval is not None
    assert (result.a.interval.low, result.a.interval.high) == pytest.approx((1, 1))


def test_evaluate_pair_sees_a_better_model(tmp_path: Path) -> None:
    """The order decides the sign, and the sentence has the smaller bound first."""
    objects = [[OBJECTS[0]]] * 20
    data = write_coco(tmp_path / "data", objects)
    worse = planting({k: [(OBJECTS[0][0], 0.9, 0)] for k in range(20) if k % 4})

    result = evaluate_pair(
        session_of(worse), session_of(perfect(objects)), eval_config(data, bootstrap=200)
    )

    assert result.interval is not None
    low, high = result.interval.low * 100, result.interval.high * 100
    assert result.verdict == f"B is better by 24.75 points [{low:.2f}, {high:.2f}]"


def test_evaluate_pair_sees_no_difference(tmp_path: Path) -> None:
    """Equal models differ in no sample."""
    data = write_coco(tmp_path / "data", SCENES)
    steps: list[tuple[int, int]] = []

    result = evaluate_pair(
        session_of(perfect(SCENES)),
        session_of(perfect(SCENES, score=0.4)),
        eval_config(data, bootstrap=10),
        progress=lambda *step: steps.append(step),
    )

    assert result.ap_difference == 0
    assert result.verdict == "no difference can be seen: the interval [0.00, 0.00] holds 0"
    assert steps == [(step, 18) for step in range(1, 19)]
    assert json.loads(json.dumps(result.to_json()))["verdict"] == result.verdict


def test_evaluate_pair_without_samples_says_that_it_may_be_chance(tmp_path: Path) -> None:
    """A difference without an interval is not called sure."""
    data = write_coco(tmp_path / "data", SCENES)
    nothing = session_of(planting({}))

    result = evaluate_pair(session_of(perfect(SCENES)), nothing, eval_config(data))
    same = evaluate_pair(nothing, nothing, eval_config(data))

    assert result.interval is None
    assert result.verdict == "B is worse by 100.00 points; without an interval this may be chance"
    assert same.verdict == "A and B have the same AP"
