"""What the control groups of this process, such as a container's, allow it and have counted.

Version 1 has a tree of folders for each controller, version 2 one tree for all. Inside a container
the tree mostly begins at the container's own group; on a host the own group lies somewhere below.

Source: ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1`` of Linux.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from yolor_deploy.core.system_files import ROOT, system_number, system_text

_UNLIMITED_BYTES = 1 << 60  # version 1 writes the largest multiple of a page for "no limit"


@dataclass(frozen=True, slots=True)
class CpuGroup:
    """One group that this process is in.

    Attributes:
        limits: Folder of the controller ``cpu``.
        accounts: Folder of ``cpuacct``; the same in version 2.
    """

    limits: Path
    accounts: Path

    def quota_cores(self) -> float | None:
        """Return the cores that the group may use, all its processes together; None if any."""
        words = system_text(self.limits / "cpu.max").split()  # "quota period" or "max period"
        if not words:
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")  # the quota is -1 if unlimited
            words = [system_text(self.limits / name) for name in files]
        try:
            quota, period = (int(word) for word in words)
        except ValueError:  # "max", or no such files
            return None
        return quota / period if quota > 0 and period > 0 else None

    def usage_s(self) -> float | None:
        """Return the core time that all its processes have used, in seconds."""
        microseconds = _entry(self.accounts / "cpu.stat", "usage_usec")
        if microseconds is not None:
            return microseconds / 1e6
        nanoseconds = system_number(self.accounts / "cpuacct.usage")
        return None if nanoseconds is None else nanoseconds / 1e9

    def throttled_s(self) -> float | None:
        """Return the core time for which the quota has stopped it, in seconds, over all cores."""
        microseconds = _entry(self.limits / "cpu.stat", "throttled_usec")
        if microseconds is not None:
            return microseconds / 1e6
        nanoseconds = _entry(self.limits / "cpu.stat", "throttled_time")
        return None if nanoseconds is None else nanoseconds / 1e9


def cpu_groups(root: Path = ROOT) -> tuple[CpuGroup, ...]:
    """Return the groups of this process, its own first, then those around it."""
    limits, accounts = _top(root, "cpu"), _top(root, "cpuacct")
    return tuple(
        CpuGroup(limits / below, accounts / below)
        for below in _ways_up(root, "cpu")
        if (limits / below).is_dir()
    )


def quota_group(root: Path = ROOT) -> CpuGroup | None:
    """Return the group with the least quota; None where nothing limits this process."""
    limited = [(quota, group) for group in cpu_groups(root) if (quota := group.quota_cores())]
    return min(limited, key=lambda pair: pair[0])[1] if limited else None


def granted_cores(root: Path = ROOT) -> int:
    """Return how many cores this process is granted, at least 1.

    The smaller of the affinity mask and the quota of the container. ``os.cpu_count`` counts the
    whole machine: inside a container of two cores on a large host, ONNX Runtime would start a
    thread per core of the host, and they would stop each other.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS and Windows
        cores = os.cpu_count() or 1
    group = quota_group(root)
    quota = group.quota_cores() if group else None
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Return the memory that the groups of this process allow it; None where they do not limit."""
    top = _top(root, "memory")
    sizes = [
        size
        for below in _ways_up(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (size := system_number(top / below / name)) is not None and size < _UNLIMITED_BYTES
    ]
    return min(sizes, default=None)


def available_bytes(root: Path = ROOT) -> int | None:
    """Return the memory that this process may still take; None where that is not known.

    What the system calls available, or what the limits of its groups leave, if that is less.
    """
    lines = (system_text(root / "proc/meminfo") or "").splitlines()
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    top = _top(root, "memory")
    for below in _ways_up(root, "memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            size, taken = (system_number(top / below / name) for name in (limit, used))
            if size is not None and taken is not None and size < _UNLIMITED_BYTES:
                free.append(max(0, size - taken))
    return min(free, default=None)


def _top(root: Path, controller: str) -> Path:
    """Return where the tree of a controller begins: a folder of its own in version 1."""
    top = root / "sys/fs/cgroup"
    return top / controller if (top / controller).is_dir() else top


def _ways_up(root: Path, controller: str) -> Iterator[PurePosixPath]:
    """Yield the path of the own group below the top of its tree, then of those around it.

    A path that the container does not show begins nowhere below the top: its last way up, the top
    itself, is then the container's group.
    """
    versions: dict[bool, str] = {}
    for line in system_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or controller in controllers.split(","):
            versions[bool(controllers)] = path.lstrip("/")  # version 1 names its controllers
    below = PurePosixPath(versions.get(_top(root, controller).name == controller, ""))
    if ".." not in below.parts:  # else the group lies outside what is mounted
        yield from (way for way in (below, *below.parents) if way.parts)
    yield PurePosixPath()


def _entry(path: Path, name: str) -> int | None:
    """Return the number behind a name in a file of lines ``name number``."""
    for line in system_text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return None
