"""Whether a clock of the host sees work of known length, on the host and on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from yolor_deploy.backends.onnxruntime.machine_peak import Load, best_ns, product_chain, runner
from yolor_deploy.backends.onnxruntime.stages import ClockNs
from yolor_deploy.core.runtime import SelfTest

_WAITS_MS = (1.0, 5.0, 20.0)
_WAIT_TRIES = 3
_WAIT_LATE_MS = 0.5  # what a system takes to wake a thread, the best of three times
_WAIT_PART = 0.1
_PRODUCT_SIDE = 4096
_PRODUCT_ROWS = (4096, 8192, 16384)
_PRODUCT_PART = 0.25


def waiting_test(clock_ns: ClockNs, wait: Callable[[float], object]) -> SelfTest:
    """Show pauses of known length to a clock.

    Args:
        clock_ns: Under test.
        wait: Pauses for seconds, by a timer that is not this clock, such as ``time.sleep``.
    """
    seen = [
        min(_ns_of(lambda ms=ms: wait(ms / 1e3), clock_ns) for _ in range(_WAIT_TRIES)) / 1e6  # type: ignore[misc]
        for ms in _WAITS_MS
    ]
    passed = all(
        asked * (1 - _WAIT_PART) <= found <= asked * (1 + _WAIT_PART) + _WAIT_LATE_MS
        for asked, found in zip(_WAITS_MS, seen, strict=True)
    )
    note = (
        f"pauses by the timer of the system, the shortest of {_WAIT_TRIES} each; tolerance "
        f"{_WAIT_PART:.0%}, and {_WAIT_LATE_MS} ms to wake up"
    )
    return SelfTest("host", _WAITS_MS, tuple(seen), passed, note)


def products_test(load: Load, clock_ns: ClockNs, *, device: str, index: int) -> SelfTest:
    """Show matrix products to a clock, of which one takes twice and one four times as long.

    A clock that does not wait for the device sees three launches, which take equally long.

    Args:
        load: From a file to a session on the device.
        clock_ns: Under test.
        device: As ONNX Runtime calls it.
        index: Which.
    """
    works = {
        rows: runner(
            product_chain("fp32", rows=rows, side=_PRODUCT_SIDE, length=1),
            load,
            device=device,
            index=index,
        )
        for rows in _PRODUCT_ROWS
    }
    return proportion_test(works, clock_ns)


def proportion_test(works: Mapping[int, Callable[[], object]], clock_ns: ClockNs) -> SelfTest:
    """Show pieces of work to a clock whose lengths are as their keys.

    Args:
        works: By length, in any unit.
        clock_ns: Under test.
    """
    seen = {length: best_ns(work, clock_ns) / 1e6 for length, work in works.items()}
    longest = max(works)
    asked = {length: seen[longest] * length / longest for length in works}
    passed = all(
        abs(seen[length] - asked[length]) <= _PRODUCT_PART * asked[length] for length in works
    )
    note = (
        f"matrix products on the device of {', '.join(map(str, works))} rows; lengths asked are "
        f"parts of the longest one, tolerance {_PRODUCT_PART:.0%}"
    )
    return SelfTest("host", tuple(asked.values()), tuple(seen.values()), passed, note)


def _ns_of(work: Callable[[], object], clock_ns: ClockNs) -> int:
    begin = clock_ns()
    work()
    return clock_ns() - begin
