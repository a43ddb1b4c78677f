"""Run a command, and tell what the operating system says that it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolor_deploy.measure.environment import current_environment

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One finished run of a command.

    Attributes:
        wall_s: From start to end.
        cpu_s: User and system time of it and its children.
        peak_rss_bytes: Of the process.
        stdout: What it printed.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    stdout: str

    def figures(self) -> dict[str, float | int]:
        """Return the figures without the output."""
        values = asdict(self)
        del values["stdout"]
        return values


def run(command: Sequence[str]) -> ProcessRun:
    """Run a command to its end.

    Raises:
        SystemExit: It failed; its errors were shown.
    """
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ProcessRun(round(wall_s, 3), round(usage.ru_utime + usage.ru_stime, 3), peak, stdout)


def write_result(name: str, command: str, results: Any) -> Path:
    """Write ``benchmarks/results/<name>.json`` with the machine and the commit."""
    value = {
        "command": command,
        "environment": current_environment(ROOT).to_json(),
        "results": results,
    }
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
    return path
