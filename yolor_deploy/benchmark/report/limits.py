"""Sections of limits: the NMS by candidates, and the speed of light."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from yolor_deploy.benchmark.report.draw_limits import (
    DRAWN_LAYERS,
    draw_density,
    draw_roofline,
    layer_points,
)
from yolor_deploy.benchmark.report.markup import Html, element, joined
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
from yolor_deploy.benchmark.report.table import Cell, Column, number, table
from yolor_deploy.benchmark.report.view import Entry, View
from yolor_deploy.benchmark.report.wording import NOT_MEASURED, counted, figure, percent
from yolor_deploy.measure.latency.record import DensityPoint
from yolor_deploy.measure.latency.summary import LayerLimit, Roofline

_WORST_FEW, _WORST_MANY = 5, 12
_MANY_ENTRIES = 2


def density_section(view: View) -> Section:
    """Return the time of the NMS alone by the number of candidates."""
    title = "NMS by candidates"
    entries = [e for e in view.entries if any(point.samples_ms for point in e.subject.density)]
    if not entries:
        return section("density", title, absent("The NMS alone"))
    return section(
        "density",
        title,
        plot(
            draw_density(entries),
            "The post-processing alone, on planted raw maps, copies not timed; lines are medians, "
            "bands reach from the least to the largest sample.",
            entry_legend(entries),
        ),
        _density_table(entries),
    )


def _density_table(entries: Sequence[Entry]) -> Html:
    counts = sorted({point.candidates for e in entries for point in e.subject.density})
    rows = []
    for entry in entries:
        points = {point.candidates: point for point in entry.subject.density}
        cells = [_density_cell(points.get(count)) for count in counts]
        rows.append([Cell(joined([series_key(entry.index), " ", entry.name])), *cells])
    columns = [Column(f"{count:,} candidates") for count in counts]
    return table(
        "Medians in milliseconds; below them the least and the largest sample, and how many "
        "objects were left.",
        [Column("artifact", "text"), *columns],
        rows,
    )


def _density_cell(point: DensityPoint | None) -> Cell:
    if point is None or not point.samples_ms:
        return Cell(NOT_MEASURED)
    middle = median(point.samples_ms)
    low, high = figure(min(point.samples_ms), 3), figure(max(point.samples_ms), 3)
    span = element("small", f"{low} to {high}")
    objects = element("small", counted(point.objects, "object"))
    return Cell(joined([figure(middle), " ", span, " ", objects]), middle)


def roofline_section(view: View) -> Section:
    """Return how far the models and their layers are from what the machine can."""
    title = "Speed of light"
    found = [(e, e.summary.roofline) for e in view.entries]
    pairs = [(entry, roof) for entry, roof in found if roof is not None]
    if not pairs:
        return section("roofline", title, absent("Layers, or the peak of the machine"))
    drawings = [
        plot(draw_roofline(entry, roof), f"{entry.name}: {_layers_drawn(entry)}")
        for entry, roof in pairs
        if roof.gflop and roof.gbytes
    ]
    return section(
        "roofline",
        title,
        _models(pairs),
        note(
            "The limit of a layer is the longer of its arithmetic and its traffic at the peaks of "
            "this machine, measured through the same runtime; that of a model is their sum. A "
            "multiplication and an addition are two operations."
        ),
        beside(*drawings),
        note("Line: the roof. Dots: layers, larger where they take longer. Star: the whole model."),
        element("h3", "Layers that lose most"),
        _worst(pairs),
    )


def _models(pairs: list[tuple[Entry, Roofline]]) -> Html:
    columns = (
        Column("artifact", "text"),
        Column("GFLOP"),
        Column("GB moved"),
        Column("limit [ms]"),
        Column("measured [ms]", "number", "Median of the stage of the model, or of the run"),
        Column("times the limit"),
        Column("GFLOP/s"),
        Column("peak GFLOP/s"),
        Column("peak GB/s"),
        Column("profile matched", "number", "Part of the profile's time found in the graph"),
        Column("peak measured by", "text"),
    )
    rows = [
        [
            Cell(entry.name),
            number(roof.gflop),
            number(roof.gbytes, 3),
            number(roof.limit_ms),
            number(roof.measured_ms),
            number(roof.times_from_limit, 3),
            number(roof.gflops),
            number(roof.peak_gflops),
            number(roof.peak_gbytes_per_s),
            Cell(NOT_MEASURED)
            if roof.matched is None
            else Cell(percent(roof.matched, 3), roof.matched),
            Cell(_peak_note(entry)),
        ]
        for entry, roof in pairs
    ]
    return table("Whole models against their limits, one batch.", columns, rows)


def _peak_note(entry: Entry) -> str:
    peak = entry.subject.peak
    return NOT_MEASURED if peak is None else f"{peak.precision}; {peak.note}"


def _layers_drawn(entry: Entry) -> str:
    points, layers = layer_points(entry.subject), entry.subject.layers or ()
    if not points:
        return "no layer was measured alone"
    most = f", of which the longest {DRAWN_LAYERS} are drawn" if len(points) > DRAWN_LAYERS else ""
    return f"{len(points)} of {len(layers)} layers compute and were measured{most}"


def _worst(pairs: list[tuple[Entry, Roofline]]) -> Html:
    shown = _WORST_MANY if len(pairs) <= _MANY_ENTRIES else _WORST_FEW
    rows = [
        _layer_row(entry, layer, roof) for entry, roof in pairs for layer in roof.layers[:shown]
    ]
    if not rows:
        return absent("Layers")
    columns = (
        Column("layer", "text"),
        Column("artifact", "text"),
        Column("operator", "text"),
        Column("bound by", "text"),
        Column("limit [ms]"),
        Column("measured [ms]"),
        Column("lost [ms]", "number", "Measured less the limit"),
        Column("of the model", "number", "Lost, as a part of the model's time"),
    )
    return table(f"The {shown} layers of each model that lose most.", columns, rows)


def _layer_row(entry: Entry, layer: LayerLimit, roof: Roofline) -> list[Cell]:
    lost = layer.excess_ms
    part = None if lost is None or not roof.measured_ms else lost / roof.measured_ms
    return [
        Cell(layer.name),
        Cell(entry.name),
        Cell(layer.op),
        Cell(layer.bound),
        number(layer.limit_ms),
        number(layer.ms),
        Cell(NOT_MEASURED) if lost is None else Cell(figure(lost), lost),
        Cell(NOT_MEASURED) if part is None else Cell(percent(part), part),
    ]
