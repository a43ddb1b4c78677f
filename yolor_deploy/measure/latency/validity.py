"""Whether a benchmark may be believed: one rule for each thing that has spoilt one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from yolor_deploy.measure.latency.disturbance import MACHINE_RULES
from yolor_deploy.measure.latency.record import Record, Subject
from yolor_deploy.measure.latency.statistics import drift_by_chance
from yolor_deploy.measure.latency.stopping import FEWEST
from yolor_deploy.measure.latency.summary import Finding, SubjectSummary

DRIFT = 0.02
"""From the first third to the last: a difference between two artifacts that one would report."""

STAGES_DIFFER = 0.10
"""Of a run: what the host does around the stages, and clocks of two devices, explain less."""


def findings(record: Record, subjects: Sequence[SubjectSummary]) -> tuple[Finding, ...]:
    """Return why a benchmark is not to be believed, or only with care.

    Args:
        record: What was measured.
        subjects: What was derived from it, of those with samples.

    Returns:
        Invalidating ones first; empty if all is well.
    """
    found = [
        *(finding for machine_rule in MACHINE_RULES for finding in machine_rule(record)),
        *(finding for rule in RULES for finding in rule(record, subjects)),
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity != "invalid"))


def _clock_backwards(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject in record.subjects:
        durations = {"warm-up": subject.warmup_ms, **subject.samples, **subject.stages}
        for name, values in durations.items():
            wrong = [value for value in values if not value >= 0]  # NaN is wrong too
            if wrong:
                text = f"{len(wrong)} times of {name} are negative, such as {wrong[0]:.4g} ms"
                yield Finding("clock-backwards", subject.name, "invalid", text)
        for moments in (subject.at_s, subject.stage_at_s):
            yield from _moments_go_back(moments, subject=subject.name)
    yield from _moments_go_back([c.at_s for c in record.conditions], subject=None)


def _moments_go_back(moments: Sequence[float], *, subject: str | None) -> Iterator[Finding]:
    back = [(a, b) for a, b in pairwise(moments) if not b >= a]
    if back:
        text = f"the clock went back {len(back)} times, from {back[0][0]:.6g} to {back[0][1]:.6g} s"
        yield Finding("clock-backwards", subject, "invalid", text)


def _self_test(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject in record.subjects:
        test = subject.self_test
        if test is not None and not test.passed:
            seen = ", ".join(
                f"{seen:.3g} of {asked:.3g} ms"
                for asked, seen in zip(test.asked_ms, test.seen_ms, strict=False)
            )
            clocks = "host's clock does" if test.clock == "host" else "GPU's events or the host do"
            text = f"the {clocks} not see work of known length: {seen}"
            yield Finding("self-test", subject.name, "invalid", text)
        elif test is None and subject.clock == "device":
            text = "the clock of the device was not shown work of known length"
            yield Finding("self-test", subject.name, "warning", text)


def _drifted(record: Record, subjects: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject, summary in _measured(record, subjects):
        drift = summary.run.drift
        if drift is None or summary.run.count < FEWEST:
            continue
        if abs(drift) > max(DRIFT, drift_by_chance(subject.samples["run"])):
            more = f"{_percent(abs(drift))} {'longer' if drift > 0 else 'shorter'}"
            text = f"the last third of the runs took {more} than the first"
            yield Finding("drifted", subject.name, "invalid", text)


def _not_settled(record: Record, subjects: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject, _ in _measured(record, subjects):
        if not subject.warmup_settled:
            text = f"times had not settled after {_runs(len(subject.warmup_ms))} of warm-up"
            yield Finding("not-settled", subject.name, "warning", text)


def _timeout(record: Record, subjects: Sequence[SubjectSummary]) -> Iterator[Finding]:
    settings = record.settings
    for subject, summary in _measured(record, subjects):
        noise, count = summary.run.noise, summary.run.count
        is_reached = noise is not None and noise <= settings.noise_target
        if subject.stopped_by != "timeout" or (is_reached and count >= settings.min_samples):
            continue
        reached = "not known" if noise is None else _percent(noise)
        text = (
            f"stopped by the limit of {settings.time_limit_s:g} s after {_runs(count)}: "
            f"noise {reached}, target {_percent(settings.noise_target)}"
        )
        yield Finding("timeout", subject.name, "warning", text)


def _interrupted(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    if record.interrupted or any(item.stopped_by == "interrupted" for item in record.subjects):
        yield Finding("interrupted", None, "warning", "stopped by the user")
    elif not record.complete:
        yield Finding("interrupted", None, "warning", "the benchmark did not come to its end")


def _few_samples(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject in record.subjects:
        count = len(subject.samples.get("run", ()))
        if count < FEWEST:
            text = f"{_runs(count)}: an interval of the median takes {FEWEST}"
            yield Finding("few-samples", subject.name, "warning", text)


def _bimodal(_: Record, subjects: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for summary in subjects:
        if summary.run.modes > 1:
            text = f"times fall into {summary.run.modes} clusters: the median may be between them"
            yield Finding("bimodal", summary.name, "warning", text)


def _nothing_detected(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject in record.subjects:
        objects = subject.inputs.objects
        if subject.nms is not None and objects and not any(objects):
            text = "no object was found in any image: the NMS had nothing to do"
            yield Finding("nothing-detected", subject.name, "warning", text)


def _different_work(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for subject, reference in _compared(record):
        differences = [
            *_differences(subject, reference),
            *_differences_of_place(subject, reference),
        ]
        if differences:
            text = f"not the same work as {reference.name}: {', '.join(differences)}"
            yield Finding("different-work", subject.name, "warning", text)


def _different_precision(record: Record, _: Sequence[SubjectSummary]) -> Iterator[Finding]:
    """Say it, though it may be what is compared: the ratio is of it as well as of the models."""
    for subject, reference in _compared(record):
        if subject.precision != reference.precision:
            text = f"computes in {subject.precision}, and {reference.name} in {reference.precision}"
            yield Finding("different-precision", subject.name, "warning", text)


def _compared(record: Record) -> Iterator[tuple[Subject, Subject]]:
    """Return each artifact, and what its ratio is taken against."""
    by_name = {subject.name: subject for subject in record.subjects}
    for subject in record.subjects:
        yield subject, by_name.get(record.settings.reference or "", record.subjects[-1])


def _differences(subject: Subject, reference: Subject) -> list[str]:
    """Say in what two artifacts differ that makes them do more or less."""
    found = []
    if subject.num_classes != reference.num_classes:
        found.append(f"{subject.num_classes} classes, not {reference.num_classes}")
    elif subject.class_names_sha256 != reference.class_names_sha256:
        found.append("classes of other names")
    if (subject.nms is None) != (reference.nms is None):
        found.append("one detects, and the other does not")
    own, other = subject.nms or {}, reference.nms or {}
    found += [
        f"{key} {own[key]}, not {other[key]}"
        for key in own
        if key in other and own[key] != other[key]
    ]
    return found


def _differences_of_place(subject: Subject, reference: Subject) -> list[str]:
    """Say whether two artifacts ran elsewhere: a ratio is of that too. Versions may differ."""
    own, other = subject.conditions, reference.conditions
    runtimes = [ran.runtime.partition(" ")[0] for ran in (own, other)]
    found = []
    if runtimes[0] != runtimes[1]:
        found.append(f"by {runtimes[0]}, not {runtimes[1]}")
    if own.device != other.device:
        found.append(f"on {own.device}, not {other.device}")
    return found


def _stages_differ(_: Record, subjects: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for summary in subjects:
        if summary.stage_sum is None:
            continue
        seen, expected = summary.stage_sum.p50.value, summary.run.p50.value
        if "preprocess" in summary.stages:
            expected += (summary.preprocess or summary.stages["preprocess"]).p50.value
        if abs(seen - expected) > STAGES_DIFFER * expected:
            text = f"the stages sum to {seen:.4g} ms, and whole runs take {expected:.4g} ms"
            yield Finding("stages-differ", summary.name, "warning", text)


def _beyond_limit(_: Record, subjects: Sequence[SubjectSummary]) -> Iterator[Finding]:
    for summary in subjects:
        line = summary.roofline
        if line is not None and line.times_from_limit < 1:
            text = (
                f"the model took {line.times_from_limit:.2f} times its limit: the peaks of the "
                "machine were measured too low, such as while it did something else"
            )
            yield Finding("beyond-limit", summary.name, "warning", text)


RULES: tuple[Callable[[Record, Sequence[SubjectSummary]], Iterator[Finding]], ...] = (
    _clock_backwards,
    _self_test,
    _drifted,
    _not_settled,
    _timeout,
    _interrupted,
    _few_samples,
    _bimodal,
    _nothing_detected,
    _different_work,
    _different_precision,
    _stages_differ,
    _beyond_limit,
)


def _measured(
    record: Record, subjects: Sequence[SubjectSummary]
) -> Iterator[tuple[Subject, SubjectSummary]]:
    by_name = {summary.name: summary for summary in subjects}
    for subject in record.subjects:
        if subject.name in by_name:
            yield subject, by_name[subject.name]


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"
