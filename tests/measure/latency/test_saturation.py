"""Sessions run back to back at the same time, and every run that ends is counted."""

from __future__ import annotations

import itertools
import threading

import pytest

from yolor_deploy.measure.latency.saturation import saturate


def _counting_clock() -> itertools.count[int]:
    return itertools.count(0, 100_000_000)  # a tenth of a second at each look


def test_saturate_returns_the_end_of_every_run_in_order() -> None:
    """Runs of all threads are there, sorted by when they ended."""
    ticks, lock = _counting_clock(), threading.Lock()

    def clock_ns() -> int:
        with lock:
            return next(ticks)

    runs = [0, 0]

    def run_of(index: int) -> object:
        runs[index] += 1
        return None

    finished = saturate(
        [lambda: run_of(0), lambda: run_of(1)], seconds=2.0, least_runs=3, clock_ns=clock_ns
    )

    assert len(finished) == sum(runs)
    assert min(runs) >= 3
    assert list(finished) == sorted(finished)


def test_saturate_runs_at_the_same_time() -> None:
    """Two runs that wait for each other both end: neither waits for the other's thread."""
    meeting = threading.Barrier(2, timeout=10)

    finished = saturate([meeting.wait, meeting.wait], seconds=0.0, least_runs=4)

    assert len(finished) == 8


def test_saturate_raises_what_a_run_raised() -> None:
    """A run that fails ends all, and its error is the caller's."""

    def fails() -> None:
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        saturate([fails, lambda: None], seconds=1000.0)
