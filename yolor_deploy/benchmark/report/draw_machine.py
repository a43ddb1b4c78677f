"""Picture of the machine from before the benchmark to after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from yolor_deploy.benchmark.report.markup import Html
from yolor_deploy.benchmark.report.plots import ACCENT, BAD, MUTED, picture
from yolor_deploy.benchmark.report.wording import figure
from yolor_deploy.measure.latency.record import CpuCondition, GpuCondition, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IDLE = "gpu_idle"


@dataclass(frozen=True, slots=True)
class Course:
    """One quantity over time.

    Attributes:
        of: What has it.
        name: With its unit.
        at_s: Seconds since the benchmark began.
        values: As many.
        limit: Drawn as a line; None without one.
    """

    of: Literal["GPU", "CPU"]
    name: str
    at_s: tuple[float, ...]
    values: tuple[float, ...]
    limit: float | None = None


def courses(record: Record) -> tuple[Course, ...]:
    """Return what was seen of the machine over time; nothing of what it does not tell."""
    facts = record.gpu
    limits = [c.gpu.power_limit_w for c in record.conditions if c.gpu and c.gpu.power_limit_w]
    clock = facts.max_sm_clock_mhz if facts else None
    memory_clock = facts.max_memory_clock_mhz if facts else None
    power = min(limits, default=None)
    found = (
        _of_gpu(record, "clock [MHz]", lambda gpu: gpu.sm_clock_mhz, clock),
        _of_gpu(record, "memory clock [MHz]", lambda gpu: gpu.memory_clock_mhz, memory_clock),
        _of_gpu(record, "power [W]", lambda gpu: gpu.power_w, power),
        _of_gpu(record, "temperature [°C]", lambda gpu: gpu.temperature_c),
        _of_cpu(record, "clock [MHz]", lambda cpu: cpu.frequency_mhz),
        _of_cpu(record, "cores used by others", lambda cpu: cpu.busy_others),
        _of_cpu(record, "load", lambda cpu: cpu.load),
        _of_cpu(record, "temperature [°C]", lambda cpu: cpu.temperature_c),
    )
    return tuple(course for course in found if course is not None)


def throttled_at(record: Record) -> tuple[float, ...]:
    """Return the moments at which the GPU held its clocks back."""
    return tuple(
        c.at_s for c in record.conditions if c.gpu and set(c.gpu.throttle_reasons) - {_IDLE}
    )


def draw_conditions(record: Record, lines: Sequence[Course]) -> Html:
    """Draw each quantity in a strip of its own, over the same time.

    Args:
        record: For the phases.
        lines: Of the GPU or of the CPU, one at least.
    """
    of = lines[0].of
    throttled = throttled_at(record) if of == "GPU" else ()

    def draw(page: Figure) -> None:
        strips = list(page.subplots(len(lines), 1, sharex=True, squeeze=False)[:, 0])
        for axes, line in zip(strips, lines, strict=True):
            _draw_course(axes, line, throttled)
        _shade_outside(strips, record)
        strips[-1].set_xlabel("time since the start [s]")

    return picture(
        draw,
        key=f"conditions-{of.lower()}",
        title=f"The {of} before, during and after the benchmark",
        description="; ".join(
            f"{line.name}: {figure(min(line.values), 3)} to {figure(max(line.values), 3)}"
            for line in lines
        ),
        height_in=0.7 + 0.72 * len(lines),
    )


def _draw_course(axes: Axes, line: Course, throttled: Sequence[float]) -> None:
    axes.plot(line.at_s, line.values, ".-", color=ACCENT, linewidth=1.3, ms=3.5)
    if line.limit is not None and min(line.values) > line.limit / 2:
        axes.axhline(line.limit, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    for at in throttled:
        axes.axvline(at, color=BAD, linewidth=0.8, alpha=0.7)
    low = min(*line.values, line.limit if line.limit is not None else line.values[0])
    high = max(*line.values, low)
    pad = max(0.25 * (high - low), 0.02 * abs(high), 0.1)
    axes.set_ylim(low - pad if low > pad else 0, high + pad)
    axes.set_title(line.name, pad=2)
    axes.locator_params(axis="y", nbins=3)


def _shade_outside(strips: Sequence[Axes], record: Record) -> None:
    """Shade what was seen before the first sample and after the last."""
    during = [c.at_s for c in record.conditions if c.phase == "during"]
    seen = [c.at_s for c in record.conditions]
    if not during:
        return
    for axes in strips:
        for start, end in ((min(seen), min(during)), (max(during), max(seen))):
            if end > start:
                axes.axvspan(start, end, color=MUTED, alpha=0.12, linewidth=0)


def _of_gpu(
    record: Record,
    name: str,
    value: Callable[[GpuCondition], float | None],
    limit: float | None = None,
) -> Course | None:
    pairs = [(c.at_s, v) for c in record.conditions if c.gpu and (v := value(c.gpu)) is not None]
    return _course("GPU", name, pairs, limit)


def _of_cpu(
    record: Record, name: str, value: Callable[[CpuCondition], float | None]
) -> Course | None:
    pairs = [(c.at_s, v) for c in record.conditions if (v := value(c.cpu)) is not None]
    return _course("CPU", name, pairs, None)


def _course(
    of: Literal["GPU", "CPU"],
    name: str,
    pairs: Sequence[tuple[float, float]],
    limit: float | None,
) -> Course | None:
    if not pairs:
        return None
    return Course(of, name, tuple(at for at, _ in pairs), tuple(v for _, v in pairs), limit)
