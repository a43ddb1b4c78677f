"""Prints what ``bench`` measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolor_deploy.cli.bench_progress import duration_text
from yolor_deploy.cli.boundary import printable
from yolor_deploy.families.catalogue import CATALOGUE, PublishedModel
from yolor_deploy.measure.latency.record import Record, Subject
from yolor_deploy.measure.latency.summary import LEVEL, RATIO_LEVEL, Estimate

if TYPE_CHECKING:
    from yolor_deploy.measure.latency.summary import Ratio, SubjectSummary, Summary

_LAYERS = 5  # in the text; the page has more, --json all
_STAGE_NAMES = {
    "preprocess": "preprocess",
    "host_to_device": "to device",
    "model": "model",
    "nms": "NMS",
    "device_to_host": "to host",
}


def show(record: Record, summary: Summary, *, output: Path | None, report: Path | None) -> None:
    """Print tables, ratios, and whether they may be believed."""
    from yolor_deploy.cli.tables import say  # noqa: PLC0415 - rich

    subjects = {subject.name: subject for subject in record.subjects}
    _show_latency(record, summary, subjects)
    _show_stages(summary)
    _show_throughput(summary)
    _show_limits(summary)
    for subject in record.subjects:
        say(_conditions_text(subject))
    for ratio in summary.ratios:
        say(ratio_text(ratio))
    for subject in record.subjects:
        for text in subject.notes:
            say(f"note: {printable(subject.name)}: {printable(text)}")
    _show_findings(summary, say)
    for path in (output, report):
        if path is not None:
            say(f"wrote {printable(str(path))}")


def _show_latency(record: Record, summary: Summary, subjects: dict[str, Subject]) -> None:
    ratios = {ratio.subject: ratio for ratio in summary.ratios if ratio.of == "run"}
    rows = []
    for item in summary.subjects:
        subject = subjects[item.name]
        published = published_of(subject)
        rows.append(
            (
                item.name,
                f"{subject.input['width']}x{subject.input['height']}",
                subject.precision,
                str(item.run.count),
                _duration_with_interval(item.run.p50),
                duration_text(item.run.p90.value),
                duration_text(item.run.p99.value),
                duration_text(item.run.maximum),
                f"{item.fps:.4g}",
                _ap_text(published),
                _fps_text(published),
                _speedup_text(ratios.get(item.name), record, item),
            )
        )
    reference = record.settings.reference
    _print_table(
        f"latency of one run, from images in memory to outputs in memory, batch "
        f"{record.settings.batch}, one in flight; median with {100 * LEVEL:.0f} % interval",
        (
            "",
            "input",
            "precision",
            "samples",
            "p50",
            "p90",
            "p99",
            "max",
            "fps",
            "AP, published",
            "fps, V100, published",
            *([f"times as fast as {reference}"] if reference else []),
        ),
        [row if reference else row[:-1] for row in rows],
    )


def _show_stages(summary: Summary) -> None:
    rows = [item for item in summary.subjects if item.stages]
    if not rows:
        return
    names = [name for name in _STAGE_NAMES if any(name in item.stages for item in rows)]
    _print_table(
        "stages, timed apart in runs of their own; medians",
        ("", *(_STAGE_NAMES[name] for name in names), "sum", "whole", "NMS share"),
        [
            (
                item.name,
                *(
                    duration_text(item.stages[name].p50.value) if name in item.stages else "-"
                    for name in names
                ),
                duration_text(item.stage_sum.p50.value) if item.stage_sum else "-",
                duration_text((item.total or item.run).p50.value),
                "-" if item.nms_share is None else f"{100 * item.nms_share:.2f} %",
            )
            for item in rows
        ],
    )


def _show_throughput(summary: Summary) -> None:
    rows = [
        (
            item.name,
            str(found.streams),
            str(found.batch),
            interval_text(found.images_per_s, lambda value: f"{value:.4g}"),
        )
        for item in summary.subjects
        for found in item.throughput
    ]
    if rows:
        _print_table(
            "throughput, saturated; preprocessing not counted",
            ("", "streams", "batch", "images a second"),
            rows,
        )
    for item in summary.subjects:
        if item.joules_per_image is not None:
            from yolor_deploy.cli.tables import say  # noqa: PLC0415 - rich

            say(f"{item.name}: {item.joules_per_image:.4g} J an image, of the whole card")


def _show_limits(summary: Summary) -> None:
    rows = [(item.name, item.roofline) for item in summary.subjects if item.roofline]
    if not rows:
        return
    _print_table(
        "speed of light: every layer at this machine's measured peaks",
        ("", "GFLOP", "GB", "limit", "model", "times the limit", "GFLOP/s", "peak", "GB/s, peak"),
        [
            (
                name,
                f"{line.gflop:.4g}",
                f"{line.gbytes:.3g}",
                duration_text(line.limit_ms),
                duration_text(line.measured_ms),
                f"{line.times_from_limit:.2f}",
                f"{line.gflops:.4g}",
                f"{line.peak_gflops:.4g}",
                f"{line.peak_gbytes_per_s:.3g}",
            )
            for name, line in rows
        ],
    )
    for name, line in rows:
        worst = [layer for layer in line.layers if layer.excess_ms is not None][:_LAYERS]
        if worst:
            _print_table(
                f"layers of {name} that lose most",
                ("", "op", "limit", "bound by", "measured", "lost"),
                [
                    (
                        layer.name,
                        layer.op,
                        duration_text(layer.limit_ms),
                        layer.bound,
                        "-" if layer.ms is None else duration_text(layer.ms),
                        "-" if layer.excess_ms is None else duration_text(layer.excess_ms),
                    )
                    for layer in worst
                ],
            )


def _conditions_text(subject: Subject) -> str:
    """Return how an artifact ran, without which its time means nothing."""
    ran, inputs = subject.conditions, subject.inputs
    words = [ran.runtime, ran.device]
    words += [f"{ran.threads} threads"] if ran.threads is not None else []
    if ran.cuda_graph is not None:
        words.append("CUDA graph" if ran.cuda_graph else "no CUDA graph")
    words += [f"{ran.waiting} wait"] if ran.waiting != "none" else []
    words.append(f"NMS in {ran.nms}" if ran.nms != "none" else "no NMS")
    words.append(f"{inputs.count} batches of {inputs.kind} pictures in turn")
    if inputs.planted:
        words.append(
            f"planted {inputs.asked_candidates} candidates and {inputs.asked_objects} objects"
        )
    if inputs.objects:
        low, high = min(inputs.objects), max(inputs.objects)
        words.append(f"{low if low == high else f'{low} to {high}'} objects found an image")
    return f"{printable(subject.name)}: {', '.join(map(printable, words))}"


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio as a sentence."""
    low, high = ratio.speedup.low, ratio.speedup.high
    of = "" if ratio.of == "run" else f", {ratio.of} alone"
    if low is None or high is None:
        return (
            f"{ratio.subject} is {ratio.speedup.value:.3f} times as fast as {ratio.reference}{of}; "
            f"{ratio.rounds} rounds are too few for an interval"
        )
    text = f"[{low:.3f}, {high:.3f}] at {100 * RATIO_LEVEL:.0f} %, {ratio.rounds} rounds"
    if low <= 1 <= high:
        return (
            f"{ratio.subject} and {ratio.reference}{of}: no difference can be seen, "
            f"{ratio.speedup.value:.3f} {text}"
        )
    value = f"{ratio.speedup.value:.3f}"
    return f"{ratio.subject} is {value} times as fast as {ratio.reference}{of} {text}"


def _show_findings(summary: Summary, say: Callable[[str], None]) -> None:
    for finding in summary.findings:
        who = f"{printable(finding.subject)}: " if finding.subject else ""
        word = "INVALID" if finding.severity == "invalid" else "warning"
        say(f"{word}: {who}{printable(finding.text)} ({finding.rule})")
    if summary.is_valid:
        say("valid: nothing was seen that disturbed it" if not summary.findings else "valid")


def published_of(subject: Subject) -> PublishedModel | None:
    """Return what was published of an artifact's model at its own size; None if nothing."""
    for model in CATALOGUE:
        if model.name == subject.variant:
            size = (subject.input["height"], subject.input["width"])
            return model if size == (model.size, model.size) else None
    return None


def _ap_text(model: PublishedModel | None) -> str:
    return f"{model.ap:.1f} {model.ap_split}" if model and model.ap else "-"


def _fps_text(model: PublishedModel | None) -> str:
    if model is None or not model.fps:
        return "-"
    return f"{model.fps}{' (old)' if model.is_fps_old else ''}"


def _speedup_text(ratio: Ratio | None, record: Record, item: SubjectSummary) -> str:
    if item.name == record.settings.reference:
        return "1"
    return interval_text(ratio.speedup, lambda value: f"{value:.3f}") if ratio else "-"


def interval_text(estimate: Estimate, text: Callable[[float], str]) -> str:
    """Return a figure with its interval."""
    if estimate.low is None or estimate.high is None:
        return text(estimate.value)
    return f"{text(estimate.value)} [{text(estimate.low)}, {text(estimate.high)}]"


def _duration_with_interval(estimate: Estimate) -> str:
    """Return milliseconds with their interval, all in one unit."""
    unit, factor = ("s", 1e-3) if estimate.value >= 1e3 else ("ms", 1.0)  # noqa: PLR2004 - a second
    return f"{interval_text(estimate, lambda ms: f'{ms * factor:.4g}')} {unit}"


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    table = Table(title=Text(title), title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(Text(printable(column)), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # a name may look like markup
    console().print(table)
