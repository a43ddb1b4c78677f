"""Sections of the machine: what was seen of it over time, what it is, what that forbids."""

from __future__ import annotations

from collections.abc import Sequence

from yolor_deploy.benchmark.report.draw_machine import (
    Course,
    courses,
    draw_conditions,
    throttled_at,
)
from yolor_deploy.benchmark.report.markup import Html, element
from yolor_deploy.benchmark.report.parts import (
    NOTHING,
    Section,
    absent,
    beside,
    note,
    plot,
    section,
)
from yolor_deploy.benchmark.report.sentences import shared_findings
from yolor_deploy.benchmark.report.table import Cell, Column, facts, table
from yolor_deploy.benchmark.report.view import View
from yolor_deploy.benchmark.report.wording import bytes_text, counted, listed, optional, yes_no
from yolor_deploy.benchmark.report.work import plain, settings_pairs
from yolor_deploy.measure.latency.record import GpuFacts, Record


def validity_section(view: View) -> Section:
    """Return all that was found, and what it does to the result."""
    found = shared_findings(view.summary.findings)
    if not found:
        return section("validity", "Validity", note("No rule found anything."))
    rows = [
        [
            Cell(finding.severity),
            Cell(finding.rule),
            Cell(listed(finding.subjects) or "all"),
            Cell(finding.text),
        ]
        for finding in found
    ]
    columns = (
        Column("severity", "text"),
        Column("rule", "text"),
        Column("artifact", "text"),
        Column("what was seen", "text"),
    )
    caption = "What was found: invalid marks the run, warning asks for care."
    return section("validity", "Validity", table(caption, columns, rows))


def conditions_section(view: View) -> Section:
    """Return the machine over time."""
    title = "The machine over time"
    lines = courses(view.record)
    if not lines:
        return section("conditions", title, absent("Clocks, temperature, power and load"))
    return section(
        "conditions",
        title,
        beside(*(_strips(view.record, lines, of) for of in ("GPU", "CPU"))),
        note(
            "Shaded: before the first sample and after the last. Dashed: the highest clock, or "
            "the power limit. Red strokes: moments at which the GPU held its clocks back."
        ),
        _in_words(view.record),
    )


def _strips(record: Record, lines: Sequence[Course], of: str) -> Html:
    own = [line for line in lines if line.of == of]
    if not own:
        return absent(of) if record.gpu or of == "CPU" else NOTHING
    return element("div", element("h3", of), plot(draw_conditions(record, own), ""))


def _in_words(record: Record) -> Html:
    held = throttled_at(record)
    reasons = sorted({r for c in record.conditions if c.gpu for r in c.gpu.throttle_reasons})
    others = sorted({p for c in record.conditions if c.gpu for p in c.gpu.other_processes})
    governors = sorted({c.cpu.governor for c in record.conditions if c.cpu.governor})
    held_back = f", {counted(len(held), 'time')} other than idle" if held else ""
    seen_gpu = any(c.gpu for c in record.conditions)
    lines = [
        f"{counted(len(record.conditions), 'look')} at the machine.",
        f"Throttle reasons: {listed(reasons) or 'none'}{held_back}." if seen_gpu else "",
        f"Other processes on the GPU: {listed([str(p) for p in others]) or 'none'}."
        if seen_gpu
        else "",
        f"CPU governor: {listed(governors) or 'not known'}.",
    ]
    return note(" ".join(line for line in lines if line))


def environment_section(view: View) -> Section:
    """Return the machine, its software and the settings."""
    record = view.record
    known = [(str(key).replace("_", " "), _known(key, v)) for key, v in record.environment.items()]
    return section(
        "environment",
        "Machine, software, settings",
        facts("The machine and its software.", [*known, ("yolor-deploy", record.version)])
        if known
        else absent("The machine"),
        facts("The GPU.", _gpu(record.gpu)) if record.gpu else NOTHING,
        facts("What the benchmark was told.", settings_pairs(record)),
    )


def _known(key: str, value: object) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return bytes_text(value) if value else "not known"
    return plain(value)


def _gpu(gpu: GpuFacts) -> list[tuple[str, str]]:
    unknown = "not known"
    return [
        ("name", gpu.name),
        ("uuid", gpu.uuid or unknown),
        ("driver", gpu.driver or unknown),
        ("CUDA", gpu.cuda or unknown),
        ("compute capability", gpu.compute_capability or unknown),
        ("memory", bytes_text(gpu.memory_bytes) if gpu.memory_bytes else unknown),
        ("highest clock", optional(gpu.max_sm_clock_mhz, "MHz").replace("measured", "known")),
        (
            "highest memory clock",
            optional(gpu.max_memory_clock_mhz, "MHz").replace("measured", "known"),
        ),
        ("error correction", yes_no(gpu.ecc)),
        ("divided (MIG)", yes_no(gpu.mig)),
    ]
