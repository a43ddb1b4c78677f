"""In which order engines are built and checked, and what is said of what was not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.tensorrt_check.plan import Plan, verdicts_of
from tests.benchmarks.kit import Run


def test_every_step_finds_its_files(tmp_path: Path) -> None:
    """Nothing is left out: each step makes what the later ones need."""
    run = Run(tmp_path, fails=[], misses=[])

    steps = run.run()

    assert all(step["passed"] for step in steps.values()), steps
    assert len(steps) == len(run.check.steps)
    engines = {name for name in steps if name.startswith("build ")}
    ways = {
        "shapes.fp16": ("plugin",),
        "yolor-p6.fp16": ("kernels", "plugin"),
        "yolor-p6.fp32": ("kernels", "plugin", "ops"),
        "yolor-p6.int8": ("kernels", "plugin"),
    }
    assert engines == {f"build {key}.{way}.engine" for key, of in ways.items() for way in of}
    for engine in engines - {"build shapes.fp16.plugin.engine"}:
        assert f"outputs {engine.removeprefix('build ')}" in steps
    assert steps["build yolor-p6.fp16.plugin.engine"]["result"]["size_bytes"] == 4
    assert "meta" not in steps["build yolor-p6.fp16.plugin.engine"]["result"]


def test_steps_that_matter_most_come_first(tmp_path: Path) -> None:
    """A small model all the way, then half precision, then float32, stress, 8 bits."""
    steps = list(Run(tmp_path, fails=[], misses=[]).run())

    order = [
        "registry",
        "accuracy shapes.onnx shapes.fp16.plugin.engine",
        "outputs yolor-p6.fp16.kernels.engine",
        "times fp16",
        "fresh yolor-p6.fp16.plugin.engine",
        "outputs yolor-p6.fp32.kernels.engine",
        "stress yolor-p6.fp16.plugin.engine",
        "outputs yolor-p6.int8.kernels.engine",
    ]
    assert [step for step in steps if step in order] == order


def test_builds_share_one_timing_cache_and_level(tmp_path: Path) -> None:
    """Tactics of one build are known to the next."""
    run = Run(tmp_path, fails=[], misses=[])

    run.run(Plan(has_models=True, level=4))

    builds = [line for line in run.asked if "--backend tensorrt" in line]
    assert len(builds) == 8
    assert all("--optimization-level 4 --timing-cache timing.cache" in line for line in builds)


def test_what_a_failed_build_leaves_out_is_said(tmp_path: Path) -> None:
    """Its steps are recorded with the file that was not made; all others run."""
    run = Run(tmp_path, fails=["-o yolor-p6.fp16.plugin.engine"], misses=[])
    run.work.mkdir()
    (run.work / "yolor-p6.fp16.plugin.engine").write_text("of an earlier run")

    steps = run.run()

    missing = "yolor-p6.fp16.plugin.engine was not made"
    failed = {name: step.get("why") for name, step in steps.items() if not step["passed"]}
    assert failed == {
        "build yolor-p6.fp16.plugin.engine": None,
        "outputs yolor-p6.fp16.plugin.engine": missing,
        "times fp16": missing,
        "overhead yolor-p6.fp16.plugin.engine": missing,
        "fresh yolor-p6.fp16.plugin.engine": missing,
        "stress yolor-p6.fp16.plugin.engine": missing,
    }
    lines = verdicts_of(run.check.steps)
    assert f"not measured: times fp16: {missing}" in lines
    assert "not measured: build yolor-p6.fp16.plugin.engine: it failed, see the log" in lines
    assert "passed: outputs: 1 us, at most 2" in lines


def test_missed_target_keeps_its_figure(tmp_path: Path) -> None:
    """The step has failed, and what it found is in the report."""
    run = Run(tmp_path, fails=[], misses=["stress"])

    step = run.run()["stress yolor-p6.fp16.plugin.engine"]

    assert step["passed"] is False
    assert step["result"]["verdicts"][0]["state"] == "missed"
    assert "missed: stress: 1 us, at most 2" in verdicts_of(run.check.steps)


def test_no_time_is_said_of_every_step(tmp_path: Path) -> None:
    """Nothing is started at the end, and nothing counts as passed."""
    run = Run(tmp_path, fails=[], misses=[])
    run.check.allow(0)

    steps = run.run()

    assert not (run.work / "asked.txt").exists()
    assert not any(step["passed"] for step in steps.values())
    assert steps["registry"]["why"] == "no time was left"
    assert "not measured: registry: no time was left" in verdicts_of(run.check.steps)


def test_models_are_made_by_the_python_that_runs_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without models given, the one with PyTorch makes them first."""
    run = Run(tmp_path, fails=[], misses=[])
    monkeypatch.setattr(sys, "executable", str(run.kit / "python"))

    run.run(Plan(has_models=False))

    assert run.asked[:3] == [
        "-m benchmarks.tensorrt_check registry",
        "-m yolor_deploy doctor --json",
        "-m benchmarks.tensorrt_check.models .",
    ]


def test_report_is_json(tmp_path: Path) -> None:
    """Whatever the steps recorded can be written."""
    run = Run(tmp_path, fails=["fp32"], misses=["times"])

    run.run()

    json.dumps(run.check.steps, allow_nan=False)
