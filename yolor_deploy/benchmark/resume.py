"""Going on with a benchmark that was not finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yolor_deploy import __version__
from yolor_deploy.benchmark.extras import Extras
from yolor_deploy.benchmark.subjects import OpenSubject
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.environment import Environment
from yolor_deploy.measure.latency.record import GpuFacts, Record, Settings, Subject
from yolor_deploy.measure.latency.record_file import read_record
from yolor_deploy.measure.latency.sampling import Series


def unfinished(output: Path | None) -> Record | None:
    """Return what an earlier session left at the output; None if there is nothing to go on with.

    Raises:
        EvaluationError: Something else is there.
    """
    if output is None or not output.is_file():
        return None
    try:
        record = read_record(output)
    except EvaluationError as error:
        raise EvaluationError(
            f"something else is there: {error.problem}",
            where=str(output),
            hint="give another -o, or remove it",
        ) from error
    has_samples = record.subjects and any(subject.at_s for subject in record.subjects)
    return record if has_samples and not record.complete else None


def require_same_benchmark(
    record: Record,
    subjects: Sequence[OpenSubject],
    settings: Settings,
    environment: Environment,
    gpu: GpuFacts | None,
    output: Path,
) -> None:
    """Refuse to go on with a benchmark of other work or of another machine.

    Limits, noise and streams may be others: they say how much is measured, and not what.

    Raises:
        EvaluationError: With what differs.
    """
    known = [subject.described() for subject in subjects]
    pairs = (
        ("artifacts", [s.name for s in record.subjects], [s.name for s in known]),
        ("contents of artifacts", *_differing(record.subjects, known)),
        ("version", record.version, __version__),
        ("batch", record.settings.batch, settings.batch),
        ("reference", record.settings.reference, settings.reference),
        ("pictures", [_pictures(s) for s in record.subjects], [_pictures(s) for s in known]),
        ("devices", [_device(s) for s in record.subjects], [_device(s) for s in known]),
        ("processor", record.environment.get("cpu"), environment.cpu),
        ("packages", record.environment.get("packages"), dict(environment.packages)),
        ("GPU", record.gpu.uuid if record.gpu else None, gpu.uuid if gpu else None),
    )
    for kind, then, now in pairs:
        if then != now:
            raise EvaluationError(
                f"an unfinished benchmark with other {kind} is there: {then}, now {now}",
                where=str(output),
                hint="give another -o, or remove it",
            )


def _differing(then: Sequence[Subject], now: Sequence[Subject]) -> tuple[list[str], list[str]]:
    """Return paths of artifacts whose contents are others."""
    pairs = [(a, b) for a, b in zip(then, now, strict=False) if a.sha256 != b.sha256]
    return [a.path for a, _ in pairs], [f"{b.path}, changed" for _, b in pairs]


def _pictures(subject: Subject) -> str:
    return f"{subject.inputs.count} batches of {subject.inputs.source}"


def _device(subject: Subject) -> str:
    return f"{subject.conditions.runtime} on {subject.conditions.device}"


def earlier_series(record: Record) -> list[Series]:
    """Return the samples of an earlier session, to which more are added.

    An interrupt in the middle of a round leaves some artifacts with a sample more than others. It
    is left out: ratios are of samples of the same round.
    """
    rounds = min(len(subject.at_s) for subject in record.subjects)
    timed = [len(subject.stage_at_s) for subject in record.subjects if subject.stage_at_s]
    return [_series_of(subject, rounds, min(timed, default=0)) for subject in record.subjects]


def _series_of(subject: Subject, rounds: int, stage_rounds: int) -> Series:
    return Series(
        warmup_ms=[],  # each session has its own
        at_s=list(subject.at_s[:rounds]),
        preprocess_ms=list(subject.samples.get("preprocess", ())[:rounds]),
        run_ms=list(subject.samples.get("run", ())[:rounds]),
        stage_at_s=list(subject.stage_at_s[:stage_rounds]),
        stages_ms={name: list(values[:stage_rounds]) for name, values in subject.stages.items()},
    )


def earlier_extras(subject: Subject) -> Extras:
    """Return what an earlier session measured of an artifact besides its latency."""
    return Extras(
        throughput=list(subject.throughput),
        energy=subject.energy,
        layers=subject.layers,
        profile=subject.profile,
        density=subject.density,
        peak=subject.peak,
    )


def elapsed_s(record: Record) -> float:
    """Return how long the earlier sessions were measuring, seconds."""
    return max((condition.at_s for condition in record.conditions), default=0.0)
