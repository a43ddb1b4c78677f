"""The picture of ``tune``: what a drop of AP costs in multiply-adds, and the units behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.output_file import unwritable
from yolor_deploy.tuning.file import Trial, Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = 15  # bars
_LONGEST_NAME = 48
_GREY, _BLUE, _ORANGE, _RED, _GREEN = "#9a9a9a", "#2f6db5", "#e08a1e", "#c0392b", "#2e8b57"


def write_picture(tuning: Tuning, path: Path, *, title: str) -> None:
    """Draw the trials, their Pareto front and the chosen one; beside them the units' gains.

    Args:
        tuning: A result that has come to an end.
        path: PNG file.
        title: Of the model.

    Raises:
        ArtifactError: It cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load

    settings = tuning.settings
    figure = Figure(figsize=(13.5, 6.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    figure.suptitle(
        f"{title}: {settings.get('precision')} for {settings.get('target')}, by "
        f"{settings.get('by')}; {len(tuning.trials)} trials",
        fontweight="bold",
    )
    _draw_trials(left, tuning)
    _draw_units(right, tuning)
    figure.supxlabel(str(tuning.assumptions.get("score", "")), fontsize=8, color="#555555")
    try:
        with whole_file(path) as temporary:
            figure.savefig(temporary)
    except OSError as error:
        raise unwritable(path, error) from error


def _draw_trials(axes: Axes, tuning: Tuning) -> None:
    for purpose, label, colour, size in (
        ("leave-one-out", "one unit in float", _GREY, 22),
        ("search", "several units in float", _BLUE, 34),
        ("baseline", "all units in 8 bits", "black", 60),
    ):
        rows = [trial for trial in tuning.trials if trial.purpose == purpose]
        if rows:
            marker = "s" if purpose == "baseline" else "o"
            axes.scatter(*_points(rows), s=size, c=colour, marker=marker, label=label, zorder=3)
    axes.step(
        *_points(tuning.front),
        where="post",
        color=_ORANGE,
        linewidth=1.8,
        label="Pareto front",
        zorder=2,
    )
    limit = tuning.max_ap_drop
    axes.axhline(limit, color=_RED, linestyle="--", label=f"limit {limit:g} points")
    axes.axhline(0, color="black", linewidth=0.8, label="float model")
    _mark_chosen(axes, tuning)
    axes.set_xlabel("share of multiply-adds in float [%]")
    axes.set_ylabel(f"drop of {tuning.settings.get('score')} against float [points]")
    axes.set_title("what stays float, and what it costs", fontsize=10)
    axes.grid(alpha=0.3)
    axes.margins(x=0.06, y=0.12)
    axes.legend(fontsize=8, loc="best")


def _mark_chosen(axes: Axes, tuning: Tuning) -> None:
    chosen = tuning.trial_of(tuple(sorted(tuning.kept_units)))
    checked = tuning.verification
    if chosen is None or checked is None:
        return
    share = 100 * chosen.float_share
    axes.errorbar(
        [share],
        [checked.drop],
        yerr=[
            [max(0.0, checked.drop - checked.drop_low)],
            [max(0.0, checked.drop_high - checked.drop)],
        ],
        color=_GREEN,
        capsize=4,
        linewidth=1.2,
        zorder=4,
    )
    kept = len(tuning.kept_units)
    axes.scatter(
        [share],
        [checked.drop],
        s=240,
        marker="*",
        c=_GREEN if tuning.state == "met" else _RED,
        edgecolors="black",
        label=f"{'chosen' if tuning.state == 'met' else 'best, misses the limit'}: {kept} "
        f"unit{'' if kept == 1 else 's'} in float, {100 * checked.level:.0f} % interval",
        zorder=5,
    )


def _draw_units(axes: Axes, tuning: Tuning) -> None:
    gains = sorted(tuning.gains.items(), key=lambda item: -item[1])[:_UNITS]
    if not gains:
        axes.set_axis_off()
        reason = "all units in 8 bits meet the limit:\n" if tuning.state == "met" else ""
        axes.text(0.5, 0.5, f"{reason}no unit was measured alone", ha="center", va="center")
        return
    names = [_shortened(name) for name, _ in gains]
    colours = [_GREEN if name in tuning.kept_units else _GREY for name, _ in gains]
    positions = range(len(gains))
    axes.barh(positions, [gain for _, gain in gains], color=colours)
    axes.set_yticks(positions, names, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"gain of {tuning.settings.get('score')} if it alone stays float [points]")
    axes.set_title(
        f"units: the best {len(gains)} of {len(tuning.gains)} measured, "
        f"{len(tuning.units)} in all; green: kept",
        fontsize=10,
    )
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.3)


def _points(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return [100 * trial.float_share for trial in trials], [trial.drop for trial in trials]


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2 - 1
    return f"{name[:half]}…{name[-half:]}"
