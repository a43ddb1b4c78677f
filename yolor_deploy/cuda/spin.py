"""Work of known length: what proves that the clocks see the work of a GPU.

A clock that is read without waiting sees nothing of it; one that counts in other units sees another
length.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from yolor_deploy.core.errors import RunError
from yolor_deploy.core.runtime import SelfTest
from yolor_deploy.cuda.device import Device

ASKED_MS = (2.0, 5.0, 10.0)
_ASKED_OF_BOTH = (*ASKED_MS, *ASKED_MS)
TOLERANCE_MS = 1.1
"""The timer that the kernel reads moves by 1 us on most GPUs, and by about 1 ms on some.

Source: PTX ISA, ``%globaltimer``: the rate of its updates is the implementation's.
"""
TOLERANCE_PART = 0.02

KERNEL = "spin"
PTX = """\
.version 6.0
.target sm_50
.address_size 64

.visible .entry spin(.param .u64 nanoseconds)
{
  .reg .pred %waits;
  .reg .b64 %length, %start, %now, %passed;
  ld.param.u64 %length, [nanoseconds];
  mov.u64 %start, %globaltimer;
again:
  mov.u64 %now, %globaltimer;
  sub.u64 %passed, %now, %start;
  setp.lt.u64 %waits, %passed, %length;
  @%waits bra again;
  ret;
}
"""
"""As old as any driver compiles, which all newer ones compile too, for GPUs to come as well."""

_NS_PER_MS = 1_000_000
_TRIES = 3  # of each length; another program's slice of the GPU must not decide
_NOTE = (
    f"a kernel that spins until the GPU's own timer has moved on, {_TRIES} times each, the median; "
    f"first by events, then by the host's clock around launch and wait, as a run waits; "
    f"tolerance {TOLERANCE_MS} ms and {TOLERANCE_PART:.0%}"
)


class Spin:
    """A kernel that keeps one multiprocessor busy for a given time.

    Args:
        device: The GPU.

    Raises:
        RunError: The driver does not compile it.
    """

    def __init__(self, device: Device) -> None:
        self._kernel = device.kernel(PTX, KERNEL)

    def launch(self, ms: float, stream: int) -> None:
        """Spin, in the order of a stream; nothing waits.

        Args:
            ms: Milliseconds.
            stream: Handle.
        """
        self._kernel.launch(stream, round(ms * _NS_PER_MS))


def verdict(asked_ms: Sequence[float], seen_ms: Sequence[float]) -> SelfTest:
    """Judge what clocks said of work of known length.

    Args:
        asked_ms: Length of each piece, for one clock after the other.
        seen_ms: What was said of each.
    """
    passed = len(seen_ms) == len(asked_ms) > 0 and all(
        abs(seen - asked) <= TOLERANCE_MS + TOLERANCE_PART * asked  # false for NaN too
        for asked, seen in zip(asked_ms, seen_ms, strict=True)
    )
    return SelfTest("device", tuple(asked_ms), tuple(seen_ms), passed, _NOTE)


def self_test(
    device: Device, stream: int, *, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> SelfTest:
    """Show work of known length to the events of a device, and to the host's clock.

    Stages are timed by the first, whole runs by the second. That sees the work if the host waits
    for it, which is done as a run does it: by ``Device.synchronize`` of the stream.

    Args:
        device: The GPU.
        stream: Handle of the stream that the work is given to.
        clock_ns: Nanoseconds of the host.

    Raises:
        RunError: The GPU failed.
    """
    try:
        spin = Spin(device)
    except RunError as error:  # a driver may be told to compile nothing
        return SelfTest(
            "device", _ASKED_OF_BOTH, (), passed=False, note=f"not made: {error.problem}"
        )
    spin.launch(0.0, stream)  # the first one is loaded to the GPU
    by_events = [_seen_ms(spin, asked, device, stream) for asked in ASKED_MS]
    device.synchronize(stream)
    by_host = [_waited_ms(spin, asked, device, stream, clock_ns) for asked in ASKED_MS]
    return verdict(_ASKED_OF_BOTH, [*by_events, *by_host])


def _seen_ms(spin: Spin, asked_ms: float, device: Device, stream: int) -> float:
    before, after = device.event(), device.event()
    seen = []
    try:
        for _ in range(_TRIES):
            before.record(stream)
            spin.launch(asked_ms, stream)
            after.record(stream)
            after.synchronize()
            seen.append(after.ms_since(before))
    finally:
        before.close()
        after.close()
    return statistics.median(seen)


def _waited_ms(
    spin: Spin, asked_ms: float, device: Device, stream: int, clock_ns: Callable[[], int]
) -> float:
    seen = []
    for _ in range(_TRIES):
        begin = clock_ns()
        spin.launch(asked_ms, stream)
        device.synchronize(stream)
        seen.append((clock_ns() - begin) / _NS_PER_MS)
    return statistics.median(seen)
