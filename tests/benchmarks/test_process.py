"""Commands run as processes of their own, with what they took."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import process


def python(code: str) -> list[str]:
    """Return a command that runs code."""
    return [sys.executable, "-c", code]


def test_run_returns_output_and_figures() -> None:
    """The peak is that of the process: it is above what it allocated."""
    finished = process.run(python("x = bytearray(64 << 20); print(len(x))"))

    assert finished.stdout == f"{64 << 20}\n"
    assert finished.peak_rss_bytes > 64 << 20
    assert finished.wall_s > 0
    assert set(finished.figures()) == {"wall_s", "cpu_s", "peak_rss_bytes"}


def test_failed_command_stops_the_benchmark() -> None:
    """A number of a command that failed is no number."""
    with pytest.raises(SystemExit, match="failed with 3"):
        process.run(python("raise SystemExit(3)"))


def test_result_has_machine_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the file can repeat it."""
    monkeypatch.setattr(process, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()

    path = process.write_result("name", "python -m something", {"a": 1})

    value = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "benchmarks" / "results" / "name.json"
    assert value["command"] == "python -m something"
    assert value["results"] == {"a": 1}
    assert {"cpu", "cores", "memory_bytes", "packages", "commit"} <= set(value["environment"])
