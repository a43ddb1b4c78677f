"""What the sections of the report share: a record, its summary, and what was published."""

from __future__ import annotations

import math
from dataclasses import dataclass

from yolor_deploy.families.catalogue import PublishedModel, published_as
from yolor_deploy.measure.latency.record import Record, Subject
from yolor_deploy.measure.latency.summary import Ratio, SubjectSummary, Summary


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact in the report.

    Attributes:
        index: Of its colour and mark.
        subject: What was measured.
        summary: What that says.
        published: What its figures may be read beside; None for nothing.
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
        entries: The artifacts with samples, in the order of the record.
        unmeasured: Those without.
    """

    record: Record
    summary: Summary
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


def view_of(record: Record, summary: Summary) -> View:
    """Bring a record and its summary together.

    Args:
        record: Raw samples.
        summary: Made of that record.
    """
    by_name = {item.name: item for item in summary.subjects}
    measured = [s for s in record.subjects if _has_times(by_name.get(s.name))]
    names = {subject.name for subject in measured}
    return View(
        record=record,
        summary=summary,
        entries=tuple(
            Entry(index, subject, by_name[subject.name], published_model(subject))
            for index, subject in enumerate(measured)
        ),
        unmeasured=tuple(s for s in record.subjects if s.name not in names),
    )


def published_model(subject: Subject) -> PublishedModel | None:
    """Return the published model whose figures may stand beside an artifact's."""
    return published_as(
        subject.variant,
        height=subject.input.get("height", 0),
        width=subject.input.get("width", 0),
        num_classes=subject.num_classes,
    )


def _has_times(summary: SubjectSummary | None) -> bool:
    """Return whether there is anything to draw; a record that was edited may hold NaN."""
    if summary is None:
        return False
    return math.isfinite(summary.run.minimum) and math.isfinite(summary.run.maximum)
