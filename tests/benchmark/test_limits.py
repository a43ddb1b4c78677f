"""A benchmark of work that is not the same, or of numbers that make none, is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.sessions import artifact, batch_range
from yolor_deploy.benchmark.limits import (
    require_batch,
    require_recipe,
    require_same_work,
    require_settings,
)
from yolor_deploy.benchmark.options import BenchConfig, Recipe
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.spec import InputSpec, NmsConfig
from yolor_deploy.measure.latency.record import Settings


def _with_meta(**values: Any) -> Artifact:
    base = artifact()
    return replace(base, meta=replace(base.meta, **values))


def _with_spec(**values: Any) -> Artifact:
    return _with_meta(spec=replace(artifact().meta.spec, **values))


def test_same_work_at_another_size_and_precision_is_compared() -> None:
    """Input size and precision may differ: they are what one compares."""
    other = _with_spec(input=InputSpec(height=64, width=64))
    other = replace(other, meta=replace(other.meta, precision="fp16"))

    require_same_work([artifact(), other])


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        pytest.param(artifact("raw"), "ends in raw", id="output"),
        pytest.param(_with_spec(class_names=("a", "b")), "2 classes, expected 3", id="classes"),
        pytest.param(_with_spec(class_names=("a", "b", "c")), "other names", id="names"),
        pytest.param(
            _with_meta(nms=NmsConfig(max_detections=5, score_threshold=0.001)),
            "score_threshold is 0.001, expected 0.25",
            id="threshold",
        ),
        pytest.param(
            _with_meta(nms=NmsConfig(max_detections=5, class_agnostic=True)),
            "class_agnostic",
            id="agnostic",
        ),
    ],
)
def test_different_work_is_refused(other: Artifact, problem: str) -> None:
    """Other classes, thresholds or outputs are not the same work, and it says which."""
    with pytest.raises(EvaluationError, match=problem) as caught:
        require_same_work([artifact(), other])

    assert "--allow-different-work" in caught.value.hint


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_batch_beyond_the_artifact_is_refused(batch: int) -> None:
    """Outside of the range that it was made for nothing can be measured."""
    with pytest.raises(EvaluationError, match=f"batch of {batch}"):
        require_batch(artifact(image=batch_range(2, 3, 4)), batch)


def test_batch_within_the_range_is_measured() -> None:
    """Any batch size of the range is taken."""
    for batch in (2, 3, 4):
        require_batch(artifact(image=batch_range(2, 3, 4)), batch)


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"noise_target": 0.0}, "--noise"),
        ({"noise_target": float("nan")}, "--noise"),
        ({"noise_target": 1.0}, "--noise"),
        ({"min_samples": 0}, "--min-samples"),
        ({"min_samples": 30, "max_samples": 29}, "--max-samples"),
        ({"time_limit_s": 0.0}, "--time-limit"),
        ({"time_limit_s": float("inf")}, "--time-limit"),
        ({"warmup_s": -1.0}, "--warmup"),
        ({"batch": 0}, "--batch"),
        ({"streams": (1, 0)}, "--streams"),
    ],
)
def test_numbers_out_of_range_are_refused(values: dict[str, Any], option: str) -> None:
    """Each number that makes no benchmark names its option."""
    with pytest.raises(EvaluationError) as caught:
        require_settings(Settings(**values))

    assert caught.value.where == option


def test_level_is_taken_where_the_first_artifact_is_an_engine() -> None:
    """What builds the other engine is known from the first, and need not be named again."""
    config = BenchConfig(("a.engine",), against="yolov4-p7", recipe=Recipe(optimization_level=3))

    require_recipe(config, config.recipe.completed_by(Recipe(backend="tensorrt")))


def test_level_without_an_engine_is_refused_before_anything_is_made() -> None:
    """A model that ONNX Runtime runs has no such level."""
    config = BenchConfig(("yolor-p6",), recipe=Recipe(optimization_level=3))

    with pytest.raises(EvaluationError, match="option of engines") as caught:
        require_recipe(config, config.recipe)

    assert caught.value.where == "--optimization-level"


def test_defaults_are_in_range() -> None:
    """What is used when nothing is given passes."""
    require_settings(Settings())
