"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def granted_cores(cgroup_root: Path = CGROUP_ROOT) -> int:
    """Return how many cores this process is granted, at least 1.

    The smaller of the affinity mask and the quota of the container. ``os.cpu_count`` counts the
    whole machine: inside a container of two cores on a large host, ONNX Runtime would start a
    thread per core of the host, and they would stop each other.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS and Windows
        cores = os.cpu_count() or 1
    quota = _quota_v2(cgroup_root / "cpu.max") or _quota_v1(cgroup_root / "cpu")
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def _quota_v2(path: Path) -> float | None:
    """Return the cores that ``cpu.max`` ("quota period" or "max period") allows."""
    words = _words(path)
    if len(words) != len(("quota", "period")) or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(folder: Path) -> float | None:
    """Return the cores that ``cpu.cfs_quota_us`` (-1 if unlimited) allows."""
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    if not quota or not period or int(quota[0]) <= 0:
        return None
    return int(quota[0]) / int(period[0])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:  # no such controller
        return []
