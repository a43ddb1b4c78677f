"""What page and terminal say in the same words: ratios, findings, stages, caches, inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from yolor_deploy.benchmark.report.wording import counted, ratio_parts
from yolor_deploy.families.catalogue import PublishedModel
from yolor_deploy.measure.latency.record import Inputs, Record
from yolor_deploy.measure.latency.summary import Finding, Ratio

_OLD = "*"  # as in the catalogue's conditions


@dataclass(frozen=True, slots=True)
class SharedFinding:
    """What was found, once, with all artifacts that it was found of.

    Attributes:
        rule: As of ``Finding``.
        severity: As of ``Finding``.
        text: As of ``Finding``.
        subjects: Names; empty where it concerns all.
    """

    rule: str
    severity: Literal["invalid", "warning"]
    text: str
    subjects: tuple[str, ...]


def shared_findings(findings: Sequence[Finding]) -> tuple[SharedFinding, ...]:
    """Return findings in their order; those that say the same of several artifacts are one."""
    names: dict[tuple[str, Literal["invalid", "warning"], str, bool], list[str]] = {}
    for finding in findings:
        key = (finding.rule, finding.severity, finding.text, finding.subject is None)
        same = names.setdefault(key, [])
        if finding.subject is not None and finding.subject not in same:
            same.append(finding.subject)
    return tuple(
        SharedFinding(rule, severity, text, tuple(subjects))
        for (rule, severity, text, _), subjects in names.items()
    )


def ratio_sentence(ratio: Ratio) -> str:
    """Return what a ratio says, and no more than its interval bears, without a full stop."""
    value, known = ratio_parts(ratio.speedup)
    low, high = ratio.speedup.low, ratio.speedup.high
    alone = "" if ratio.of == "run" else f" ({spoken(ratio.of)} alone)"
    if low is None or high is None:
        return (
            f"{ratio.subject} is {value} times as fast as {ratio.reference}{alone}, "
            "by too few rounds for an interval"
        )
    if low <= 1 <= high:
        return (
            f"{ratio.subject} and {ratio.reference} cannot be told apart{alone}: "
            f"{value} times as fast {known}"
        )
    return f"{ratio.subject} is {value} times as fast as {ratio.reference}{alone} {known}"


def spoken(stage: str) -> str:
    """Return the name of a stage as words."""
    return {"nms": "NMS"}.get(stage, stage.replace("_", " "))


def caches(record: Record) -> str:
    """Return what a run found in the caches."""
    if record.cache == "interleaved":
        return (
            "between two runs of an artifact another one ran: weights that do not fit into the "
            "caches beside those of the other came from memory again"
        )
    return (
        "the same artifact ran back to back and only its inputs changed: weights that fit into the "
        "caches were still there"
    )


def pictures(inputs: Inputs) -> str:
    """Return what an artifact ran on."""
    kind = "images of the user's" if inputs.kind == "images" else "drawn pictures"
    if inputs.count == 1:
        return f"one batch of {kind}, time after time"
    return f"{counted(inputs.count, 'batch', 'batches')} of {kind} in turn"


def published_ap(model: PublishedModel | None) -> str | None:
    """Return an accuracy as its authors report it; None where there is none."""
    return None if model is None or model.ap is None else f"{model.ap:.1f} {model.ap_split}"


def published_fps(model: PublishedModel | None) -> str | None:
    """Return a speed as its authors report it, marked if it is not comparable; None likewise."""
    if model is None or model.fps is None:
        return None
    return f"{model.fps}{_OLD if model.is_fps_old else ''}"
