"""What ``scripts/gpu-check`` makes of what its steps print."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.check import Check
from benchmarks.gpu_check import in_short, profile_of, summary_of_watch
from tests.benchmarks.kit import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A kit that stands in, which makes models too, on a machine that seems to have a GPU."""
    run = Run(tmp_path, fails=[], misses=[], models=())
    run.work = tmp_path / "work" / "bench"

    @contextmanager
    def watched(file: Path) -> Iterator[None]:
        file.write_text("1980, 3201, 35, 99.0, 0x0\n")
        yield

    monkeypatch.setattr(gpu_check, "gpu_state", lambda _: {"name": "GPU"})
    monkeypatch.setattr(gpu_check, "watched", watched)
    monkeypatch.setattr(sys, "executable", str(run.kit / "python"))
    return run


def called(run: Run, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, list[str]]:
    """Call the command; return its exit code, and the names of its steps."""
    folders = {"--output": run.output, "--kit": run.kit, "--work": run.work.parent}
    given = [word for option, folder in folders.items() for word in (option, str(folder))]
    monkeypatch.setattr(sys, "argv", ["gpu-check", *given, *options])
    code = gpu_check.main()
    report = json.loads((run.output / "gpu_check.json").read_text(encoding="utf-8"))
    return code, [step["name"] for step in report["steps"]]


def test_benchmark_is_a_part_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is built or checked, and its files are beside the report."""
    code, steps = called(run, monkeypatch, "--only", "bench", "--optimization-level", "1")

    assert code == 0
    assert (steps[0], steps[-1]) == ("doctor", "report")
    assert sum(step.startswith("build ") for step in steps) == 9
    assert sum("--optimization-level 1 " in line for line in run.asked) == 9
    assert (run.output / "latency.json").exists()


def test_quick_benchmark_is_of_three(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headline, and no other model."""
    _, steps = called(run, monkeypatch, "--only", "bench", "--quick")

    assert [step for step in steps if step.startswith("export ")] == [
        "export yolor-d6",
        "export yolov4-p7",
        "export yolor-p6",
    ]
    report = json.loads((run.output / "gpu_check.json").read_text(encoding="utf-8"))
    assert report["command"] == (
        "scripts/gpu-check --only bench --kit FOLDER --optimization-level 2 --quick"
    )


def test_resumed_benchmark_makes_nothing_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run has left is measured."""
    called(run, monkeypatch, "--only", "bench", "--quick")

    code, steps = called(run, monkeypatch, "--only", "bench", "--quick", "--resume")

    assert code == 0
    assert steps[:2] == ["doctor", "bench"]


def test_benchmark_has_a_time_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it nothing is begun, and the check has not passed."""
    code, steps = called(run, monkeypatch, "--only", "bench", "--bench-seconds", "0")

    assert code == 1
    assert "bench" in steps
    assert not (run.work / "asked.txt").exists()


@pytest.mark.parametrize("part", ["tensorrt", "bench"])
def test_engines_need_a_kit(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part that nothing can run is refused before anything else."""
    monkeypatch.setattr(sys, "argv", ["gpu-check", "--only", part])

    with pytest.raises(SystemExit):
        gpu_check.main()

    assert f"--only {part} needs --kit" in capsys.readouterr().err


def test_report_is_the_same_in_short() -> None:
    """Numbers stand on one line, everything else as JSON has it, and nothing is lost."""
    report = {"samples": [1.5, 2, -3e-05], "text": ["[1, 2]", "a"], "none": [], "nested": [[1], []]}

    text = in_short(report)

    assert json.loads(text) == report
    assert '"samples": [1.5,2,-3e-05]' in text


def test_watch_is_summed_up(tmp_path: Path) -> None:
    """Least, middle and most of each figure, and every reason for lower clocks."""
    path = tmp_path / "watch.csv"
    path.write_text(
        "345, 3201, 30, 70.5, 0x1\n1980, 3201, 41, 300.0, 0x0\n1980, 3201, 35, 99.0, 0x0\n"
    )

    found = summary_of_watch(path)

    assert found["clocks.sm"] == ["345", "1980", "1980"]
    assert found["power.draw"] == ["70.5", "99.0", "300.0"]
    assert found["clocks_event_reasons.active"] == ["0x0", "0x1"]


def test_profile_is_read_from_the_table() -> None:
    """What ncu prints around its table does not matter."""
    out = '==PROF== x\n"ID","Metric Name","Metric Unit","Metric Value"\n"0","a.sum","ns","1,024"\n'

    assert json.loads(str(profile_of(out))) == {"a.sum": ["1,024", "ns"]}
    assert profile_of(None) is None


def test_step_that_fails_or_takes_too_long_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step ends in the report, with its result or with why there is none."""
    check = Check(tmp_path, deadline_s=345)

    check.note(check.step("good", ["echo", '{"cases": 3}'], limit_s=20))
    check.note(check.step("bad", ["sh", "-c", "echo no >&2; exit 3"], limit_s=20))
    check.note(check.step("slow", ["sleep", "60"], limit_s=1.5))
    check.note(check.step("absent", ["no-such-program"], limit_s=20))

    assert [step["passed"] for step in check.steps] == [True, False, False, False]
    assert check.steps[0]["result"] == {"cases": 3}
    assert check.steps[2]["why"] == "not done after 2 s"
    assert "no\n\n== exit code 3" in (tmp_path / "gpu_check.log").read_text(encoding="utf-8")
    assert "FAIL" in capsys.readouterr().out


def test_what_a_step_started_ends_with_it(tmp_path: Path) -> None:
    """A build that a killed step left behind would slow every later one."""
    check = Check(tmp_path, deadline_s=345)
    mark = tmp_path / "went-on"

    check.step("slow", ["sh", "-c", f"(sleep 3; touch {mark}) & echo begun; wait"], limit_s=1.5)

    time.sleep(2.5)
    assert not mark.exists()
    assert check.said == "begun\n"
    assert check.steps[0]["why"] == "not done after 2 s"
