"""What a session refuses, and what it says of TensorRT's own errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.artifacts import NMS
from tests.backends.tensorrt.engines import (
    Opened,
    assert_same_detections,
    images_of,
    model_of,
    reference,
)
from yolor_deploy.backends.tensorrt.execution import profile_for
from yolor_deploy.core.errors import ArtifactError, RunError
from yolor_deploy.core.spec import BatchRange

pytestmark = pytest.mark.nms_build


@pytest.mark.parametrize(
    ("shape", "dtype", "problem"),
    [
        pytest.param(
            (2, 3, 32, 64), "float32", r"expected float32 \[1 to 8, 3, 32, 32\]", id="size"
        ),
        pytest.param((2, 3, 32, 32), "float64", "images are float64", id="dtype"),
        pytest.param((9, 3, 32, 32), "float32", r"\[9, 3, 32, 32\], expected", id="batch"),
        pytest.param((3, 32, 32), "float32", r"images are float32 \[3, 32, 32\]", id="axes"),
    ],
)
def test_run_refuses_images(
    opened: Opened, tmp_path: Path, shape: tuple[int, ...], dtype: str, problem: str
) -> None:
    """What the engine does not take is named, on the host and on the device."""
    session = opened(model_of(tmp_path))
    images = np.zeros(shape, dtype)

    for run in (session.run, session.run_device):
        with pytest.raises(ArtifactError, match=problem):
            run(images)


def test_run_device_refuses_gaps(opened: Opened, tmp_path: Path) -> None:
    """The network reads dense memory."""
    model = model_of(tmp_path)
    turned = images_of(model.meta.spec, 2).transpose(0, 1, 3, 2)

    with pytest.raises(RunError, match="not dense in memory"):
        opened(model).run_device(turned)


def test_run_takes_images_that_are_not_dense(opened: Opened, tmp_path: Path) -> None:
    """On the host they are copied anyway."""
    model = model_of(tmp_path)
    turned = images_of(model.meta.spec, 2).transpose(0, 1, 3, 2)

    assert_same_detections(
        opened(model).run(turned), reference(model, np.ascontiguousarray(turned))
    )


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_run_refuses_thresholds(opened: Opened, tmp_path: Path, name: str, value: float) -> None:
    """A threshold that is none is named."""
    model = model_of(tmp_path)

    with pytest.raises(ArtifactError, match=name):
        opened(model).run(images_of(model.meta.spec, 1), **{name: value})


def test_what_tensorrt_reports_is_an_error(opened: Opened, tmp_path: Path, trt: Any) -> None:
    """A run that fails, and one that only reports, end in the text and its remedy."""
    model = model_of(tmp_path)
    session = opened(model)
    images = images_of(model.meta.spec, 1)
    behaviour = trt.running.Behaviour
    text = "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal memory access)"

    behaviour.fails_at_run = text
    with pytest.raises(RunError, match=r"TensorRT 10.16.1.11 cannot run: .*illegal memory"):
        session.run(images)
    behaviour.fails_at_run, behaviour.reports_at_run = None, text
    with pytest.raises(RunError, match=r"failed: .*illegal memory"):
        session.run(images)
    behaviour.reports_at_run = None
    session.run(images)


def test_a_plan_of_constant_thresholds_takes_no_others(opened: Opened, tmp_path: Path) -> None:
    """A plan of trtexec has them built in: the model's own are taken, others are refused."""
    model = model_of(tmp_path)
    session = opened(model)
    session.buffers.nms = None
    images = images_of(model.meta.spec, 1)

    session._require_built_in(NMS.score_threshold, NMS.iou_threshold)
    with pytest.raises(ArtifactError, match=r"score_threshold is 0.3, and the plan has 0.2"):
        session.run(images, score_threshold=0.3)


@pytest.mark.parametrize(
    ("batch", "profile"),
    [(1, 0), (2, 0), (3, 1), (4, 2), (8, 1), (16, 1)],
)
def test_profile_for_prefers_the_optimum_then_the_narrowest(batch: int, profile: int) -> None:
    """Of profiles that hold a batch, the one that is for it."""
    profiles = (BatchRange(1, 1, 2), BatchRange(3, 8, 16), BatchRange(1, 4, 16))

    assert profile_for(profiles, batch, where="test") == profile


def test_profile_for_refuses_what_no_profile_holds() -> None:
    """All ranges are told."""
    profiles = (BatchRange(1, 1, 1), BatchRange(4, 8, 16))

    with pytest.raises(ArtifactError, match="batch of 2, the engine was built for 1 and 4 to 16"):
        profile_for(profiles, 2, where="test")
