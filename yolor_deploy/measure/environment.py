"""The machine and the software that a number was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "onnx", "onnx-ir", "onnxruntime", "numpy", "onnxscript", "onnxsim")


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
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    packages: Mapping[str, str]
    commit: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def current_environment(source: Path | None = None) -> Environment:
    """Record this machine.

    Args:
        source: Folder of the source tree whose commit is noted.
    """
    return Environment(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: v for name in _PACKAGES if (v := _version(name))},
        commit=_commit(source) if source else None,
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def memory_bytes() -> int:
    """Return the memory of the machine; 0 where that is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
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
