"""Times between the parts of what a stream is given."""

from __future__ import annotations

import pytest

from tests.cuda.host_device import OWN_STREAM, HostDevice
from yolor_deploy.cuda.stopwatch import Stopwatch


def test_times_are_those_between_marks() -> None:
    """Each part has its own, and what came before the first mark has none."""
    device = HostDevice()
    watch = Stopwatch(device, OWN_STREAM)
    device.clock.advance(100.0)

    watch.begin()
    for ms in (2.0, 0.5, 0.0):
        device.clock.advance(ms)
        watch.mark()

    assert watch.ms() == pytest.approx((2.0, 0.5, 0.0))


def test_the_gpu_is_busy_before_the_first_mark() -> None:
    """Else the time in which the host queues the work would be the GPU's."""
    device = HostDevice()
    watch = Stopwatch(device, OWN_STREAM)

    watch.begin()

    assert device.clock.now_ms == pytest.approx(0.3)
    assert watch.ms() == ()


def test_events_are_used_again_and_freed() -> None:
    """A thousand runs have as many events as one."""
    device = HostDevice()
    watch = Stopwatch(device, OWN_STREAM)
    for _ in range(1000):
        watch.begin()
        device.clock.advance(1.0)
        watch.mark()

        assert watch.ms() == pytest.approx((1.0,))

    assert len(device.events) == 2
    watch.close()
    assert all(event.is_closed for event in device.events)


def test_without_the_kernel_times_are_taken_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """It is said what they include then."""
    device = HostDevice()
    device.compiles = False

    watch = Stopwatch(device, OWN_STREAM)
    watch.begin()
    device.clock.advance(3.0)
    watch.mark()

    assert watch.ms() == (3.0,)
    assert "include the host's" in caplog.text
