"""The machine from before a benchmark to after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from yolor_deploy.measure.latency.cpu_monitor import CpuMonitor
from yolor_deploy.measure.latency.gpu_monitor import GpuMonitor
from yolor_deploy.measure.latency.record import Condition


class Monitor:
    """Notes the condition of the machine when it is told to; it has no thread that would disturb.

    Args:
        cpu: Of the processor.
        gpu: Of the GPU in use; None where none is, or where it cannot be monitored.
        clock: Seconds since the benchmark began.
        every_s: Least time between two records of ``due``.
    """

    def __init__(
        self,
        cpu: CpuMonitor,
        gpu: GpuMonitor | None,
        clock: Callable[[], float],
        *,
        every_s: float = 0.5,
    ) -> None:
        self._cpu = cpu
        self._gpu = gpu
        self._clock = clock
        self._every_s = every_s
        self._conditions: list[Condition] = []

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All that was noted, in order."""
        return tuple(self._conditions)

    def due(self) -> bool:
        """Return whether the last record is old enough for one more ``during`` sampling.

        Whether a sample is being timed is the caller's to know: to take one costs milliseconds.
        """
        if not self._conditions:
            return True
        return self._clock() - self._conditions[-1].at_s >= self._every_s

    def take(self, phase: Literal["before", "during", "after"]) -> Condition:
        """Note the condition of the machine now, and return it."""
        condition = Condition(
            at_s=self._clock(),
            phase=phase,
            gpu=self._gpu.condition() if self._gpu else None,  # first: its clocks fall soon
            cpu=self._cpu.condition(),
        )
        self._conditions.append(condition)
        return condition
