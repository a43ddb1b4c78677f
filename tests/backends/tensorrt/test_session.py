"""Engines that run: the real session and its order of calls, on a TensorRT that stands in."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.backends.artifacts import NMS
from tests.backends.tensorrt.engines import (
    CapturingDevice,
    Opened,
    assert_same_detections,
    built,
    images_of,
    model_of,
    reference,
)
from tests.cuda.host_device import HostLaunches
from yolor_deploy.backends.tensorrt.open import open_engine
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.errors import RunError
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.core.spec import BatchRange, OutputKind

pytestmark = pytest.mark.nms_build

WAYS: tuple[NmsWay, ...] = ("plugin", "kernels", "ops")


@pytest.mark.parametrize("way", WAYS)
def test_run_gives_the_rows_of_the_model(opened: Opened, tmp_path: Path, way: NmsWay) -> None:
    """Batches of every size give them, first without a graph and then with it."""
    model = model_of(tmp_path)
    session = opened(model, nms=way)

    for seed, batch in enumerate((2, 1, 2, 8, 1, 2)):
        images = images_of(model.meta.spec, batch, seed=seed)

        found = session.run(images)

        assert list(found) == list(model.output_names)
        assert_same_detections(found, reference(model, images))


@pytest.mark.parametrize("output", ["raw", "predictions"])
def test_run_gives_the_outputs_of_a_model_that_does_not_detect(
    opened: Opened, tmp_path: Path, output: OutputKind
) -> None:
    """Raw maps and predictions come as they are."""
    model = model_of(tmp_path, output=output, uint8=True)
    images = images_of(model.meta.spec, 3)

    found = opened(model).run(images)

    for name, values in reference(model, images).items():
        assert np.array_equal(found[name], values)


@pytest.mark.parametrize("way", WAYS)
def test_run_takes_thresholds_without_a_new_graph(
    opened: Opened, tmp_path: Path, trt: Any, way: NmsWay
) -> None:
    """A graph that is captured reads them where they are."""
    model = model_of(tmp_path)
    session = opened(model, nms=way)
    images = images_of(model.meta.spec, 2)
    for _ in range(2):
        session.run(images)
    captures = sum(call[-1] is True for call in trt.CALLS if call[0] == "execute")

    changes: tuple[dict[str, Any], ...] = ({"score_threshold": 0.3}, {"iou_threshold": 0.2}, {})
    for thresholds in changes:
        found = session.run(images, **thresholds)

        expected = reference(model, images, **thresholds)
        assert_same_detections(found, expected, replace(NMS, **thresholds))
    assert captures == sum(call[-1] is True for call in trt.CALLS if call[0] == "execute") == 1


def test_each_batch_size_is_captured_once_on_its_second_run(
    opened: Opened, tmp_path: Path, trt: Any
) -> None:
    """The first run is a plain one; the next are replays on the stream of the session."""
    model = model_of(tmp_path)
    session = opened(model)
    trt.CALLS.clear()

    for batch in (1, 1, 1, 4, 4, 1):
        session.run(images_of(model.meta.spec, batch))

    executed = [(call[1], call[4]) for call in trt.CALLS if call[0] == "execute"]
    plain, captured = False, True
    assert executed == [
        *[(1, plain), (1, captured), (1, plain), (1, plain)],
        *[(4, plain), (4, captured), (4, plain), (1, plain)],
    ]
    assert session.device.launches == 4  # type: ignore[attr-defined]


def test_context_is_told_everything_before_its_first_run(
    opened: Opened, tmp_path: Path, trt: Any
) -> None:
    """Profile, then shape, then every address, then the run; the second run changes nothing."""
    model = model_of(tmp_path)
    session = opened(model, profiles=(BatchRange(1, 1, 2), BatchRange(1, 4, 8)))
    trt.CALLS.clear()

    for _ in range(2):
        session.run(images_of(model.meta.spec, 4))

    kinds = [call[0] for call in trt.CALLS]
    assert kinds == ["profile", "shape", *["address"] * 3, "execute", "execute", "execute"]
    assert trt.CALLS[0] == ("profile", 1)


def test_runs_that_cannot_be_captured_go_on_without_a_graph(
    opened: Opened, tmp_path: Path, trt: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried once, and said."""
    model = model_of(tmp_path)
    session = opened(model)
    images = images_of(model.meta.spec, 2)
    trt.running.Behaviour.refuses_capture = True

    for _ in range(4):
        found = session.run(images)

    assert_same_detections(found, reference(model, images))
    assert caplog.text.count("runs without a CUDA graph") == 1
    contexts = [call for call in trt.CALLS if call[0] == "profile"]
    assert len(contexts) == 2  # the one whose capture failed is not used again


def test_run_waits_once_and_run_device_never(opened: Opened, tmp_path: Path) -> None:
    """Nothing is hidden: a device run returns at once."""
    model = model_of(tmp_path)
    session = opened(model)
    device: Any = session.device
    images = images_of(model.meta.spec, 2)
    for _ in range(3):
        device.waits.clear()
        session.run(images)
        assert device.waits == [session.stream]

    device.waits.clear()
    for stream in (None, 5, 5, 5):
        outputs = session.run_device(images, stream=stream)
    assert device.waits == []
    outputs.to_host()
    assert device.waits == [5]


def test_run_device_gives_the_rows_of_run(opened: Opened, tmp_path: Path) -> None:
    """Images on the device are copied to where the network reads them, on the stream given."""
    model = model_of(tmp_path)
    session = opened(model)
    images = images_of(model.meta.spec, 2)
    expected = session.run(images)

    outputs = session.run_device(images, stream=9)

    assert outputs.arrays["boxes_xyxy"].__cuda_array_interface__["stream"] == 9
    for name, values in outputs.to_host().items():
        assert values.tobytes() == expected[name].tobytes()


def test_run_device_does_not_copy_what_is_in_its_own_input(opened: Opened, tmp_path: Path) -> None:
    """Who writes to ``input_array`` saves a copy."""
    model = model_of(tmp_path)
    session = opened(model)
    images = images_of(model.meta.spec, 2)
    own = session.input_array(2)
    memory = (ctypes.c_uint8 * own.num_bytes).from_address(own.pointer)
    inside = np.frombuffer(memoryview(memory), own.dtype).reshape(own.shape)
    inside[:] = images
    device: Any = session.device
    device.copies.clear()

    found = session.run_device(inside)

    assert device.copies == []
    assert_same_detections(found.to_host(), reference(model, images))


def test_memory_is_allocated_once_and_freed(opened: Opened, tmp_path: Path) -> None:
    """Two hundred runs of mixed batches take no more memory than one; closing frees all."""
    model = model_of(tmp_path)
    session = opened(model)
    device: Any = session.device
    session.run(images_of(model.meta.spec, 8))
    before = len(device.memory), len(device.pinned_memory)

    rng = np.random.default_rng(0)
    for batch in rng.integers(1, 9, 200):
        session.run(images_of(model.meta.spec, int(batch)))

    assert (len(device.memory), len(device.pinned_memory)) == before
    device.waits.clear()
    session.close()
    assert None in device.waits  # for runs of any stream
    assert all(memory.is_closed for memory in [*device.memory, *device.pinned_memory])
    with pytest.raises(ValueError, match="is closed"):
        session.run(images_of(model.meta.spec, 1))


def test_too_little_memory_frees_what_was_had(
    trt: Any, tmp_path: Path, host_library_path: Path
) -> None:
    """A failure in the middle of allocating leaves nothing behind."""
    engine = built(model_of(tmp_path), EngineOptions(nms="kernels"))
    device = CapturingDevice(trt, free_bytes=150_000)

    with pytest.raises(RunError, match="no memory left"):
        open_engine(
            engine.artifact, "tensorrt", device=device, library=HostLaunches(host_library_path)
        )

    assert len(device.memory) > 1
    assert all(memory.is_closed for memory in device.memory)


def test_only_some_batch_sizes_keep_their_context(opened: Opened, tmp_path: Path, trt: Any) -> None:
    """The one that was used longest ago is dropped, after what runs has ended."""
    model = model_of(tmp_path, batch=BatchRange(1, 2, 12))
    session = opened(model)
    for batch in (*range(1, 10), 2, 1):
        found = session.run(images_of(model.meta.spec, batch))

    profiles = [call for call in trt.CALLS if call[0] == "profile"]
    assert len(profiles) == 10  # nine sizes, and the first once more
    assert_same_detections(found, reference(model, images_of(model.meta.spec, 1)))


def test_a_profile_that_is_for_one_context_alone_is_handed_on(
    opened: Opened, tmp_path: Path, trt: Any
) -> None:
    """Before TensorRT 8.6 batch sizes take turns; a second session is refused."""
    trt.running.Behaviour.shares_profiles = False
    model = model_of(tmp_path)
    session = opened(model)
    for batch in (1, 2, 1):
        images = images_of(model.meta.spec, batch)
        assert_same_detections(session.run(images), reference(model, images))

    with pytest.raises(RunError, match="another session of this engine uses profile 0"):
        session.clone().run(images)


def test_clones_run_in_threads(opened: Opened, tmp_path: Path) -> None:
    """Two sessions of one plan have memory and streams of their own."""
    model = model_of(tmp_path)
    first = opened(model)
    second = first.clone()
    assert first.stream != second.stream
    expected = {batch: reference(model, images_of(model.meta.spec, batch)) for batch in (1, 2, 3)}
    failures: list[BaseException] = []

    def work(session: TensorRTSession, seed: int) -> None:
        try:
            for batch in np.random.default_rng(seed).integers(1, 4, 30):
                found = session.run(images_of(model.meta.spec, int(batch)))
                assert_same_detections(found, expected[int(batch)])
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)

    threads = [Thread(target=work, args=(s, i)) for i, s in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
