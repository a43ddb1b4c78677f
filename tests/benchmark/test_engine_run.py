"""A benchmark of an engine: a TensorRT that computes on the host, a card whose NVML is made up."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tensorrt.conftest import opened, trt
from tests.backends.tensorrt.engines import Opened, model_of
from tests.exports import silent
from tests.measure.latency.fake_nvml import PCI_BUS_ID, FakeNvml
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.benchmark import extras
from yolor_deploy.benchmark import run as run_module
from yolor_deploy.benchmark import subjects as subjects_module
from yolor_deploy.benchmark.options import BenchConfig
from yolor_deploy.benchmark.run import run_benchmark
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.latency.gpu_monitor import open_gpu_monitor
from yolor_deploy.measure.latency.record import Record, Settings
from yolor_deploy.measure.latency.summarise import summarise

__all__ = ["opened", "trt"]
pytestmark = pytest.mark.nms_build

SETTINGS = Settings(
    noise_target=1e-9, min_samples=8, max_samples=8, time_limit_s=60.0, warmup_s=0.0
)


@pytest.fixture
def session(opened: Opened, tmp_path: Path) -> TensorRTSession:
    """An engine behind which the kernels run."""
    return opened(model_of(tmp_path), nms="kernels")


@pytest.fixture
def nvml(session: TensorRTSession, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """The card of the session, whose answers a test can set."""
    device: Any = session.device
    monkeypatch.setattr(device, "pci_bus_id", PCI_BUS_ID)
    monkeypatch.setattr(extras, "_ENERGY_S", 0.05)
    fake = FakeNvml()
    monkeypatch.setattr(run_module, "open_gpu_monitor", partial(open_gpu_monitor, nvml=fake))
    return fake


@pytest.fixture
def config(
    session: TensorRTSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BenchConfig:
    """Eight samples of the engine; opening it gives the session."""
    monkeypatch.setattr(subjects_module, "open_in_turns", lambda *_, **__: session)
    return BenchConfig(
        (str(session.artifact.path),),
        settings=SETTINGS,
        work=tmp_path / "work",
        layers=False,
        curve=False,
    )


def measured(config: BenchConfig) -> Record:
    """Measure without a word."""
    return run_benchmark(config, note=silent)


def test_engine_is_measured_by_events_and_with_its_card(
    config: BenchConfig, nvml: FakeNvml
) -> None:
    """Stages come from the device's clock; clocks, temperature and power of the card are kept."""
    record = measured(config)

    (subject,) = record.subjects
    assert (subject.clock, subject.kind) == ("device", "engine")
    assert list(subject.stages) == [
        "preprocess",
        "host_to_device",
        "model",
        "nms",
        "device_to_host",
    ]
    assert subject.conditions.nms == "kernels"
    assert subject.self_test is not None
    assert record.gpu is not None
    assert record.conditions[0].gpu is not None
    assert record.conditions[0].gpu.sm_clock_mhz == nvml.sm_clock
    assert nvml.started == 0


def test_energy_is_what_the_card_drew(
    config: BenchConfig, nvml: FakeNvml, session: TensorRTSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joules between the two looks at the counter, over the images between them."""
    run = session.run

    def drawing(images: Any) -> Any:
        nvml.millijoules += 2500
        return run(images)

    monkeypatch.setattr(session, "run", drawing)

    record = measured(config)

    energy = record.subjects[0].energy
    assert energy is not None
    assert energy.joules == pytest.approx(2.5 * energy.images)
    assert summarise(record).subjects[0].joules_per_image == pytest.approx(2.5)


def test_card_that_throttled_makes_it_invalid(config: BenchConfig, nvml: FakeNvml) -> None:
    """The reason that NVML tells is the reason why."""
    nvml.reasons = 0x4  # software power cap

    summary = summarise(measured(config))

    assert not summary.is_valid
    assert {finding.rule for finding in summary.findings if finding.severity == "invalid"} >= {
        "throttled"
    }


def test_card_that_throttled_after_the_samples_is_told(
    config: BenchConfig, nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energy and peaks may be low then; the samples were taken before."""

    def hot(*_: Any, **__: Any) -> tuple[float, ...]:
        nvml.reasons = 0x4  # software power cap
        return (0.1, 0.2)

    monkeypatch.setattr(extras, "saturate", hot)

    summary = summarise(measured(config))

    assert ("throttled", "warning") in {(item.rule, item.severity) for item in summary.findings}


def test_card_that_others_compute_on_is_refused(config: BenchConfig, nvml: FakeNvml) -> None:
    """Before anything is measured, and with their numbers."""
    nvml.computing = [1, 2]

    with pytest.raises(EvaluationError, match="others compute on the GPU: process 1, 2"):
        measured(config)

    assert nvml.started == 0


def test_shared_card_that_is_allowed_makes_it_invalid(config: BenchConfig, nvml: FakeNvml) -> None:
    """It is measured, and nobody takes it for a result."""
    nvml.computing = [1, 2]

    summary = summarise(measured(replace(config, allow_shared_gpu=True)))

    assert "foreign-process" in {finding.rule for finding in summary.findings}
    assert not summary.is_valid


def test_other_card_is_not_gone_on_with(
    config: BenchConfig, nvml: FakeNvml, tmp_path: Path
) -> None:
    """A benchmark that was cut off on one card is not finished on another."""
    output = tmp_path / "raw.json"
    first = measured(config)
    assert first.gpu is not None
    other = replace(first, complete=False, gpu=replace(first.gpu, uuid="GPU-other"))
    output.write_text(json.dumps(other.to_json()), encoding="utf-8")

    with pytest.raises(EvaluationError, match="other GPU"):
        measured(replace(config, output=output))

    assert nvml.started == 0
