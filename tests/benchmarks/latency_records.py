"""Benchmarks of the suite on a GPU, made up: one that reaches everything, and what changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.measure.latency.series import (
    SAMPLES,
    clean_record,
    clean_subject,
    conditions,
    series,
    times,
)
from yolor_deploy.core.runtime import Peak, RunConditions, SelfTest
from yolor_deploy.measure.latency.record import (
    CpuCondition,
    GpuCondition,
    GpuFacts,
    LayerCost,
    Record,
    Settings,
    Subject,
)

GPU = RunConditions("tensorrt 8.6.0", "GPU", cuda_graph=True, waiting="spin", nms="kernels")
SELF_TEST = SelfTest("device", (2.0, 5.0), (2.01, 5.02), passed=True, note="spins")

Change = Callable[[Record], Record]


def engine(variant: str, model_ms: float, *, seed: int, nms_ms: float = 0.03) -> Subject:
    """Return an engine in half precision, with the kernels behind it, that was measured well."""
    noise = series("stationary", SAMPLES, seed=seed, noise=0.002) / 10
    stages = {"host_to_device": 0.1, "model": model_ms, "nms": nms_ms, "device_to_host": 0.02}
    return clean_subject(
        f"{variant}.fp16",
        seed=seed,
        kind="engine",
        variant=variant,
        precision="fp16",
        conditions=GPU,
        clock="device",
        samples={"preprocess": (1.0,) * SAMPLES, "run": times(sum(stages.values()) * noise)},
        stages={"preprocess": (1.0,) * SAMPLES}
        | {name: times(ms * noise) for name, ms in stages.items()},
        layers=(LayerCost("conv", "Conv", int(model_ms * 4e11), 1_000_000, model_ms),),
        peak=Peak(800_000.0, 4_000.0, "fp16", "a chain"),
        self_test=SELF_TEST,
    )


def suite() -> Record:
    """Return a benchmark that reaches everything."""
    subjects = (
        engine("yolor-d6", 4.0, seed=1),
        engine("yolov4-p7", 8.0, seed=2),
        engine("yolor-p6", 2.0, seed=3),
    )
    return on_gpu(*subjects, settings=Settings(reference="yolov4-p7.fp16"))


def on_gpu(*subjects: Subject, **changes: Any) -> Record:
    """Return a benchmark on a GPU that nothing disturbs."""
    gpu = GpuCondition(sm_clock_mhz=1980.0, temperature_c=50.0, power_w=400.0)
    moments = conditions(CpuCondition(), gpu)
    return clean_record(*subjects, gpu=GpuFacts("GPU"), conditions=moments, **changes)


def twin(*, speedup: float = 1.0, samples: int = SAMPLES) -> Record:
    """Return a comparison of P6 with itself; what is not 1 is a mistake of the benchmark."""
    first = engine("yolor-p6", 2.0, seed=4)
    second = engine("yolor-p6", 2.0 / speedup, seed=5, nms_ms=0.03 / speedup)
    return on_gpu(
        *(
            replace(
                subject,
                name=f"p6 {number}",
                sha256="e" * 64,
                at_s=subject.at_s[:samples],
                samples={name: v[:samples] for name, v in subject.samples.items()},
                stage_at_s=subject.stage_at_s[:samples],
                stages={name: v[:samples] for name, v in subject.stages.items()},
            )
            for number, subject in enumerate((first, second))
        )
    )


def with_engine(variant: str, **changes: Any) -> Change:
    """Return what changes one engine of a record."""

    def change(record: Record) -> Record:
        subjects = (
            replace(subject, **changes) if subject.variant == variant else subject
            for subject in record.subjects
        )
        return replace(record, subjects=tuple(subjects))

    return change


def without(variant: str) -> Change:
    """Return what leaves an engine out of a record."""
    return lambda record: replace(
        record, subjects=tuple(s for s in record.subjects if s.variant != variant)
    )


def with_stage(variant: str, stage: str, ms: float) -> Change:
    """Return what gives a stage of an engine other times."""

    def change(record: Record) -> Record:
        found = next(subject for subject in record.subjects if subject.variant == variant)
        changed = times(np.full(SAMPLES, ms))
        return with_engine(variant, stages={**found.stages, stage: changed})(record)

    return change
