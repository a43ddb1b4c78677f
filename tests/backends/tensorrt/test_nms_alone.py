"""The post-processing of an engine alone, on raw maps from the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.artifacts import NMS
from tests.backends.tensorrt.engines import Opened, model_of
from tests.cuda.host_device import HostLaunches
from tests.plugins.test_nms_host import assert_same_bits, drawn_maps
from yolor_deploy.backends.tensorrt.instruments import TensorRTInstruments
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import BackendUnavailableError, RunError
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.cuda.library import NmsLibrary

pytestmark = pytest.mark.nms_build

WAYS: tuple[NmsWay, ...] = ("plugin", "kernels", "ops")
NMS_MS = 0.25


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    """Return a model that detects."""
    return model_of(tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_run_nms_gives_the_rows_of_the_reference(
    opened: Opened, model: Artifact, host_library_path: Path, way: NmsWay
) -> None:
    """Whatever the engine has, the kernels are timed on the maps that are given."""
    session = opened(model, nms=way)
    device: Any = session.device
    device.copy_ms = 3.0
    library: Any = session.buffers.library or HostLaunches(host_library_path)
    library.elapses = lambda: device.clock.advance(NMS_MS)
    instruments = TensorRTInstruments(session, library=library)
    device.launches = 0
    for seed, batch in enumerate((2, 8, 2)):
        maps = drawn_maps(model.meta.spec, seed, batch=batch)

        ms, found = instruments.run_nms(maps)

        assert ms == pytest.approx(NMS_MS)  # no copy is in it
        assert_same_bits(found, exact_detections(maps, model.meta.spec, NMS))
    assert device.launches == 5  # each run, and one before the first of each batch size


def test_run_nms_of_a_model_that_does_not_detect_is_refused(opened: Opened, tmp_path: Path) -> None:
    """There is nothing to run."""
    instruments = TensorRTInstruments(opened(model_of(tmp_path, output="raw")))

    with pytest.raises(BackendUnavailableError, match="ends in raw, and has no post-processing"):
        instruments.run_nms([])


def test_run_nms_without_kernels_is_refused(
    opened: Opened, model: Artifact, host_library_path: Path
) -> None:
    """A library that was built without CUDA cannot be timed on a GPU."""
    session = opened(model, nms="ops")

    with pytest.raises(BackendUnavailableError, match="has no CUDA part"):
        TensorRTInstruments(session, library=NmsLibrary(host_library_path)).run_nms([])


def _without_one(maps: list[Any]) -> list[Any]:
    return maps[:1]


def _of_nine(maps: list[Any]) -> list[Any]:
    return [np.repeat(raw[:1], 9, axis=0) for raw in maps]


def _of_other_batches(maps: list[Any]) -> list[Any]:
    return [maps[0], maps[1][:1]]


@pytest.mark.parametrize("damage", [_without_one, _of_nine, _of_other_batches, lambda _: []])
def test_run_nms_refuses_maps(
    opened: Opened, model: Artifact, damage: Callable[[list[Any]], list[Any]]
) -> None:
    """The kernels would read what is not there."""
    instruments = TensorRTInstruments(opened(model, nms="kernels"))

    with pytest.raises(RunError, match="raw maps of"):
        instruments.run_nms(damage(drawn_maps(model.meta.spec, 0, batch=2)))


def test_too_little_memory_for_run_nms_frees_what_was_had(opened: Opened, model: Artifact) -> None:
    """A failure in the middle leaves nothing behind."""
    session = opened(model, nms="kernels")
    device: Any = session.device
    before = len(device.memory)
    assert session.buffers.nms is not None
    device.free_bytes = session.buffers.nms.workspace_bytes + 10_000

    with pytest.raises(RunError, match="no memory left"):
        TensorRTInstruments(session).run_nms(drawn_maps(model.meta.spec, 0, batch=2))

    assert len(device.memory) > before
    assert all(memory.is_closed for memory in device.memory[before:])


def test_half_maps_are_what_the_kernels_read(
    opened: Opened, model: Artifact, host_library_path: Path
) -> None:
    """An engine of fp16 whose NMS is inside has maps of that type."""
    session = opened(model, nms="ops")
    session._artifact = replace(model, meta=replace(model.meta, precision="int8+fp16"))
    library = HostLaunches(host_library_path)
    maps = drawn_maps(model.meta.spec, 0, batch=1)

    _, found = TensorRTInstruments(session, library=library).run_nms(maps)

    halves = [raw.astype(np.float16) for raw in maps]
    assert_same_bits(found, exact_detections(halves, model.meta.spec, NMS))
