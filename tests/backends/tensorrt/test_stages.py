"""Work that is plain at first and a graph from then on, and its times."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cuda.host_device import OWN_STREAM, HostDevice
from yolor_deploy.backends.tensorrt.layer_profile import layer_times
from yolor_deploy.backends.tensorrt.stages import Repeated
from yolor_deploy.core.errors import RunError
from yolor_deploy.core.runtime import LayerTime
from yolor_deploy.cuda.device import Graph


class CountingDevice(HostDevice):
    """A device that counts captures, and may refuse them."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self.refuses = refuses
        self.captures = 0

    def capture(self, work: Callable[[int], None]) -> Graph:
        """Count it."""
        self.captures += 1
        if self.refuses:
            raise RunError("cannot be captured", where="test", hint="none")
        return super().capture(work)


def test_work_is_captured_on_its_second_run() -> None:
    """Once, and done once a run; the first loads what a capture must not load."""
    device, done = CountingDevice(), list[int]()
    work = Repeated(device, done.append)

    captures = []
    for _ in range(4):
        work.launch(OWN_STREAM)
        captures.append(device.captures)

    assert captures == [0, 1, 1, 1]
    assert done == [OWN_STREAM] * 4


def test_work_that_cannot_be_captured_is_done_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is tried once, and said."""
    device, done = CountingDevice(refuses=True), list[int]()
    work = Repeated(device, done.append)

    for _ in range(4):
        work.launch(OWN_STREAM)

    assert done == [OWN_STREAM] * 4
    assert device.captures == 1
    assert caplog.text.count("timed without a graph") == 1


def test_layer_times_keep_the_order_of_the_first_run() -> None:
    """A layer that is missing in some runs has the median of those that it is in."""
    runs = [[("a", 1.0), ("b", 5.0)], [("b", 7.0), ("a", 3.0)], [("a", 2.0)]]

    assert layer_times(runs) == (LayerTime("a", 2.0), LayerTime("b", 6.0))


def test_layer_times_of_nothing_are_none() -> None:
    """A profiler that was told nothing."""
    assert layer_times([[], []]) == ()
