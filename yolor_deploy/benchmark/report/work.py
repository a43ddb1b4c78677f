"""Sections of what was run, and how: artifacts, inputs, conditions, memory, energy, clocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from yolor_deploy.benchmark.report.markup import Html, bullets, element, joined
from yolor_deploy.benchmark.report.parts import NOTHING, Section, absent, note, section
from yolor_deploy.benchmark.report.sentences import caches
from yolor_deploy.benchmark.report.table import Cell, Column, number, table
from yolor_deploy.benchmark.report.view import View
from yolor_deploy.benchmark.report.wording import (
    NOT_MEASURED,
    bytes_text,
    figure,
    span,
    yes_no,
)
from yolor_deploy.measure.latency.record import Inputs, Record, Subject

_HASH = 12  # characters of it in a table
_WAITING = {"none": "computes itself", "spin": "spinning", "blocking": "blocking"}
_NMS = {
    "graph": "inside the graph",
    "plugin": "plugin in the engine",
    "kernels": "kernels behind the engine",
    "none": "none",
}
_NAME = Column("artifact", "text")


def work_section(view: View) -> Section:
    """Return how the artifacts ran and on what."""
    subjects = view.record.subjects
    if not subjects:
        return section("work", "What was run", absent("Artifacts"))
    overhead = ", ".join(f"{k} {figure(v, 3)} µs" for k, v in view.record.overhead_us.items())
    return section(
        "work",
        "What was run",
        note(
            "Inside the clock of a run: everything from images in host memory to outputs in host "
            "memory. Letterbox and tensor are the stage preprocess, which starts at decoded "
            "pixels; reading and decoding files is never timed. The harness adds to each sample: "
            f"{overhead or NOT_MEASURED}; it is subtracted nowhere."
        ),
        note(f"Caches: {caches(view.record)}."),
        _conditions(subjects),
        _inputs(subjects),
        _artifacts(subjects),
        _notes(subjects),
    )


def _conditions(subjects: Sequence[Subject]) -> Html:
    columns = (
        _NAME,
        Column("runtime", "text"),
        Column("device", "text"),
        Column("threads"),
        Column("CUDA graph", "text"),
        Column("host waits by", "text"),
        Column("NMS", "text"),
        Column("plugin", "text", "First characters of its sha256"),
        Column("clock of stages", "text"),
        Column("score threshold"),
        Column("IoU threshold"),
    )
    rows = [
        [
            Cell(subject.name),
            Cell(subject.conditions.runtime),
            Cell(subject.conditions.device),
            number(subject.conditions.threads, none="not on a CPU"),
            Cell(yes_no(subject.conditions.cuda_graph, "there is none")),
            Cell(_WAITING[subject.conditions.waiting]),
            Cell(_NMS[subject.conditions.nms]),
            Cell(_short(subject.conditions.plugin_sha256, "none")),
            Cell(subject.clock),
            *(_threshold(subject, name) for name in ("score_threshold", "iou_threshold")),
        ]
        for subject in subjects
    ]
    return table("Under which conditions each artifact ran.", columns, rows)


def _threshold(subject: Subject, name: str) -> Cell:
    value = (subject.nms or {}).get(name)
    if isinstance(value, (int, float)):
        return Cell(f"{value:g}", value)
    return Cell("detects nothing" if subject.nms is None else "not known")


def _inputs(subjects: Sequence[Subject]) -> Html:
    columns = (
        _NAME,
        Column("pictures", "text"),
        Column("batches", "number", "Different ones, which are rotated"),
        Column("planted", "text", "Whether the head was biased so that these numbers come out"),
        Column("candidates asked"),
        Column("candidates planted", "number", "Sorted by the least"),
        Column("objects asked"),
        Column("objects", "number", "Sorted by the least"),
    )
    rows = [_input_row(subject.name, subject.inputs) for subject in subjects]
    return table(
        "What each artifact was run on. Candidates: per image of the first batch, counted when "
        "they were planted. Objects: detections per image, all batches.",
        columns,
        rows,
    )


def _input_row(name: str, inputs: Inputs) -> list[Cell]:
    kind = "images" if inputs.kind == "images" else "drawn"
    asked = "not planted"
    return [
        Cell(name),
        Cell(f"{kind}: {inputs.source}" if inputs.source else kind),
        Cell(str(inputs.count), inputs.count),
        Cell(yes_no(inputs.planted)),
        number(inputs.asked_candidates, none=asked),
        _range(inputs.candidates),
        number(inputs.asked_objects, none=asked),
        _range(inputs.objects),
    ]


def _range(values: Sequence[int] | None) -> Cell:
    if not values:
        return Cell(NOT_MEASURED)
    return Cell(span(values), min(values))


def _artifacts(subjects: Sequence[Subject]) -> Html:
    columns = (
        _NAME,
        Column("kind", "text"),
        Column("model", "text"),
        Column("precision", "text"),
        Column("weights", "text"),
        Column("output", "text"),
        Column("classes"),
        Column("input", "text"),
        Column("sha256", "text", "First characters"),
        Column("file", "text"),
        Column("made by", "text", "Stages that it went through"),
    )
    rows = [
        [
            Cell(subject.name),
            Cell(subject.kind),
            Cell(f"{subject.variant} ({subject.family})"),
            Cell(subject.precision),
            Cell("random" if subject.random_weights else "trained"),
            Cell(subject.output),
            number(subject.num_classes),
            Cell(_input_text(subject.input)),
            Cell(element("code", _short(subject.sha256, "not known"), title=subject.sha256)),
            Cell(subject.path),
            Cell(_history(subject.history)),
        ]
        for subject in subjects
    ]
    return table("The artifacts.", columns, rows)


def _short(digest: str | None, none: str) -> str:
    return digest[:_HASH] if digest else none


def _input_text(value: Mapping[str, Any]) -> str:
    known = [str(value[key]) for key in ("dtype", "layout") if key in value]
    return " ".join([f"{value.get('height')} x {value.get('width')}", *known])


def _history(history: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(stage.get("stage", "unnamed")) for stage in history) or "not known"


def _notes(subjects: Sequence[Subject]) -> Html:
    lines = [f"{subject.name}: {text}" for subject in subjects for text in subject.notes]
    return joined([element("h3", "Notes"), bullets(lines)]) if lines else NOTHING


def resource_section(view: View) -> Section:
    """Return memory and energy."""
    return section("resources", "Memory and energy", _memory(view), _energy(view))


def _memory(view: View) -> Html:
    kinds = list(dict.fromkeys(k for e in view.entries for k in e.subject.memory_bytes))
    if not kinds:
        return absent("Memory")
    rows = [
        [
            Cell(entry.name),
            *(_bytes(entry.subject.memory_bytes.get(kind)) for kind in kinds),
            _bytes(sum(entry.subject.memory_bytes.values()) or None),
        ]
        for entry in view.entries
    ]
    columns = (_NAME, *(Column(kind) for kind in kinds), Column("sum"))
    return table("Memory of one session, by kind.", columns, rows)


def _bytes(count: int | None) -> Cell:
    return Cell(NOT_MEASURED) if count is None else Cell(bytes_text(count), count)


def _energy(view: View) -> Html:
    if all(entry.subject.energy is None for entry in view.entries):
        return absent("Energy")
    columns = (
        _NAME,
        Column("J per image"),
        Column("images"),
        Column("seconds"),
        Column("mean [W]"),
        Column("idle [W]", "number", "Before it; subtracted nowhere"),
    )
    rows = []
    for entry in view.entries:
        energy = entry.subject.energy
        if energy is None:
            rows.append([Cell(entry.name), *([Cell(NOT_MEASURED)] * 5)])
            continue
        rows.append(
            [
                Cell(entry.name),
                number(entry.summary.joules_per_image),
                Cell(f"{energy.images:,}", energy.images),
                number(energy.seconds, 3),
                number(energy.joules / energy.seconds if energy.seconds else None),
                number(energy.idle_w, none="not known"),
            ]
        )
    return table("Energy of the whole card, runs back to back.", columns, rows)


def self_test_section(view: View) -> Section:
    """Return whether the clocks saw work of known length."""
    title = "Self-test of the clock"
    tests = [(e.name, e.subject.self_test) for e in view.entries if e.subject.self_test]
    if not tests:
        return section("self-test", title, absent("The self-test"))
    columns = (
        _NAME,
        Column("clock", "text"),
        Column("result", "text"),
        Column("asked [ms]", "number", "Sorted by the first"),
        Column("seen [ms]", "number", "Sorted by the first"),
        Column("how", "text"),
    )
    rows = [
        [
            Cell(name),
            Cell(test.clock),
            Cell("passed" if test.passed else "FAILED"),
            _series(test.asked_ms),
            _series(test.seen_ms),
            Cell(test.note),
        ]
        for name, test in tests
        if test is not None
    ]
    return section(
        "self-test",
        title,
        table(
            "Work of known length, and what the clock said; of a GPU events first, then the host.",
            columns,
            rows,
        ),
    )


def _series(values: Sequence[float]) -> Cell:
    return Cell(", ".join(figure(v, 3) for v in values), values[0] if values else None)


def settings_pairs(record: Record) -> list[tuple[str, str]]:
    """Return what the benchmark was told, as names and values."""
    settings = record.settings
    streams = ", ".join(map(str, settings.streams))
    return [
        ("noise target", f"{100 * settings.noise_target:g} % of the median"),
        ("samples", f"{settings.min_samples:,} to {settings.max_samples:,} of each artifact"),
        ("time limit", f"{settings.time_limit_s:g} s of sampling, after the warm-up"),
        ("warm-up", f"at least {settings.warmup_s:g} s each"),
        ("batch", str(settings.batch)),
        ("sessions at once", streams or "throughput not asked for"),
        ("reference", settings.reference or "the last artifact"),
    ]


def plain(value: Any) -> str:
    """Return a value of JSON as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return "not known" if value is None else json.dumps(value, ensure_ascii=False)
