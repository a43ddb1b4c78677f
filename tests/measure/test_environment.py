"""What is noted of the machine behind a number."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.system_tree import write_system
from yolor_deploy.measure.environment import Environment, current_environment, memory_bytes


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as somebody."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with one commit."""
    (tmp_path / "file").write_text("1", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_environment_is_of_this_machine() -> None:
    """Versions are those that are imported, and all of it is plain JSON."""
    environment = current_environment()

    assert environment.cpu
    assert environment.cores >= 1
    assert environment.python == platform.python_version()
    assert environment.packages["numpy"] == np.__version__
    assert environment.commit is None
    assert json.loads(json.dumps(environment.to_json())) == environment.to_json()


def test_commit_is_that_of_the_tree(tree: Path) -> None:
    """A tree as it was committed is named by its hash alone."""
    assert current_environment(tree).commit == git(tree, "rev-parse", "HEAD")


def test_changed_tree_is_marked(tree: Path) -> None:
    """A number from a modified tree cannot pass for the commit's; new files do not count."""
    (tree / "new").write_text("x", encoding="utf-8")
    untouched = current_environment(tree).commit
    (tree / "file").write_text("2", encoding="utf-8")

    changed = current_environment(tree).commit

    assert changed == f"{untouched}+changes"
    assert untouched == git(tree, "rev-parse", "HEAD")


def test_folder_outside_a_tree_has_no_commit(tmp_path: Path) -> None:
    """No repository is no error."""
    assert current_environment(tmp_path).commit is None


def test_machine_without_git_has_no_commit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there is no error."""
    monkeypatch.setenv("PATH", str(tree))

    assert current_environment(tree).commit is None


def test_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages times their size; 0 where the system does not say."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    known = memory_bytes()

    def unknown(_: str) -> int:
        raise ValueError

    monkeypatch.setattr(os, "sysconf", unknown, raising=False)

    assert (known, memory_bytes()) == (4_096_000, 0)


def test_limits_of_a_container_are_noted(tmp_path: Path) -> None:
    """Quota and memory are those of the control group, and the kind of container has a name."""
    write_system(
        tmp_path,
        {
            "sys/fs/cgroup/cpu.max": "150000 100000",
            "sys/fs/cgroup/memory.max": "2147483648",
            ".dockerenv": "",
        },
    )

    environment = current_environment(root=tmp_path)

    assert environment.quota_cores == 1.5
    assert environment.memory_limit_bytes == 2 << 30
    assert environment.container == "docker"


def test_machine_without_limits_notes_none(tmp_path: Path) -> None:
    """What is not known is not zero."""
    environment = current_environment(root=tmp_path)

    assert environment.quota_cores is None
    assert environment.memory_limit_bytes is None
    assert environment.container is None
    assert environment.virtual_machine is None
    assert environment.kernel == platform.release()


@pytest.mark.parametrize(
    ("files", "container"),
    [
        pytest.param({"run/systemd/container": "lxc"}, "lxc", id="names-itself"),
        pytest.param({"run/.containerenv": 'engine="podman"'}, "podman", id="podman"),
        pytest.param(
            {"proc/self/cgroup": "1:cpu:/kubepods/burstable/pod1"}, "kubepods", id="kubernetes"
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/system.slice/docker-0123.scope"}, "docker", id="by-its-group"
        ),
        pytest.param({"proc/self/cgroup": "0::/user.slice"}, None, id="none"),
    ],
)
def test_container_is_known_by_its_marks(
    tmp_path: Path, files: dict[str, str], container: str | None
) -> None:
    """Each runtime leaves its own."""
    write_system(tmp_path, files)

    assert current_environment(root=tmp_path).container == container


@pytest.mark.parametrize(
    ("files", "virtual"),
    [
        pytest.param({"proc/cpuinfo": "flags\t: fpu hypervisor sse"}, True, id="guest"),
        pytest.param({"proc/cpuinfo": "flags\t: fpu vmx sse"}, False, id="metal"),
        pytest.param({"proc/cpuinfo": "Features\t: fp asimd"}, None, id="arm"),
        pytest.param({"sys/hypervisor/type": "xen"}, True, id="xen"),
    ],
)
def test_virtual_machine_is_known_by_its_processor(
    tmp_path: Path, files: dict[str, str], virtual: bool | None
) -> None:
    """A processor of x86 says that a hypervisor runs it; others do not tell."""
    write_system(tmp_path, files)

    assert current_environment(root=tmp_path).virtual_machine is virtual


def test_processor_is_named_by_the_system(tmp_path: Path) -> None:
    """The first core's name is that of all."""
    cores = "processor: 0\nmodel name\t: Fast 9000\n\nprocessor: 1\nmodel name\t: Slow"
    write_system(tmp_path, {"proc/cpuinfo": cores})

    assert current_environment(root=tmp_path).cpu == "Fast 9000"


def test_package_of_several_names_is_noted_under_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT comes in distributions for each CUDA; that which is installed has the version."""
    installed = {"tensorrt-cu12-bindings": "10.9", "tensorrt-rtx": "1.7", "nvidia-ml-py": "13.1"}

    def version(name: str) -> str:
        if name in installed:
            return installed[name]
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)

    assert current_environment().packages == {
        "nvidia-ml-py": "13.1",
        "tensorrt": "10.9",
        "tensorrt-rtx": "1.7",
    }


def test_record_of_an_older_version_is_still_an_environment() -> None:
    """What is new has a value that says that it is not known."""
    old = {"cpu": "X", "cores": 2, "memory_bytes": 1, "system": "Linux x86_64", "python": "3.11"}

    environment = Environment(**old, packages={}, commit=None)  # type: ignore[arg-type]

    assert environment.kernel == ""
    assert environment.virtual_machine is None
