"""Going on with a benchmark that was not finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yolor_deploy.benchmark.subjects import OpenSubject
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.environment import Environment
from yolor_deploy.measure.latency.record import GpuFacts, Record, Subject
from yolor_deploy.measure.latency.record_file import read_record
from yolor_deploy.measure.latency.sampling import Series


def unfinished(output: Path | None) -> Record | None:
    """Return what an earlier session left at the output; None if there is none, or it is finished.

    Raises:
        EvaluationError: Something else is there.
    """
    if output is None or not output.is_file():
        return None
    record = read_record(output)
    return None if record.complete else record


def require_same_benchmark(
    record: Record,
    subjects: Sequence[OpenSubject],
    environment: Environment,
    gpu: GpuFacts | None,
    output: Path,
) -> None:
    """Refuse to go on with a benchmark of other artifacts or of another machine.

    Raises:
        EvaluationError: With what differs.
    """
    pairs = (
        ("artifacts", [s.name for s in record.subjects], [s.name for s in subjects]),
        ("files", [s.sha256 for s in record.subjects], [s.sha256 for s in subjects]),
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


def series_of(subject: Subject) -> Series:
    """Return the samples of an earlier session, to which more are added."""
    return Series(
        warmup_ms=[],  # each session has its own
        at_s=list(subject.at_s),
        preprocess_ms=list(subject.samples.get("preprocess", ())),
        run_ms=list(subject.samples.get("run", ())),
        stage_at_s=list(subject.stage_at_s),
        stages_ms={name: list(values) for name, values in subject.stages.items()},
    )


def elapsed_s(record: Record) -> float:
    """Return how long the earlier sessions were measuring, seconds."""
    return max((condition.at_s for condition in record.conditions), default=0.0)
