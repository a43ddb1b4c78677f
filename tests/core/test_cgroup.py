"""What control groups allow a process: version 1, version 2, in a container and on a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system_tree import write_system
from yolor_deploy.core.cgroup import (
    available_bytes,
    cpu_groups,
    granted_cores,
    memory_limit_bytes,
    quota_group,
)

V1 = "sys/fs/cgroup/cpu"
V2 = "sys/fs/cgroup"
SERVICE = {"proc/self/cgroup": "0::/system.slice/bench.service"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({"cpu.max": "200000 100000"}, 2, id="v2"),
        pytest.param({"cpu.max": "150000 100000"}, 2, id="v2-rounds-up"),
        pytest.param({"cpu.max": "1000 100000"}, 1, id="v2-at-least-one"),
        pytest.param({"cpu.max": "max 100000"}, 6, id="v2-unlimited"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3, id="v1"
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 6, id="v1-unlimited"
        ),
        pytest.param({"cpu.max": "1600000 100000"}, 6, id="more-than-the-affinity"),
        pytest.param({"cpu.max": "what is this"}, 6, id="unreadable"),
        pytest.param({}, 6, id="no-cgroup"),
    ],
)
def test_granted_cores_follow_quota_and_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    """The smaller of the affinity mask, six cores here, and the quota rounded up counts."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    write_system(tmp_path, {f"{V2}/{name}": text for name, text in files.items()})

    assert granted_cores(tmp_path) == cores


def test_least_quota_of_the_groups_around_counts(tmp_path: Path) -> None:
    """A quota of the slice holds for the service in it, whose own is larger."""
    write_system(
        tmp_path,
        {
            **SERVICE,
            f"{V2}/system.slice/cpu.max": "250000 100000",
            f"{V2}/system.slice/bench.service/cpu.max": "400000 100000",
        },
    )

    group = quota_group(tmp_path)

    assert group is not None
    assert group.limits == tmp_path / V2 / "system.slice"
    assert group.quota_cores() == 2.5


def test_groups_are_listed_from_the_own_one_up(tmp_path: Path) -> None:
    """A process is in its own group and in all around it."""
    write_system(tmp_path, {**SERVICE, f"{V2}/system.slice/bench.service/cpu.stat": "usage_usec 1"})
    top = tmp_path / V2

    groups = cpu_groups(tmp_path)

    assert [group.limits for group in groups] == [
        top / "system.slice/bench.service",
        top / "system.slice",
        top,
    ]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("0::/docker/0123", id="of-the-host"),
        pytest.param("0::/../../other", id="outside-of-what-is-mounted"),
        pytest.param("", id="none"),
    ],
)
def test_path_that_the_container_does_not_show_leaves_the_top(tmp_path: Path, line: str) -> None:
    """In a container the top of the tree is the container's group."""
    write_system(tmp_path, {"proc/self/cgroup": line, f"{V2}/cpu.max": "150000 100000"})

    group = quota_group(tmp_path)

    assert group is not None
    assert (group.limits, group.quota_cores()) == (tmp_path / V2, 1.5)


def test_usage_and_throttling_of_version_2_are_in_seconds(tmp_path: Path) -> None:
    """The file counts microseconds."""
    stat = "usage_usec 2500000\nuser_usec 1\nnr_throttled 3\nthrottled_usec 750000"
    write_system(tmp_path, {f"{V2}/cpu.stat": stat})

    (group,) = cpu_groups(tmp_path)

    assert (group.usage_s(), group.throttled_s()) == (2.5, 0.75)


def test_usage_and_throttling_of_version_1_are_in_seconds(tmp_path: Path) -> None:
    """The files count nanoseconds, each in the tree of its controller, at the controller's path."""
    write_system(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu:/a\n2:cpuacct:/a\n1:name=systemd:/b\n0::/c",
            f"{V1}/a/cpu.stat": "nr_periods 9\nthrottled_time 750000000",
            "sys/fs/cgroup/cpuacct/a/cpuacct.usage": "2500000000",
        },
    )

    own = cpu_groups(tmp_path)[0]

    assert own.limits == tmp_path / V1 / "a"
    assert (own.usage_s(), own.throttled_s()) == (2.5, 0.75)


def test_groups_without_a_quota_do_not_count_throttling(tmp_path: Path) -> None:
    """What the kernel does not count is not zero."""
    write_system(tmp_path, {f"{V2}/cpu.stat": "usage_usec 1\nuser_usec 1"})

    (group,) = cpu_groups(tmp_path)

    assert group.throttled_s() is None


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        pytest.param({f"{V2}/memory.max": "1073741824"}, 1 << 30, id="v2"),
        pytest.param({f"{V2}/memory.max": "max"}, None, id="v2-unlimited"),
        pytest.param({f"{V2}/memory/memory.limit_in_bytes": "4096"}, 4096, id="v1"),
        pytest.param(
            {f"{V2}/memory/memory.limit_in_bytes": "9223372036854771712"}, None, id="v1-unlimited"
        ),
        pytest.param(
            {
                **SERVICE,
                f"{V2}/system.slice/memory.max": "1000",
                f"{V2}/system.slice/bench.service/memory.max": "2000",
            },
            1000,
            id="of-the-slice-around",
        ),
        pytest.param({}, None, id="no-cgroup"),
    ],
)
def test_memory_limit_is_the_least(
    tmp_path: Path, files: dict[str, str], limit: int | None
) -> None:
    """The least limit of all groups counts; none where there is no limit."""
    write_system(tmp_path, files)

    assert memory_limit_bytes(tmp_path) == limit


def test_available_bytes_are_what_system_and_groups_leave(tmp_path: Path) -> None:
    """The least of what the system calls available and what a limit leaves."""
    write_system(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    4 kB\n"})
    without_limit = available_bytes(tmp_path)
    write_system(tmp_path, {f"{V2}/memory.max": "3000", f"{V2}/memory.current": "1000"})

    with_limit = available_bytes(tmp_path)

    assert (without_limit, with_limit) == (4096, 2000)


def test_available_bytes_may_not_be_known(tmp_path: Path) -> None:
    """A system that tells nothing is no system without memory."""
    assert available_bytes(tmp_path) is None
