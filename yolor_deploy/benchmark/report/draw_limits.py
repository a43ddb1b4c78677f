"""Pictures of limits: the NMS by the number of candidates, layers under the roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from yolor_deploy.benchmark.report.markup import Html
from yolor_deploy.benchmark.report.plots import (
    BAD,
    INK,
    mark,
    picture,
    series,
    tick_text,
    use_log_ticks,
)
from yolor_deploy.benchmark.report.view import Entry
from yolor_deploy.benchmark.report.wording import figure
from yolor_deploy.measure.latency.record import DensityPoint, Subject
from yolor_deploy.measure.latency.summary import Roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN_LAYERS = 400
"""Of each model, at most: those that take longest."""
_PER_MS = 1e6  # operations a millisecond in 1e9 a second


@dataclass(frozen=True, slots=True)
class LayerPoint:
    """A layer in the roofline.

    Attributes:
        intensity: Multiplications and additions for each byte moved.
        gflops: 1e9 of them a second.
        ms: Measured.
    """

    intensity: float
    gflops: float
    ms: float


def draw_density(entries: Sequence[Entry]) -> Html:
    """Draw the median time of the NMS alone against the candidates of an image."""

    def draw(page: Figure) -> None:
        axes = page.subplots()
        for entry in entries:
            _draw_density_of(axes, entry)
        counts = [point.candidates for entry in entries for point in _measured(entry)]
        if min(counts) > 0 and len(set(counts)) > 1:
            axes.set_xscale("log")
            use_log_ticks(axes.xaxis, min(counts), max(counts))
        else:
            axes.set_xscale("symlog", linthresh=1)
            axes.xaxis.set_major_formatter(lambda value, _: tick_text(value))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("candidates of an image")
        axes.set_ylabel("NMS alone [ms]")

    return picture(
        draw,
        key="density",
        title="Time of the NMS alone by the number of candidates",
        description="; ".join(
            f"{entry.name}: "
            + ", ".join(
                f"{point.candidates} candidates {figure(median(point.samples_ms), 3)} ms"
                for point in _measured(entry)
            )
            for entry in entries
        ),
        height_in=2.7,
    )


def _draw_density_of(axes: Axes, entry: Entry) -> None:
    points, colour = _measured(entry), series(entry.index)
    at = [point.candidates for point in points]
    low = [min(point.samples_ms) for point in points]
    high = [max(point.samples_ms) for point in points]
    middle = [median(point.samples_ms) for point in points]
    axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(at, middle, f"{mark(entry.index)}-", color=colour, ms=5, linewidth=1.4)


def _measured(entry: Entry) -> list[DensityPoint]:
    return sorted(
        (point for point in entry.subject.density if point.samples_ms),
        key=lambda point: point.candidates,
    )


def layer_points(subject: Subject) -> tuple[LayerPoint, ...]:
    """Return the layers that compute something and were measured, the slowest first."""
    points = [
        LayerPoint(layer.flops / layer.num_bytes, layer.flops / layer.ms / _PER_MS, layer.ms)
        for layer in subject.layers or ()
        if layer.ms and layer.flops > 0 and layer.num_bytes > 0
    ]
    return tuple(sorted(points, key=lambda point: -point.ms))


def draw_roofline(entry: Entry, roof: Roofline) -> Html:
    """Draw what the layers and the whole model reach, under what the machine can.

    Args:
        entry: Its layers are the dots.
        roof: Of a model that computes something.
    """
    points = layer_points(entry.subject)[:DRAWN_LAYERS]
    model = LayerPoint(roof.gflop / roof.gbytes, roof.gflops, roof.measured_ms)

    def draw(page: Figure) -> None:
        axes = page.subplots()
        _draw_roof(axes, roof, (*points, model))
        longest = max((point.ms for point in points), default=1.0)
        axes.scatter(
            [point.intensity for point in points],
            [point.gflops for point in points],
            s=[6 + 60 * point.ms / longest for point in points],
            color=series(entry.index),
            alpha=0.5,
            linewidth=0,
        )
        axes.plot([model.intensity], [model.gflops], "*", color=BAD, ms=12, zorder=4)
        axes.set_xlabel("operations for each byte moved")
        axes.set_ylabel("GFLOP/s")

    return picture(
        draw,
        key=f"roofline{entry.index}",
        title=f"Roofline of {entry.name}",
        description=f"The model reaches {figure(roof.gflops, 3)} of {figure(roof.peak_gflops, 3)} "
        f"GFLOP/s at {figure(model.intensity, 3)} operations for each byte; "
        f"{len(points)} layers are drawn.",
        height_in=3.0,
    )


def _draw_roof(axes: Axes, roof: Roofline, points: Sequence[LayerPoint]) -> None:
    """Draw the two limits of the machine, on axes that hold all points."""
    speed = roof.peak_gbytes_per_s
    knee = roof.peak_gflops / speed
    left = min(*(p.intensity for p in points), knee) / 2.5
    right = max(*(p.intensity for p in points), knee) * 4
    bottom = min(*(p.gflops for p in points), left * speed) / 2
    top = max(*(p.gflops for p in points), roof.peak_gflops) * 3
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    use_log_ticks(axes.xaxis, left, right)
    use_log_ticks(axes.yaxis, bottom, top)
    across, up = [left, knee, right], [left * speed, roof.peak_gflops, roof.peak_gflops]
    axes.plot(across, up, color=INK, linewidth=1.4)
