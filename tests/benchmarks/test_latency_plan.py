"""Which models are measured, in which order, and what keeps the time for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.tensorrt_check import __main__ as command
from benchmarks.tensorrt_check.latency_plan import (
    HEADLINE,
    OTHERS,
    LatencyPlan,
    engine_file,
    model_file,
)
from benchmarks.tensorrt_check.plan import Step, verdicts_of
from tests.benchmarks.kit import Run
from yolor_deploy.benchmark.options import SUITES
from yolor_deploy.cli import app

_LAST = {"latency", "report"}


class Suite(Run):
    """A run of the benchmark; the same stand-in makes models, and builds and measures engines."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        fails: tuple[str, ...] = (),
        models: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, fails=list(fails), misses=[], models=models)
        monkeypatch.setattr(sys, "executable", str(self.kit / "python"))
        self.check.allow(570)
        self.plan = LatencyPlan(self.work, self.output, names=HEADLINE, models=self.models)

    def run_suite(self, **changes: Any) -> dict[str, dict[str, Any]]:
        """Run with other settings than the headline's."""
        return self.run(replace(self.plan, **changes))

    def leave(self, *names: str) -> None:
        """Leave the files of an earlier run."""
        self.work.mkdir(exist_ok=True)
        for name in names:
            for file in (model_file(name), engine_file(name), f"{engine_file(name)}.json"):
                (self.work / file).write_text("of an earlier run")

    @property
    def measured(self) -> str:
        """The command of the benchmark of all engines."""
        return next(line for line in self.asked if " bench " in line)


def steps_of(plan: LatencyPlan) -> Iterator[Step]:
    """Yield the steps, each of which makes its files."""
    for step in plan.steps():
        yield step
        for name in step.makes:
            (plan.work / name).write_text("made")


def test_suite_is_that_of_the_command() -> None:
    """The check measures what `bench --suite yolor` does."""
    assert sorted(HEADLINE + OTHERS) == sorted(SUITES["yolor"])


def test_every_model_is_measured_beside_p7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps pass, one process measures all engines, and its files are in the output."""
    suite = Suite(tmp_path, monkeypatch)

    steps = suite.run_suite(names=HEADLINE + OTHERS)

    assert all(step["passed"] for step in steps.values()), steps
    engines = " ".join(map(engine_file, HEADLINE + OTHERS))
    assert f"bench {engines} --reference yolov4-p7.fp16 " in suite.measured
    assert "--time-limit 135 -o ../out/latency.json" in suite.measured
    assert {path.name for path in suite.output.iterdir()} == {
        "gpu_check.log",
        "latency.json",
        "latency_itself.json",
        "latency.html",
    }


def test_headline_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D6 and P7, then P6, then the rest; the verdicts at the end are of both records."""
    suite = Suite(tmp_path, monkeypatch)

    steps = list(suite.run_suite(names=(*HEADLINE, "yolor-w6")))

    assert steps == [
        "doctor",
        "export yolor-d6",
        "build yolor-d6.fp16.engine",
        "export yolov4-p7",
        "build yolov4-p7.fp16.engine",
        "export yolor-p6",
        "build yolor-p6.fp16.engine",
        "export yolor-w6",
        "build yolor-w6.fp16.engine",
        "bench",
        "bench yolor-p6.fp16.engine against itself",
        "latency",
        "report",
    ]
    assert suite.asked[-2].endswith("latency ../out/latency.json ../out/latency_itself.json")


def test_models_that_are_given_are_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the names that `bench` gives them."""
    suite = Suite(tmp_path, monkeypatch, models=("yolov4-p7.1000-100.onnx", "yolor-p6.onnx"))

    steps = suite.run_suite()

    assert [name for name in steps if name.startswith("export")] == [
        "export yolor-d6",
        "export yolor-p6",
    ]
    assert steps["build yolov4-p7.fp16.engine"]["passed"]


def test_model_that_is_not_made_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are measured, an engine of an earlier run is not, and what is missing is said."""
    suite = Suite(tmp_path, monkeypatch, fails=("export yolov4-p7",))
    suite.leave("yolov4-p7")

    steps = suite.run_suite()

    assert "bench yolor-d6.fp16.engine yolor-p6.fp16.engine --noise" in suite.measured
    assert steps["latency"]["passed"]
    assert [line for line in verdicts_of(suite.check.steps) if line.startswith("not measured")] == [
        "not measured: export yolov4-p7: it failed, see the log",
        "not measured: build yolov4-p7.fp16.engine: yolov4-p7.1000-100.onnx was not made",
    ]


def test_without_an_engine_nothing_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of an earlier run are not taken for those of this one."""
    suite = Suite(tmp_path, monkeypatch, fails=("build",))
    (suite.output / "latency.json").write_text("of an earlier run")

    steps = suite.run_suite()

    assert steps["bench"]["why"] == "yolor-d6.fp16.engine was not made"
    assert steps["latency"]["why"] == "../out/latency.json was not made"
    assert not (suite.output / "latency.json").exists()


def test_failed_comparison_with_itself_keeps_the_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of the one record that there is."""
    suite = Suite(tmp_path, monkeypatch, fails=("latency_itself.json",))

    steps = suite.run_suite()

    assert steps["latency"]["passed"]
    assert suite.asked[-2].endswith("latency ../out/latency.json")


def test_resumed_run_takes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of an earlier run are measured beside those that are made now."""
    suite = Suite(tmp_path, monkeypatch)
    suite.leave("yolor-d6", "yolor-p6")

    steps = suite.run_suite(is_resumed=True)

    assert list(steps)[1:4] == ["export yolov4-p7", "build yolov4-p7.fp16.engine", "bench"]
    assert (suite.work / engine_file("yolor-d6")).read_text() == "of an earlier run"
    assert f"bench {' '.join(map(engine_file, HEADLINE))} " in suite.measured


def test_time_of_the_benchmark_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little time left, no model is begun, and what is there is measured."""
    suite = Suite(tmp_path, monkeypatch)
    suite.leave("yolor-d6", "yolov4-p7")
    suite.check.allow(150)

    steps = suite.run_suite(is_resumed=True)

    assert steps["export yolor-p6"]["why"] == "no time was left"
    assert steps["bench"]["passed"]
    assert steps["latency"]["passed"]


def test_each_engine_needs_more_time(tmp_path: Path) -> None:
    """What is kept grows with the engines that will be measured, and all fits ten minutes."""
    plan = LatencyPlan(tmp_path, tmp_path / "out", names=HEADLINE + OTHERS)
    (tmp_path / "out").mkdir()

    steps = list(steps_of(plan))

    kept = [step.reserve_s for step in steps if step.name.startswith("build")]
    assert kept == sorted(set(kept))
    assert max(kept) < 570
    assert all(step.reserve_s > 0 for step in steps if step.name not in {"doctor", *_LAST})
    assert all(step.limit_s <= 450 for step in steps)


def test_command_lines_are_understood(tmp_path: Path) -> None:
    """Every option is one that its command has, with a value that it takes."""
    plan = LatencyPlan(tmp_path, tmp_path / "out", names=HEADLINE + OTHERS)
    (tmp_path / "out").mkdir()
    commands: Any = typer.main.get_command(app)
    checked = []

    for step in steps_of(plan):
        _, module, name, *arguments = step.command
        checked.append(name)
        if module == "yolor_deploy":
            found = commands.commands[name].make_context(name, arguments)
            assert not found.args
        else:
            assert command.command_parser().parse_args([name, *arguments]).step == name

    assert set(checked) == {"doctor", "export", "build", "bench", "latency", "report"}
