"""What a record says: figures with intervals, ratios, and whether they may be believed.

Everything here is derived from a ``Record``, so that a replay gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

LEVEL = 0.95
"""Of the intervals of figures."""

RATIO_LEVEL = 0.99
"""Of the intervals of ratios: of 100 comparisons of a thing with itself, 99 are to hold 1."""

SESSION_EFFECT = 0.02
"""By which an interval of a ratio is widened on either side.

Two sessions of the same model differ for as long as a process lives, such as by where their memory
lies, and no number of samples shows it. Measured on a CPU; on a GPU it is not known.

Source: ``benchmarks/results/self_consistency.json``.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and how sure it is.

    Attributes:
        value: Of the samples.
        low: Lower end of the interval; None where the samples are too few to tell.
        high: Upper end; likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """A series of samples in figures, milliseconds.

    Attributes:
        count: Samples.
        mean: Of all, outliers included.
        p50: Median.
        p90: 90th percentile.
        p99: 99th percentile.
        minimum: The shortest.
        maximum: The longest.
        noise: Half the width of the interval of the median, as a part of the median; None where
            the samples are too few.
        drift: Median of the last third above that of the first third, as a part of it; None below
            three samples.
        modes: Separate clusters that the samples fall into; 1 where they do not.
        correlation: Of each sample with the one before it; None below three samples.
    """

    count: int
    mean: float
    p50: Estimate
    p90: Estimate
    p99: Estimate
    minimum: float
    maximum: float
    noise: float | None
    drift: float | None
    modes: int
    correlation: float | None


@dataclass(frozen=True, slots=True)
class ThroughputSummary:
    """Images a second, saturated.

    Attributes:
        streams: Sessions at once.
        batch: Images a run.
        images_per_s: Over the time when all sessions were busy.
    """

    streams: int
    batch: int
    images_per_s: Estimate


@dataclass(frozen=True, slots=True)
class LayerLimit:
    """One layer and its speed of light.

    Attributes:
        name: Of the node.
        op: Operator.
        limit_ms: The longer of its arithmetic and its traffic at the machine's peaks.
        bound: Which of the two.
        ms: Measured; None where the profile does not name it.
        excess_ms: Measured less the limit, at least 0; None likewise.
    """

    name: str
    op: str
    limit_ms: float
    bound: Literal["compute", "memory"]
    ms: float | None
    excess_ms: float | None


@dataclass(frozen=True, slots=True)
class Roofline:
    """The whole model and its speed of light.

    Attributes:
        gflop: 1e9 multiplications and additions of a batch.
        gbytes: 1e9 bytes that its layers read and write.
        limit_ms: Sum of the limits of its layers.
        measured_ms: Median of the stage ``model``; of ``run`` where stages were not timed.
        times_from_limit: ``measured_ms`` over ``limit_ms``.
        gflops: 1e9 multiplications and additions a second, reached.
        peak_gflops: 1e9 multiplications and additions a second, of the machine.
        peak_gbytes_per_s: Of the machine.
        matched: Part of the profile's time whose names were found in the graph; None without one.
        layers: Those that lose most, first.
    """

    gflop: float
    gbytes: float
    limit_ms: float
    measured_ms: float
    times_from_limit: float
    gflops: float
    peak_gflops: float
    peak_gbytes_per_s: float
    matched: float | None
    layers: tuple[LayerLimit, ...]


@dataclass(frozen=True, slots=True)
class SubjectSummary:
    """One artifact.

    Attributes:
        name: As in the record.
        run: From images in host memory to outputs in host memory.
        preprocess: Letterbox and tensor; None if it was not timed.
        total: Preprocess and run, sample by sample; None likewise.
        stages: By stage, in order.
        stage_sum: Sum of the stages, run by run; None without stages.
        nms_share: Of the sum of the stages without preprocess; None without a stage of its own.
        fps: 1000 over the median of ``run``, times the batch: one run in flight.
        throughput: Saturated.
        joules_per_image: Of the whole card; None where it was not measured.
        roofline: None where layers were not counted or there is no peak.
    """

    name: str
    run: Distribution
    preprocess: Distribution | None
    total: Distribution | None
    stages: Mapping[str, Distribution]
    stage_sum: Distribution | None
    nms_share: float | None
    fps: float
    throughput: tuple[ThroughputSummary, ...]
    joules_per_image: float | None
    roofline: Roofline | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one artifact is as the reference.

    Attributes:
        subject: Name.
        reference: Name.
        of: ``run``, or a stage such as ``model``.
        speedup: Time of the reference over time of the subject, median over the rounds, with an
            interval of ``RATIO_LEVEL`` that was widened by ``SESSION_EFFECT``.
        rounds: Samples that were paired.
    """

    subject: str
    reference: str
    of: str
    speedup: Estimate
    rounds: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a result may not be believed, or only with care.

    Attributes:
        rule: Its short name, such as ``throttled``.
        subject: Name; None where it concerns all.
        severity: ``invalid`` marks the run, ``warning`` does not.
        text: What was seen, with its figure.
    """

    rule: str
    subject: str | None
    severity: Literal["invalid", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a record says.

    Attributes:
        subjects: Those with at least one sample, in the order of the record.
        ratios: Against the reference, of those that were measured beside it.
        findings: Invalidating ones first.
    """

    subjects: tuple[SubjectSummary, ...]
    ratios: tuple[Ratio, ...]
    findings: tuple[Finding, ...]

    @property
    def is_valid(self) -> bool:
        """Whether nothing marks the run as invalid."""
        return all(finding.severity != "invalid" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, and whether it is valid."""
        return {**asdict(self), "is_valid": self.is_valid}
