"""``DeviceNms`` on a GPU, with arrays and streams of the libraries that are installed."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.graph.tiny_graphs import tiny_spec
from tests.plugins.test_nms_host import assert_same_bits, drawn_maps
from yolor_deploy.core.errors import RunError
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.cuda.device import CudaDevice
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.nms import DeviceNms
from yolor_deploy.cuda.spin import ASKED_MS, Spin, self_test
from yolor_deploy.cuda.stopwatch import Stopwatch

pytestmark = pytest.mark.gpu

SPEC = tiny_spec(num_classes=5, levels=4, size=(256, 320))
CONFIG = NmsConfig(score_threshold=0.1, max_detections=100)
ToDevice = Callable[[Array], Any]


@pytest.fixture
def nms(request: pytest.FixtureRequest) -> Iterator[DeviceNms]:
    """Return post-processing of half maps of up to four images."""
    library = NmsLibrary(request.config.getoption("--nms-library"))
    made = DeviceNms(SPEC, CONFIG, max_batch=4, library=library, device=CudaDevice())
    yield made
    made.close()


@pytest.fixture(params=["torch", "cupy"])
def to_device(request: pytest.FixtureRequest) -> ToDevice:
    """Return a copy to the GPU by a library that is there."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    library = importlib.import_module(request.param)
    if request.param == "torch":
        return lambda values: library.from_numpy(values).cuda()
    to_cupy: ToDevice = library.asarray
    return to_cupy


def halves(seed: int, *, batch: int = 2) -> list[Array]:
    """Return raw maps in half precision."""
    return [raw.astype(np.float16) for raw in drawn_maps(SPEC, seed, batch=batch)]


def test_arrays_of_other_libraries_are_taken(nms: DeviceNms, to_device: ToDevice) -> None:
    """Maps of torch and CuPy give the bits of the reference, in batches of any size."""
    for seed, batch in enumerate((2, 4, 1)):
        maps = halves(seed, batch=batch)

        found = nms.run([to_device(raw) for raw in maps]).to_host()

        assert_same_bits(found, exact_detections(maps, SPEC, CONFIG))


def test_graph_sees_new_thresholds(nms: DeviceNms, to_device: ToDevice) -> None:
    """A captured run is launched again with other thresholds."""
    maps = halves(3)
    graph = nms.capture([to_device(raw) for raw in maps])
    for score_threshold in (0.1, 0.4, 0.2):
        found = graph.launch(score_threshold=score_threshold).to_host()

        config = dataclasses.replace(CONFIG, score_threshold=score_threshold)
        assert_same_bits(found, exact_detections(maps, SPEC, config))


def test_streams_and_outputs_of_torch(nms: DeviceNms) -> None:
    """A run on a stream of torch follows what writes the maps there; torch reads the outputs."""
    torch = pytest.importorskip("torch")
    maps = halves(4)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        pinned = [torch.from_numpy(raw).pin_memory() for raw in maps]
        torch.cuda._sleep(20_000_000)  # the maps are written some milliseconds from now
        on_device = [raw.to("cuda", non_blocking=True) for raw in pinned]
        found = nms.run(on_device, stream=stream)
        scores = torch.as_tensor(found.arrays["scores"], device="cuda").clone()
    stream.synchronize()

    expected = exact_detections(maps, SPEC, CONFIG)
    assert_same_bits(found.to_host(), expected)
    assert scores.cpu().numpy().tobytes() == expected["scores"].tobytes()


def test_host_arrays_are_refused(nms: DeviceNms) -> None:
    """An array in host memory is named as such."""
    with pytest.raises(RunError, match=r"host memory|no array of a GPU"):
        nms.run(halves(1))


def test_too_much_memory_says_how_much(request: pytest.FixtureRequest) -> None:
    """A GPU that is too small is an error with the size."""
    library = NmsLibrary(request.config.getoption("--nms-library"))
    config = dataclasses.replace(CONFIG, max_detections=2**30)

    with pytest.raises(RunError, match=r"no [0-9.]+ MiB left"):
        DeviceNms(SPEC, config, max_batch=65536, library=library, device=CudaDevice())


def test_events_see_work_of_known_length() -> None:
    """The kernel is compiled by the driver, and lasts as long as it is asked to."""
    device = CudaDevice()

    found = self_test(device, device.stream)

    assert found.passed, found
    assert len(found.seen_ms) == len(ASKED_MS)


def test_times_do_not_include_what_came_before_the_first_mark() -> None:
    """What is queued before is waited for in the order of the stream, and not timed."""
    device = CudaDevice()
    spin = Spin(device)
    watch = Stopwatch(device, device.stream)
    spin.launch(20.0, device.stream)

    watch.begin()
    watch.mark()
    spin.launch(5.0, device.stream)
    watch.mark()
    nothing, five = watch.ms()
    watch.close()

    assert nothing < 1.0
    assert five == pytest.approx(5.0, abs=1.2)


def test_facts_of_the_gpu_are_told() -> None:
    """NVML finds the GPU where it is said to be; a context of ours was made without asking."""
    device = CudaDevice()

    major, minor = device.compute_capability.split(".")
    assert int(major) >= 5
    assert minor.isdigit()
    assert device.waiting == "spin"
    pynvml = pytest.importorskip("pynvml")
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByPciBusId(device.pci_bus_id.encode())
    assert pynvml.nvmlDeviceGetName(handle) == device.name
    pynvml.nvmlShutdown()


def test_a_text_that_is_no_kernel_is_refused() -> None:
    """The driver's compiler says no, and the GPU can be used all the same."""
    device = CudaDevice()

    with pytest.raises(RunError, match="does not compile the kernel spin"):
        device.kernel(".version 6.0\nnonsense", "spin")
    assert self_test(device, device.stream).passed
