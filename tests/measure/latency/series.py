"""Series of times whose answers are known, and records that nothing is wrong with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.runtime import RunConditions, SelfTest
from yolor_deploy.measure.latency.record import (
    Condition,
    CpuCondition,
    GpuCondition,
    GpuFacts,
    Inputs,
    Record,
    Settings,
    Subject,
)

Series = npt.NDArray[np.float64]
SAMPLES = 60
KINDS = ("stationary", "drifting", "bimodal", "heavy-tailed", "correlated")
"""Of ``series``."""


def correlated(random: np.random.Generator, count: int, *, rho: float) -> Series:
    """Return a normal series of variance 1 where each sample is ``rho`` of the one before."""
    steps = random.normal(size=count)
    values = np.empty(count)
    values[0] = steps[0]
    for i in range(1, count):
        values[i] = rho * values[i - 1] + np.sqrt(1 - rho**2) * steps[i]
    return values


def series(kind: str, count: int, *, seed: int, noise: float = 0.01) -> Series:
    """Return times of about 10 ms: float64 [count]."""
    random = np.random.default_rng(seed)
    quiet = 10 * (1 + noise * random.normal(size=count))
    match kind:
        case "stationary":
            return quiet
        case "drifting":
            return quiet * np.linspace(1, 1.2, count)
        case "bimodal":
            return quiet + 3 * (random.random(count) < 0.3)
        case "heavy-tailed":
            late = random.random(count) < 0.05
            tail = 10 * np.exp(5 * noise * random.normal(size=count))
            return np.asarray(tail + late * 10 * random.pareto(1.5, count), np.float64)
        case "correlated":
            return np.asarray(10 * (1 + noise * correlated(random, count, rho=0.5)), np.float64)
    raise ValueError(kind)


def pair(
    kind: str, rounds: int, *, seed: int, speedup: float = 1.0, noise: float = 0.01
) -> tuple[list[float], list[float]]:
    """Return times of a reference and of a subject that is ``speedup`` times as fast, in turns.

    What drifts is the machine under both, so that neighbours share their place in the drift.
    """
    if kind == "drifting":
        both = series(kind, 2 * rounds, seed=seed, noise=noise).reshape(rounds, 2)
        both[1::2] = both[1::2, ::-1].copy()  # every second round goes backwards
        reference, subject = both[:, 0], both[:, 1]
    else:
        reference = series(kind, rounds, seed=2 * seed, noise=noise)
        subject = series(kind, rounds, seed=2 * seed + 1, noise=noise)
    return reference.tolist(), (subject / speedup).tolist()


def times(values: Series) -> tuple[float, ...]:
    """Return a series as a record keeps it."""
    return tuple(float(value) for value in values)


def clean_subject(name: str = "d6", *, seed: int = 1, **changes: Any) -> Subject:
    """Return an artifact that was measured well on a CPU; ``changes`` are fields of it."""
    run = series("stationary", SAMPLES, seed=seed)
    moments = tuple(0.1 * seed + 0.5 * i for i in range(SAMPLES))
    subject = Subject(
        name=name,
        path=f"{name}.onnx",
        sha256=str(seed) * 64,
        kind="model",
        variant="yolor-d6",
        family="yolor",
        precision="fp32",
        num_classes=80,
        class_names_sha256="c" * 64,
        input={"height": 64, "width": 64, "dtype": "float32", "layout": "NCHW"},
        output="detections",
        nms={"score_threshold": 0.25, "iou_threshold": 0.45, "max_detections": 300},
        random_weights=False,
        history=(),
        conditions=RunConditions(runtime="onnxruntime 1.32.0", device="cpu", threads=2),
        inputs=Inputs("drawn", 2, True, 1000, 100, (1000, 1000), (100, 100), "drawn"),
        clock="host",
        warmup_ms=(11.0, 10.0, 10.0),
        warmup_settled=True,
        at_s=moments,
        samples={"preprocess": (1.0,) * SAMPLES, "run": times(run)},
        stage_at_s=moments,
        stages={
            "preprocess": (1.0,) * SAMPLES,
            "model": times(0.95 * run),
            "nms": times(0.05 * run),
        },
        stopped_by="noise",
        self_test=SelfTest("host", (1.0, 5.0), (1.0, 5.0), passed=True, note="spins"),
    )
    return replace(subject, **changes)


def clean_record(*subjects: Subject, **changes: Any) -> Record:
    """Return a benchmark of these artifacts on a quiet CPU; of two, if none is given."""
    cpu = CpuCondition(2000.0, "performance", 0.5, 0.02, 0.0, 1.5, 50.0, on_battery=False)
    record = Record(
        version="0.0",
        command=("bench", "d6.onnx"),
        started="2025-01-01T00:00:00+00:00",
        settings=Settings(),
        environment={},
        gpu=None,
        conditions=conditions(cpu, None),
        overhead_us={"clock": 0.1, "sample": 0.5},
        cache="interleaved",
        subjects=subjects or (clean_subject("d6", seed=1), clean_subject("p7", seed=2)),
        complete=True,
    )
    return replace(record, **changes)


def conditions(cpu: CpuCondition, gpu: GpuCondition | None) -> tuple[Condition, ...]:
    """Return a machine that is the same from before to after, at twelve moments."""
    phases = ("before", *("during",) * 10, "after")
    return tuple(
        Condition(3.0 * i, phase, cpu, gpu)  # type: ignore[arg-type] # a phase of three
        for i, phase in enumerate(phases)
    )


def gpu_record(**changes: Any) -> Record:
    """Return a benchmark of two artifacts on a GPU that nothing disturbs."""
    gpu = GpuCondition(
        sm_clock_mhz=1700.0, temperature_c=50.0, power_w=200.0, ecc_errors=2, energy_j=1e6
    )
    there = RunConditions(runtime="tensorrt 10.0", device="GPU", cuda_graph=True, waiting="spin")
    test = SelfTest("device", (1.0,), (1.0,), passed=True, note="spins")
    subjects = (
        clean_subject("d6", seed=1, conditions=there, clock="device", self_test=test),
        clean_subject("p7", seed=2, conditions=there, clock="device", self_test=test),
    )
    record = clean_record(
        *subjects, gpu=GpuFacts("GPU"), conditions=conditions(CpuCondition(), gpu)
    )
    return replace(record, **changes)


def with_gpu(record: Record, *moments: int, **changes: Any) -> Record:
    """Return a record whose GPU was otherwise at some moments, all during the samples if none."""
    return replace(
        record,
        conditions=tuple(
            replace(item, gpu=replace(item.gpu, **changes))
            if item.gpu and (i in moments or (not moments and item.phase == "during"))
            else item
            for i, item in enumerate(record.conditions)
        ),
    )


def with_cpu(record: Record, *moments: int, **changes: Any) -> Record:
    """Return a record whose CPU was otherwise at some moments, all during the samples if none."""
    return replace(
        record,
        conditions=tuple(
            replace(item, cpu=replace(item.cpu, **changes))
            if i in moments or (not moments and item.phase == "during")
            else item
            for i, item in enumerate(record.conditions)
        ),
    )
