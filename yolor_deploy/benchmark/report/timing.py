"""Sections of times: distributions, stages, throughput."""

from __future__ import annotations

from yolor_deploy.benchmark.report.draw_latency import (
    DRAWN_SAMPLES,
    draw_cumulative,
    draw_percentiles,
    draw_samples,
    draw_stage_parts,
    draw_stages,
    medians,
    whole,
)
from yolor_deploy.benchmark.report.markup import Html, element
from yolor_deploy.benchmark.report.parts import (
    Section,
    absent,
    beside,
    entry_legend,
    note,
    plot,
    section,
)
from yolor_deploy.benchmark.report.plots import legend, series_key, stage_key
from yolor_deploy.benchmark.report.sentences import spoken
from yolor_deploy.benchmark.report.table import Cell, Column, estimated, number, table
from yolor_deploy.benchmark.report.view import Entry, View
from yolor_deploy.benchmark.report.wording import (
    NOT_MEASURED,
    counted,
    interval,
    percent,
    signed_percent,
)
from yolor_deploy.core.runtime import STAGES

_MARKS = "Bar from the median to the maximum; strokes: p90 and p99."


def latency_section(view: View) -> Section:
    """Return how the samples are distributed, and how they came."""
    entries = view.entries
    if not entries:
        return section("latency", "Latency", absent("Latency"))
    key = entry_legend(entries)
    return section(
        "latency",
        "Latency",
        beside(
            plot(draw_percentiles(entries), _MARKS),
            plot(
                draw_cumulative(entries),
                "Cumulative distribution of each artifact around its own median; marks at 10 and "
                "90 %, curves up to the 99th percentile and beyond as far as there is room.",
                key,
            ),
        ),
        _distribution_table(view),
        element("h3", "Samples of each artifact"),
        note(
            "Above: histogram, with the interval of the median shaded. Below: samples as they "
            "came, in percent of their median; the line is a running median, and a slope in it is "
            "a drift. Triangles lie beyond the scale. At most "
            f"{DRAWN_SAMPLES} samples are drawn, every so many and those that are furthest out; "
            "every figure is of all samples."
        ),
        beside(*(_samples(entry) for entry in entries)),
    )


def _samples(entry: Entry) -> Html:
    name = element("h4", series_key(entry.index), " ", entry.name)
    return element("div", name, plot(draw_samples(entry), ""))


def _distribution_table(view: View) -> Html:
    columns = (
        Column("artifact", "text"),
        Column("samples"),
        Column("min [ms]"),
        Column("mean [ms]"),
        Column("p50 interval [ms]", "number", "95 %; sorted by its lower end"),
        Column("p90 interval [ms]", "number", "95 %; sorted by its lower end"),
        Column("p99 interval [ms]", "number", "95 %; sorted by its lower end"),
        Column("noise", "number", "Half the interval of the median, as a part of the median"),
        Column("drift", "number", "Median of the last third above that of the first"),
        Column("clusters", "number", "1 where samples do not fall apart"),
        Column("correlation", "number", "Of each sample with the one before it"),
        Column("stopped by", "text"),
        Column("warm-up", "text"),
    )
    return table(
        "The same distributions in figures, whole runs.",
        columns,
        [_distribution_row(entry) for entry in view.entries],
    )


def _distribution_row(entry: Entry) -> list[Cell]:
    run, subject = entry.summary.run, entry.subject
    settled = "settled" if subject.warmup_settled else "not settled"
    return [
        Cell(entry.name),
        Cell(f"{run.count:,}", run.count),
        number(run.minimum),
        number(run.mean),
        *(
            Cell(interval(item) or "too few samples", item.low)
            for item in (run.p50, run.p90, run.p99)
        ),
        Cell(NOT_MEASURED) if run.noise is None else Cell(percent(run.noise), run.noise),
        Cell(NOT_MEASURED) if run.drift is None else Cell(signed_percent(run.drift), run.drift),
        number(run.modes, 1),
        number(run.correlation, 2),
        Cell(subject.stopped_by),
        Cell(f"{counted(len(subject.warmup_ms), 'run')}, {settled}"),
    ]


def stage_section(view: View) -> Section:
    """Return what a run is made of."""
    entries = [entry for entry in view.entries if entry.summary.stages]
    if not entries:
        return section("stages", "Stages", absent("Stages"))
    present = [name for name in STAGES if any(name in e.summary.stages for e in entries)]
    key = legend([(stage_key(STAGES.index(name)), spoken(name)) for name in present])
    without = [entry.name for entry in view.entries if not entry.summary.stages]
    clocks = sorted({entry.subject.clock for entry in entries})
    return section(
        "stages",
        "Stages",
        beside(
            plot(
                draw_stages(entries),
                "Medians of the stages, one after the other; the thin grey bar is the whole, "
                "measured in runs of its own in which no stage was timed.",
                key,
            ),
            plot(draw_stage_parts(entries), "The same as parts of their sum.", key),
        ),
        table(
            "Medians in milliseconds. Stages were timed in runs of their own, by the clock of the "
            f"{' and of the '.join(clocks)}; the whole by that of the host.",
            (
                Column("artifact", "text"),
                *(Column(spoken(name)) for name in present),
                Column("sum"),
                Column("whole", "number", "With preprocess where that is a stage"),
                Column("NMS share", "number", "Part of the sum without preprocess"),
            ),
            [_stage_row(entry, present) for entry in entries],
        ),
        note(f"Not measured for {', '.join(without)}.") if without else "",
    )


def _stage_row(entry: Entry, present: list[str]) -> list[Cell]:
    values, total = medians(entry), entry.summary.stage_sum
    share = entry.summary.nms_share
    return [
        Cell(entry.name),
        *(number(values.get(name), none="not a stage here") for name in present),
        number(total.p50.value if total else None),
        number(whole(entry)),
        Cell("not a stage here") if share is None else Cell(percent(share), share),
    ]


def throughput_section(view: View) -> Section:
    """Return images a second where several runs are in flight."""
    rows = [
        [
            Cell(entry.name),
            Cell(str(item.streams), item.streams),
            Cell(str(item.batch), item.batch),
            estimated(item.images_per_s),
            number(item.images_per_s.value / entry.summary.fps, 3),
        ]
        for entry in view.entries
        for item in entry.summary.throughput
    ]
    if not rows:
        return section("throughput", "Throughput", absent("Throughput"))
    columns = (
        Column("artifact", "text"),
        Column("sessions", "number", "At once, a thread each"),
        Column("batch"),
        Column("images/s"),
        Column("times one in flight", "number", "Images a second over fps"),
    )
    caption = "Images a second with several runs in flight, which is not one over the latency."
    return section("throughput", "Throughput", table(caption, columns, rows))
