"""From a record to what it says. A replay of the same record says the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from yolor_deploy.core.runtime import STAGES
from yolor_deploy.measure.latency.record import Record, Subject, Throughput
from yolor_deploy.measure.latency.roofline import roofline
from yolor_deploy.measure.latency.statistics import (
    distribution,
    paired_ratio,
    throughput_estimate,
)
from yolor_deploy.measure.latency.summary import (
    SESSION_EFFECT,
    Estimate,
    Ratio,
    SubjectSummary,
    Summary,
    ThroughputSummary,
)
from yolor_deploy.measure.latency.validity import findings

_RATIO_ORDER = ("run", "model", *(stage for stage in STAGES if stage != "model"))
_MS_PER_S = 1000.0


def summarise(record: Record) -> Summary:
    """Derive all figures, ratios and findings of a record.

    Args:
        record: Whole, or as far as it has come.
    """
    measured = [subject for subject in record.subjects if subject.samples.get("run")]
    subjects = tuple(_subject_summary(subject, record.settings.batch) for subject in measured)
    reference = _reference(measured, record.settings.reference)
    ratios = (
        ratio
        for subject in measured
        if reference is not None and subject is not reference
        for ratio in _ratios(subject, reference)
    )
    return Summary(subjects, tuple(ratios), findings(record, subjects))


def _subject_summary(subject: Subject, batch: int) -> SubjectSummary:
    run = distribution(subject.samples["run"])
    preprocess = subject.samples.get("preprocess")
    stages = {
        name: distribution(subject.stages[name]) for name in STAGES if subject.stages.get(name)
    }
    in_model = stages.get("model", run).p50.value
    nms_apart = "model" in stages and "nms" in stages
    return SubjectSummary(
        name=subject.name,
        run=run,
        preprocess=distribution(preprocess) if preprocess else None,
        total=distribution(_sums([preprocess, subject.samples["run"]])) if preprocess else None,
        stages=stages,
        stage_sum=distribution(_sums([subject.stages[name] for name in stages]))
        if stages
        else None,
        nms_share=_nms_share(subject.stages),
        fps=_MS_PER_S * batch / run.p50.value if run.p50.value > 0 else 0.0,
        throughput=tuple(_throughput(item) for item in subject.throughput if item.finished_s),
        joules_per_image=_joules_per_image(subject),
        roofline=roofline(subject, measured_ms=in_model, with_head=not nms_apart)
        if in_model > 0
        else None,
    )


def _sums(series: Sequence[Sequence[float]]) -> list[float]:
    """Add series of the same runs, run by run."""
    return [sum(times) for times in zip(*series, strict=True)]


def _nms_share(stages: Mapping[str, Sequence[float]]) -> float | None:
    """Return the median over the runs of what part of the run was NMS; 0..1."""
    nms = stages.get("nms")
    if not nms:
        return None
    in_run = [values for name, values in stages.items() if name != "preprocess" and values]
    shares = [part / whole for part, whole in zip(nms, _sums(in_run), strict=True) if whole > 0]
    return float(np.median(shares)) if shares else None


def _throughput(measured: Throughput) -> ThroughputSummary:
    return ThroughputSummary(
        measured.streams,
        measured.batch,
        throughput_estimate(measured.finished_s, measured.streams, batch=measured.batch),
    )


def _joules_per_image(subject: Subject) -> float | None:
    energy = subject.energy
    return energy.joules / energy.images if energy and energy.images > 0 else None


def _reference(measured: Sequence[Subject], name: str | None) -> Subject | None:
    """Return what ratios are taken against; None where that was not measured, or is alone."""
    if len(measured) < 2:  # noqa: PLR2004 - a ratio has two sides
        return None
    if name is None:
        return measured[-1]
    return next((subject for subject in measured if subject.name == name), None)


def _ratios(subject: Subject, reference: Subject) -> Iterator[Ratio]:
    """Compare all that both have, the run first, then the model, then the other stages."""
    sides = [{**side.stages, "run": side.samples["run"]} for side in (reference, subject)]
    moments = {
        "run": (reference.at_s, subject.at_s),
        "stage": (reference.stage_at_s, subject.stage_at_s),
    }
    for name in _RATIO_ORDER:
        theirs, own = (side.get(name, ()) for side in sides)
        rounds = min(len(theirs), len(own))
        pairs = [pair for pair in zip(theirs[:rounds], own[:rounds], strict=True) if min(pair) > 0]
        if pairs and _are_in_turns(*moments["run" if name == "run" else "stage"]):
            speedup = _widened(paired_ratio([a for a, _ in pairs], [b for _, b in pairs]))
            yield Ratio(subject.name, reference.name, name, speedup, len(pairs))


def _widened(speedup: Estimate) -> Estimate:
    """Return an interval that holds what more samples of one process cannot tell apart."""
    if speedup.low is None or speedup.high is None:
        return speedup
    wider = 1 + SESSION_EFFECT
    return Estimate(speedup.value, speedup.low / wider, speedup.high * wider)


def _are_in_turns(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether two artifacts were sampled beside each other, not one after the other.

    Times of different minutes are no rounds: what the machine did in between would not cancel.
    """
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - one round has no order to tell
        return True
    return first[0] <= second[-1] and second[0] <= first[-1]
