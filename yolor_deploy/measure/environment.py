"""The machine and the software that a number was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolor_deploy.core.cgroup import memory_limit_bytes, quota_group
from yolor_deploy.core.system_files import ROOT, system_text

_PACKAGES = (
    *("torch", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "numpy", "onnxscript"),
    *("onnxsim", "pillow", "cuda-core", "cuda-bindings", "pycuda", "nvidia-ml-py"),
    *("tensorrt", "tensorrt-rtx"),
)
_DISTRIBUTIONS = {  # of packages that come under several names
    "tensorrt": (
        *("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
        *("tensorrt-cu13-bindings", "tensorrt-cu12-bindings", "tensorrt-bindings"),
    ),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
}
_CONTAINER_FILES = {".dockerenv": "docker", "run/.containerenv": "podman"}
_CONTAINER_GROUPS = ("kubepods", "docker", "libpod", "lxc", "containerd")  # in a group's path


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a measurement was made.

    Attributes:
        cpu: Model name of the processor.
        cores: That this process may use.
        memory_bytes: Of the machine; 0 where that is not known.
        system: Operating system and machine type.
        python: Version.
        packages: Version by name, of those that are installed.
        commit: Of the source tree, with ``+changes`` if it was modified; None outside one.
        kernel: Release of the operating system's kernel.
        quota_cores: Cores that a quota allows this process, such as 1.5; None without one.
        memory_limit_bytes: Of the container; None without one.
        container: Such as ``docker``; None where nothing tells of one.
        virtual_machine: Whether the processor is a hypervisor's; None where it does not tell.
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    packages: Mapping[str, str]
    commit: str | None
    kernel: str = ""
    quota_cores: float | None = None
    memory_limit_bytes: int | None = None
    container: str | None = None
    virtual_machine: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def current_environment(source: Path | None = None, *, root: Path = ROOT) -> Environment:
    """Record this machine.

    Args:
        source: Folder of the source tree whose commit is noted.
        root: Of the file system in which the system tells about itself.
    """
    group = quota_group(root)
    return Environment(
        cpu=next(_cpuinfo(root, "model name"), "") or platform.processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: v for name in _PACKAGES if (v := _version(name))},
        commit=_commit(source) if source else None,
        kernel=platform.release(),
        quota_cores=group.quota_cores() if group else None,
        memory_limit_bytes=memory_limit_bytes(root),
        container=_container(root),
        virtual_machine=_is_virtual(root),
    )


def memory_bytes() -> int:
    """Return the memory of the machine; 0 where that is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _cpuinfo(root: Path, name: str) -> Iterator[str]:
    """Yield the values of a line of ``/proc/cpuinfo``, core by core."""
    for line in system_text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            yield value.strip()


def _container(root: Path) -> str | None:
    """Return what kind of container this is, by the marks that its runtime leaves."""
    manager = system_text(root / "run/systemd/container")  # LXC, nspawn and Podman name themselves
    if manager:
        return manager.splitlines()[0]
    for file, name in _CONTAINER_FILES.items():
        if (root / file).exists():
            return name
    groups = system_text(root / "proc/self/cgroup")
    return next((name for name in _CONTAINER_GROUPS if f"/{name}" in groups), None)


def _is_virtual(root: Path) -> bool | None:
    """Return whether the processor says that a hypervisor runs it, which those of x86 do."""
    if (root / "sys/hypervisor/type").exists():
        return True  # Xen
    flags = next(_cpuinfo(root, "flags"), None)
    return None if flags is None else "hypervisor" in flags.split()


def _version(package: str) -> str | None:
    """Return the version of the first distribution of a package that is installed."""
    versions = (_installed(name) for name in _DISTRIBUTIONS.get(package, (package,)))
    return next((version for version in versions if version), None)


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(source: Path) -> str | None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed program

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
