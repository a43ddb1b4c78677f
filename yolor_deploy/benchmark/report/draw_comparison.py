"""Pictures of one artifact against another: ratios with intervals, accuracy against time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yolor_deploy.benchmark.report.markup import Html
from yolor_deploy.benchmark.report.plots import (
    INK,
    LONGEST_NAME,
    MUTED,
    SURFACE,
    mark,
    picture,
    series,
    use_log_ticks,
)
from yolor_deploy.benchmark.report.sentences import spoken
from yolor_deploy.benchmark.report.view import Entry, View
from yolor_deploy.benchmark.report.wording import figure, ratio_parts, shortened
from yolor_deploy.families.catalogue import CATALOGUE
from yolor_deploy.measure.latency.summary import Ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MS = 1000.0
_FAR_APART = 3.0  # of ratios: a linear axis would press the small ones together
_LABEL_HEIGHT = 0.052  # of the axes


def draw_ratios(ratios: Sequence[Ratio], view: View) -> Html:
    """Draw ratios with their intervals, and a line at 1."""
    colours = {entry.name: entry.index for entry in view.entries}

    def draw(page: Figure) -> None:
        axes = page.subplots()
        for row, ratio in enumerate(ratios):
            index = colours.get(ratio.subject, 0)
            speedup, colour = ratio.speedup, series(index)
            low, high = speedup.low, speedup.high
            if low is not None and high is not None:
                axes.plot([low, high], [row, row], "|-", color=colour, linewidth=1.6, ms=9)
            axes.plot([speedup.value], [row], mark(index), color=colour, ms=6)
        axes.axvline(1, color=INK, linewidth=1)
        names = [shortened(_ratio_name(ratio), LONGEST_NAME) for ratio in ratios]
        axes.set_yticks(range(len(ratios)), names)
        axes.set_ylim(max(len(ratios), 2) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        ends = [v for r in ratios for v in (r.speedup.value, r.speedup.low, r.speedup.high, 1) if v]
        _scale_ratios(axes, min(ends), max(ends))
        axes.set_xlabel("times as fast as the reference")

    return picture(
        draw,
        key="ratios",
        title="Ratios against the reference, with their intervals",
        description="; ".join(
            f"{_ratio_name(r)}: {' '.join(ratio_parts(r.speedup))}".strip() for r in ratios
        ),
        height_in=0.75 + 0.28 * max(2, len(ratios)),
    )


def _ratio_name(ratio: Ratio) -> str:
    return ratio.subject if ratio.of == "run" else f"{ratio.subject}: {spoken(ratio.of)}"


def _scale_ratios(axes: Axes, low: float, high: float) -> None:
    if low > 0 and high / low > _FAR_APART:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        use_log_ticks(axes.xaxis, low, high)
    else:
        pad = 0.08 * (high - low) or 0.05
        axes.set_xlim(low - pad, high + pad)


@dataclass(frozen=True, slots=True)
class PlacedPoint:
    """A model in the picture of accuracy against time.

    Attributes:
        name: Of the published model.
        ap: Percent, as published.
        ms: Of one image.
        index: Of the artifact; None for what its authors report.
        is_old: Whether that was measured before the storage fix.
    """

    name: str
    ap: float
    ms: float
    index: int | None
    is_old: bool = False


def pareto_points(view: View) -> tuple[PlacedPoint, ...]:
    """Return the published models with AP and fps, then the artifacts whose model has an AP."""
    published = [
        PlacedPoint(model.name, model.ap, _MS / model.fps, None, model.is_fps_old)
        for model in CATALOGUE
        if model.ap is not None and model.fps
    ]
    measured = [
        PlacedPoint(entry.published.name, entry.published.ap, ms_per_image(entry), entry.index)
        for entry in view.entries
        if entry.published is not None and entry.published.ap is not None
    ]
    return (*published, *measured)


def ms_per_image(entry: Entry) -> float:
    """Return the median of a run over the images in it."""
    return _MS / entry.summary.fps


def front_of(points: Sequence[PlacedPoint]) -> list[PlacedPoint]:
    """Return the points that no other beats in both, fastest first."""
    front: list[PlacedPoint] = []
    for point in sorted(points, key=lambda p: (p.ms, -p.ap)):
        if not front or point.ap > front[-1].ap:
            front.append(point)
    return front


def draw_pareto(view: View) -> Html:
    """Draw published AP against time, measured here and published for a V100."""
    points = pareto_points(view)
    measured = [point for point in points if point.index is not None]

    def draw(page: Figure) -> None:
        axes = page.subplots()
        low, high = min(p.ms for p in points), max(p.ms for p in points)
        axes.set_xscale("log")
        axes.set_xlim(low / 1.3, high * 1.3)
        use_log_ticks(axes.xaxis, low, high)
        aps = [point.ap for point in points]
        pad = 0.08 * (max(aps) - min(aps)) or 0.5
        axes.set_ylim(min(aps) - pad, max(aps) + pad)
        for point in points:
            _draw_point(axes, point)
        front = front_of(measured)
        across, up = [p.ms for p in front], [p.ap for p in front]
        axes.step(across, up, where="post", color=INK, linewidth=1, linestyle="--", zorder=1)
        _label_models(axes, points)
        axes.set_xlabel("time of one image [ms]")
        axes.set_ylabel("published AP [%]")

    return picture(
        draw,
        key="pareto",
        title="Published AP against time: measured here, and published for a V100",
        description="; ".join(
            f"{p.name}, AP {p.ap}: {figure(p.ms, 3)} ms "
            f"{'published' if p.index is None else 'measured'}"
            for p in points
        ),
        height_in=max(2.8, 1.0 + 0.2 * len({point.name for point in points})),
    )


def _draw_point(axes: Axes, point: PlacedPoint) -> None:
    if point.index is not None:
        axes.plot(point.ms, point.ap, mark(point.index), color=series(point.index), ms=7, zorder=3)
    elif point.is_old:
        axes.plot(point.ms, point.ap, "x", color=MUTED, ms=6, mew=1.3, zorder=2)
    else:
        axes.plot(point.ms, point.ap, "o", color=MUTED, mfc=SURFACE, ms=5.5, mew=1.2, zorder=2)


def _label_models(axes: Axes, points: Sequence[PlacedPoint]) -> None:
    """Name the models in a column beside the axes, where names cannot meet each other."""
    slowest = {}
    for point in sorted(points, key=lambda p: p.ms):
        slowest[point.name] = point
    rows = sorted(slowest.values(), key=lambda p: p.ap)
    bottom, top = axes.get_ylim()
    wanted = [(point.ap - bottom) / (top - bottom) for point in rows]
    for point, height in zip(rows, apart(wanted, _LABEL_HEIGHT), strict=True):
        axes.annotate(
            shortened(point.name, LONGEST_NAME),
            xy=(point.ms, point.ap),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": MUTED,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Return ascending heights that are at least so far apart, each near where it was.

    Groups that are too close are spread around their own middle, until no two groups meet.
    """
    groups = [[height] for height in heights]
    at = 0
    while at + 1 < len(groups):
        if _bottom(groups[at + 1], least) - _top(groups[at], least) >= least:
            at += 1
        else:
            groups[at : at + 2] = [groups[at] + groups[at + 1]]
            at = max(at - 1, 0)
    return [_bottom(group, least) + k * least for group in groups for k in range(len(group))]


def _bottom(group: Sequence[float], least: float) -> float:
    return sum(group) / len(group) - least * (len(group) - 1) / 2


def _top(group: Sequence[float], least: float) -> float:
    return _bottom(group, least) + least * (len(group) - 1)
