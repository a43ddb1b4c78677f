"""What a benchmark of the suite says of its targets, and whether it may be trusted.

Everything is derived from raw samples, so that the same file gives the same verdicts later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tensorrt_check.verdict import (
    Report,
    Verdict,
    at_least,
    at_most,
    holds,
    not_measured,
    report,
    stated,
)
from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.measure.latency.record import Record, Subject
from yolor_deploy.measure.latency.statistics import distribution
from yolor_deploy.measure.latency.summarise import summarise
from yolor_deploy.measure.latency.summary import Estimate, Ratio, SubjectSummary, Summary

SPEEDUP = 1.88
"""Of D6 over P7. Source: YOLOR, arXiv:2105.04206, "88 % faster"."""
P6_MS = 2.5
NMS_PERCENT = 2.0
OVERHEAD_US = 2.0
_D6, _P7, _P6 = "yolor-d6", "yolov4-p7", "yolor-p6"
_PRECISION = "fp16"


def judge_latency(record: Record, twin: Record | None) -> Report:
    """Judge a benchmark in half precision, one image a run.

    Args:
        record: Of the suite, or a part of it.
        twin: Of one engine against itself; None if that was not done.
    """
    summary = summarise(record)
    verdicts = [
        *_speedups(record, summary),
        _with_nms(record),
        *(_nms_share(found) for found in summary.subjects),
        *(_roofline(subject, found) for subject, found in _pairs(record, summary)),
        *_validity("benchmark", record, summary),
        _self_test(record),
        _overhead(record),
        *_against_itself(twin),
    ]
    return report(
        verdicts,
        conditions=sorted(
            {f"{s.conditions.device}, {s.conditions.runtime}" for s in record.subjects}
        ),
        engines={found.name: _figures(found, summary.ratios) for found in summary.subjects},
        findings=[f"{f.severity}, {f.subject or 'all'}: {f.text}" for f in summary.findings],
        notes={subject.name: list(subject.notes) for subject in record.subjects if subject.notes},
    )


def write_page(record: Record, page: Path) -> Report:
    """Write the report of a benchmark; without matplotlib there is none, which is said.

    Args:
        record: Raw samples.
        page: HTML file.
    """
    from yolor_deploy.benchmark.report.page import write_report

    try:
        write_report(record, summarise(record), page)
    except BackendUnavailableError as error:
        return report([not_measured("report", error.problem)])
    return report([stated("report", page.stat().st_size / 1e6, "MB", page.name)])


def _speedups(record: Record, summary: Summary) -> Iterator[Verdict]:
    """Compare D6 with P7: of the model alone there is a target, of whole runs it is stated."""
    alone, whole = (f"D6 over P7, {of}" for of in ("model alone", "whole runs"))
    d6, p7 = _subject(record, _D6), _subject(record, _P7)
    if d6 is None or p7 is None:
        why = _absence(_P7 if p7 is None else _D6)
        yield from (not_measured(target, why) for target in (alone, whole))
        return
    ratios = {
        ratio.of: ratio
        for ratio in summary.ratios
        if (ratio.subject, ratio.reference) == (d6.name, p7.name)
    }
    model, run = ratios.get("model"), ratios.get("run")
    if model is None:
        yield not_measured(alone, f"no rounds in which {d6.name} and {p7.name} were both timed")
    else:
        yield at_least(alone, model.speedup.value, SPEEDUP, "times", _sureness(model))
    if run is None:
        yield not_measured(whole, f"no rounds in which {d6.name} and {p7.name} were both run")
    else:
        yield stated(whole, run.speedup.value, "times", _sureness(run))


def _with_nms(record: Record) -> Verdict:
    target = "YOLOR-P6 with NMS, on the device"
    subject = _subject(record, _P6)
    if subject is None:
        return not_measured(target, _absence(_P6))
    if subject.clock != "device":
        return not_measured(target, "its stages were timed by the host's clock")
    place = subject.conditions.nms
    names = {"kernels": ("model", "nms"), "plugin": ("model",), "graph": ("model",)}.get(place, ())
    series = [subject.stages.get(name, ()) for name in names]
    times = [sum(times) for times in zip(*series, strict=False)]  # none without one
    if not times:
        return not_measured(target, f"no times of model and NMS, whose place is {place!r}")
    found = distribution(times)
    note = f"{_interval(found.p50)}, p99 {found.p99.value:.4g} ms, {found.count} runs, {place}"
    return at_most(target, found.p50.value, P6_MS, "ms", note)


def _nms_share(found: SubjectSummary) -> Verdict:
    target = f"{found.name}: share of NMS"
    if found.nms_share is None:
        return not_measured(target, "it has no stage of its own")
    note = f"{1000 * found.stages['nms'].p50.value:.1f} us"
    return at_most(target, 100 * found.nms_share, NMS_PERCENT, "%", note)


def _roofline(subject: Subject, found: SubjectSummary) -> Verdict:
    target = f"{found.name}: distance from the roofline"
    line = found.roofline
    if line is None:
        why = "; ".join(
            note for note in subject.notes if "not measured" in note or "layers" in note
        )
        return not_measured(target, why or "layers were not counted, or there is no peak")
    matched = "no profile" if line.matched is None else f"{line.matched:.0%} of the profile named"
    note = (
        f"{line.measured_ms:.4g} ms, limit {line.limit_ms:.4g} ms at "
        f"{line.peak_gflops / 1e3:.4g} TFLOP/s and {line.peak_gbytes_per_s / 1e3:.3g} TB/s, "
        f"{matched}"
    )
    return stated(target, line.times_from_limit, "times the limit", note)


def _validity(what: str, record: Record, summary: Summary) -> Iterator[Verdict]:
    """Count what marks a benchmark as invalid; one that nobody watched is not valid by that."""
    target = f"{what}: reasons not to believe it"
    if not summary.subjects:
        yield not_measured(target, "there are no samples")
        return
    invalid = [found for found in summary.findings if found.severity == "invalid"]
    note = "; ".join(f"{found.subject or 'all'}: {found.text}" for found in invalid)
    yield at_most(target, len(invalid), 0, note=note)
    if all(condition.gpu is None for condition in record.conditions):
        yield not_measured(
            f"{what}: clocks, throttling and others on the GPU", "NVML was not there"
        )


def _self_test(record: Record) -> Verdict:
    target = "self-test of the device's clock: clocks that failed"
    untested = [
        subject.name
        for subject in record.subjects
        if subject.self_test is None or subject.self_test.clock != "device"
    ]
    if untested or not record.subjects:
        return not_measured(
            target, f"not shown work of known length: {', '.join(untested) or 'any'}"
        )
    tests = [subject.self_test for subject in record.subjects if subject.self_test]
    off_ms = [
        abs(seen - asked)
        for test in tests
        for asked, seen in zip(test.asked_ms, test.seen_ms, strict=False)
    ]
    note = f"{len(tests)} tested, at most {max(off_ms):.3g} ms off" if off_ms else tests[0].note
    return at_most(target, sum(not test.passed for test in tests), 0, note=note)


def _overhead(record: Record) -> Verdict:
    target = "overhead of the harness per sample"
    parts = record.overhead_us
    if not parts:
        return not_measured(target, "it is not in the record")
    note = ", ".join(f"{name} {us:.3g}" for name, us in parts.items())
    return at_most(target, sum(parts.values()), OVERHEAD_US, "us", note)


def _against_itself(twin: Record | None) -> Iterator[Verdict]:
    """Judge a comparison of one engine with itself: its ratio is 1, whatever was measured."""
    target = "one engine against itself"
    if twin is None:
        yield not_measured(target, "it was not done")
        return
    hashes = [subject.sha256 for subject in twin.subjects]
    if len(hashes) != 2 or hashes[0] != hashes[1]:  # noqa: PLR2004 - a ratio has two sides
        yield not_measured(target, "the record is not of one engine twice")
        return
    summary = summarise(twin)
    ratios = {ratio.of: ratio for ratio in summary.ratios}
    for of in ("run", "model"):
        ratio = ratios.get(of)
        if ratio is None or ratio.speedup.low is None or ratio.speedup.high is None:
            yield not_measured(f"{target}, {of}", "too few rounds")
        else:
            interval = (ratio.speedup.low, ratio.speedup.high)
            note = f"99 %, {ratio.rounds} rounds, {twin.subjects[0].name}"
            yield holds(f"{target}, {of}", ratio.speedup.value, interval, 1.0, note)
    yield from _validity(target, twin, summary)


def _figures(found: SubjectSummary, ratios: Sequence[Ratio]) -> dict[str, Any]:
    """Return the figures of an engine that a table has, milliseconds."""
    return {
        "runs": found.run.count,
        "run_ms": [found.run.p50.value, found.run.p50.low, found.run.p50.high],
        "run_p99_ms": found.run.p99.value,
        "stages_ms": {name: stage.p50.value for name, stage in found.stages.items()},
        "joules_per_image": found.joules_per_image,
        "speedup": {
            ratio.of: [ratio.speedup.value, ratio.speedup.low, ratio.speedup.high]
            for ratio in ratios
            if ratio.subject == found.name and ratio.of in {"run", "model"}
        },
    }


def _subject(record: Record, variant: str) -> Subject | None:
    """Return a published model in half precision; None if it was not run one image at a time."""
    if record.settings.batch != 1:
        return None
    return next(
        (
            subject
            for subject in record.subjects
            if (subject.variant, subject.precision) == (variant, _PRECISION)
        ),
        None,
    )


def _absence(variant: str) -> str:
    return f"{variant} in {_PRECISION}, one image a run, is not in the record"


def _pairs(record: Record, summary: Summary) -> list[tuple[Subject, SubjectSummary]]:
    subjects = {subject.name: subject for subject in record.subjects}
    return [(subjects[found.name], found) for found in summary.subjects]


def _sureness(ratio: Ratio) -> str:
    return f"{_interval(ratio.speedup)} at 99 %, {ratio.rounds} rounds"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "too few samples for an interval"
    return f"{estimate.low:.4g} to {estimate.high:.4g}"
