"""Engines of the real TensorRT on a GPU; what is compared is ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.backends.artifacts import NMS
from tests.backends.tensorrt.engines import assert_same_detections, images_of, model_of, reference
from tests.plugins.test_nms_host import assert_same_bits, drawn_maps
from yolor_deploy.backends import tensorrt
from yolor_deploy.backends.tensorrt.build import build_engine
from yolor_deploy.backends.tensorrt.instruments import TensorRTInstruments
from yolor_deploy.backends.tensorrt.open import open_engine
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.backends.tensorrt.plugin import PACKAGED
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.cuda.device import CudaDevice

pytestmark = pytest.mark.gpu
WAYS: tuple[NmsWay, ...] = ("plugin", "kernels", "ops")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model of a few layers, for batches of 1 to 8."""
    reason = tensorrt.why_unavailable("tensorrt")
    if reason is not None:
        pytest.skip(reason)
    return model_of(tmp_path_factory.mktemp("model"))


@pytest.fixture(params=WAYS)
def session(
    request: pytest.FixtureRequest, model: Artifact, tmp_path: Path
) -> Iterator[TensorRTSession]:
    """Return an engine in each way of post-processing, open."""
    if request.param == "plugin" and not PACKAGED.is_file():
        pytest.skip(f"no plugin at {PACKAGED}")
    options = EngineOptions(nms=request.param)
    engine = build_engine(model, tmp_path, "model.engine", flavour="tensorrt", options=options)
    made = open_engine(engine.artifact, "tensorrt", device=CudaDevice())
    yield made
    made.close()


def test_rows_are_those_of_the_model(session: TensorRTSession, model: Artifact) -> None:
    """Batches of every size, plain, captured and replayed, with other thresholds too."""
    for seed, batch in enumerate((2, 1, 2, 8, 2, 1, 8)):
        images = images_of(model.meta.spec, batch, seed=seed)
        for score in (NMS.score_threshold, 0.3):
            found = session.run(images, score_threshold=score)

            expected = reference(model, images, score_threshold=score)
            assert_same_detections(found, expected, replace(NMS, score_threshold=score))


@pytest.mark.parametrize("library", ["torch", "cupy", "pycuda"])
def test_arrays_and_streams_of_other_libraries_are_taken(
    session: TensorRTSession, model: Artifact, library: str
) -> None:
    """Images are copied from where they are, in the order of the stream that is given."""
    images = images_of(model.meta.spec, 2)
    array, stream = _on_device(library)(images)

    found = session.run_device(array, stream=stream)

    assert_same_detections(found.to_host(), reference(model, images))


def test_clones_run_in_threads_and_memory_does_not_grow(
    session: TensorRTSession, model: Artifact
) -> None:
    """Two sessions of one plan, 200 runs each, of mixed batches."""
    sessions = (session, session.clone())
    images = {batch: images_of(model.meta.spec, batch) for batch in (1, 2, 4, 8)}
    expected = {batch: reference(model, values) for batch, values in images.items()}
    failures: list[BaseException] = []

    def work(own: TensorRTSession, seed: int) -> None:
        try:
            for batch in np.random.default_rng(seed).choice(list(images), 200):
                assert_same_detections(own.run(images[int(batch)]), expected[int(batch)])
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)

    for one in sessions:
        for batch in (*images, *images):
            one.run(images[batch])
    free, _ = CudaDevice().memory_bytes()
    threads = [Thread(target=work, args=(one, seed)) for seed, one in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures, failures
    assert CudaDevice().memory_bytes()[0] >= free - 2**20
    sessions[1].close()


def test_stages_add_up_to_a_run(session: TensorRTSession, model: Artifact) -> None:
    """Outputs are those of a run; each stage takes time, and graphs are replayed."""
    images = images_of(model.meta.spec, 2)
    for _ in range(3):
        session.run(images)
    instruments = TensorRTInstruments(session)

    for _ in range(3):
        times, found = instruments.run_stages(images)

        assert tuple(times) == instruments.stages
        assert all(0.0 < ms < 1000.0 for ms in times.values())
        assert_same_detections(found, reference(model, images))
    assert instruments.conditions().runtime.startswith("tensorrt ")
    assert_same_detections(session.run(images), reference(model, images))
    instruments.close()


def test_profile_tells_layers_of_the_network(session: TensorRTSession, model: Artifact) -> None:
    """Names of nodes are in those of the layers; the session runs on as before."""
    images = images_of(model.meta.spec, 2)
    for _ in range(3):
        session.run(images)
    used_graphs = session.uses_graphs
    instruments = TensorRTInstruments(session)

    found = instruments.profile(images, 5)

    assert found
    assert all(layer.ms >= 0.0 for layer in found)
    assert any(word in layer.name for layer in found for word in ("stem", "down", "detect"))
    assert_same_detections(session.run(images), reference(model, images))
    assert session.uses_graphs is used_graphs
    instruments.close()


def test_instruments_prove_their_clock_and_measure_the_peak(session: TensorRTSession) -> None:
    """A GPU that runs TensorRT computes and copies more than a processor does."""
    instruments = TensorRTInstruments(session)

    assert instruments.self_test().passed
    found = instruments.peak()

    assert found.gflops > 500.0
    assert found.gbytes_per_s > 20.0
    memory = instruments.memory_bytes()
    assert all(num_bytes >= 0 for num_bytes in memory.values())
    assert memory["weights"] > 0
    instruments.close()


def test_post_processing_runs_alone(session: TensorRTSession, model: Artifact) -> None:
    """On maps of ours, with the rows of the reference, whatever is in the engine."""
    instruments = TensorRTInstruments(session)
    for seed, batch in enumerate((2, 8, 2)):
        maps = drawn_maps(model.meta.spec, seed, batch=batch)

        ms, found = instruments.run_nms(maps)

        assert 0.0 < ms < 100.0
        assert_same_bits(found, exact_detections(maps, model.meta.spec, NMS))
    instruments.close()


def _on_device(library: str) -> Callable[[Any], tuple[Any, Any]]:
    """Return a function that copies an array to the GPU, and gives a stream for it."""
    if library == "torch":
        torch = pytest.importorskip("torch")
        return lambda values: (torch.from_numpy(values).cuda(), torch.cuda.current_stream())
    if library == "cupy":
        cupy = pytest.importorskip("cupy")
        return lambda values: (cupy.asarray(values), cupy.cuda.get_current_stream())
    pytest.importorskip("pycuda")
    importlib.import_module("pycuda.autoprimaryctx")
    gpuarray = importlib.import_module("pycuda.gpuarray")
    driver = importlib.import_module("pycuda.driver")
    return lambda values: (gpuarray.to_gpu(values), driver.Stream())
