"""What the sections of the report share: a record, its summary, and the published models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yolor_deploy.families.catalogue import PublishedModel
from yolor_deploy.measure.latency.record import Record, Subject
from yolor_deploy.measure.latency.summary import Ratio, SubjectSummary, Summary


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact in the report.

    Attributes:
        index: Of its colour and mark.
        subject: What was measured.
        summary: What that says.
        published: The model that it is of; None for one of the user's own.
    """

    index: int
    subject: Subject
    summary: SubjectSummary
    published: PublishedModel | None

    @property
    def name(self) -> str:
        """In tables and pictures."""
        return self.subject.name


@dataclass(frozen=True, slots=True)
class View:
    """All that a report is made of.

    Attributes:
        record: Raw samples.
        summary: Their figures.
        published: Models with what their authors report.
        entries: The artifacts with samples, in the order of the record.
        unmeasured: Those without.
    """

    record: Record
    summary: Summary
    published: tuple[PublishedModel, ...]
    entries: tuple[Entry, ...]
    unmeasured: tuple[Subject, ...]

    @property
    def run_ratios(self) -> tuple[Ratio, ...]:
        """Those of the whole run, in the order of the summary."""
        return tuple(ratio for ratio in self.summary.ratios if ratio.of == "run")

    @property
    def reference(self) -> str | None:
        """What ratios were taken against."""
        return self.summary.ratios[0].reference if self.summary.ratios else None

    def ratio_of(self, name: str) -> Ratio | None:
        """Return the ratio of an artifact's whole run."""
        return next((ratio for ratio in self.run_ratios if ratio.subject == name), None)


def view_of(record: Record, summary: Summary, published: Sequence[PublishedModel]) -> View:
    """Bring a record and its summary together.

    Args:
        record: Raw samples.
        summary: Made of that record.
        published: Models by their names, which subjects have as ``variant``.
    """
    by_name = {item.name: item for item in summary.subjects}
    models = {model.name: model for model in published}
    measured = [s for s in record.subjects if _has_times(by_name.get(s.name))]
    names = {subject.name for subject in measured}
    return View(
        record=record,
        summary=summary,
        published=tuple(published),
        entries=tuple(
            Entry(index, subject, by_name[subject.name], models.get(subject.variant))
            for index, subject in enumerate(measured)
        ),
        unmeasured=tuple(s for s in record.subjects if s.name not in names),
    )


def _has_times(summary: SubjectSummary | None) -> bool:
    """Return whether there is anything to draw; a record that was edited may hold NaN."""
    if summary is None:
        return False
    return math.isfinite(summary.run.minimum) and math.isfinite(summary.run.maximum)
