"""Pictures of times: percentiles, distributions, samples as they came, stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from yolor_deploy.benchmark.report.markup import Html
from yolor_deploy.benchmark.report.plots import (
    BAD,
    INK,
    LONGEST_NAME,
    MUTED,
    SURFACE,
    mark,
    picture,
    series,
    stage_colour,
    use_time_scale,
)
from yolor_deploy.benchmark.report.view import Entry
from yolor_deploy.benchmark.report.wording import figure, shortened
from yolor_deploy.core.runtime import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN_SAMPLES = 300
"""Of each artifact, at most; those that are furthest out are among them."""
_QUANTILES = 120  # of a cumulative curve
_BUCKETS = 24  # of the running median
_BINS = 48
_FEW = 60  # samples, drawn larger
_SHOWN_PART = 99.5  # percent of the samples that the histogram spans
_PERCENTILE_DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)))
_DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)))
Numbers = npt.NDArray[np.float64]


def draw_percentiles(entries: Sequence[Entry]) -> Html:
    """Draw median, p90, p99 and maximum of every artifact on one axis."""

    def draw(page: Figure) -> None:
        axes = page.subplots()
        for row, entry in enumerate(entries):
            run, colour = entry.summary.run, series(entry.index)
            axes.plot([run.p50.value, run.maximum], [row, row], color=colour, linewidth=1.6)
            for value, size in ((run.p90.value, 7.0), (run.p99.value, 10.0)):
                axes.plot([value], [row], marker="|", color=colour, ms=size, mew=1.6)
            axes.plot([run.maximum], [row], marker="o", color=colour, ms=4.5, mfc=SURFACE)
            axes.plot([run.p50.value], [row], marker=mark(entry.index), color=colour, ms=7)
        _name_rows(axes, [entry.name for entry in entries])
        use_time_scale(
            axes, [v for e in entries for v in (e.summary.run.p50.value, e.summary.run.maximum)]
        )
        axes.set_xlabel("time of one run [ms]")

    return picture(
        draw,
        key="percentiles",
        title="Median, 90th and 99th percentile, and maximum of each artifact",
        description="; ".join(
            f"{e.name}: median {figure(e.summary.run.p50.value)} ms, p99 "
            f"{figure(e.summary.run.p99.value)} ms, maximum {figure(e.summary.run.maximum)} ms"
            for e in entries
        ),
        height_in=0.75 + 0.3 * max(2, len(entries)),
    )


def draw_cumulative(entries: Sequence[Entry]) -> Html:
    """Draw which part of the samples took at most so many times the median."""

    def draw(page: Figure) -> None:
        axes = page.subplots()
        ends = []
        for entry in entries:
            times = _finite(entry.subject.samples["run"]) / (entry.summary.run.p50.value or 1)
            parts = np.linspace(0, 1, min(_QUANTILES, max(2, times.size)))
            values = np.quantile(times, parts)
            ends.append(np.quantile(times, [0.002, 0.99]))
            axes.plot(
                values,
                100 * parts,
                color=series(entry.index),
                linestyle=_DASHES[entry.index % len(_DASHES)],
                linewidth=1.5,
            )
            middle = np.quantile(times, [0.1, 0.9])
            axes.plot(middle, [10, 90], mark(entry.index), color=series(entry.index), ms=5)
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        pad = 0.05 * (high - low) or 0.01
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(0, 100)
        axes.set_xlabel("time over its own median")
        axes.set_ylabel("samples at most as long [%]")

    return picture(
        draw,
        key="cumulative",
        title="Cumulative distribution of each artifact's times, relative to its median",
        description="The steeper a curve, the quieter the artifact; a long upper end is a tail. "
        "Drawn up to the 99th percentile.",
        height_in=2.7,
    )


def draw_samples(entry: Entry) -> Html:
    """Draw the histogram of one artifact's samples, and below it the samples as they came."""

    def draw(page: Figure) -> None:
        above, below = page.subplots(2, 1, height_ratios=(1, 1.15))
        _draw_histogram(above, entry)
        _draw_course(below, entry)

    run = entry.summary.run
    drift = "" if run.drift is None else f", drift {100 * run.drift:+.2f} %"
    return picture(
        draw,
        key=f"samples{entry.index}",
        title=f"Samples of {entry.name}: histogram, and in the order measured",
        description=f"{run.count} samples from {figure(run.minimum)} to {figure(run.maximum)} ms, "
        f"median {figure(run.p50.value)} ms{drift}, clusters: {run.modes}.",
        height_in=3.2,
    )


def _draw_histogram(axes: Axes, entry: Entry) -> None:
    times, run = _finite(entry.subject.samples["run"]), entry.summary.run
    end = max(float(np.percentile(times, _SHOWN_PART)), run.p99.value)
    shown = times[times <= end]
    bins = max(5, min(_BINS, int(np.sqrt(times.size) * 2)))
    counts, edges = np.histogram(shown, bins=bins, range=(float(shown.min()), end))
    axes.stairs(counts, edges, fill=True, color=series(entry.index), alpha=0.55)
    if run.p50.low is not None and run.p50.high is not None:
        axes.axvspan(run.p50.low, run.p50.high, color=INK, alpha=0.25, linewidth=0)
    top = 1.3 * max(1, int(counts.max(initial=1)))
    axes.set_ylim(0, top)
    for value, dash in zip(
        (run.p50.value, run.p90.value, run.p99.value), _PERCENTILE_DASHES, strict=True
    ):
        axes.axvline(value, color=INK, linewidth=1, linestyle=dash)
    beyond = times.size - shown.size
    more = f"; {beyond} beyond, up to {figure(run.maximum)} ms" if beyond else ""
    axes.set_title(f"lines: p50, p90, p99{more}", color=MUTED)
    axes.set_xlabel("time of one run [ms]", labelpad=1)
    axes.set_ylabel("samples")
    axes.locator_params(axis="x", nbins=6)
    axes.locator_params(axis="y", nbins=4, integer=True)


def _draw_course(axes: Axes, entry: Entry) -> None:
    """Draw samples over time, relative to the median: a drift is then a slope."""
    at, times = _by_time(entry.subject.at_s, entry.subject.samples["run"])
    median = entry.summary.run.p50.value or 1
    change = 100 * (times / median - 1)
    low, high = _limits(change)
    drawn = thinned(change, DRAWN_SAMPLES)
    at_drawn, shown = at[drawn], change[drawn]
    size = 3 if drawn.size > _FEW else 7
    inside = (shown >= low) & (shown <= high)
    axes.plot(at_drawn[inside], shown[inside], ".", color=series(entry.index), ms=size, alpha=0.6)
    for out, edge, shape in ((shown > high, high, "^"), (shown < low, low, "v")):
        count = int(out.sum())
        axes.plot(at_drawn[out], [edge] * count, shape, color=BAD, ms=4, clip_on=False)
    middles = [
        (float(np.median(at[part])), float(np.median(change[part])))
        for part in np.array_split(np.arange(at.size), min(_BUCKETS, max(1, at.size // 5)))
        if part.size
    ]
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.plot(*zip(*middles, strict=True), color=INK, linewidth=1.3)
    axes.set_ylim(low, high)
    axes.set_xlabel("time since the start [s]", labelpad=1)
    axes.set_ylabel("off median [%]")
    axes.locator_params(axis="y", nbins=5)


def draw_stages(entries: Sequence[Entry]) -> Html:
    """Draw the medians of the stages one after the other, and under them the whole."""

    def draw(page: Figure) -> None:
        axes = page.subplots()
        ends = []
        for row, entry in enumerate(entries):
            end = whole(entry)
            axes.barh(row + 0.24, end, height=0.12, color=MUTED, linewidth=0)
            ends += [end, _draw_stack(axes, row, medians(entry))]
        _name_rows(axes, [entry.name for entry in entries])
        axes.set_xlim(0, 1.04 * max(ends))
        axes.set_xlabel("median time [ms]")

    return picture(
        draw,
        key="stages",
        title="Medians of the stages of each artifact, and of the whole",
        description="; ".join(
            f"{entry.name}: " + ", ".join(f"{k} {figure(v)} ms" for k, v in medians(entry).items())
            for entry in entries
        ),
        height_in=_stack_height(entries),
    )


def draw_stage_parts(entries: Sequence[Entry]) -> Html:
    """Draw the medians of the stages as parts of their sum."""

    def draw(page: Figure) -> None:
        axes = page.subplots()
        for row, entry in enumerate(entries):
            _draw_stack(axes, row, medians(entry), scale=100 / (sum(medians(entry).values()) or 1))
        _name_rows(axes, [entry.name for entry in entries])
        axes.set_xlim(0, 100)
        axes.set_xlabel("part of the sum [%]")

    return picture(
        draw,
        key="stage-parts",
        title="Medians of the stages of each artifact as parts of their sum",
        description="The same figures as in the picture before, and in the table below.",
        height_in=_stack_height(entries),
    )


def _stack_height(entries: Sequence[Entry]) -> float:
    return 0.75 + 0.4 * max(2, len(entries))


def medians(entry: Entry) -> Mapping[str, float]:
    """Return the median of each stage, in order."""
    stages = entry.summary.stages
    return {name: stages[name].p50.value for name in STAGES if name in stages}


def whole(entry: Entry) -> float:
    """Return the median of what the stages are parts of: with preprocess where that is one."""
    total = entry.summary.total if "preprocess" in entry.summary.stages else None
    return (total or entry.summary.run).p50.value


def _draw_stack(axes: Axes, row: int, values: Mapping[str, float], *, scale: float = 1.0) -> float:
    """Draw one row, and return where it ends."""
    left = 0.0
    for name, value in values.items():
        colour = stage_colour(STAGES.index(name))
        axes.barh(row - 0.12, scale * value, left=left, height=0.44, color=colour, linewidth=0)
        left += scale * value
    return left


def thinned(values: Numbers, limit: int) -> npt.NDArray[np.int64]:
    """Return which samples are drawn, in order: some evenly, and those that are furthest out.

    The extremes alone would look like two bands with nothing between them.
    """
    if values.size <= limit:
        return np.arange(values.size)
    far = limit // 5
    even = np.linspace(0, values.size - 1, limit - far).astype(np.int64)
    furthest = np.argsort(-np.abs(values - np.median(values)), kind="stable")[:far]
    return np.union1d(even, furthest)


def _limits(change: Numbers) -> tuple[float, float]:
    """Return an axis that a few outliers do not flatten."""
    low, middle, high = np.percentile(change, [1, 50, 98])
    reach = 2.0 * max(high - middle, middle - low, 0.25)
    return (
        max(float(change.min()) - 0.1 * reach, middle - reach),
        min(float(change.max()) + 0.1 * reach, middle + reach),
    )


def _finite(values: Sequence[float]) -> Numbers:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _by_time(at_s: Sequence[float], values: Sequence[float]) -> tuple[Numbers, Numbers]:
    pairs = np.column_stack([at_s, values]).astype(np.float64)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    return pairs[:, 0], pairs[:, 1]


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [shortened(name, LONGEST_NAME) for name in names])
    axes.set_ylim(max(len(names), 2) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
