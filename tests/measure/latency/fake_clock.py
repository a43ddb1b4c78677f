"""A clock that moves only when it is told to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from yolor_deploy.core.runtime import Array
from yolor_deploy.measure.latency.sampling import Work

NS_PER_MS = 1_000_000
NOTHING: Array = np.zeros(0, np.float32)


class FakeClock:
    """Nanoseconds that pass when ``advance_ms`` is called."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    def advance_ms(self, ms: float) -> None:
        """Let time pass."""
        self.now_ns += round(ms * NS_PER_MS)


def timed_work(
    name: str,
    clock: FakeClock,
    run_ms: Callable[[int], float],
    *,
    prepare_ms: float = 0.0,
    stages_ms: dict[str, float] | None = None,
    log: list[str] | None = None,
) -> Work:
    """Return work that takes as long as a function of the number of runs before it says."""
    runs = 0

    def prepare(_number: int) -> Array:
        clock.advance_ms(prepare_ms)
        return NOTHING

    def run(_images: Array) -> None:
        nonlocal runs
        if log is not None:
            log.append(name)
        clock.advance_ms(run_ms(runs))
        runs += 1

    def run_stages(_images: Array) -> dict[str, float]:
        assert stages_ms is not None
        clock.advance_ms(sum(stages_ms.values()))
        return dict(stages_ms)

    return Work(name, prepare, run, run_stages if stages_ms else None)
