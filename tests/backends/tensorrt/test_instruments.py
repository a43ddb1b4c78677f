"""Times, conditions and profiles of a session, on a TensorRT and a GPU that stand in."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.tensorrt.engines import (
    Opened,
    assert_same_detections,
    images_of,
    model_of,
    reference,
)
from tests.plugins.test_nms_host import drawn_maps
from yolor_deploy.backends.tensorrt.instruments import TensorRTInstruments
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.core.runtime import Instruments
from yolor_deploy.core.spec import OutputKind

pytestmark = pytest.mark.nms_build

WAYS: tuple[NmsWay, ...] = ("plugin", "kernels", "ops")
COPY_MS, MODEL_MS, NMS_MS = 0.5, 7.0, 0.25


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    """Return a model that detects."""
    return model_of(tmp_path)


def takes_time(session: TensorRTSession, trt: Any) -> None:
    """Let copies, the model and the kernels take the times above."""
    device: Any = session.device
    device.copy_ms = COPY_MS
    trt.running.Behaviour.elapses = lambda: device.clock.advance(MODEL_MS)
    library: Any = session.buffers.library
    if library is not None:
        library.elapses = lambda: device.clock.advance(NMS_MS)


def captures(trt: Any) -> int:
    """Return how often a run of the model was captured."""
    return sum(call[-1] is True for call in trt.CALLS if call[0] == "execute")


def test_run_stages_tells_what_each_stage_took(opened: Opened, model: Artifact, trt: Any) -> None:
    """Images go up in one copy, four outputs come back; the kernels are apart from the model."""
    session = opened(model, nms="kernels")
    takes_time(session, trt)
    instruments: Instruments = TensorRTInstruments(session)

    for seed, batch in enumerate((2, 2, 3)):
        times, _ = instruments.run_stages(images_of(model.meta.spec, batch, seed=seed))

        assert times == pytest.approx(
            {
                "host_to_device": COPY_MS,
                "model": MODEL_MS,
                "nms": NMS_MS,
                "device_to_host": 4 * COPY_MS,
            }
        )
        assert tuple(times) == instruments.stages


@pytest.mark.parametrize("way", ["plugin", "ops"])
def test_post_processing_inside_the_plan_is_no_stage(
    opened: Opened, model: Artifact, trt: Any, way: NmsWay
) -> None:
    """Its share is in the profile; by events it is part of the model."""
    session = opened(model, nms=way)
    takes_time(session, trt)

    times, _ = TensorRTInstruments(session).run_stages(images_of(model.meta.spec, 1))

    assert times == pytest.approx(
        {"host_to_device": COPY_MS, "model": MODEL_MS, "device_to_host": 4 * COPY_MS}
    )


@pytest.mark.parametrize("way", WAYS)
def test_run_stages_gives_the_outputs_of_run(opened: Opened, model: Artifact, way: NmsWay) -> None:
    """To the bit, whichever of them came last."""
    session = opened(model, nms=way)
    instruments = TensorRTInstruments(session)

    for seed in range(4):
        images = images_of(model.meta.spec, 2, seed=seed)
        expected = session.run(images)

        _, found = instruments.run_stages(images)

        assert list(found) == list(expected)
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes()
        assert_same_detections(found, reference(model, images))


def test_model_and_post_processing_are_graphs_of_their_own(
    opened: Opened, model: Artifact, trt: Any
) -> None:
    """Two replays a run; the graph of the session, which is one for both, is left as it is."""
    session = opened(model, nms="kernels")
    device: Any = session.device
    images = images_of(model.meta.spec, 2)
    for _ in range(3):
        session.run(images)
    instruments = TensorRTInstruments(session)
    instruments.run_stages(images)
    assert captures(trt) == 2
    device.launches = 0

    instruments.run_stages(images)
    assert device.launches == 2
    session.run(images)

    assert device.launches == 3
    assert captures(trt) == 2


def test_stages_are_plain_where_runs_are(opened: Opened, model: Artifact, trt: Any) -> None:
    """A model that cannot be captured is timed as it runs."""
    session = opened(model, nms="plugin")
    trt.running.Behaviour.refuses_capture = True
    takes_time(session, trt)
    images = images_of(model.meta.spec, 2)
    instruments = TensorRTInstruments(session)
    for _ in range(2):
        session.run(images)

    times, found = instruments.run_stages(images)

    assert times["model"] == pytest.approx(MODEL_MS)
    assert session.device.launches == 0  # type: ignore[attr-defined]
    assert instruments.conditions().cuda_graph is False
    assert_same_detections(found, reference(model, images))


def test_conditions_leave_out_batch_sizes_that_ran_once(opened: Opened, model: Artifact) -> None:
    """The second run is the one that is captured."""
    session = opened(model)
    instruments = TensorRTInstruments(session)
    session.run(images_of(model.meta.spec, 1))
    assert instruments.conditions().cuda_graph is False

    for batch in (1, 3):
        session.run(images_of(model.meta.spec, batch))

    assert instruments.conditions().cuda_graph is True


def test_run_stages_refuses_what_run_refuses(opened: Opened, model: Artifact) -> None:
    """Images of another type, and batches of no profile."""
    instruments = TensorRTInstruments(opened(model))

    with pytest.raises(ArtifactError, match="float64"):
        instruments.run_stages(images_of(model.meta.spec, 1).astype(np.float64))
    with pytest.raises(ArtifactError, match=r"\[9, 3, 32, 32\]"):
        instruments.run_stages(images_of(model.meta.spec, 9))


@pytest.mark.parametrize(
    ("way", "place"),
    [
        pytest.param("plugin", "plugin", id="plugin"),
        pytest.param("kernels", "kernels", id="kernels"),
        pytest.param("ops", "graph", id="ops"),
    ],
)
def test_conditions_tell_where_post_processing_is(
    opened: Opened, model: Artifact, host_library_path: Path, way: NmsWay, place: str
) -> None:
    """With the hash of the library that does it, where one does."""
    session = opened(model, nms=way)
    for _ in range(2):
        session.run(images_of(model.meta.spec, 1))

    found = TensorRTInstruments(session).conditions()

    hashes = {
        "plugin": sha256(b"code").hexdigest(),
        "kernels": sha256(host_library_path.read_bytes()).hexdigest(),
    }
    assert (found.nms, found.plugin_sha256) == (place, hashes.get(place))
    assert (found.runtime, found.device) == ("tensorrt 10.16.1.11", "host")
    assert (found.threads, found.waiting) == (None, "spin")
    assert found.cuda_graph is True


@pytest.mark.parametrize("output", ["raw", "predictions"])
def test_conditions_of_a_model_that_does_not_detect(
    opened: Opened, tmp_path: Path, output: OutputKind
) -> None:
    """It has no post-processing, and no library."""
    session = opened(model_of(tmp_path, output=output))

    found = TensorRTInstruments(session).conditions()

    assert (found.nms, found.plugin_sha256) == ("none", None)
    assert found.cuda_graph is False  # nothing ran yet


def test_memory_is_told_by_kind(opened: Opened, model: Artifact) -> None:
    """Of the largest batch, 8: images, and raw maps of two levels, 24 channels each."""
    session = opened(model, nms="kernels")

    found = TensorRTInstruments(session).memory_bytes()

    maps = sum(np.prod(model.meta.spec.head_shape(level)) for level in model.meta.spec.levels)
    assert session.buffers.nms is not None
    assert found == {
        "weights": 1234,
        "activations": 4096,
        "workspace": session.buffers.nms.workspace_bytes,
        "io": 8 * 4 * (3 * 32 * 32 + maps),
    }


def test_weights_that_are_not_told_are_the_plan(opened: Opened, model: Artifact, trt: Any) -> None:
    """TensorRT gives -1 for a size that it does not know."""
    trt.running.Behaviour.weights_size = -1
    session = opened(model, nms="ops")

    found = TensorRTInstruments(session).memory_bytes()

    assert found["weights"] == session.artifact.path.stat().st_size
    assert "workspace" not in found


def test_profile_is_the_median_of_each_layer(opened: Opened, model: Artifact, trt: Any) -> None:
    """The first run does not count; a layer that is run twice in a run is added up."""
    session = opened(model, nms="plugin")
    trt.running.Behaviour.layers = (
        (("conv", 90.0), ("loop", 9.0), ("YolorNMS", 9.0)),
        (("conv", 1.0), ("loop", 0.5), ("YolorNMS", 0.2), ("loop", 0.5)),
        (("conv", 3.0), ("loop", 0.5), ("YolorNMS", 0.4), ("loop", 2.5)),
        (("conv", 2.0), ("loop", 1.0), ("YolorNMS", 0.3), ("loop", 1.0)),
    )

    found = TensorRTInstruments(session).profile(images_of(model.meta.spec, 2), 3)

    assert [(layer.name, layer.ms) for layer in found] == [
        ("conv", 2.0),
        ("loop", 2.0),
        ("YolorNMS", 0.3),
    ]


def test_profile_changes_nothing_of_the_session(opened: Opened, model: Artifact, trt: Any) -> None:
    """Its context is another one: the graph is replayed as before, and tells nothing."""
    session = opened(model)
    trt.running.Behaviour.layers = ((("conv", 1.0),),)
    images = images_of(model.meta.spec, 2)
    for _ in range(2):
        session.run(images)
    before = captures(trt)

    TensorRTInstruments(session).profile(images, 2)
    found = session.run(images)

    assert captures(trt) == before
    assert session.uses_graphs
    assert_same_detections(found, reference(model, images))


def test_profile_that_is_empty_is_told(
    opened: Opened, model: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    """A runtime may take a profiler, and tell it nothing."""
    found = TensorRTInstruments(opened(model)).profile(images_of(model.meta.spec, 1), 2)

    assert found == ()
    assert "tensorrt tells no times of layers" in caplog.text


def test_profile_without_a_profiler_is_empty(
    opened: Opened, model: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    """A module may have none; nothing is run for it."""
    session = opened(model)
    session.engine._has = replace(session.engine._has, has_profiler=False)

    found = TensorRTInstruments(session).profile(images_of(model.meta.spec, 1), 2)

    assert found == ()
    assert "tensorrt has no profiler" in caplog.text


def test_another_session_runs_beside_this_one(opened: Opened, model: Artifact) -> None:
    """It has the same plan and rows, and a stream of its own."""
    session = opened(model)

    other = TensorRTInstruments(session).another()

    images = images_of(model.meta.spec, 2)
    assert isinstance(other, TensorRTSession)
    assert other.stream != session.stream
    assert other.engine is session.engine
    assert_same_detections(other.run(images), session.run(images))


@pytest.mark.parametrize("broken", [None, "is_blind", "never_waits"])
def test_self_test_is_made_with_the_clocks_of_stages_and_runs(
    opened: Opened, model: Artifact, broken: str | None
) -> None:
    """It fails where events see nothing, or the wait of a run does nothing."""
    session = opened(model)
    device: Any = session.device
    if broken is not None:
        setattr(device, broken, True)

    found = TensorRTInstruments(session, clock_ns=device.host_clock_ns).self_test()

    assert found.passed is (broken is None)
    assert set(device.records) == {session.stream}
    assert device.waits[-1] == session.stream


@pytest.mark.parametrize("way", ["plugin", "kernels"])
def test_stages_of_a_profile_for_one_context_leave_it_to_the_runs(
    opened: Opened,
    model: Artifact,
    trt: Any,
    caplog: pytest.LogCaptureFixture,
    way: NmsWay,
) -> None:
    """Before TensorRT 8.6: runs and stages take turns, and runs keep the graph that they have."""
    trt.running.Behaviour.shares_profiles = False
    session = opened(model, nms=way)
    takes_time(session, trt)
    instruments = TensorRTInstruments(session)
    batches = [images_of(model.meta.spec, 2, seed=seed) for seed in range(3)]
    for images in batches:
        session.run(images)

    for images in batches:
        times, found = instruments.run_stages(images)
        assert times["model"] == pytest.approx(MODEL_MS)
        assert_same_detections(found, reference(model, images))
        assert_same_detections(session.run(images), reference(model, images))

    assert len([call for call in trt.CALLS if call[0] == "profile"]) == 2  # one was refused
    assert captures(trt) == 1
    assert instruments.conditions().cuda_graph is True
    assert caplog.text.count("the model is timed without a graph") == 1


def test_stages_of_a_profile_for_one_context_take_any_batch(
    opened: Opened, model: Artifact, trt: Any
) -> None:
    """The profile goes from one batch size to the next, as it does for runs."""
    trt.running.Behaviour.shares_profiles = False
    session = opened(model)
    instruments = TensorRTInstruments(session)

    for batch in (1, 2, 1):
        images = images_of(model.meta.spec, batch)
        _, found = instruments.run_stages(images)
        assert_same_detections(found, reference(model, images))
        instruments.profile(images, 1)
        assert_same_detections(session.run(images), reference(model, images))


def test_close_frees_what_was_made_and_leaves_the_session(opened: Opened, model: Artifact) -> None:
    """Memory and events of the measurements go; the session runs on."""
    session = opened(model, nms="kernels")
    device: Any = session.device
    images = images_of(model.meta.spec, 2)
    session.run(images)
    before = len(device.memory)
    instruments = TensorRTInstruments(session)
    instruments.run_stages(images)
    instruments.run_nms(drawn_maps(model.meta.spec, 0, batch=2))
    assert len(device.memory) > before

    instruments.close()

    assert all(memory.is_closed for memory in device.memory[before:])
    assert all(event.is_closed for event in device.events)
    assert_same_detections(session.run(images), reference(model, images))
