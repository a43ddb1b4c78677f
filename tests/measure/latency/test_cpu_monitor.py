"""What is noted of a processor, and whose work counts as that of others."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from tests.system_tree import stat_file, write_system
from yolor_deploy.measure.latency.cpu_monitor import CpuMonitor, own_cpu_s
from yolor_deploy.measure.latency.record import CpuCondition

CGROUP = "sys/fs/cgroup"
TWO = frozenset({0, 1})
FOUR = frozenset(range(4))
IDLE: dict[str, int] = {}


@dataclass
class Machine:
    """A machine of which a test writes the files, and the time on it.

    Attributes:
        root: Of its files.
        now_s: What its clock says.
        own_s: Core time that the process has had.
    """

    root: Path
    now_s: float = 100.0
    own_s: float = 7.0

    def write(self, files: dict[str, object]) -> None:
        """Write files."""
        write_system(self.root, files)

    def ticks(self, *cores: dict[str, int]) -> None:
        """Write ``/proc/stat``."""
        self.write({"proc/stat": stat_file(*cores)})

    def monitor(self, affinity: frozenset[int] = FOUR) -> CpuMonitor:
        """Return a monitor, which reads the machine for the first time."""
        return CpuMonitor(
            self.root, clock=lambda: self.now_s, own_cpu=lambda: self.own_s, affinity=affinity
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine of four cores that has done nothing yet, and tells nothing else."""
    machine = Machine(tmp_path)
    machine.ticks(IDLE, IDLE, IDLE, IDLE)
    return machine


def test_machine_that_tells_nothing_has_an_empty_condition(tmp_path: Path) -> None:
    """Where there is no ``/proc``, as on macOS and Windows, nothing is known and nothing fails."""
    machine = Machine(tmp_path)
    monitor = machine.monitor(frozenset())
    machine.now_s += 1

    assert monitor.condition() == CpuCondition()


def test_work_of_others_is_all_work_without_ours(machine: Machine) -> None:
    """In two seconds four cores have worked 5 s, of them 3 s for this process: 1 core for others.

    Time that waits for a disk, and guests', which are in ``user`` already, do not count.
    """
    monitor = machine.monitor()
    machine.ticks(
        {"user": 100, "guest": 100},
        {"nice": 50, "system": 50, "iowait": 99},
        {"irq": 60, "softirq": 40},
        {"user": 200, "idle": 300},
    )
    machine.now_s += 2
    machine.own_s += 3

    condition = monitor.condition()

    assert condition.busy_others == pytest.approx(1.0)
    assert condition.steal == 0.0


def test_each_condition_counts_from_the_one_before(machine: Machine) -> None:
    """What others did before is not counted again."""
    monitor = machine.monitor()
    machine.ticks({"user": 100}, IDLE, IDLE, IDLE)
    machine.now_s += 1
    first = monitor.condition()
    machine.now_s += 1

    second = monitor.condition()

    assert (first.busy_others, second.busy_others) == (1.0, 0.0)


def test_moment_too_short_to_count_in_is_left_to_the_next(machine: Machine) -> None:
    """Ticks of 10 ms say nothing of 20 ms; what was done in them is counted later."""
    monitor = machine.monitor()
    machine.ticks({"user": 2}, IDLE, IDLE, IDLE)
    machine.now_s += 0.02
    first = monitor.condition()
    machine.ticks({"user": 50}, IDLE, IDLE, IDLE)
    machine.now_s += 0.98

    second = monitor.condition()

    assert (first.busy_others, first.steal) == (None, None)
    assert second.busy_others == pytest.approx(0.5)


def test_clock_that_goes_back_counts_nothing(machine: Machine) -> None:
    """No time, no cores."""
    monitor = machine.monitor()
    machine.ticks({"user": 100}, IDLE, IDLE, IDLE)
    machine.now_s -= 5

    assert monitor.condition().busy_others is None


def test_own_work_beyond_the_ticks_is_no_work_of_others(machine: Machine) -> None:
    """Ticks are coarse: what they miss of this process cannot become less than nothing."""
    monitor = machine.monitor()
    machine.ticks({"user": 98}, IDLE, IDLE, IDLE)
    machine.now_s += 1
    machine.own_s += 1

    assert monitor.condition().busy_others == 0.0


def test_neighbours_on_other_cores_do_not_count_for_a_pinned_process(machine: Machine) -> None:
    """Of a process pinned to cores 0 and 1, cores 2 and 3 can do what they like."""
    monitor = machine.monitor(TWO)
    machine.ticks({"user": 100}, {"user": 150, "steal": 10}, {"user": 200}, {"steal": 90})
    machine.now_s += 2
    machine.own_s += 2

    condition = monitor.condition()

    assert condition.busy_others == pytest.approx(0.25)
    assert condition.steal == pytest.approx(0.05)


def test_neighbours_of_a_container_do_not_count_against_its_quota(machine: Machine) -> None:
    """A host with all cores busy disturbs no process with a quota of its own."""
    machine.write({f"{CGROUP}/cpu.max": "200000 100000", f"{CGROUP}/cpu.stat": "usage_usec 0"})
    monitor = machine.monitor()
    machine.ticks({"user": 200}, {"user": 200}, {"user": 200}, {"user": 200})
    machine.write({f"{CGROUP}/cpu.stat": "usage_usec 3000000"})
    machine.now_s += 2
    machine.own_s += 2.5

    assert monitor.condition().busy_others == pytest.approx(0.25)


def test_stolen_time_counts_in_a_container_too(machine: Machine) -> None:
    """The hypervisor takes cores from whoever runs on them."""
    machine.write({f"{CGROUP}/cpu.max": "200000 100000", f"{CGROUP}/cpu.stat": "usage_usec 0"})
    monitor = machine.monitor()
    machine.ticks({"steal": 50}, {"steal": 50}, IDLE, IDLE)
    machine.now_s += 2

    assert monitor.condition().steal == pytest.approx(0.5)


def test_quota_of_all_cores_of_a_pinned_process_counts_their_work(machine: Machine) -> None:
    """With two cores for itself and a quota of two, who else runs on them is what matters."""
    machine.write({f"{CGROUP}/cpu.max": "200000 100000", f"{CGROUP}/cpu.stat": "usage_usec 0"})
    monitor = machine.monitor(TWO)
    machine.ticks({"user": 100}, IDLE, {"user": 100}, IDLE)
    machine.now_s += 1

    assert monitor.condition().busy_others == pytest.approx(1.0)


def test_container_that_does_not_count_its_usage_tells_nothing_of_others(machine: Machine) -> None:
    """The host's work does not stand in for the container's."""
    machine.write({f"{CGROUP}/cpu.max": "200000 100000"})
    monitor = machine.monitor()
    machine.ticks({"user": 100}, IDLE, IDLE, IDLE)
    machine.now_s += 1

    assert monitor.condition().busy_others is None


def test_cores_that_are_counted_anew_in_a_container_are_all_counted(machine: Machine) -> None:
    """LXC shows two cores as 0 and 1 to a process whose mask says 10 and 11."""
    machine.ticks(IDLE, IDLE)
    monitor = machine.monitor(frozenset({10, 11}))
    machine.ticks({"user": 100}, {"user": 50})
    machine.now_s += 1

    assert monitor.condition().busy_others == pytest.approx(1.5)


def test_system_whose_ticks_are_all_zero_tells_nothing(machine: Machine) -> None:
    """A sandbox that fills ``/proc/stat`` with zeros has not seen that nobody works."""
    machine.write({"proc/stat": "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0"})
    monitor = machine.monitor(frozenset({0}))
    machine.now_s += 1

    assert monitor.condition().busy_others is None


def test_throttling_is_that_of_all_groups_around(machine: Machine) -> None:
    """Each group counts the stops by its own quota only."""
    machine.write(
        {
            "proc/self/cgroup": "0::/slice/service",
            f"{CGROUP}/slice/cpu.stat": "usage_usec 1\nthrottled_usec 1500000",
            f"{CGROUP}/slice/service/cpu.stat": "usage_usec 1\nthrottled_usec 250000",
        }
    )

    assert machine.monitor().condition().throttled_s == pytest.approx(1.75)


def test_load_and_governor_are_as_the_system_says(machine: Machine) -> None:
    """The load is that over a minute, the governor that of the first core of this process."""
    cores = "sys/devices/system/cpu"
    machine.write(
        {
            "proc/loadavg": "1.25 0.50 0.10 2/91 4003",
            f"{cores}/cpu0/cpufreq/scaling_governor": "powersave",
            f"{cores}/cpu2/cpufreq/scaling_governor": "performance",
        }
    )

    condition = machine.monitor(frozenset({2, 3})).condition()

    assert (condition.load, condition.governor) == (1.25, "performance")


def test_frequency_is_the_mean_over_the_cores_of_the_process(machine: Machine) -> None:
    """``/proc/cpuinfo`` of x86 has it in MHz; cores of others do not count."""
    mhz = (1000.5, 2000.0, 3000.0, 4000.0)
    blocks = [f"processor\t: {i}\nmodel name\t: X\ncpu MHz\t\t: {f}" for i, f in enumerate(mhz)]
    machine.write({"proc/cpuinfo": "\n\n".join(blocks)})

    assert machine.monitor(TWO).condition().frequency_mhz == pytest.approx(1500.25)


def test_frequency_of_other_processors_is_that_of_the_driver(machine: Machine) -> None:
    """ARM has no MHz in ``/proc/cpuinfo``; ``cpufreq`` counts kHz."""
    machine.write({"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00"})
    for core, khz in enumerate((1_000_000, 2_000_000, 9_000_000)):
        name = f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"
        machine.write({name: khz})

    assert machine.monitor(TWO).condition().frequency_mhz == pytest.approx(1500.0)


CORE_CHIP = {
    "sys/class/hwmon/hwmon1/name": "coretemp",
    "sys/class/hwmon/hwmon1/temp1_input": 61_000,
    "sys/class/hwmon/hwmon1/temp2_input": 64_500,
}
DISK_CHIP = {
    "sys/class/hwmon/hwmon0/name": "nvme",
    "sys/class/hwmon/hwmon0/temp1_input": 80_000,
}
BOARD_ZONE = {
    "sys/class/thermal/thermal_zone0/type": "acpitz",
    "sys/class/thermal/thermal_zone0/temp": 70_000,
}
CORE_ZONE = {
    "sys/class/thermal/thermal_zone1/type": "CPU-therm",
    "sys/class/thermal/thermal_zone1/temp": 55_000,
}
BROKEN_ZONE = {
    "sys/class/thermal/thermal_zone2/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone2/temp": -274_000,
}


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        pytest.param({**CORE_CHIP, **DISK_CHIP, **BOARD_ZONE}, 64.5, id="chip-of-the-cores"),
        pytest.param({**CORE_CHIP, **CORE_ZONE}, 64.5, id="highest-of-both-kinds"),
        pytest.param({**DISK_CHIP, **CORE_ZONE, **BOARD_ZONE}, 55.0, id="zone-of-the-cores"),
        pytest.param({**DISK_CHIP, **BOARD_ZONE}, 70.0, id="board-where-no-core-is-known"),
        pytest.param({**BROKEN_ZONE, **BOARD_ZONE}, 70.0, id="sensor-that-is-not-there"),
        pytest.param(DISK_CHIP, None, id="disk-alone"),
    ],
)
def test_temperature_is_the_highest_of_the_processor(
    machine: Machine, files: dict[str, object], celsius: float | None
) -> None:
    """Disks do not count, and the board only where nothing better is known."""
    machine.write(files)

    assert machine.monitor().condition().temperature_c == celsius


POWER = "sys/class/power_supply"
PLUGGED = {f"{POWER}/AC/type": "Mains", f"{POWER}/AC/online": 1}
UNPLUGGED = {f"{POWER}/AC/type": "Mains", f"{POWER}/AC/online": 0}
DRAINED = {f"{POWER}/BAT0/type": "Battery", f"{POWER}/BAT0/status": "Discharging"}
FULL = {f"{POWER}/BAT0/type": "Battery", f"{POWER}/BAT0/status": "Full"}
MOUSE = {
    f"{POWER}/hid/type": "Battery",
    f"{POWER}/hid/status": "Discharging",
    f"{POWER}/hid/scope": "Device",
}


@pytest.mark.parametrize(
    ("files", "on_battery"),
    [
        pytest.param({**UNPLUGGED, **DRAINED}, True, id="unplugged"),
        pytest.param(DRAINED, True, id="battery-alone"),
        pytest.param({**PLUGGED, **FULL}, False, id="plugged"),
        pytest.param({**PLUGGED, **DRAINED}, False, id="plugged-into-too-little"),
        pytest.param(FULL, False, id="full"),
        pytest.param({**PLUGGED, **MOUSE}, False, id="battery-of-a-mouse"),
        pytest.param(MOUSE, None, id="mouse-alone"),
        pytest.param({}, None, id="nothing-known"),
    ],
)
def test_battery_is_that_of_the_machine(
    machine: Machine, files: dict[str, object], on_battery: bool | None
) -> None:
    """A machine runs on its battery when that drains and nothing is plugged in."""
    machine.write(files)

    assert machine.monitor().condition().on_battery is on_battery


def test_own_time_grows_with_work_and_with_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads of this process count, and children that have ended."""
    before = own_cpu_s()
    known = os.times()
    times = os.times_result((*known[:2], known[2] + 5.0, known[3] + 2.0, known[4]))
    monkeypatch.setattr(os, "times", lambda: times)

    assert own_cpu_s() - before >= 7.0


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="tells nothing outside Linux")
def test_this_machine_is_read() -> None:
    """The files of the kernel that runs are understood."""
    now = iter([0.0, 1e6])
    monitor = CpuMonitor(clock=lambda: next(now))

    condition = monitor.condition()

    assert condition.load is not None
    assert condition.busy_others is not None
    assert condition.steal is not None
    assert {type(getattr(condition, f.name)) for f in fields(condition)} <= {
        *(float, str, bool),
        type(None),
    }
