"""When the machine is looked at, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.measure.latency.fake_nvml import HANDLE, FakeNvml
from tests.system_tree import write_system
from yolor_deploy.measure.latency.cpu_monitor import CpuMonitor
from yolor_deploy.measure.latency.gpu_monitor import GpuMonitor
from yolor_deploy.measure.latency.monitor import Monitor


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 2.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    """Seconds since the benchmark began, two so far."""
    return FakeClock()


@pytest.fixture
def cpu(tmp_path: Path, clock: FakeClock) -> CpuMonitor:
    """A processor of which only the load is known."""
    write_system(tmp_path, {"proc/loadavg": "0.50 0 0 1/1 1"})
    return CpuMonitor(tmp_path, clock=clock)


def test_conditions_are_kept_in_order_with_their_time(cpu: CpuMonitor, clock: FakeClock) -> None:
    """Times are those of the clock, which counts from the beginning of the benchmark."""
    monitor = Monitor(cpu, None, clock)
    first = monitor.take("before")
    clock.now_s += 3
    second = monitor.take("after")

    assert monitor.conditions == (first, second)
    assert [(c.phase, c.at_s) for c in monitor.conditions] == [("before", 2.0), ("after", 5.0)]


def test_condition_has_processor_and_gpu(cpu: CpuMonitor, clock: FakeClock) -> None:
    """Both are asked at each look."""
    fake = FakeNvml()
    monitor = Monitor(cpu, GpuMonitor(HANDLE, nvml=fake), clock)
    monitor.take("before")
    fake.sm_clock = 900

    condition = monitor.take("during")

    assert condition.cpu.load == 0.5
    assert condition.gpu is not None
    assert condition.gpu.sm_clock_mhz == 900.0


def test_machine_without_a_gpu_has_none(cpu: CpuMonitor, clock: FakeClock) -> None:
    """No GPU is not a GPU of which nothing is known."""
    assert Monitor(cpu, None, clock).take("before").gpu is None


def test_first_look_is_due_at_once(cpu: CpuMonitor, clock: FakeClock) -> None:
    """Nothing has been noted yet."""
    assert Monitor(cpu, None, clock).due()


@pytest.mark.parametrize("phase", ["before", "during"])
def test_look_is_due_half_a_second_after_the_last(
    cpu: CpuMonitor, clock: FakeClock, phase: str
) -> None:
    """Not earlier, whatever the last was for."""
    monitor = Monitor(cpu, None, clock)
    monitor.take("before" if phase == "before" else "during")
    clock.now_s += 0.4375
    early = monitor.due()
    clock.now_s += 0.0625

    assert (early, monitor.due()) == (False, True)


def test_asking_notes_nothing(cpu: CpuMonitor, clock: FakeClock) -> None:
    """When a look is taken is the caller's to decide: nothing is asked while a sample is timed."""
    monitor = Monitor(cpu, None, clock)

    assert monitor.due()
    assert monitor.conditions == ()
