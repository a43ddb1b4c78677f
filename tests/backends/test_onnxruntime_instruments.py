"""What ONNX Runtime's sessions offer to a benchmark; no real time is measured."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.backends.artifacts import network_of, spec_of, written
from tests.backends.cuda_provider import FakeCuda, install
from tests.graph.tiny_graphs import random_maps
from yolor_deploy.backends import instruments_for, open_session
from yolor_deploy.backends.onnxruntime import instruments as instruments_module
from yolor_deploy.backends.onnxruntime import machine_peak, self_test
from yolor_deploy.backends.onnxruntime.instruments import OnnxRuntimeInstruments
from yolor_deploy.backends.onnxruntime.profile import layer_times, most_bytes, name_in_file
from yolor_deploy.backends.onnxruntime.session import OnnxRuntimeSession, inference_session
from yolor_deploy.backends.onnxruntime.stages import DeviceStages, HostStages
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, RunError
from yolor_deploy.core.runtime import FloatArray, LayerTime, RawOutput, RunConditions
from yolor_deploy.core.spec import OutputKind
from yolor_deploy.graph.costs import node_costs
from yolor_deploy.graph.half import to_half
from yolor_deploy.graph.read import read_model
from yolor_deploy.measure.latency.record import LayerCost
from yolor_deploy.measure.latency.roofline import join_profile

MS = 1_000_000  # nanoseconds


class TickingClock:
    """Every look at it is one millisecond later."""

    def __init__(self) -> None:
        self.ticks = itertools.count()

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return next(self.ticks) * MS


class Timer:
    """A clock that waiting moves, by a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.now, self.factor = 0.0, factor

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return round(self.now * 1e9)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += self.factor * seconds


def made(folder: Path, *, output: OutputKind = "detections", fp16: bool = False) -> Artifact:
    """Return a small detector of two levels, for one to eight images of 32 x 32."""
    spec = spec_of()
    model = network_of(spec)
    if fp16:
        to_half(model, "fp16")
    precision = "fp16" if fp16 else "fp32"
    return written(folder / "model.onnx", model, spec, output=output, precision=precision)


def opened(artifact: Artifact, *, device: RuntimeDevice | None = None) -> OnnxRuntimeSession:
    """Return a session of an artifact."""
    session = open_session(artifact, device=device)
    assert isinstance(session, OnnxRuntimeSession)
    return session


def images(batch: int = 2) -> FloatArray:
    """Return noise, in which a network of random weights finds something."""
    return np.random.default_rng(3).random((batch, 3, 32, 32), dtype=np.float32)


def assert_same(found: RawOutput, expected: RawOutput) -> None:
    """Compare outputs to the last bit, and their names."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def assert_close(found: RawOutput, expected: RawOutput) -> None:
    """Compare outputs of half precision: on the CPU, raw maps are rounded only if they are apart.

    Half precision steps by 2**-10 of a value, and a logit moves a box by less than that.
    """
    assert list(found) == list(expected)
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    np.testing.assert_allclose(found["boxes_xyxy"], expected["boxes_xyxy"], atol=0.05)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def cuda_on_cpu(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A provider of CUDA that computes on the CPU, where its values are made too."""
    fake = install(monkeypatch)
    place = {"device": "cpu", "index": 0}
    monkeypatch.setattr(instruments_module, "_place_of", lambda _gpu: place)
    return fake


GPU = RuntimeDevice("cuda", 1)


def test_stages_give_the_outputs_of_a_run(tmp_path: Path) -> None:
    """Network and head apart find the same rows; each time is that between two looks."""
    session = opened(made(tmp_path))
    expected = session.run(images())
    instruments = OnnxRuntimeInstruments(session, clock_ns=TickingClock())

    times, outputs = instruments.run_stages(images())

    assert instruments.stages == ("model", "nms")
    assert times == {"model": 1.0, "nms": 1.0}
    assert expected["num_detections"].sum() > 0
    assert_same(outputs, expected)


class CountedStages:
    """Counts the runs of stages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        for kind in (HostStages, DeviceStages):
            monkeypatch.setattr(kind, "run", self._counted(kind.run))

    def _counted(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(stages: object, batch: FloatArray) -> Any:
            self.batches.append(len(batch))
            return run(stages, batch)

        return counted


@pytest.mark.usefixtures("cuda_on_cpu")
@pytest.mark.parametrize(
    ("device", "runs"),
    [
        pytest.param(None, [2, 2, 2, 1, 1, 2, 2], id="cpu"),
        pytest.param(RuntimeDevice("cuda", 1), [2, 2, 2, 2, 1, 1, 1, 2, 2, 2], id="gpu"),
    ],
)
def test_stages_of_a_new_batch_size_are_warmed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: RuntimeDevice | None,
    runs: list[int],
) -> None:
    """What is loaded, searched and planned in a first run is in no time; a known size runs once."""
    counted = CountedStages(monkeypatch)
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path), device=device))

    for batch in (2, 2, 1, 2):
        instruments.run_stages(images(batch))

    assert counted.batches == runs


def test_stages_are_warmed_again_after_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are loaded anew."""
    counted = CountedStages(monkeypatch)
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))
    instruments.run_stages(images(1))
    instruments.close()

    instruments.run_stages(images(1))

    assert counted.batches == [1] * 4


def test_stages_of_half_precision_pass_raw_maps_of_that_type(tmp_path: Path) -> None:
    """Network and head meet in the type that the file says."""
    session = opened(made(tmp_path, fp16=True))

    _, outputs = OnnxRuntimeInstruments(session).run_stages(images())

    assert_close(outputs, session.run(images()))


@pytest.mark.parametrize("output", ["raw", "predictions"])
def test_without_detections_the_model_is_the_only_stage(tmp_path: Path, output: OutputKind) -> None:
    """The session itself is timed; nothing is loaded for it."""
    session = opened(made(tmp_path, output=output))
    instruments = OnnxRuntimeInstruments(session, clock_ns=TickingClock())

    times, outputs = instruments.run_stages(images())

    assert instruments.stages == ("model",)
    assert times == {"model": 1.0}
    assert_same(outputs, session.run(images()))


def test_stages_of_another_batch_follow(tmp_path: Path) -> None:
    """Outputs are the caller's: a later run of another batch does not change them."""
    session = opened(made(tmp_path))
    instruments = OnnxRuntimeInstruments(session)

    _, first = instruments.run_stages(images(1))
    _, second = instruments.run_stages(images(4))

    assert_same(first, session.run(images(1)))
    assert_same(second, session.run(images(4)))


def test_stages_refuse_other_images(tmp_path: Path) -> None:
    """The error is that of a run."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))

    with pytest.raises(ArtifactError, match=r"images are float32 \[9, 3, 32, 32\]"):
        instruments.run_stages(images(9))


def test_parts_leave_nothing_on_disk(tmp_path: Path, temporary: Path) -> None:
    """The models of network and head are gone once they are loaded, the profile once read."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))

    instruments.run_stages(images())
    instruments.profile(images(), 1)

    assert list(temporary.iterdir()) == []


def test_parts_that_cannot_be_loaded_leave_nothing_on_disk(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure takes its files along."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))
    seen = []

    def refuse(path: Path, **_: object) -> None:
        seen.append(path.is_file())
        raise ArtifactError("refused", where=str(path), hint="none")

    monkeypatch.setattr(instruments_module, "inference_session", refuse)

    with pytest.raises(ArtifactError, match="refused"):
        instruments.run_stages(images())

    assert seen == [True]
    assert list(temporary.iterdir()) == []


def test_parts_without_a_place_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is said, and what to do about it."""
    artifact = made(tmp_path)
    instruments = OnnxRuntimeInstruments(opened(artifact))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yolor_deploy.backends.onnxruntime.head_session.write_model", full)

    with pytest.raises(ArtifactError, match="No space left on device") as caught:
        instruments.run_stages(images())

    assert caught.value.where == str(artifact.path)
    assert "TMPDIR" in caught.value.hint


def test_parts_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network and head are loaded when they are needed first, and again only after ``close``."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))
    loaded: list[Path] = []

    def load(path: Path, *, threads: int, shares_memory: bool) -> object:
        loaded.append(path)
        return inference_session(path, threads=threads, shares_memory=shares_memory)

    monkeypatch.setattr(instruments_module, "inference_session", load)

    counts = []
    for act in (
        lambda: None,
        lambda: instruments.run_nms(random_maps(spec_of(), batch=1, rng=np.random.default_rng(0))),
        lambda: instruments.run_stages(images()),
        lambda: instruments.run_stages(images()),
        instruments.close,
        lambda: instruments.run_stages(images()),
    ):
        act()
        counts.append(len(loaded))

    assert counts == [0, 1, 2, 2, 2, 4]


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
def test_nms_alone_finds_what_the_detector_does(tmp_path: Path, fp16: bool) -> None:
    """On the raw maps of the same images, in float32, it gives the rows of a run."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "all").mkdir()
    raw = opened(made(tmp_path / "raw", output="raw", fp16=fp16)).run(images())
    session = opened(made(tmp_path / "all", fp16=fp16))
    instruments = OnnxRuntimeInstruments(session, clock_ns=TickingClock())

    took, outputs = instruments.run_nms([raw[name].astype(np.float32) for name in sorted(raw)])

    assert took == 1.0
    compare = assert_close if fp16 else assert_same
    compare(outputs, session.run(images()))


def test_nms_of_a_model_that_does_not_detect_is_refused(tmp_path: Path) -> None:
    """There is nothing to run."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path, output="raw")))

    with pytest.raises(BackendUnavailableError, match="output is 'raw'"):
        instruments.run_nms([])


def test_stages_of_a_gpu_have_the_copies_around_them(tmp_path: Path, cuda_on_cpu: FakeCuda) -> None:
    """Four times of one millisecond each, the rows of a run, and CUDA for both parts."""
    session = opened(made(tmp_path), device=GPU)
    instruments = OnnxRuntimeInstruments(session, clock_ns=TickingClock())

    times, outputs = instruments.run_stages(images())

    assert instruments.stages == ("host_to_device", "model", "nms", "device_to_host")
    assert times == dict.fromkeys(instruments.stages, 1.0)
    assert_same(outputs, session.run(images()))
    assert [providers[0][0] for providers in cuda_on_cpu.providers] == ["CUDAExecutionProvider"] * 3


@pytest.mark.usefixtures("cuda_on_cpu")
def test_stages_of_a_gpu_take_new_images_and_batches(tmp_path: Path) -> None:
    """Memory on the device is used again, and outputs are the caller's all the same."""
    session = opened(made(tmp_path), device=GPU)
    instruments = OnnxRuntimeInstruments(session)
    batches = [images(2), images(2)[::-1].copy(), images(1)]

    found = [instruments.run_stages(batch)[1] for batch in batches]

    for outputs, batch in zip(found, batches, strict=True):
        assert_same(outputs, session.run(batch))


def test_stages_of_a_gpu_without_detections_use_the_session(
    tmp_path: Path, cuda_on_cpu: FakeCuda
) -> None:
    """Its weights are not loaded again."""
    session = opened(made(tmp_path, output="raw"), device=GPU)
    instruments = OnnxRuntimeInstruments(session, clock_ns=TickingClock())

    times, outputs = instruments.run_stages(images())

    assert list(times) == ["host_to_device", "model", "device_to_host"]
    assert_same(outputs, session.run(images()))
    assert len(cuda_on_cpu.providers) == 1


@pytest.mark.usefixtures("cuda_on_cpu")
def test_nms_alone_runs_on_a_gpu(tmp_path: Path) -> None:
    """The rows are those on the CPU."""
    artifact = made(tmp_path)
    maps = random_maps(artifact.meta.spec, batch=2, rng=np.random.default_rng(0))
    _, expected = OnnxRuntimeInstruments(opened(artifact)).run_nms(maps)
    on_gpu = OnnxRuntimeInstruments(opened(artifact, device=GPU), clock_ns=TickingClock())

    took, outputs = on_gpu.run_nms(maps)

    assert took == 1.0
    assert_same(outputs, expected)


@pytest.mark.usefixtures("cuda_on_cpu")
def test_failure_of_a_gpu_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ONNX Runtime raises of a lack of memory becomes the error of a run."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path), device=GPU))

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(DeviceStages, "run", fail)

    with pytest.raises(RunError, match="not enough memory on the GPU with a batch of 2"):
        instruments.run_stages(images())


def test_conditions_on_the_cpu(tmp_path: Path) -> None:
    """Version and threads; the host computes itself, and the head is in the graph."""
    session = opened(made(tmp_path))

    conditions = OnnxRuntimeInstruments(session).conditions()

    assert conditions == RunConditions(
        f"onnxruntime {onnxruntime.__version__}", "cpu", threads=session.threads
    )
    assert OnnxRuntimeInstruments(session).pci_bus_id is None


@pytest.mark.usefixtures("cuda_on_cpu")
def test_conditions_on_a_gpu(tmp_path: Path) -> None:
    """Its name; there is no CUDA graph, and CUDA waits by spinning."""
    conditions = OnnxRuntimeInstruments(
        opened(made(tmp_path, output="raw"), device=GPU)
    ).conditions()

    assert (conditions.device, conditions.threads) == ("NVIDIA L4", None)
    assert (conditions.cuda_graph, conditions.waiting, conditions.nms) == (False, "spin", "none")


def test_memory_is_that_of_the_weights_and_of_what_a_profile_saw(tmp_path: Path) -> None:
    """Weights are counted in the file; activations are known after a profile."""
    artifact = made(tmp_path)
    weights = sum(len(w.raw_data) for w in onnx.load(artifact.path).graph.initializer)
    instruments = OnnxRuntimeInstruments(opened(artifact))

    before = instruments.memory_bytes()
    instruments.profile(images(), 1)
    after = instruments.memory_bytes()

    assert before == {"weights": weights}
    assert after.get("activations", 1) > 0
    assert after["weights"] == weights


def test_another_session_outlives_the_first(tmp_path: Path) -> None:
    """It shares the network, and closing one leaves the other as it is."""
    session = opened(made(tmp_path))
    expected = session.run(images())
    another = OnnxRuntimeInstruments(session).another()

    session.close()

    assert_same(another.run(images()), expected)
    another.close()
    with pytest.raises(ValueError, match="closed"):
        another.run(images())


def test_another_session_on_a_gpu_is_loaded_anew(tmp_path: Path, cuda_on_cpu: FakeCuda) -> None:
    """A stream of its own comes with a session of its own, on the same GPU."""
    session = opened(made(tmp_path), device=GPU)

    another = OnnxRuntimeInstruments(session).another()

    assert_same(another.run(images()), session.run(images()))
    assert [providers[0][1]["device_id"] for providers in cuda_on_cpu.providers] == ["1", "1"]


def test_profile_names_nodes_of_the_file(tmp_path: Path) -> None:
    """All but what the runtime inserts joins with the costs, the head as one entry."""
    artifact = made(tmp_path)
    instruments = OnnxRuntimeInstruments(opened(artifact))

    profile = instruments.profile(images(1), 3)

    costs = [
        LayerCost(cost.name, cost.op, cost.flops, cost.num_bytes, None)
        for cost in node_costs(read_model(artifact.path), batch=1)
    ]
    joined, matched = join_profile(costs, profile)
    timed = {layer.name for layer in joined if layer.ms is not None}
    assert {cost.name for cost in costs if cost.op in {"Conv", "YolorNMS"}} <= timed
    assert [entry.name for entry in profile].count("/yolor_nms/YolorNMS") == 1
    inserted = sum(entry.ms for entry in profile if entry.name.startswith("Reorder"))
    assert matched == pytest.approx(1 - inserted / sum(entry.ms for entry in profile))


@pytest.mark.usefixtures("cuda_on_cpu")
def test_profile_of_a_gpu_is_empty(tmp_path: Path) -> None:
    """Times of launches are not shown as times of layers."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path), device=GPU))

    assert instruments.profile(images(), 3) == ()


def kernel(name: str, microseconds: float, **args: str) -> dict[str, object]:
    """Return an event of a profile."""
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": args}


def test_layer_times_are_medians_without_the_first_run() -> None:
    """In the order in which the nodes ran; events of other kinds are left out."""
    runs = [
        [kernel("a", a), kernel("b", b), {"cat": "Session", "name": "model_run", "dur": 9}]
        for a, b in [(9000, 9000), (1000, 10), (3000, 30), (2000, 20)]
    ]

    times = layer_times([event for run in runs for event in run], 4, {})

    assert times == (LayerTime("a", 2.0), LayerTime("b", 0.02))


def test_layer_times_of_one_name_are_added() -> None:
    """Nodes that the runtime calls alike, and all those of the head's function."""
    run = [
        kernel("same", 1000),
        kernel("_inlfunc_YolorNMS_boxes", 100),
        kernel("same", 1000),
        kernel("_inlfunc_YolorNMS_scores", 200),
    ]

    times = layer_times(run * 3, 3, {"_inlfunc_YolorNMS_": "/head"})

    assert [time.name for time in times] == ["same", "/head"]
    assert [time.ms for time in times] == pytest.approx([2.0, 0.3])


@pytest.mark.parametrize(
    ("runtime_name", "found"),
    [
        pytest.param("conv", "conv", id="itself"),
        pytest.param("result", "conv", id="result"),
        pytest.param("result_nchwc", "conv", id="layout"),
        pytest.param("conv_token_12", "conv", id="numbered"),
        pytest.param("conv_nhwc_token_12", "conv", id="layout-numbered"),
        pytest.param("InsertedPrecisionFreeCast_result_nchwc", "conv", id="cast"),
        pytest.param("odd_nchwc", "odd_nchwc", id="odd-name-of-a-file"),
        pytest.param("ReorderOutput_token_3", "ReorderOutput_token_3", id="inserted"),
    ],
)
def test_names_of_the_runtime_become_those_of_the_file(runtime_name: str, found: str) -> None:
    """What has no node in the file keeps its name."""
    names = {"conv": "conv", "result": "conv", "odd_nchwc": "odd_nchwc"}

    assert name_in_file(runtime_name, names) == found


def test_most_bytes_are_the_highest_that_were_told() -> None:
    """A version that does not tell gives none."""
    events = [kernel("a", 1, mem_in_use_peak="100"), kernel("b", 1, mem_in_use_peak="90")]

    assert most_bytes(events) == 100
    assert most_bytes([kernel("a", 1)]) is None


def test_self_test_passes_where_the_clock_sees_pauses(tmp_path: Path) -> None:
    """Each pause is seen as long as it was asked for."""
    timer = Timer(1.02)
    session = opened(made(tmp_path))

    result = OnnxRuntimeInstruments(session, clock_ns=timer, wait=timer.wait).self_test()

    assert result.passed
    assert result.clock == "host"
    assert result.asked_ms == (1.0, 5.0, 20.0)
    assert result.seen_ms == pytest.approx((1.02, 5.1, 20.4))


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.5], ids=["stands", "slow", "fast"])
def test_self_test_fails_where_the_clock_goes_wrong(tmp_path: Path, factor: float) -> None:
    """A clock that stands still, or goes at another rate, is found."""
    timer = Timer(factor)
    session = opened(made(tmp_path))

    result = OnnxRuntimeInstruments(session, clock_ns=timer, wait=timer.wait).self_test()

    assert not result.passed


def works(timer: Timer, seconds: Callable[[int], float]) -> dict[int, Callable[[], object]]:
    """Return work of three lengths that takes as long as a function of them says."""
    return {length: partial(timer.wait, seconds(length)) for length in (1, 2, 4)}


def test_proportions_are_seen_by_a_clock_that_waits() -> None:
    """Work of twice the length takes twice as long, with little around it."""
    timer = Timer()

    result = self_test.proportion_test(works(timer, lambda n: 0.01 * n + 0.0005), timer)

    assert result.passed
    assert result.seen_ms == pytest.approx((10.5, 20.5, 40.5))
    assert result.asked_ms == pytest.approx((10.125, 20.25, 40.5))


def test_proportions_are_not_seen_by_a_clock_that_does_not_wait() -> None:
    """Launches take equally long, whatever is launched."""
    timer = Timer()

    result = self_test.proportion_test(works(timer, lambda _: 0.00002), timer)

    assert not result.passed


@pytest.mark.usefixtures("cuda_on_cpu")
def test_self_test_of_a_gpu_runs_products_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that ticks at every look sees no proportions: the test of a real device fails it."""
    monkeypatch.setattr(self_test, "_PRODUCT_SIDE", 8)
    monkeypatch.setattr(self_test, "_PRODUCT_ROWS", (8, 16, 32))
    session = opened(made(tmp_path), device=GPU)

    result = OnnxRuntimeInstruments(session, clock_ns=TickingClock()).self_test()

    assert result.seen_ms == (1.0, 1.0, 1.0)
    assert not result.passed
    assert "8, 16, 32 rows" in result.note


@pytest.fixture
def small_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products and copies of a size for a test."""
    monkeypatch.setattr(machine_peak, "_CHAINS", {"cpu": ((8, 2), (16, 3))})
    monkeypatch.setattr(machine_peak, "_COPY_BYTES", {"cpu": 4000})


@pytest.mark.usefixtures("small_peak")
def test_peak_is_work_over_time(tmp_path: Path) -> None:
    """Of a millisecond each: the larger chain is the better one, and a copy moves twice its size.

    2 * 16**3 * 3 operations, and 8000 bytes.
    """
    session = opened(made(tmp_path))

    peak = OnnxRuntimeInstruments(session, clock_ns=TickingClock()).peak()

    assert peak.gflops == pytest.approx(2 * 16**3 * 3 / 1e6)
    assert peak.gbytes_per_s == pytest.approx(8000 / 1e6)
    assert peak.precision == "fp32"
    assert "16 x 16 matrices, 3 in a row" in peak.note


@pytest.mark.usefixtures("small_peak")
@pytest.mark.parametrize(
    ("precision", "found"), [("fp16", "fp32"), ("bf16", "fp32"), ("int8", "int8")]
)
def test_peak_is_in_what_the_cpu_computes(tmp_path: Path, precision: str, found: str) -> None:
    """There half precision is computed in float32."""
    artifact = made(tmp_path)
    meta = replace(artifact.meta, precision=precision)
    session = opened(replace(artifact, meta=meta))

    assert OnnxRuntimeInstruments(session, clock_ns=TickingClock()).peak().precision == found


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_products_stay_finite(tmp_path: Path, kind: machine_peak.Kind) -> None:
    """No chain runs into infinities or zeros, which some processors compute at another speed."""
    model = machine_peak.product_chain(kind, rows=16, side=64, length=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "chain.onnx")
    session = inference_session(tmp_path / "chain.onnx", threads=1)
    element = session.get_inputs()[0].type
    dtype = {"tensor(float)": np.float32, "tensor(float16)": np.float16}.get(element, np.uint8)

    (result,) = session.run(None, {"value_0": np.ones((16, 64), dtype)})

    assert np.isfinite(result.astype(np.float32)).all()
    assert np.count_nonzero(result) == result.size


def test_larger_chain_is_left_out_where_it_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow machine is measured by the small one alone."""
    monkeypatch.setattr(machine_peak, "_CHAINS", {"cpu": ((8, 1), (16, 100))})
    clock = TickingClock()

    gflops, text = machine_peak.peak_of_products(
        "fp32", lambda path: inference_session(path, threads=1), clock
    )

    assert gflops == pytest.approx(2 * 8**3 / 1e6)
    assert "8 x 8 matrices, 1 in a row" in text


@pytest.mark.parametrize("threads", [1, 3])
def test_copy_copies_everything(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the threads are all of it."""
    target = np.zeros(1000, np.uint8)
    monkeypatch.setattr(np, "zeros", lambda *_: target)

    machine_peak.host_copy(1000, threads)()

    assert target.sum() == 1000


def test_threads_of_a_session_do_not_wait_on_cores_that_others_need(tmp_path: Path) -> None:
    """Two sessions in turns would slow each other down by what one leaves behind."""
    settings = opened(made(tmp_path)).runtime.get_session_options()

    assert settings.get_session_config_entry("session.force_spinning_stop") == "1"


def test_instruments_are_those_of_the_session(tmp_path: Path) -> None:
    """A session of ONNX Runtime gets its own; anything that is no session of ours is refused."""
    session = opened(made(tmp_path))

    assert isinstance(instruments_for(session), OnnxRuntimeInstruments)
    with pytest.raises(TypeError, match="object has no instruments"):
        instruments_for(object())  # type: ignore[arg-type]
