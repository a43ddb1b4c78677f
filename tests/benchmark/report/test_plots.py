"""Pictures of the report: SVG that is the page's own, and draws what was measured."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from importlib.machinery import ModuleSpec
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmark.report import made_up, records
from tests.benchmark.report.parsed import parsed
from yolor_deploy.benchmark.report import draw_latency, plots
from yolor_deploy.benchmark.report.draw_comparison import (
    PlacedPoint,
    apart,
    draw_pareto,
    front_of,
    pareto_points,
)
from yolor_deploy.benchmark.report.draw_limits import draw_roofline, layer_points
from yolor_deploy.benchmark.report.draw_machine import courses, throttled_at
from yolor_deploy.benchmark.report.view import View, view_of
from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.measure.latency.record import GpuCondition, LayerCost


def seen(pair: records.Pair) -> View:
    """Return a made-up benchmark as the pictures take it."""
    return view_of(*pair)


def test_picture_is_described_and_its_text_is_text() -> None:
    """An SVG is an image with title and description, and names in it can be searched."""
    view = seen(records.pair_on_gpu())

    svg = parsed(draw_latency.draw_percentiles(view.entries).text).one("svg")

    assert svg.attributes["role"] == "img"
    ids = svg.attributes["aria-labelledby"].split()
    assert [svg.one("title").attributes["id"], svg.one("desc").attributes["id"]] == ids
    assert "yolor-d6: median 5.1" in svg.one("desc").text
    assert {"yolor-d6", "yolov4-p7"} <= {node.text for node in svg.all("text")}


def test_picture_has_no_colour_of_its_own() -> None:
    """Every colour is a variable of the style sheet, so that dark and light both fit."""
    view = seen(records.pair_on_gpu())
    drawn = draw_pareto(view).text + draw_latency.draw_samples(view.entries[0]).text

    colours = re.findall(r"(?:fill|stroke|color): ?([^;\"]+)", drawn)

    assert {"var(--s0)", "var(--s1)", "var(--ink)", "var(--muted)"} <= set(colours)
    assert all(colour == "none" or colour.startswith("var(--") for colour in colours)
    assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r"#[a-z0-9]+-[0-9a-f]{10}", "", drawn))


def test_colours_of_pictures_are_in_the_style_sheet() -> None:
    """No variable that a picture uses is missing."""
    style = plots.__file__.replace("plots.py", "style.css")
    with open(style, encoding="utf-8") as file:  # noqa: PTH123 - beside a module
        known = set(re.findall(r"(--[a-z0-9-]+):", file.read()))

    used = {re.sub(r"var\((.*)\)", r"\1", name) for name in plots._VARIABLES.values()}

    assert used <= known


def test_the_same_record_gives_the_same_picture() -> None:
    """Nothing in a picture is random or of the day."""
    entry = seen(records.pair_on_gpu()).entries[0]

    assert draw_latency.draw_samples(entry) == draw_latency.draw_samples(entry)


def test_marks_differ_beyond_the_number_of_colours() -> None:
    """Of twice as many artifacts as colours no two have colour and mark in common."""
    looks = {(plots.series(at), plots.mark(at)) for at in range(2 * plots.SERIES)}

    assert len(looks) == 2 * plots.SERIES


def test_name_with_dollars_is_no_formula() -> None:
    """A name that looks like mathematics is drawn as it is."""
    made = made_up.record([made_up.subject(r"$\frac$", 1.0)])
    view = seen((made, made_up.summary_of(made)))

    svg = parsed(draw_latency.draw_percentiles(view.entries).text)

    assert r"$\frac$" in {node.text for node in svg.all("text")}


def test_name_with_foreign_letters_and_control_characters_is_drawn() -> None:
    """Letters that matplotlib's font lacks cause no warning, and an escape sequence is shown."""
    view = seen(records.hostile())

    svg = parsed(draw_latency.draw_percentiles(view.entries).text)

    assert "模型" in " ".join(node.text for node in svg.all("text"))
    assert "\\x1b[31m\\u202e$\\frac$" in svg.one("desc").text
    assert not svg.all("script")


def test_missing_matplotlib_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error names it."""
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "matplotlib" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)

    with pytest.raises(BackendUnavailableError, match="matplotlib is not installed") as caught:
        plots.require_matplotlib("out.html")
    assert "pip install 'yolor-deploy[report]'" in caught.value.hint


def test_thinned_samples_keep_order_and_extremes() -> None:
    """What is drawn of many samples has the least, the largest, and comes in order."""
    values = np.array(made_up.times(5.0, 5000, seed=3))

    chosen = draw_latency.thinned(values, 300)

    assert 200 < chosen.size <= 300
    assert (np.diff(chosen) > 0).all()
    assert {int(values.argmin()), int(values.argmax())} <= set(chosen.tolist())


def test_few_samples_are_all_drawn() -> None:
    """Below the limit nothing is left out."""
    assert draw_latency.thinned(np.ones(300), 300).tolist() == list(range(300))


@given(
    st.lists(st.floats(0, 1), max_size=12).map(sorted), st.floats(min_value=0.001, max_value=0.2)
)
def test_labels_are_apart_and_keep_their_order(heights: list[float], least: float) -> None:
    """No two labels are closer than wanted, and none overtakes another."""
    placed = apart(heights, least)

    assert len(placed) == len(heights)
    assert all(b - a >= least - 1e-9 for a, b in pairwise(placed))


def test_labels_that_have_room_stay() -> None:
    """Only those that are too close are moved, evenly around their middle."""
    assert apart([0.1, 0.5, 0.51, 0.9], 0.05) == pytest.approx([0.1, 0.48, 0.53, 0.9])


def test_front_holds_what_nothing_beats() -> None:
    """A point is in the front unless another is as fast and at least as accurate."""
    points = [
        PlacedPoint("slow", 57.0, 9.0, 0),
        PlacedPoint("fast", 52.0, 1.0, 1),
        PlacedPoint("beaten", 51.0, 2.0, 2),
        PlacedPoint("equal", 57.0, 9.5, 3),
        PlacedPoint("better", 53.0, 1.0, 4),
    ]

    assert [point.name for point in front_of(points)] == ["better", "slow"]


def test_pareto_takes_published_ap_and_time_of_one_image() -> None:
    """A measured point has the AP of its model, and the median over the images of a run."""
    record, summary = records.pair_on_gpu()
    twice = replace(summary.subjects[0], fps=2 * summary.subjects[0].fps)
    view = seen((record, replace(summary, subjects=(twice, summary.subjects[1]))))

    points = {(p.name, p.index): p for p in pareto_points(view)}

    assert points["yolor-d6", 0].ap == 57.3
    assert points["yolor-d6", 0].ms == pytest.approx(summary.subjects[0].run.p50.value / 2)
    assert points["yolor-d6", None].ms == pytest.approx(1000 / 34)
    assert points["yolov4-p7", None].is_old
    assert ("yolov4_p7", None) not in points  # has no published figures


def test_layers_in_the_roofline_are_those_with_work_and_time() -> None:
    """Intensity is operations over bytes, speed is operations over time; the slowest is first."""
    layers = (
        LayerCost("quick", "Conv", 2_000_000, 1000, 0.5),
        LayerCost("slow", "Conv", 4_000_000, 1000, 2.0),
        LayerCost("moves", "Concat", 0, 1000, 1.0),
        LayerCost("unseen", "Conv", 1000, 1000, None),
    )

    points = layer_points(made_up.subject("a", 1.0, layers=layers))

    assert [(p.intensity, p.gflops, p.ms) for p in points] == [(4000, 2, 2.0), (2000, 4, 0.5)]


def test_roofline_without_measured_layers_draws_the_model() -> None:
    """The star of the whole model is drawn where the profile has no layer."""
    entry = seen(records.odd_figures()).entries[0]
    roof = entry.summary.roofline
    assert roof is not None

    drawn = draw_roofline(entry, roof)

    assert "0 layers are drawn" in drawn.text
    assert "var(--bad)" in drawn.text


def test_courses_leave_out_what_is_not_told() -> None:
    """Without a GPU there is none of its strips, and a sensor that is missing has none."""
    made = made_up.record([], conditions=made_up.conditions(gpu=False))
    blind = replace(made.conditions[0].cpu, temperature_c=None, frequency_mhz=None)
    made = replace(made, conditions=tuple(replace(c, cpu=blind) for c in made.conditions))

    assert [(line.of, line.name) for line in courses(made)] == [
        ("CPU", "cores used by others"),
        ("CPU", "load"),
    ]


def test_idle_is_no_throttling() -> None:
    """Moments with the reason ``gpu_idle`` alone are not marked."""
    first, second, *_ = made_up.conditions(gpu=True)
    idle = replace(first, gpu=GpuCondition(throttle_reasons=("gpu_idle",)))
    hot = replace(second, gpu=GpuCondition(throttle_reasons=("gpu_idle", "sw_thermal")))

    assert throttled_at(made_up.record([], conditions=(idle, hot))) == (second.at_s,)
