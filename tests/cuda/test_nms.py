"""``DeviceNms`` on a device that is the host: what it takes, refuses, keeps and frees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cuda.host_device import OWN_STREAM, HostDevice, HostLaunches
from tests.graph.tiny_graphs import tiny_spec
from tests.plugins.test_nms_host import assert_same_bits, drawn_maps
from yolor_deploy.core.errors import RunError
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.cuda.nms import DeviceNms
from yolor_deploy.cuda.structs import MapFormat

pytestmark = pytest.mark.nms_build

SPEC = tiny_spec(levels=3, size=(64, 128))
CONFIG = NmsConfig(score_threshold=0.1, max_detections=40)
MakeNms = Callable[..., DeviceNms]


def halves(seed: int, *, batch: int = 2) -> list[Array]:
    """Return raw maps in half precision."""
    return [raw.astype(np.float16) for raw in drawn_maps(SPEC, seed, batch=batch)]


@pytest.fixture
def device() -> HostDevice:
    """Return a device."""
    return HostDevice()


@pytest.fixture
def nms(host_library_path: Path, device: HostDevice) -> DeviceNms:
    """Return post-processing of half maps of up to four images."""
    return DeviceNms(
        SPEC, CONFIG, max_batch=4, library=HostLaunches(host_library_path), device=device
    )


def test_run_returns_the_rows_of_the_reference(nms: DeviceNms) -> None:
    """Batches of any size up to the largest give the reference's bits, one after the other."""
    for seed, batch in enumerate((2, 4, 1)):
        maps = halves(seed, batch=batch)

        found = nms.run(maps).to_host()

        assert found["num_detections"].shape == (batch, 1)
        assert_same_bits(found, exact_detections(maps, SPEC, CONFIG))


def test_run_takes_thresholds(nms: DeviceNms) -> None:
    """Thresholds of a run hold for that run only."""
    maps = halves(5)
    strict = dataclasses.replace(CONFIG, score_threshold=0.3, iou_threshold=0.2)

    with_own = nms.run(maps, score_threshold=0.3, iou_threshold=0.2).to_host()
    with_defaults = nms.run(maps).to_host()

    assert_same_bits(with_own, exact_detections(maps, SPEC, strict))
    assert_same_bits(with_defaults, exact_detections(maps, SPEC, CONFIG))


def test_graph_reads_maps_and_thresholds_as_they_are_when_it_is_launched(nms: DeviceNms) -> None:
    """A captured run sees new values in the arrays that it was captured with."""
    maps = halves(6)
    graph = nms.capture(maps)

    graph.launch()
    for raw, other in zip(maps, halves(7), strict=True):
        raw[:] = other
    found = graph.launch(score_threshold=0.2).to_host()

    expected = exact_detections(maps, SPEC, dataclasses.replace(CONFIG, score_threshold=0.2))
    assert_same_bits(found, expected)


def test_run_orders_its_stream_after_the_arrays(nms: DeviceNms, device: HostDevice) -> None:
    """A run waits on the stream that it is given; a capture must not wait."""
    nms.run(halves(1), stream=5)
    nms.run(halves(1))
    nms.capture(halves(1))

    levels = len(SPEC.levels)
    assert device.ordered_views == (
        [(5, True)] * levels + [(OWN_STREAM, True)] * levels + [(OWN_STREAM, False)] * levels
    )


def test_outputs_are_arrays_of_the_device(nms: DeviceNms) -> None:
    """Other libraries find shape, type, address and stream of an output."""
    boxes = nms.run(halves(2), stream=9).arrays["boxes_xyxy"]

    assert boxes.__cuda_array_interface__ == {
        "shape": (2, 40, 4),
        "typestr": "<f4",
        "data": (boxes.pointer, False),
        "strides": None,
        "stream": 9,
        "version": 3,
    }


def test_run_ignores_masked_classes(nms: DeviceNms) -> None:
    """A mask of classes holds for its image."""
    mask = np.array([[0, 1, 1], [1, 1, 1]], np.uint8)

    found = nms.run(halves(3), class_mask=mask).to_host()

    counts = found["num_detections"][:, 0]
    assert 0 not in found["class_ids"][0, : counts[0]]
    assert 0 in found["class_ids"][1, : counts[1]]


def without_the_last(maps: list[Array]) -> list[Array]:
    """Return too few maps."""
    return maps[:-1]


def of_five_images(maps: list[Array]) -> list[Array]:
    """Return more images than there is memory for."""
    return [np.repeat(raw[:1], 5, axis=0) for raw in maps]


def with_a_channel_less(maps: list[Array]) -> list[Array]:
    """Return a map of another number of classes."""
    return [maps[0], maps[1][:, 1:].copy(), maps[2]]


def in_single_precision(maps: list[Array]) -> list[Array]:
    """Return maps of another type."""
    return [raw.astype(np.float32) for raw in maps]


def with_permuted_axes(maps: list[Array]) -> list[Array]:
    """Return a map that is channel-last in memory."""
    raw = np.ascontiguousarray(maps[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return [raw, *maps[1:]]


@pytest.mark.parametrize(
    ("damage", "where", "problem"),
    [
        pytest.param(without_the_last, "raw maps", "2 raw maps, expected 3", id="missing"),
        pytest.param(of_five_images, "raw map 0", "batch of 5, expected 1 to 4", id="batch"),
        pytest.param(with_a_channel_less, "raw map 1", r"\[2, 7, 4, 8\], expected", id="channels"),
        pytest.param(in_single_precision, "raw map 0", "float32 .* expected float16", id="dtype"),
        pytest.param(with_permuted_axes, "raw map 0", "not dense in memory", id="strides"),
    ],
)
def test_run_refuses_maps(
    nms: DeviceNms, damage: Callable[[list[Array]], list[Array]], where: str, problem: str
) -> None:
    """What the kernel would misread is refused, and the map is named."""
    with pytest.raises(RunError, match=problem) as caught:
        nms.run(damage(halves(1)))

    assert caught.value.where == where


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_run_refuses_thresholds(nms: DeviceNms, name: str, value: float) -> None:
    """A threshold that is none is named."""
    options: dict[str, Any] = {name: value}

    with pytest.raises(RunError, match=name):
        nms.run(halves(1), **options)


def test_run_refuses_a_mask_of_another_shape(nms: DeviceNms) -> None:
    """A mask has a byte for each image and class."""
    with pytest.raises(RunError, match=r"uint8 \[2, 2\], expected dense uint8 \[2, 3\]"):
        nms.run(halves(1), class_mask=np.ones((2, 2), np.uint8))


def test_memory_is_allocated_once_and_freed(nms: DeviceNms, device: HostDevice) -> None:
    """Runs allocate nothing; closing frees everything."""
    before = len(device.memory)
    nms.run(halves(1))
    nms.capture(halves(1)).launch()

    assert len(device.memory) == before
    nms.close()
    assert all(memory.is_closed for memory in device.memory)


def test_too_little_memory_frees_what_was_had(host_library_path: Path) -> None:
    """A failure in the middle of allocating leaves nothing behind."""
    library = HostLaunches(host_library_path)
    needed = DeviceNms(SPEC, CONFIG, library=library, device=HostDevice()).workspace_bytes
    device = HostDevice(free_bytes=needed + 8)

    with pytest.raises(RunError, match="no memory left"):
        DeviceNms(SPEC, CONFIG, library=library, device=device)

    assert device.memory
    assert all(memory.is_closed for memory in device.memory)


def test_channel_last_maps_have_another_shape(host_library_path: Path) -> None:
    """HWC8 maps are [n, h, w, channels padded to 8], and NCHW ones are refused then."""
    nms = DeviceNms(
        SPEC,
        CONFIG,
        map_format=MapFormat("float16", "HWC8"),
        library=HostLaunches(host_library_path),
        device=HostDevice(),
    )
    maps = halves(8)
    pixels = []
    for raw in maps:
        padded = np.zeros((*raw[:, 0].shape, -(-raw.shape[1] // 8) * 8), np.float16)
        padded[..., : raw.shape[1]] = raw.transpose(0, 2, 3, 1)
        pixels.append(padded)

    assert_same_bits(nms.run(pixels).to_host(), exact_detections(maps, SPEC, CONFIG))
    with pytest.raises(RunError, match="HWC8"):
        nms.run(maps)
