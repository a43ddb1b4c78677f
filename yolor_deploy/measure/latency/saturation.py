"""Throughput and energy: runs back to back, in several sessions at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

_NS_PER_S = 1e9


def saturate(
    runs: Sequence[Callable[[], object]],
    *,
    seconds: float,
    least_runs: int = 3,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> tuple[float, ...]:
    """Run back to back in one thread each until the time is over.

    Args:
        runs: One per session; each runs once and returns when its outputs are there.
        seconds: How long; a run that began before the end is finished and counts.
        least_runs: Of each thread, however long they take.
        clock_ns: Of the host, nanoseconds.

    Returns:
        When each run ended, seconds since all began together; of all threads, sorted.

    Raises:
        Exception: What the first run that failed raised.
    """
    finished: list[list[int]] = [[] for _ in runs]
    failures: list[BaseException] = []
    start = threading.Barrier(len(runs) + 1)
    is_over = threading.Event()

    def work(run: Callable[[], object], ends: list[int]) -> None:
        start.wait()
        try:
            began = clock_ns()
            while not is_over.is_set():
                run()
                ends.append(clock_ns())
                if len(ends) >= least_runs and ends[-1] - began >= seconds * _NS_PER_S:
                    return
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            failures.append(error)
            is_over.set()

    threads = [
        threading.Thread(target=work, args=pair, daemon=True)
        for pair in zip(runs, finished, strict=True)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    began_ns = clock_ns()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        is_over.set()
        for thread in threads:
            thread.join()
        raise
    if failures:
        raise failures[0]
    return tuple(sorted((end - began_ns) / _NS_PER_S for ends in finished for end in ends))
