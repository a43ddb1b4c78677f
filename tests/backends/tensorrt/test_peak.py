"""What a GPU reaches: a chain of products that TensorRT builds, and a copy; both stand in here."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import pytest

from tests.backends.artifacts import spec_of
from tests.backends.tensorrt.engines import CapturingDevice, Opened, model_of, stand_in
from yolor_deploy.backends.tensorrt import peak
from yolor_deploy.backends.tensorrt.instruments import TensorRTInstruments
from yolor_deploy.backends.tensorrt.matrix_chain import PRODUCT, write_chain
from yolor_deploy.backends.tensorrt.peak import PeakLoad, PeakPrecision, measure_peak, precision_of
from yolor_deploy.backends.tensorrt.process import run_build
from yolor_deploy.backends.tensorrt.request import PLAN_FILE, Report, Request
from yolor_deploy.core.artifact import ArtifactMeta, StageRecord
from yolor_deploy.core.errors import BuildError, RunError

LOAD = PeakLoad(side=16, links=3, copy_bytes=1 << 16, runs=4)
FP32 = PeakPrecision("fp32", tf32=False)


def meta_of(precision: str, *, tf32: bool | None = None) -> ArtifactMeta:
    """Return metadata of an engine that was built with an option."""
    records = () if tf32 is None else (StageRecord("engine", {"tf32": tf32}, {}, None),)
    return ArtifactMeta("engine", spec_of(), precision, "raw", None, "tensorrt", records)


@pytest.fixture
def device(trt: Any) -> CapturingDevice:
    """Return a device."""
    return device_of(trt)


def device_of(trt: Any) -> CapturingDevice:
    """Return a device on which a chain takes 2 ms, and a copy half of one."""
    made = CapturingDevice(trt)
    made.copy_ms = 0.5
    trt.running.Behaviour.elapses = lambda: made.clock.advance(2.0)
    return made


def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Any]]:
    """Return a list of what builds are told, and of what the plan was told."""
    seen = []

    def build(request: Request, folder: Path, **options: Any) -> Report:
        report = run_build(request, folder, **options)
        header = importlib.import_module("tensorrt").running.header_of(
            (folder / PLAN_FILE).read_bytes()
        )
        seen.append((request, header))
        return report

    monkeypatch.setattr(peak, "run_build", build)
    return seen


def test_peak_is_of_what_was_computed_and_copied(device: CapturingDevice) -> None:
    """Two operations for each product of numbers; each byte of a copy is read and written."""
    found = measure_peak("tensorrt", device, FP32, LOAD)

    assert found.gflops == pytest.approx(2 * 16**3 * 3 / 2e-3 / 1e9)
    assert found.gbytes_per_s == pytest.approx(2 * (1 << 16) / 0.5e-3 / 1e9)
    assert found.precision == "fp32"
    assert "3 products of 16 x 16" in found.note


def test_fastest_run_counts(device: CapturingDevice, trt: Any) -> None:
    """Others may have been disturbed; those before the graph do not count."""
    times = iter((1.0, 1.0, 1.0, 9.0, 5.0, 6.0, 7.0))
    trt.running.Behaviour.elapses = lambda: device.clock.advance(next(times))

    found = measure_peak("tensorrt", device, FP32, LOAD)

    assert found.gflops == pytest.approx(2 * 16**3 * 3 / 5e-3 / 1e9)


@pytest.mark.parametrize("base", ["fp16", "fp32"])
def test_products_are_those_of_the_matrices(tmp_path: Path, base: Literal["fp16", "fp32"]) -> None:
    """The network computes the chain, in values that neither grow nor vanish."""
    path = tmp_path / "chain.onnx"
    x = np.random.default_rng(1).normal(size=(64, 64))
    write_chain(path, side=64, links=4, precision=base)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    dtype = np.float16 if base == "fp16" else np.float32
    (found,) = session.run([PRODUCT], {"images": x.astype(dtype)})

    expected = x
    weight = np.random.default_rng(0).normal(0, 1 / 8, (64, 64))
    for _ in range(4):
        expected = expected @ weight
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=0.05)  # of halves, after four sums of 64
    assert 0.3 < np.std(found) < 3.0


def test_build_is_told_the_precision_of_the_engine(
    device: CapturingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types are in the graph; float32 is rounded to TF32 only where the engine's is."""
    seen = told(monkeypatch)

    for precision in (PeakPrecision("fp16", tf32=False), PeakPrecision("fp32", tf32=True)):
        found = measure_peak("tensorrt", device, precision, LOAD)

        assert found.precision == precision.name

    types = [header["inputs"]["images"][0] for _, header in seen]
    assert types == [1, 0]  # HALF, FLOAT
    assert [header["told"]["flags"] for _, header in seen] == [["no TF32"], ["TF32"]]
    assert {header["told"]["level"] for _, header in seen} == {3}


def test_weakly_typed_tensorrt_is_allowed_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before TensorRT 10 a flag says that the graph's halves may be computed as such."""
    seen = told(monkeypatch)
    lacks = "NetworkDefinitionCreationFlag.STRONGLY_TYPED"
    with stand_in(monkeypatch, STAND_IN_LACKS=lacks) as trt:
        measure_peak("tensorrt", device_of(trt), PeakPrecision("fp16", tf32=False), LOAD)

    assert seen[0][0].flags == ("FP16",)
    assert "FP16" in seen[0][1]["told"]["flags"]


def test_copies_leave_most_of_the_memory_free(device: CapturingDevice) -> None:
    """A small GPU copies less, and that is told."""
    device.free_bytes = 1 << 22

    found = measure_peak("tensorrt", device, FP32, replace(LOAD, copy_bytes=1 << 30))

    copied = max(num_bytes for _, _, num_bytes in device.copies)
    assert (1 << 19) < copied <= (1 << 20)
    assert f"{copied / 2**20:.0f} MiB" in found.note


def test_memory_and_events_are_freed(device: CapturingDevice) -> None:
    """A benchmark goes on with the same GPU."""
    measure_peak("tensorrt", device, FP32, LOAD)

    assert all(memory.is_closed for memory in device.memory)
    assert all(event.is_closed for event in device.events)


def test_too_little_memory_frees_what_was_had(device: CapturingDevice) -> None:
    """A failure in the middle leaves nothing behind."""
    device.free_bytes = 3000

    with pytest.raises(RunError, match="no memory left"):
        measure_peak("tensorrt", device, FP32, LOAD)

    assert device.memory
    assert all(memory.is_closed for memory in device.memory)


def test_a_chain_that_is_not_built_is_told_as_such(
    device: CapturingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is of the peak, and of no model."""

    def refuses(request: Request, folder: Path, *, where: str, timeout_s: float) -> Report:
        del request, folder
        assert timeout_s > 0
        raise BuildError("TensorRT crashed", where=where, hint="none")

    monkeypatch.setattr(peak, "run_build", refuses)

    with pytest.raises(BuildError) as caught:
        measure_peak("tensorrt", device, FP32, LOAD)
    assert caught.value.where == "peak of this machine"


@pytest.mark.parametrize(
    ("precision", "tf32", "name"),
    [
        pytest.param("fp32", None, "fp32", id="fp32"),
        pytest.param("fp32", False, "fp32", id="fp32-engine"),
        pytest.param("fp32", True, "tf32", id="tf32"),
        pytest.param("fp16", True, "fp16", id="fp16"),
        pytest.param("bf16", False, "fp16", id="bf16"),
        pytest.param("int8", False, "fp16", id="int8"),
        pytest.param("fp8+bf16", False, "fp16", id="fp8"),
    ],
)
def test_precision_of_an_engine(precision: str, tf32: bool | None, name: str) -> None:
    """Whatever has 16 or 8 bits is compared with fp16."""
    assert precision_of(meta_of(precision, tf32=tf32)).name == name


@pytest.mark.nms_build
def test_instruments_measure_the_peak_on_their_gpu(opened: Opened, tmp_path: Path) -> None:
    """In the precision of the engine, and the session runs on."""
    session = opened(model_of(tmp_path))
    device: Any = session.device
    session.run(np.zeros((1, 3, 32, 32), np.float32))
    device.copy_ms = 0.5
    device.trt.running.Behaviour.elapses = lambda: device.clock.advance(2.0)

    found = TensorRTInstruments(session, load=LOAD).peak()

    assert found.gflops == pytest.approx(2 * 16**3 * 3 / 2e-3 / 1e9)
    assert found.precision == "fp32"
    session.run(np.zeros((1, 3, 32, 32), np.float32))
