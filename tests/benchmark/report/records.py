"""Benchmarks that were never run: made up, but with the figures that such machines have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.benchmark.report.made_up import (
    CPU,
    conditions,
    gpu_subject,
    record,
    subject,
    summary_of,
    summary_of_subject,
    times,
)
from yolor_deploy.core.runtime import Peak
from yolor_deploy.measure.latency.record import DensityPoint, Inputs, LayerCost, Record
from yolor_deploy.measure.latency.summary import (
    Distribution,
    Estimate,
    Finding,
    Ratio,
    Summary,
)

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e$\\frac$\n</style>模型"
"""A name that a file could have."""

SUITE = (  # name, size, median of a run in milliseconds, GFLOP of the convolutions
    ("yolor_csp", 640, 1.31, 120.24),
    ("yolor_csp_x", 640, 1.92, 221.89),
    ("yolor-p6", 1280, 2.31, 325.12),
    ("yolor-w6", 1280, 2.95, 452.65),
    ("yolor-e6", 1280, 4.21, 682.12),
    ("yolor-d6", 1280, 5.17, 934.43),
    ("yolov4-p5", 896, 2.44, 326.64),
    ("yolov4-p6", 1280, 4.85, 717.02),
    ("yolov4-p7", 1536, 9.98, 1636.70),
)

Pair = tuple[Record, Summary]


def one_on_cpu() -> Pair:
    """Return one model on a CPU, with no part that is optional."""
    made = record([subject("yolor_csp", 412.0, count=30)])
    return made, summary_of(made)


def pair_on_gpu() -> Pair:
    """Return two engines side by side on a GPU, with everything."""
    subjects = [
        gpu_subject("yolor-d6", 1280, 5.17, 934.43, seed=1),
        gpu_subject("yolov4-p7", 1536, 9.98, 1636.70, seed=2),
    ]
    made = record(subjects, gpu=True)
    summary = summary_of(made, reference="yolov4-p7")
    ratios = (
        Ratio("yolor-d6", "yolov4-p7", "run", Estimate(1.931, 1.9132, 1.9491), 200),
        Ratio("yolor-d6", "yolov4-p7", "model", Estimate(1.942, 1.922, 1.961), 100),
    )
    return made, replace(summary, ratios=ratios)


def suite_on_gpu(samples: int = 2000) -> Pair:
    """Return the nine engines of the suite."""
    subjects = [
        gpu_subject(name, size, ms, gflop, seed=11 * at, count=samples)
        for at, (name, size, ms, gflop) in enumerate(SUITE)
    ]
    made = record(subjects, gpu=True)
    warning = Finding("noise", "yolor-w6", "warning", "noise 1.3 %, wanted 1 %")
    return made, summary_of(made, reference="yolov4-p7", findings=(warning,))


def interrupted() -> Pair:
    """Return two models, stopped by the user before the second had a sample."""
    first = subject("yolor-p6", 2300.0, size=1280, count=7, stopped_by="interrupted")
    second = subject("yolor-d6", 5800.0, size=1280, count=0, samples={}, stopped_by="running")
    made = record([first, second], complete=False, interrupted=True)
    few = Finding("few-samples", "yolor-p6", "warning", "7 samples, wanted 20")
    return made, summary_of(made, findings=(few,))


def invalid() -> Pair:
    """Return two engines whose GPU throttled and drifted."""
    made, summary = pair_on_gpu()
    slow = gpu_subject("yolor-d6", 1280, 5.17, 934.43, seed=1)
    slow = replace(slow, samples={"run": times(5.17, 200, seed=1, drift=0.08)})
    hot = tuple(
        replace(c, gpu=replace(c.gpu, throttle_reasons=("sw_thermal",), sm_clock_mhz=1400.0))
        if c.gpu and 10 < at < 15
        else c
        for at, c in enumerate(made.conditions)
    )
    made = replace(made, subjects=(slow, made.subjects[1]), conditions=hot)
    findings = (
        Finding("throttled", None, "invalid", "the GPU held its clocks back 4 times: sw_thermal"),
        Finding("drift", "yolor-d6", "invalid", "drift of +5.3 % between first and last third"),
        Finding("disturbed", None, "warning", "other processes used 0.4 cores"),
    )
    summaries = (summary_of_subject(slow), summary.subjects[1])
    return made, replace(summary, subjects=summaries, findings=findings)


def hostile() -> Pair:
    """Return artifacts whose every text comes from a hostile file."""
    one = subject(
        HOSTILE,
        12.0,
        variant=HOSTILE,
        path=HOSTILE,
        family=HOSTILE,
        precision=HOSTILE,
        output=HOSTILE,
        sha256=HOSTILE,
        input={"height": HOSTILE, "width": 640, "dtype": HOSTILE, "layout": HOSTILE},
        history=({"stage": HOSTILE},),
        conditions=replace(CPU, runtime=HOSTILE, device=HOSTILE),
        inputs=replace(subject("a", 1.0).inputs, source=HOSTILE),
        memory_bytes={HOSTILE: 12},
        notes=(HOSTILE,),
    )
    other = subject(f"{HOSTILE} {HOSTILE}", 24.0, seed=3)
    made = record(
        [one, other],
        version=HOSTILE,
        command=("yolor-deploy", "bench", HOSTILE),
        started=HOSTILE,
        environment={"cpu": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}},
        overhead_us={HOSTILE: 1.0},
    )
    found = (Finding(HOSTILE, HOSTILE, "invalid", HOSTILE),)
    return made, summary_of(made, findings=found, reference=other.name)


def bare() -> Pair:
    """Return what is left where nothing was measured at all."""
    made = record((), environment={}, conditions=(), overhead_us={}, command=(), complete=False)
    return made, Summary((), (), ())


def odd_figures() -> Pair:
    """Return an artifact of which each series is as short or as flat as it can be."""
    flat = subject(
        "flat",
        2.0,
        count=1,
        variant="custom",
        samples={"run": (2.0,)},
        at_s=(0.5,),
        layers=(LayerCost("a", "Conv", 10, 10, None),),
        peak=Peak(10.0, 10.0, "fp32", ""),
        density=(DensityPoint(0, 0, (0.01,)),),
        inputs=Inputs("images", 1, False, None, None, None, None, "photos"),
    )
    made = record([flat], conditions=conditions(gpu=False)[:1])
    lone = Estimate(2.0, None, None)
    figures = Distribution(1, 2.0, lone, lone, lone, 2.0, 2.0, None, None, 1, None)
    summary = replace(summary_of_subject(flat), run=figures)
    return made, Summary((summary,), (), ())


ALL: Mapping[str, Callable[[], Pair]] = {
    "one-on-cpu": one_on_cpu,
    "pair-on-gpu": pair_on_gpu,
    "suite-on-gpu": suite_on_gpu,
    "interrupted": interrupted,
    "invalid": invalid,
    "hostile": hostile,
    "bare": bare,
    "odd-figures": odd_figures,
}
"""By name, what makes it."""
