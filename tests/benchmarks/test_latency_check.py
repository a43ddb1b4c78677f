"""What is said of the targets of a benchmark, from records that are made up."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.tensorrt_check import __main__ as command
from benchmarks.tensorrt_check.latency import judge_latency
from benchmarks.tensorrt_check.verdict import Report, holds, is_met, line, report, stated
from tests.benchmarks.latency_records import (
    GPU,
    SELF_TEST,
    Change,
    suite,
    twin,
    with_engine,
    with_stage,
    without,
)
from tests.measure.latency.series import SAMPLES, conditions, with_gpu
from yolor_deploy.measure.latency.record import CpuCondition, Record, Settings

ITSELF = "one engine against itself"
SPEEDUP = "D6 over P7, model alone"
P6_TIME = "YOLOR-P6 with NMS, on the device"
NMS_SHARE = "yolor-p6.fp16: share of NMS"
ROOFLINE = "yolor-d6.fp16: distance from the roofline"
VALID = "benchmark: reasons not to believe it"
WATCHED = "benchmark: clocks, throttling and others on the GPU"
TESTED = "self-test of the device's clock: clocks that failed"
OVERHEAD = "overhead of the harness per sample"


def states(found: Report) -> dict[str, str]:
    """Return the state of each target."""
    return {verdict["target"]: verdict["state"] for verdict in found["verdicts"]}


def figure(found: Report, target: str) -> float:
    """Return the figure of a target."""
    (verdict,) = (v for v in found["verdicts"] if v["target"] == target)
    return float(verdict["figure"])


def test_benchmark_that_reaches_everything_passes() -> None:
    """Each target has its verdict, and what has no limit is stated."""
    found = judge_latency(suite(), twin())

    names = ("yolor-d6.fp16", "yolov4-p7.fp16", "yolor-p6.fp16")
    assert states(found) == {
        SPEEDUP: "passed",
        "D6 over P7, whole runs": "stated",
        P6_TIME: "passed",
        **{f"{name}: share of NMS": "passed" for name in names},
        **{f"{name}: distance from the roofline": "stated" for name in names},
        VALID: "passed",
        TESTED: "passed",
        OVERHEAD: "passed",
        f"{ITSELF}, run": "passed",
        f"{ITSELF}, model": "passed",
        f"{ITSELF}: reasons not to believe it": "passed",
    }
    assert figure(found, SPEEDUP) == pytest.approx(2.0, rel=0.01)
    assert figure(found, "D6 over P7, whole runs") == pytest.approx(8.15 / 4.15, rel=0.01)
    assert figure(found, P6_TIME) == pytest.approx(2.03, rel=0.01)
    assert figure(found, ROOFLINE) == pytest.approx(2.0, rel=0.01)
    assert figure(found, OVERHEAD) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        pytest.param(with_stage("yolor-d6", "model", 4.3), {SPEEDUP}, id="slow-d6"),
        pytest.param(with_stage("yolor-p6", "model", 2.48), {P6_TIME}, id="slow-p6"),
        pytest.param(with_stage("yolor-p6", "nms", 0.06), {NMS_SHARE}, id="slow-nms"),
        pytest.param(
            lambda record: with_gpu(record, throttle_reasons=("sw_power_cap",)),
            {VALID},
            id="throttled",
        ),
        pytest.param(
            with_engine("yolor-p6", self_test=replace(SELF_TEST, passed=False)),
            {TESTED, VALID},
            id="self-test",
        ),
        pytest.param(
            lambda record: replace(record, overhead_us={"clock": 0.3, "sample": 1.8}),
            {OVERHEAD},
            id="overhead",
        ),
    ],
)
def test_target_that_is_not_reached_is_missed(change: Change, missed: set[str]) -> None:
    """It is, and no other."""
    found = judge_latency(change(suite()), twin())

    assert {target for target, state in states(found).items() if state == "missed"} == missed
    assert not is_met(found)


@pytest.mark.parametrize(
    ("change", "target", "why"),
    [
        pytest.param(without("yolov4-p7"), SPEEDUP, "yolov4-p7 in fp16", id="no-p7"),
        pytest.param(without("yolor-d6"), "D6 over P7, whole runs", "yolor-d6 in fp16", id="no-d6"),
        pytest.param(
            with_engine("yolor-d6", precision="fp32"), SPEEDUP, "yolor-d6 in fp16", id="fp32"
        ),
        pytest.param(
            lambda record: replace(record, settings=Settings(batch=4)),
            P6_TIME,
            "yolor-p6 in fp16, one image a run, is not in the record",
            id="batch",
        ),
        pytest.param(with_engine("yolor-d6", stages={}), SPEEDUP, "no rounds", id="no-stages"),
        pytest.param(
            lambda record: replace(record, settings=Settings(reference="yolor-p6.fp16")),
            SPEEDUP,
            "no rounds",
            id="other-reference",
        ),
        pytest.param(with_engine("yolor-p6", clock="host"), P6_TIME, "host's clock", id="host"),
        pytest.param(
            with_engine("yolor-p6", conditions=replace(GPU, nms="none")),
            P6_TIME,
            "whose place is 'none'",
            id="no-nms",
        ),
        pytest.param(
            with_engine("yolor-p6", stages={"model": (2.0,) * SAMPLES}),
            NMS_SHARE,
            "no stage of its own",
            id="nms-inside",
        ),
        pytest.param(
            with_engine("yolor-d6", peak=None, notes=("peak of the machine not measured: x",)),
            ROOFLINE,
            "peak of the machine not measured: x",
            id="no-peak",
        ),
        pytest.param(
            lambda record: replace(record, conditions=conditions(CpuCondition(), None)),
            WATCHED,
            "NVML was not there",
            id="not-watched",
        ),
        pytest.param(
            with_engine("yolor-p6", self_test=None), TESTED, "yolor-p6.fp16", id="not-tested"
        ),
        pytest.param(
            with_engine("yolor-p6", self_test=replace(SELF_TEST, clock="host")),
            TESTED,
            "yolor-p6.fp16",
            id="other-clock-tested",
        ),
        pytest.param(
            lambda record: replace(record, overhead_us={}), OVERHEAD, "not in the record", id="none"
        ),
        pytest.param(
            lambda record: replace(
                record, subjects=tuple(replace(s, samples={}) for s in record.subjects)
            ),
            VALID,
            "there are no samples",
            id="no-samples",
        ),
    ],
)
def test_what_was_not_measured_is_said(change: Change, target: str, why: str) -> None:
    """A target without a figure is neither passed nor missed, and the reason is given."""
    found = judge_latency(change(suite()), twin())

    (verdict,) = (v for v in found["verdicts"] if v["target"] == target)
    assert (verdict["state"], verdict["figure"]) == ("not measured", None)
    assert why in verdict["note"]
    json.dumps(found, allow_nan=False)


def test_plugin_inside_is_part_of_the_model() -> None:
    """Then the time of the model is the time with NMS."""
    inside = with_engine(
        "yolor-p6",
        conditions=replace(GPU, nms="plugin"),
        stages={"model": (2.2,) * SAMPLES},
    )

    found = judge_latency(inside(suite()), twin())

    assert figure(found, P6_TIME) == pytest.approx(2.2)
    assert states(found)[P6_TIME] == "passed"


@pytest.mark.parametrize(
    ("record", "target", "state"),
    [
        pytest.param(twin(speedup=1.05), f"{ITSELF}, run", "missed", id="other-run"),
        pytest.param(twin(speedup=1.05), f"{ITSELF}, model", "missed", id="other-model"),
        pytest.param(twin(samples=6), f"{ITSELF}, run", "not measured", id="few"),
        pytest.param(suite(), ITSELF, "not measured", id="not-itself"),
        pytest.param(None, ITSELF, "not measured", id="not-done"),
        pytest.param(
            with_gpu(twin(), other_processes=(7,)),
            f"{ITSELF}: reasons not to believe it",
            "missed",
            id="disturbed",
        ),
    ],
)
def test_engine_against_itself_is_judged(record: Record | None, target: str, state: str) -> None:
    """The interval of its ratio must hold 1, in a record that may be believed."""
    assert states(judge_latency(suite(), record))[target] == state


def test_findings_and_figures_are_kept() -> None:
    """A table can be made of the report alone."""
    throttled = with_gpu(suite(), throttle_reasons=("sw_power_cap",))

    found = judge_latency(throttled, None)

    assert found["conditions"] == ["GPU, tensorrt 8.6.0"]
    assert found["findings"] == ["invalid, all: the GPU throttled: sw_power_cap"]
    assert found["engines"]["yolor-d6.fp16"]["runs"] == SAMPLES
    assert found["engines"]["yolor-d6.fp16"]["speedup"]["run"][0] == pytest.approx(1.96, rel=0.01)
    assert found["engines"]["yolov4-p7.fp16"]["speedup"] == {}


def test_lines_of_text_have_limit_and_interval() -> None:
    """What is stated has no limit, and an interval is told with its ends."""
    found = report([stated("roofline", 1.75, "times"), holds("itself", 1.01, (1.005, 1.02), 1.0)])

    lines = [line(verdict) for verdict in found["verdicts"]]

    assert lines == [
        "stated: roofline: 1.75 times",
        "missed: itself: 1.01, an interval that holds 1 (1.0050 to 1.0200)",
    ]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Records of a benchmark and of an engine against itself, as `bench -o` writes them."""
    paths = (tmp_path / "latency.json", tmp_path / "itself.json")
    for path, record in zip(paths, (suite(), twin()), strict=True):
        path.write_text(json.dumps(record.to_json()), encoding="utf-8")
    return paths


def test_command_judges_files(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code tells whether a target was missed."""
    record, itself = map(str, files)

    code = command.main(["latency", record, itself])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found == json.loads(json.dumps(judge_latency(suite(), twin())))


def test_command_says_that_a_target_was_missed(tmp_path: Path) -> None:
    """The exit code is 1."""
    path = tmp_path / "latency.json"
    slow = with_stage("yolor-d6", "model", 6.0)(suite())
    path.write_text(json.dumps(slow.to_json()), encoding="utf-8")

    assert command.main(["latency", str(path)]) == 1


def test_command_refuses_what_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and the reason is shown."""
    path = tmp_path / "latency.json"
    path.write_text("{}", encoding="utf-8")

    assert command.main(["latency", str(path)]) == 2
    assert "not the raw samples of a benchmark" in capsys.readouterr().err


def test_page_is_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    """It has the engines of the record."""
    page = tmp_path / "latency.html"

    code = command.main(["report", str(files[0]), str(page)])

    assert code == 0
    assert "yolor-d6.fp16" in page.read_text(encoding="utf-8")


def test_page_needs_matplotlib(
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without it there is no page, which is said and is no failure."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    code = command.main(["report", str(files[0]), str(tmp_path / "latency.html")])

    (verdict,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert (code, verdict["state"]) == (0, "not measured")
    assert "matplotlib" in verdict["note"]
    assert not (tmp_path / "latency.html").exists()
