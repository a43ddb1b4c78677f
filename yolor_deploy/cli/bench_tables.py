"""Prints what ``bench`` measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from yolor_deploy.benchmark.report.sentences import (
    caches,
    pictures,
    published_ap,
    published_fps,
    ratio_sentence,
    shared_findings,
    spoken,
)
from yolor_deploy.benchmark.report.view import published_model
from yolor_deploy.benchmark.report.wording import (
    counted,
    figure,
    listed,
    percent,
    shortened,
    span,
    with_interval,
)
from yolor_deploy.cli.boundary import printable
from yolor_deploy.core.runtime import STAGES
from yolor_deploy.families.catalogue import AP_CONDITIONS, FPS_CONDITIONS, OLD_FPS
from yolor_deploy.measure.latency.record import Record, Subject
from yolor_deploy.measure.latency.summary import LEVEL, RATIO_LEVEL, SESSION_EFFECT

if TYPE_CHECKING:
    from rich.table import Table

    from yolor_deploy.measure.latency.summary import Ratio, Roofline, SubjectSummary, Summary

_LAYERS = 5  # in the text; the page has more, --json all
_TOLD_RATIOS = {"run", "model"}  # the page and --json have those of the other stages
_LONGEST_NAME = 18  # of the reference, in the head of a column
_UNLIMITED = 10_000  # columns, to measure what a table would like
_WORK = ("input", "samples")
_PUBLISHED = ("AP,\npublished", "fps, V100,\npublished")
_NONE = "-"


def show(record: Record, summary: Summary) -> None:
    """Print tables, ratios, and whether they may be believed."""
    subjects = {subject.name: subject for subject in record.subjects}
    _show_latency(record, summary, subjects)
    _show_stages(summary)
    _show_throughput(summary)
    _show_limits(summary)
    for subject in record.subjects:
        _say(f"{subject.name}: {_conditions_text(subject)}")
    _say(f"caches: {caches(record)}")
    for ratio in summary.ratios:
        if ratio.of in _TOLD_RATIOS:
            _say(ratio_text(ratio))
    for subject in record.subjects:
        for text in subject.notes:
            _say(f"note: {subject.name}: {text}")
    _show_findings(summary)


def _show_latency(record: Record, summary: Summary, subjects: dict[str, Subject]) -> None:
    """Print the table of all artifacts, in a narrow terminal with fewer columns.

    First what others published is left out, then all but the times.
    """
    reference = record.settings.reference
    ratios = {ratio.subject: ratio for ratio in summary.ratios if ratio.of == "run"}
    against = (f"times as fast\nas {shortened(reference, _LONGEST_NAME)}",) if reference else ()
    times, rows = ("p50 [ms]", "p90 [ms]", "p99 [ms]", "max [ms]"), []
    for item in summary.subjects:
        subject = subjects[item.name]
        own = _speedup_text(ratios.get(item.name), record, item)
        rows.append(
            _LatencyRow(
                (item.name,),
                _work_cells(subject),
                _time_cells(item),
                (figure(item.fps),),
                _published_cells(subject),
                (own,) if reference else (),
            )
        )
    heads = _LatencyRow(("",), _WORK, times, ("fps",), _PUBLISHED, against)
    title = (
        "latency of one run, from images in memory to outputs in memory, batch "
        f"{record.settings.batch}, one in flight; median with {100 * LEVEL:.0f} % interval"
    )
    shown = _print_table(
        title,
        (heads.full, [row.full for row in rows]),
        (heads.own, [row.own for row in rows]),
        (heads.least, [row.least for row in rows]),
    )
    _show_published_conditions(subjects.values(), are_shown=shown == 0)


@dataclass(frozen=True, slots=True)
class _LatencyRow:
    """A row by groups of columns, of which a narrow terminal shows fewer."""

    name: tuple[str, ...]
    work: tuple[str, ...]
    times: tuple[str, ...]
    fps: tuple[str, ...]
    published: tuple[str, ...]
    speedup: tuple[str, ...]

    @property
    def full(self) -> tuple[str, ...]:
        return (*self.name, *self.work, *self.times, *self.fps, *self.published, *self.speedup)

    @property
    def own(self) -> tuple[str, ...]:
        return (*self.name, *self.work, *self.times, *self.fps, *self.speedup)

    @property
    def least(self) -> tuple[str, ...]:
        return (*self.name, *self.times, *self.speedup)


def _work_cells(subject: Subject) -> tuple[str, str]:
    return f"{_size_text(subject)}\n{subject.precision}", f"{len(subject.at_s):,}"


def _size_text(subject: Subject) -> str:
    return f"{subject.input['height']} x {subject.input['width']}"


def _time_cells(item: SubjectSummary) -> tuple[str, ...]:
    run = item.run
    others = (run.p90.value, run.p99.value, run.maximum)
    return (with_interval(run.p50, between="\n"), *map(figure, others))


def _published_cells(subject: Subject) -> tuple[str, str]:
    model = published_model(subject)
    ap = published_ap(model) or _NONE
    return ap.replace(" ", "\n"), published_fps(model) or _NONE


def _show_published_conditions(subjects: Iterable[Subject], *, are_shown: bool) -> None:
    """Print how published figures were measured, which is not as ours were."""
    models = [published_model(subject) for subject in subjects if subject.at_s]
    told = [model for model in models if model is not None and model.ap is not None]
    if told and not are_shown:
        _say("published AP and fps: in a wider terminal, or on the page (--report)")
    elif told:
        _say(f"published {AP_CONDITIONS}")
        if any(model.fps is not None for model in told):
            _say(f"published {FPS_CONDITIONS} The fps measured here hold copies and NMS.")
        if any(model.is_fps_old for model in told):
            _say(OLD_FPS)


def _show_stages(summary: Summary) -> None:
    rows = [item for item in summary.subjects if item.stages]
    if not rows:
        return
    names = [name for name in STAGES if any(name in item.stages for item in rows)]
    columns = (*(spoken(name).replace(" ", "\n", 1) for name in names), "sum", "whole")
    cells = [
        (
            item.name,
            *(
                figure(item.stages[name].p50.value) if name in item.stages else _NONE
                for name in names
            ),
            figure(item.stage_sum.p50.value) if item.stage_sum else _NONE,
            figure((item.total or item.run).p50.value),
            _NONE if item.nms_share is None else percent(item.nms_share),
        )
        for item in rows
    ]
    _print_table(
        "stages, timed apart in runs of their own; medians [ms]",
        (("", *columns, "NMS\nshare"), cells),
    )


def _show_throughput(summary: Summary) -> None:
    rows = [
        (item.name, str(found.streams), str(found.batch), with_interval(found.images_per_s))
        for item in summary.subjects
        for found in item.throughput
    ]
    if rows:
        _print_table(
            "throughput, saturated; preprocessing not counted",
            (("", "streams", "batch", "images a second"), rows),
        )
    for item in summary.subjects:
        if item.joules_per_image is not None:
            _say(f"{item.name}: {figure(item.joules_per_image)} J an image, of the whole card")


def _show_limits(summary: Summary) -> None:
    lines = [(item.name, item.roofline) for item in summary.subjects if item.roofline]
    if not lines:
        return
    columns = (
        *("", "GFLOP", "GB", "limit\n[ms]", "model\n[ms]", "times\nthe limit"),
        *("GFLOP/s", "peak", "GB/s,\npeak"),
    )
    rows = [
        (
            name,
            figure(line.gflop),
            figure(line.gbytes, 3),
            figure(line.limit_ms),
            figure(line.measured_ms),
            figure(line.times_from_limit, 3),
            figure(line.gflops),
            figure(line.peak_gflops),
            figure(line.peak_gbytes_per_s, 3),
        )
        for name, line in lines
    ]
    _print_table("speed of light: every layer at this machine's measured peaks", (columns, rows))
    for name, line in lines:
        _show_layers(name, line)


def _show_layers(name: str, line: Roofline) -> None:
    worst = [layer for layer in line.layers if layer.excess_ms is not None][:_LAYERS]
    if not worst:
        return
    columns = ("", "op", "limit [ms]", "bound by", "measured [ms]", "lost [ms]")
    rows = [
        (
            layer.name,
            layer.op,
            figure(layer.limit_ms),
            layer.bound,
            _NONE if layer.ms is None else figure(layer.ms),
            _NONE if layer.excess_ms is None else figure(layer.excess_ms),
        )
        for layer in worst
    ]
    _print_table(f"layers of {name} that lose most", (columns, rows))


def _conditions_text(subject: Subject) -> str:
    """Return how an artifact ran, without which its time means nothing."""
    ran, inputs = subject.conditions, subject.inputs
    words = [_size_text(subject), subject.precision, ran.runtime, ran.device]
    words += [counted(ran.threads, "thread")] if ran.threads is not None else []
    if ran.cuda_graph is not None:
        words.append("CUDA graph" if ran.cuda_graph else "no CUDA graph")
    words += [f"{ran.waiting} wait"] if ran.waiting != "none" else []
    words.append(f"NMS in {ran.nms}" if ran.nms != "none" else "no NMS")
    words.append(pictures(inputs))
    if inputs.planted:
        candidates = counted(inputs.asked_candidates or 0, "candidate")
        words.append(f"planted {candidates} and {counted(inputs.asked_objects or 0, 'object')}")
    if inputs.objects:
        noun = "object" if set(inputs.objects) == {1} else "objects"
        words.append(f"{span(inputs.objects)} {noun} found an image")
    return ", ".join(words)


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio as a sentence, with its level and how often both were measured."""
    has_interval = ratio.speedup.low is not None and ratio.speedup.high is not None
    wider = f", widened by {100 * SESSION_EFFECT:.0f} %"
    level = f" at {100 * RATIO_LEVEL:.0f} %{wider}" if has_interval else ""
    return f"{ratio_sentence(ratio)}{level} ({counted(ratio.rounds, 'round')})"


def _show_findings(summary: Summary) -> None:
    """Print each finding once, with all artifacts that it concerns."""
    for found in shared_findings(summary.findings):
        word = "INVALID" if found.severity == "invalid" else "warning"
        who = f"{listed(found.subjects)}: " if found.subjects else ""
        _say(f"{word}: {who}{found.text} ({found.rule})")
    if summary.is_valid:
        _say("valid: nothing was seen that disturbed it" if not summary.findings else "valid")


def _speedup_text(ratio: Ratio | None, record: Record, item: SubjectSummary) -> str:
    if item.name == record.settings.reference:
        return "1"
    return with_interval(ratio.speedup, least=2, between="\n") if ratio else _NONE


def _say(text: str) -> None:
    from yolor_deploy.cli.tables import say  # noqa: PLC0415 - rich

    say(printable(text))


def _print_table(title: str, *choices: tuple[Sequence[str], Sequence[Sequence[str]]]) -> int:
    """Print the first of several tables that is not too wide, the last if all are.

    Where nothing is a terminal the first one has the room that it needs.

    Args:
        title: Of each.
        choices: Columns and rows, the widest first.

    Returns:
        Which one.
    """
    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    out = console()
    made = [
        (number, _made_table(title, *choice, is_tight=is_tight))
        for number, choice in enumerate(choices)
        for is_tight in (False, True)
    ]
    unlimited = out.options.update(max_width=_UNLIMITED)
    widths = [out.measure(table, options=unlimited).maximum for _, table in made]
    if not out.is_terminal:
        out.width = max(out.width, widths[0])
    fits = (pair for pair, width in zip(made, widths, strict=True) if width <= out.width)
    number, table = next(fits, made[-1])
    out.print(table)
    return number


def _made_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, is_tight: bool
) -> Table:
    """Return a table; a tight one has no lines between columns."""
    from rich import box  # noqa: PLC0415 - slow to load
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        title=Text(printable(title)),
        title_justify="left",
        box=box.SIMPLE if is_tight else box.HEAVY_HEAD,
        padding=0 if is_tight else (0, 1),
    )
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if number else "left"
        table.add_column(Text(printable(column)), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # a name may look like markup
    return table
