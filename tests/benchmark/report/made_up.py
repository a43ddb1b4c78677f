"""What made-up benchmarks are made of: artifacts, machines, and figures that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolor_deploy.core.runtime import STAGES, LayerTime, Peak, RunConditions, SelfTest
from yolor_deploy.measure.latency.record import (
    Condition,
    CpuCondition,
    DensityPoint,
    Energy,
    GpuCondition,
    GpuFacts,
    Inputs,
    LayerCost,
    Record,
    Settings,
    Subject,
    Throughput,
)
from yolor_deploy.measure.latency.summary import (
    Distribution,
    Estimate,
    Finding,
    LayerLimit,
    Ratio,
    Roofline,
    SubjectSummary,
    Summary,
    ThroughputSummary,
)

CPU = RunConditions(runtime="onnxruntime 1.32.0", device="cpu", threads=2)
GPU = RunConditions(
    runtime="tensorrt 8.6.1",
    device="NVIDIA H200",
    cuda_graph=True,
    waiting="spin",
    nms="plugin",
    plugin_sha256="5f3c" * 16,
)
ENVIRONMENT = {
    "cpu": "AMD EPYC 9654 96-Core Processor",
    "cores": 16,
    "memory_bytes": 137_438_953_472,
    "system": "Linux x86_64",
    "python": "3.12.8",
    "packages": {"numpy": "2.3.1", "onnx": "1.19.0", "onnxruntime": "1.32.0"},
    "commit": "4f1c2ab90d3e",
}
NMS = {"score_threshold": 0.25, "iou_threshold": 0.45, "max_detections": 300}


def times(median_ms: float, count: int, *, seed: int, drift: float = 0.0) -> tuple[float, ...]:
    """Return samples with a little noise, some outliers, and a drift where one is wanted."""
    random = np.random.default_rng(seed)
    values = median_ms * (1 + (0.002 + 0.001 * (seed % 4)) * random.standard_normal(count))
    values += median_ms * drift * np.linspace(-0.5, 0.5, count)
    slow = random.random(count) < 0.01
    values[slow] *= 1 + 0.3 * random.random(int(slow.sum()))
    return tuple(float(value) for value in values)


def distribution(samples: Sequence[float]) -> Distribution:
    """Return samples in figures, with intervals that are about right."""
    values = np.asarray(samples)
    ordered = np.sort(values)
    third = max(1, values.size // 3)
    first, last = np.median(values[:third]), np.median(values[-third:])

    def at(part: float) -> Estimate:
        reach = 2 * np.sqrt(part * (1 - part) / values.size)
        low, high = np.quantile(ordered, [max(0, part - reach), min(1, part + reach)])
        return Estimate(float(np.quantile(ordered, part)), float(low), float(high))

    middle = at(0.5)
    return Distribution(
        count=values.size,
        mean=float(values.mean()),
        p50=middle,
        p90=at(0.9),
        p99=at(0.99),
        minimum=float(values.min()),
        maximum=float(values.max()),
        noise=((middle.high or 0) - (middle.low or 0)) / 2 / middle.value,
        drift=float(last / first - 1),
        modes=1,
        correlation=0.04,
    )


def subject(
    name: str,
    median_ms: float,
    *,
    count: int = 200,
    seed: int = 0,
    size: int = 640,
    variant: str | None = None,
    conditions: RunConditions = CPU,
    **more: Any,
) -> Subject:
    """Return an artifact with samples and, unless ``more`` says otherwise, nothing else."""
    fields: dict[str, Any] = {
        "name": name,
        "path": f"{name}.onnx",
        "sha256": "9e107d9d372bb6826bd81d3542a419d6e5c1" + "0" * 28,
        "kind": "model",
        "variant": variant or name,
        "family": "yaml",
        "precision": "fp32",
        "num_classes": 80,
        "class_names_sha256": "ab" * 32,
        "input": {"height": size, "width": size, "dtype": "float32", "layout": "NCHW"},
        "output": "detections",
        "nms": NMS,
        "random_weights": True,
        "history": ({"stage": "export", "options": {}, "versions": {}, "input_sha256": None},),
        "conditions": conditions,
        "inputs": Inputs("drawn", 4, True, 1000, 20, (998, 1003, 1001, 1000), (20, 20, 19, 21), ""),
        "clock": "host",
        "warmup_ms": times(1.2 * median_ms, 12, seed=seed + 50),
        "warmup_settled": True,
        "at_s": tuple(0.5 + 0.002 * median_ms * k for k in range(count)),
        "samples": {
            "run": times(median_ms, count, seed=seed),
            "preprocess": times(0.11 * median_ms, count, seed=seed + 1),
        },
        "stopped_by": "noise",
    }
    return Subject(**{**fields, **more})


def gpu_subject(
    name: str, size: int, median_ms: float, gflop: float, *, seed: int, **more: Any
) -> Subject:
    """Return an engine on a GPU with everything that can be measured of it."""
    parts = (0.21, 0.06, 0.86, 0.015, 0.01)
    layers = layer_costs(gflop, median_ms, seed=seed)
    kinds = ("weights", "activations", "workspace", "io")
    fields: dict[str, Any] = {
        "conditions": GPU,
        "kind": "engine",
        "path": f"{name}.engine",
        "precision": "fp16",
        "clock": "device",
        "stage_at_s": tuple(0.003 * median_ms * k for k in range(100)),
        "stages": {
            stage: times(part * median_ms, 100, seed=seed + 9)
            for stage, part in zip(STAGES, parts, strict=True)
        },
        "throughput": (Throughput(4, 1, tuple(0.001 * k for k in range(50))),),
        "memory_bytes": {
            kind: int(gflop * factor * 1e6)
            for kind, factor in zip(kinds, (0.32, 0.9, 0.1, 0.02), strict=True)
        },
        "energy": Energy(joules=gflop * 0.9, seconds=3.0, images=600, idle_w=78.0),
        "layers": layers,
        "profile": tuple(LayerTime(layer.name, layer.ms or 0.0) for layer in layers),
        "density": tuple(
            DensityPoint(
                n,
                max(1, n // 50),
                times((0.03 + 1.5e-5 * n) * (1 + gflop / 4000), 20, seed=seed + n),
            )
            for n in (10, 100, 1000, 10_000, 30_000)
        ),
        "peak": Peak(612_000.0, 3_900.0, "fp16", "a chain of 4096 x 4096 products; a copy of 1 GB"),
        "self_test": SelfTest(
            "device", (1.0, 5.0), (1.002, 5.003), True, "kernels that spin; within 5 %"
        ),
    }
    return subject(name, median_ms, seed=seed, size=size, **{**fields, **more})


def layer_costs(gflop: float, median_ms: float, *, seed: int) -> tuple[LayerCost, ...]:
    """Return layers of a network that together make the figures given."""
    random = np.random.default_rng(seed)
    parts = random.dirichlet(np.ones(90))
    layers = [
        LayerCost(
            f"/model.{at}/conv/Conv",
            "Conv",
            int(part * gflop * 1e9),
            int(part * gflop * 1e9 / random.uniform(20, 400)) + 1000,
            float(part * 0.8 * median_ms * random.uniform(0.7, 1.6)),
        )
        for at, part in enumerate(parts)
    ]
    silent = LayerCost("/model.90/Concat", "Concat", 0, 5_000_000, None)
    return (*layers, silent)


def summary_of(
    record: Record, *, findings: tuple[Finding, ...] = (), reference: str | None = None
) -> Summary:
    """Return the figures of a record, ratios against ``reference`` where it is given."""
    measured = [item for item in record.subjects if item.samples.get("run")]
    medians = {item.name: float(np.median(item.samples["run"])) for item in measured}
    ratios = tuple(
        _ratio(item.name, reference, medians[reference] / medians[item.name], len(item.at_s))
        for item in measured
        if reference and item.name != reference
    )
    return Summary(tuple(summary_of_subject(item) for item in measured), ratios, findings)


def _ratio(name: str, reference: str, value: float, rounds: int) -> Ratio:
    return Ratio(name, reference, "run", Estimate(value, 0.99 * value, 1.01 * value), rounds)


def summary_of_subject(item: Subject) -> SubjectSummary:
    """Return the figures of one artifact."""
    run = distribution(item.samples["run"])
    stages = {name: distribution(values) for name, values in item.stages.items()}
    without = {name: d.p50.value for name, d in stages.items() if name != "preprocess"}
    preprocess = item.samples.get("preprocess")
    return SubjectSummary(
        name=item.name,
        run=run,
        preprocess=distribution(preprocess) if preprocess else None,
        total=distribution(np.add(preprocess, item.samples["run"]).tolist())
        if preprocess
        else None,
        stages=stages,
        stage_sum=distribution(np.sum(list(item.stages.values()), axis=0).tolist())
        if stages
        else None,
        nms_share=without["nms"] / sum(without.values()) if "nms" in without else None,
        fps=1000 / run.p50.value,
        throughput=tuple(
            ThroughputSummary(each.streams, each.batch, Estimate(1650 / run.p50.value, None, None))
            for each in item.throughput
        ),
        joules_per_image=item.energy.joules / item.energy.images if item.energy else None,
        roofline=_roofline(item, run.p50.value),
    )


def _roofline(item: Subject, measured_ms: float) -> Roofline | None:
    if item.layers is None or item.peak is None:
        return None
    limits = [_limit(layer, item.peak) for layer in item.layers]
    total, gflop = sum(limit.limit_ms for limit in limits), sum(x.flops for x in item.layers) / 1e9
    return Roofline(
        gflop=gflop,
        gbytes=sum(layer.num_bytes for layer in item.layers) / 1e9,
        limit_ms=total,
        measured_ms=measured_ms,
        times_from_limit=measured_ms / total,
        gflops=gflop / measured_ms * 1e3,
        peak_gflops=item.peak.gflops,
        peak_gbytes_per_s=item.peak.gbytes_per_s,
        matched=0.97,
        layers=tuple(sorted(limits, key=lambda limit: -(limit.excess_ms or 0))),
    )


def _limit(layer: LayerCost, peak: Peak) -> LayerLimit:
    compute, memory = (
        layer.flops / peak.gflops / 1e6,
        layer.num_bytes / peak.gbytes_per_s / 1e6,
    )
    limit = max(compute, memory)
    excess = None if layer.ms is None else max(0.0, layer.ms - limit)
    bound: Any = "compute" if compute >= memory else "memory"
    return LayerLimit(layer.name, layer.op, limit, bound, layer.ms, excess)


def conditions(*, gpu: bool, seconds: float = 40.0) -> tuple[Condition, ...]:
    """Return the machine from before to after, quiet."""
    moments = np.linspace(0, seconds, 24)
    return tuple(
        Condition(
            float(at),
            "before" if k == 0 else "after" if k == moments.size - 1 else "during",
            CpuCondition(
                frequency_mhz=2600.0 + 40 * (k % 3),
                governor="performance",
                load=0.4 + 0.02 * k,
                busy_others=0.03 * (k % 4),
                temperature_c=51.0,
            ),
            _gpu_condition(k) if gpu else None,
        )
        for k, at in enumerate(moments)
    )


def _gpu_condition(at: int) -> GpuCondition:
    return GpuCondition(
        sm_clock_mhz=1980.0 - 15 * (at % 2),
        memory_clock_mhz=3201.0,
        temperature_c=38.0 + 0.6 * at,
        power_w=120.0 + 400 * (0 < at < 23) + 5 * (at % 3),
        power_limit_w=700.0,
        throttle_reasons=() if 0 < at < 23 else ("gpu_idle",),
        utilisation=0.97,
    )


H200 = GpuFacts(
    name="NVIDIA H200",
    uuid="GPU-3c1f0f52-0000-0000-0000-000000000000",
    driver="570.124.06",
    cuda="12.8",
    compute_capability="9.0",
    memory_bytes=150_754_820_096,
    max_sm_clock_mhz=1980.0,
    max_memory_clock_mhz=3201.0,
    ecc=True,
    mig=False,
)


def record(subjects: Sequence[Subject], *, gpu: bool = False, **more: Any) -> Record:
    """Return a benchmark that came to its end."""
    fields: dict[str, Any] = {
        "version": "0.4.0",
        "command": ("yolor-deploy", "bench", *(s.path for s in subjects), "--report", "out.html"),
        "started": "2025-11-27T09:25:18+00:00",
        "settings": Settings(streams=(4,) if gpu else ()),
        "environment": ENVIRONMENT,
        "gpu": H200 if gpu else None,
        "conditions": conditions(gpu=gpu),
        "overhead_us": {"clock": 0.21, "sample": 0.94},
        "cache": "interleaved" if len(subjects) > 1 else "same",
        "subjects": tuple(subjects),
        "complete": True,
    }
    return Record(**{**fields, **more})
