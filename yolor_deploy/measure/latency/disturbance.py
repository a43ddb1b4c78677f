"""Findings about the machine: what else it did, and what it kept the benchmark from doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Literal

from yolor_deploy.measure.latency.record import Condition, CpuCondition, GpuCondition, Record
from yolor_deploy.measure.latency.summary import Finding

HARMLESS_REASONS = frozenset({"gpu_idle", "applications_clocks_setting"})
"""Reasons of low clocks that are none to doubt: nothing to do, or clocks that the user has set."""

QUOTA_SHARE = 0.001
"""Of the time, that a quota may have stopped the process for: one such pause, which takes up to
100 ms, is in one sample of a minute, and no figure but the maximum shows it."""

FOREIGN_CORES = 0.25
"""Of other processes or of the hypervisor: services of an idle machine take a tenth of a core."""

FOREIGN_SHARE = 0.05
"""Of the moments, that may be disturbed: less does not reach the median, and p90 hardly."""

CLOCK_WARNING = 0.05
"""Change of the SM clock: times follow the clock, and two steps of a boost are less."""

CLOCK_INVALID = 0.15
"""Change of the SM clock at which no figure belongs to one machine any more."""


_IN_EXTRAS = " while something else than latency was measured"


def throttled(record: Record) -> Iterator[Finding]:
    """Name the reasons for which a GPU lowered its clocks, and the time that a quota took."""
    in_samples = _reasons(_sampled(record))
    if in_samples:
        text = f"the GPU throttled: {', '.join(sorted(in_samples))}"
        yield Finding("throttled", None, "invalid", text)
    later = _reasons(_extras(record)) - in_samples
    if later:
        text = f"the GPU throttled{_IN_EXTRAS}: {', '.join(sorted(later))}"
        yield Finding("throttled", None, "warning", text)  # a chain of products meets the power cap
    since = _since_before(record)
    end = 1 + next((i for i, c in enumerate(since) if c.phase == "after"), len(since))
    yield from _quota(since[:end])
    yield from _quota(since[end - 1 :], in_extras=True)


def foreign_process(record: Record) -> Iterator[Finding]:
    """Name the processes on the GPU, and the core time that others had."""
    gpus = _gpus([*_sampled(record), *_extras(record)])
    others = sorted({pid for gpu in gpus for pid in gpu.other_processes})
    if others:
        listed = ", ".join(map(str, others))
        yield Finding("foreign-process", None, "invalid", f"others use the GPU: process {listed}")
    drawing = sorted({pid for gpu in gpus for pid in gpu.graphics_processes})
    if drawing:
        listed = ", ".join(map(str, drawing))
        yield Finding("foreign-process", None, "warning", f"others draw on the GPU: {listed}")
    yield from _cores_taken(record, lambda cpu: cpu.busy_others, by="other processes")
    yield from _cores_taken(record, lambda cpu: cpu.steal, by="the hypervisor")


def clocks_changed(record: Record) -> Iterator[Finding]:
    """Compare the clocks of the multiprocessors while samples were taken with their median."""
    clocks = [
        gpu.sm_clock_mhz
        for gpu in _gpus([c for c in record.conditions if c.phase == "during"])
        if gpu.sm_clock_mhz
    ]
    if not clocks:
        return
    usual = median(clocks)
    furthest = max(clocks, key=lambda clock: abs(clock - usual))
    change = abs(furthest - usual) / usual
    if change > CLOCK_WARNING:
        yield Finding(
            "clocks-changed",
            None,
            "invalid" if change > CLOCK_INVALID else "warning",
            f"the SM clock was {furthest:.0f} MHz once, {usual:.0f} MHz in the median",
        )


def ecc(record: Record) -> Iterator[Finding]:
    """Count memory errors that were not corrected."""
    counts = [gpu.ecc_errors for gpu in _gpus(record.conditions) if gpu.ecc_errors is not None]
    if counts and counts[-1] > counts[0]:
        text = f"{counts[-1] - counts[0]} memory errors that were not corrected"
        yield Finding("ecc", None, "invalid", text)


def battery(record: Record) -> Iterator[Finding]:
    """Say if the machine ran on its battery, which lowers its clocks."""
    if any(condition.cpu.on_battery for condition in record.conditions):
        yield Finding("battery", None, "warning", "the machine ran on its battery")


def governor(record: Record) -> Iterator[Finding]:
    """Name the governors under which a processor that computes may be slow to raise its clock."""
    names = {condition.cpu.governor for condition in record.conditions} - {None, "performance"}
    if names and _is_on_cpu(record):
        listed = ", ".join(sorted(name for name in names if name))
        text = f"the governor of the CPU is {listed}, not performance"
        yield Finding("governor", None, "warning", text)


MACHINE_RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    throttled,
    foreign_process,
    clocks_changed,
    ecc,
    battery,
    governor,
)


def _cores_taken(
    record: Record, cores_of: Callable[[CpuCondition], float | None], *, by: str
) -> Iterator[Finding]:
    """Report the moments at which more cores were taken than an idle machine takes.

    A moment tells of the time since the one before, without what we ran ourselves. Those of samples
    and those of what was measured later are judged apart: neither hides the other.

    The runs of a GPU need one core to be launched from: there it is a warning.
    """
    known, disturbed = list[float](), list[float]()
    severity: Literal["invalid", "warning"] = "warning"
    for moments in (_sampled(record), _extras(record)):
        taken = [cores_of(moment.cpu) for moment in moments if moment.phase != "before"]
        told = [cores for cores in taken if cores is not None]
        more = [cores for cores in told if cores > FOREIGN_CORES]
        if _is_on_cpu(record) and len(more) > FOREIGN_SHARE * len(told):
            severity = "invalid"
        known += told
        disturbed += more
    if not disturbed:
        return
    yield Finding(
        "foreign-process",
        None,
        severity,
        f"{by} took up to {max(disturbed):.2g} cores, "
        f"more than {FOREIGN_CORES} at {len(disturbed)} of {len(known)} moments",
    )


def _is_on_cpu(record: Record) -> bool:
    """Return whether some artifact computes on the CPU; its runs tell their threads."""
    return any(subject.conditions.threads is not None for subject in record.subjects)


def _reasons(conditions: Sequence[Condition]) -> set[str]:
    reasons = {reason for gpu in _gpus(conditions) for reason in gpu.throttle_reasons}
    return reasons - HARMLESS_REASONS


def _quota(moments: Sequence[Condition], *, in_extras: bool = False) -> Iterator[Finding]:
    """Report the time that a quota took; what we saturate ourselves may well reach it."""
    known = [moment for moment in moments if moment.cpu.throttled_s is not None]
    if not known:
        return
    stopped_s = (known[-1].cpu.throttled_s or 0.0) - (known[0].cpu.throttled_s or 0.0)
    seconds = known[-1].at_s - known[0].at_s
    if stopped_s > 0:
        is_little = in_extras or stopped_s <= QUOTA_SHARE * seconds
        text = f"a CPU quota stopped the process for {stopped_s:.3g} s of {seconds:.3g} s"
        text += _IN_EXTRAS if in_extras else ""
        yield Finding("throttled", None, "warning" if is_little else "invalid", text)


def _sampled(record: Record) -> list[Condition]:
    """Return the moments between samples and after the last; all, if none lies between any."""
    items = record.conditions
    if all(item.phase != "during" for item in items):
        return [item for i, item in enumerate(items) if not _is_of_extras(items, i)]
    return [
        item
        for i, item in enumerate(items)
        if item.phase != "before" and not _is_of_extras(items, i)
    ]


def _extras(record: Record) -> list[Condition]:
    """Return the moments after what was measured besides latency: energy, saturation, peaks."""
    items = record.conditions
    return [item for i, item in enumerate(items) if _is_of_extras(items, i)]


def _is_of_extras(items: Sequence[Condition], place: int) -> bool:
    """Return whether an ``after`` follows another; the first one ends the samples."""
    return place > 0 and items[place].phase == items[place - 1].phase == "after"


def _since_before(record: Record) -> list[Condition]:
    """Return the moments from the last before the first sample on."""
    before = [i for i, c in enumerate(record.conditions) if c.phase == "before"]
    return list(record.conditions[max(before, default=0) :])


def _gpus(conditions: Sequence[Condition]) -> list[GpuCondition]:
    return [condition.gpu for condition in conditions if condition.gpu is not None]
