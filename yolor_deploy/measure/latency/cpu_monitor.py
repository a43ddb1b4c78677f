"""What the processor of a benchmark does, and for whom: from ``/proc``, ``/sys`` and the cgroup.

Whose work disturbs a run depends on what the run was given:

- **Container**: a quota of fewer cores than the process may run on. ``/proc/stat`` is the host's
  there, and a neighbour that is busy takes nothing of the quota. Counted is what the group with the
  quota has used, less what this process has: the other processes of the container. A host that has
  promised more cores than it has shows as ``steal`` where it is a hypervisor, and nowhere else.
- **Cores**: a cpuset or ``taskset`` pins the process to some of the cores. Counted is all that runs
  on these cores, whoever it belongs to, less this process. What others do on other cores costs
  memory bandwidth and turbo clocks only, and is not counted.
- **Machine**: neither. Counted is all that runs, less this process.

Ticks of ``/proc/stat`` are 10 ms long, and a core's tick goes to whoever runs when it ends: over
half a second a count is good to some hundredths of a core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from yolor_deploy.core.cgroup import cpu_groups, quota_group
from yolor_deploy.core.system_files import ROOT, system_number, system_text
from yolor_deploy.measure.latency.record import CpuCondition

_MIN_SPAN_S = 0.1  # a shorter one has too few ticks to be counted in
_TICKS_PER_S = 100  # of /proc/stat on every architecture that has wheels of ours
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq; guests are in user
_STEAL = 7
_KHZ_PER_MHZ = 1e3
_PLAUSIBLE_C = range(-50, 150)  # sensors that are not there say -273, 0x8000 and the like
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")  # of hwmon
_CPU_ZONES = ("x86_pkg_temp", "cpu", "soc")  # how their types begin


@dataclass(frozen=True, slots=True)
class _Reading:
    """Counters at one moment.

    Attributes:
        at_s: By the clock of the monitor.
        own_s: Core time of this process.
        busy_s: Core time of all that is counted, this process included.
        steal_s: Core time that the hypervisor took.
    """

    at_s: float
    own_s: float
    busy_s: float | None
    steal_s: float | None


def own_cpu_s() -> float:
    """Return the core time of this process and of its children that have ended, in seconds.

    A child's time is known when it has ended: until then it counts as that of another process.
    """
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class CpuMonitor:
    """Reads the condition of the processor; knows nothing, and fails at nothing, outside Linux.

    Args:
        root: Of the file system.
        clock: Seconds.
        own_cpu: Core time of this process in seconds.
        affinity: Cores that this process may run on; None for what the system says.
    """

    def __init__(
        self,
        root: Path = ROOT,
        *,
        clock: Callable[[], float] = time.perf_counter,
        own_cpu: Callable[[], float] = own_cpu_s,
        affinity: frozenset[int] | None = None,
    ) -> None:
        self._root = root
        self._clock = clock
        self._own_cpu = own_cpu
        listed = frozenset(self._core_ticks())
        mask = _affinity() if affinity is None else affinity
        # A container of LXC counts its cores from 0 in /proc/stat, whatever the mask says.
        self._cores = mask if mask and mask <= listed else listed
        group = quota_group(root)
        quota = group.quota_cores() if group else None
        self._container = group if quota and quota < len(self._cores) else None
        self._last = self._read()

    def condition(self) -> CpuCondition:
        """Return the condition now; work of others since the condition before, or since the start.

        ``busy_others`` and ``steal`` are None where less than 0.1 s has passed: the next call then
        covers this time too.
        """
        busy_others, steal = self._since_last()
        governor = self._root / f"sys/devices/system/cpu/cpu{min(self._cores, default=0)}/cpufreq"
        load = system_text(self._root / "proc/loadavg").split()
        throttled = [s for g in cpu_groups(self._root) if (s := g.throttled_s()) is not None]
        return CpuCondition(
            frequency_mhz=self._frequency_mhz(),
            governor=system_text(governor / "scaling_governor") or None,
            load=float(load[0]) if load else None,
            busy_others=busy_others,
            steal=steal,
            throttled_s=sum(throttled) if throttled else None,  # each counts its own quota only
            temperature_c=_temperature_c(self._root / "sys/class"),
            on_battery=_on_battery(self._root / "sys/class/power_supply"),
        )

    def _since_last(self) -> tuple[float | None, float | None]:
        """Return the cores that others had, and the hypervisor, since the last reading."""
        before, now = self._last, self._read()
        span = now.at_s - before.at_s
        if span < _MIN_SPAN_S:
            return None, None
        self._last = now
        busy, steal = _grown(before.busy_s, now.busy_s), _grown(before.steal_s, now.steal_s)
        if busy is not None:
            busy = max(0.0, busy - (now.own_s - before.own_s))
        return busy and busy / span, steal and steal / span

    def _read(self) -> _Reading:
        at_s, own_s = self._clock(), self._own_cpu()
        ticks = [times for core, times in self._core_ticks().items() if core in self._cores]
        busy = sum(times[i] for times in ticks for i in _BUSY) / _TICKS_PER_S if ticks else None
        steal = sum(times[_STEAL] for times in ticks) / _TICKS_PER_S if ticks else None
        if self._container:
            busy = self._container.usage_s()
        return _Reading(at_s, own_s, busy, steal)

    def _core_ticks(self) -> dict[int, list[int]]:
        """Return the ticks of each core by kind, as ``/proc/stat`` orders them."""
        ticks = {}
        for line in system_text(self._root / "proc/stat").splitlines():
            name, *counts = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and len(counts) > _STEAL:
                ticks[int(name[3:])] = [int(count) for count in counts]
        return {core: counts for core, counts in ticks.items() if any(counts)}  # gVisor counts none

    def _frequency_mhz(self) -> float | None:
        """Return the mean over the cores of this process.

        ``/proc/cpuinfo`` has it on x86, of all cores at once; ``cpufreq`` can take milliseconds for
        each.
        """
        known = [mhz for core, mhz in self._cpuinfo_mhz() if core in self._cores]
        if not known:
            folder = self._root / "sys/devices/system/cpu"
            files = (folder / f"cpu{core}/cpufreq/scaling_cur_freq" for core in self._cores)
            known = [khz / _KHZ_PER_MHZ for file in files if (khz := system_number(file))]
        return sum(known) / len(known) if known else None

    def _cpuinfo_mhz(self) -> Iterator[tuple[int, float]]:
        core = -1
        for line in system_text(self._root / "proc/cpuinfo").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "processor" and value.strip().isdigit():
                core = int(value)
            elif key.strip() == "cpu MHz":
                yield core, float(value)


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset()  # macOS and Windows


def _grown(before: float | None, now: float | None) -> float | None:
    """Return the growth of a counter; 0 where it went back, as that of a resumed machine can."""
    return None if before is None or now is None else max(0.0, now - before)


def _temperature_c(classes: Path) -> float | None:
    """Return the highest sensor of the processor, or of the board where none is known as such."""
    chips = [
        (any(system_text(chip / "name") == name for name in _CPU_CHIPS), file)
        for chip in sorted(classes.glob("hwmon/hwmon*"))
        for file in sorted(chip.glob("temp*_input"))
    ]
    zones = [
        (system_text(zone / "type").lower().startswith(_CPU_ZONES), zone / "temp")
        for zone in sorted(classes.glob("thermal/thermal_zone*"))
    ]
    of_cpu = _degrees(file for is_cpu, file in chips + zones if is_cpu)
    # Without one, zones alone: a chip of hwmon can as well be a disk or a network card.
    return max(of_cpu or _degrees(file for _, file in zones), default=None)


def _degrees(files: Iterator[Path]) -> list[float]:
    values = (system_number(file) for file in files)
    return [m / 1000 for m in values if m is not None and m // 1000 in _PLAUSIBLE_C]


def _on_battery(folder: Path) -> bool | None:
    """Return whether the machine runs on its battery; None where nothing tells of its supply."""
    supplies = [
        supply
        for supply in sorted(folder.glob("*"))
        if system_text(supply / "scope") != "Device"  # a mouse's battery
    ]
    batteries = [s for s in supplies if system_text(s / "type") == "Battery"]
    plugged = [system_number(s / "online") for s in supplies if s not in batteries]
    if 1 in plugged:
        return False
    states = [system_text(battery / "status") for battery in batteries]
    if not states:
        return None
    return "Discharging" in states
