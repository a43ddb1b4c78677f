"""Sections that compare: the table of all artifacts, ratios, accuracy against time."""

from __future__ import annotations

from yolor_deploy.benchmark.report.draw_comparison import (
    draw_pareto,
    draw_ratios,
    pareto_points,
)
from yolor_deploy.benchmark.report.markup import Html, bullets, element, joined
from yolor_deploy.benchmark.report.parts import (
    Section,
    absent,
    beside,
    entry_legend,
    note,
    plot,
    section,
)
from yolor_deploy.benchmark.report.plots import series_key
from yolor_deploy.benchmark.report.sentences import published_ap, published_fps, spoken
from yolor_deploy.benchmark.report.table import Cell, Column, estimated, number, table
from yolor_deploy.benchmark.report.view import Entry, View
from yolor_deploy.benchmark.report.wording import (
    NOT_MEASURED,
    figure,
    listed,
    percent,
    ratio_parts,
)
from yolor_deploy.families.catalogue import AP_CONDITIONS, FPS_CONDITIONS, OLD_FPS
from yolor_deploy.measure.latency.record import Subject
from yolor_deploy.measure.latency.summary import LEVEL, RATIO_LEVEL, SESSION_EFFECT, Ratio

_NOT_PUBLISHED = "not published"
_ONLY_BESIDE = (
    "They stand only beside artifacts of a published model at its native size and with the 80 "
    "classes of COCO."
)
_COLUMNS = (
    Column("artifact", "text"),
    Column("input", "number", "Height x width, pixels; sorted by area"),
    Column("precision", "text"),
    Column("batch", "number", "Images a run"),
    Column("p50 [ms]", "number", "Median, with its 95 % interval"),
    Column("p90 [ms]"),
    Column("p99 [ms]"),
    Column("max [ms]"),
    Column("fps", "number", "Images a second, one run in flight"),
    Column("throughput [images/s]", "number", "Saturated: several runs in flight"),
    Column("NMS share", "number", "Part of the stages without preprocess"),
    Column("AP published [%]", "number", "By the authors, on COCO"),
    Column("V100 fps published", "number", "By the authors, PyTorch, forward pass only"),
    Column("times as fast", "number", "Against the reference, with its 99 % interval"),
)


def summary_section(view: View) -> Section:
    """Return the table of all artifacts."""
    rows = [_row(view, entry) for entry in view.entries]
    rows += [_empty_row(view, subject) for subject in view.unmeasured]
    against = f" The reference is {view.reference}." if view.reference else ""
    caption = (
        "Time of one run, from images in host memory to outputs in host memory; intervals of p50 "
        f"{100 * LEVEL:.0f} %, of ratios {100 * RATIO_LEVEL:.0f} %.{against}"
    )
    shown = table(caption, _COLUMNS, rows) if rows else absent("Artifacts")
    return section("summary", "Summary", shown, _published_note(view))


def _row(view: View, entry: Entry) -> list[Cell]:
    subject, run = entry.subject, entry.summary.run
    name = joined([series_key(entry.index), " ", entry.name])
    return [
        Cell(name),
        *_work(view, subject),
        estimated(run.p50),
        number(run.p90.value),
        number(run.p99.value),
        number(run.maximum),
        number(entry.summary.fps),
        _throughput(entry),
        nms_cell(entry),
        *_published(entry),
        _ratio_cell(view, entry.name),
    ]


def _empty_row(view: View, subject: Subject) -> list[Cell]:
    missing = [Cell(NOT_MEASURED)] * (len(_COLUMNS) - 4)
    return [Cell(subject.name), *_work(view, subject), *missing]


def _work(view: View, subject: Subject) -> list[Cell]:
    height, width = subject.input.get("height"), subject.input.get("width")
    area = float(height * width) if isinstance(height, int) and isinstance(width, int) else None
    batch = view.record.settings.batch
    return [Cell(f"{height} x {width}", area), Cell(subject.precision), Cell(str(batch), batch)]


def _throughput(entry: Entry) -> Cell:
    if not entry.summary.throughput:
        return Cell(NOT_MEASURED)
    best = max(entry.summary.throughput, key=lambda item: item.images_per_s.value)
    how = element("small", f"{best.streams} x batch {best.batch}")
    return Cell(joined([figure(best.images_per_s.value), " ", how]), best.images_per_s.value)


def nms_cell(entry: Entry) -> Cell:
    """Return the part of the NMS, or why it has none."""
    share = entry.summary.nms_share
    if share is not None:
        return Cell(percent(share), share)
    where = entry.subject.conditions.nms
    if where == "none":
        return Cell("none")
    return Cell("inside model" if where == "graph" else NOT_MEASURED)


def _published(entry: Entry) -> tuple[Cell, Cell]:
    model = entry.published
    return (
        Cell(published_ap(model) or _NOT_PUBLISHED, model.ap if model else None),
        Cell(published_fps(model) or _NOT_PUBLISHED, model.fps if model else None),
    )


def _published_note(view: View) -> Html:
    if all(entry.published is None for entry in view.entries):
        return note(f"Published figures: none. {_ONLY_BESIDE}")
    return note(f"Published figures. {AP_CONDITIONS} {FPS_CONDITIONS} {OLD_FPS} {_ONLY_BESIDE}")


def _ratio_cell(view: View, name: str) -> Cell:
    if name == view.reference:
        return Cell("reference", 1.0)
    ratio = view.ratio_of(name)
    return Cell(NOT_MEASURED) if ratio is None else _speedup(ratio)


def _speedup(ratio: Ratio) -> Cell:
    value, known = ratio_parts(ratio.speedup)
    shown = joined([value, " ", element("small", known or "no interval")])
    return Cell(shown, ratio.speedup.value)


def ratio_section(view: View) -> Section:
    """Return the ratios as a picture and as a table."""
    ratios = view.summary.ratios
    if not ratios:
        return section("ratios", "Ratios", absent("Ratios, which need two artifacts"))
    columns = (
        Column("artifact", "text"),
        Column("against", "text"),
        Column("of", "text"),
        Column("times as fast"),
        Column("rounds", "number", "Samples that were paired"),
    )
    rows = [
        [
            Cell(ratio.subject),
            Cell(ratio.reference),
            Cell(spoken(ratio.of)),
            _speedup(ratio),
            Cell(f"{ratio.rounds:,}", ratio.rounds),
        ]
        for ratio in ratios
    ]
    level = f"{100 * RATIO_LEVEL:.0f} %"
    return section(
        "ratios",
        "Ratios",
        beside(
            plot(
                draw_ratios(ratios, view),
                f"How many times as fast as {view.reference}; bars are {level} intervals. An "
                "interval that holds 1 tells no difference.",
            ),
            table(
                "Time of the reference over time of the artifact, median over rounds in which "
                f"both were measured one after the other; {level} intervals, widened by "
                f"{100 * SESSION_EFFECT:.0f} % for what differs between two sessions of one model.",
                columns,
                rows,
            ),
        ),
    )


def pareto_section(view: View) -> Section:
    """Return accuracy against time, with what the authors published."""
    title = "Accuracy against time"
    points = pareto_points(view)
    if all(point.index is None for point in points):
        return section(
            "pareto", title, absent("Accuracy (no artifact is of a model with a published AP)")
        )
    shown = [entry for entry in view.entries if entry.published and entry.published.ap is not None]
    drawn = [entry.name for entry in shown if entry.subject.random_weights]
    drawing = plot(
        draw_pareto(view),
        "Up and to the left is better. Coloured: time measured here, median of a run over its "
        "images; dashed: the front of these. Grey: what the authors published for a V100.",
        entry_legend(shown),
    )
    conditions = bullets(
        (
            "AP was not measured here: it is the published one of the model with that name.",
            AP_CONDITIONS,
            f"Grey: {FPS_CONDITIONS}",
            f"Cross: {OLD_FPS.removeprefix('*: ')}",
            "Time measured here holds the NMS and the copies: the grey points are no baseline.",
            f"Random weights, whose AP is not the published one: {listed(drawn)}."
            if drawn
            else "All weights are trained.",
        )
    )
    heading = element("h3", "How to read it")
    words = element("div", heading, conditions)
    return section("pareto", title, beside(drawing, words))
