"""``yolor-deploy bench``: tables, raw samples, replay, exit codes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.benchmark.test_run import interrupt_after
from tests.calibration_sets import folder_of
from tests.cli.invoke import assert_refused, invoke
from tests.exports import exported, names_in
from tests.measure.latency.series import clean_record, with_cpu
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.backends.onnxruntime import OnnxRuntimeSession
from yolor_deploy.benchmark.report import page
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.measure.latency.record import Record
from yolor_deploy.measure.latency.record_file import read_record

QUICK = ("--min-samples", 8, "--max-samples", 8, "--warmup", 0, "--no-layers", "--no-curve")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny.onnx``, and ``other.onnx`` of another threshold."""
    path = tmp_path_factory.mktemp("bench")
    checkpoint = write_tiny_checkpoint(path)
    exported(checkpoint, output=path / "tiny.onnx")
    exported(checkpoint, output=path / "other.onnx", nms=NmsConfig(score_threshold=0.5))
    return path


def bench(folder: Path, *arguments: object) -> Result:
    """Measure the tiny model shortly."""
    return invoke("bench", folder / "tiny.onnx", *QUICK, *arguments)


def replayed(tmp_path: Path, record: Record, *arguments: object) -> Result:
    """Show a record that was written by hand."""
    path = tmp_path / "replayed.json"
    path.write_text(json.dumps(record.to_json()), encoding="utf-8")
    return invoke("bench", "--replay", path, *arguments)


def test_latency_is_told_with_its_conditions(folder: Path) -> None:
    """The table, the stages, how it ran, and whether it may be believed."""
    result = bench(folder)

    assert result.exit_code == 0, result.output
    for words in ("latency of one run", "p99", "stages, timed apart", "onnxruntime", "drawn"):
        assert words in result.stdout
    assert result.stdout.splitlines()[-1].startswith(("valid", "warning", "INVALID"))


def test_pair_is_compared(folder: Path) -> None:
    """Ratios are taken against the second, which has a name of its own."""
    result = bench(folder, "--against", folder / "tiny.onnx", "--json")

    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert [subject["name"] for subject in value["subjects"]] == ["tiny", "tiny (2)"]
    ratios = {(ratio["subject"], ratio["reference"]) for ratio in value["summary"]["ratios"]}
    assert ratios == {("tiny", "tiny (2)")}


def test_ratio_is_told_with_its_interval(tmp_path: Path) -> None:
    """A sentence tells how many times as fast, or that no difference can be seen."""
    result = replayed(tmp_path, clean_record())

    assert "at 99 %" in result.stdout


def test_json_has_every_sample_and_is_replayed(folder: Path, tmp_path: Path) -> None:
    """What is printed as JSON gives the same tables again."""
    printed = bench(folder, "--json")
    path = tmp_path / "raw.json"
    path.write_text(printed.stdout, encoding="utf-8")

    again = invoke("bench", "--replay", path, "--json")

    assert printed.exit_code == again.exit_code == 0
    value = json.loads(printed.stdout)
    assert len(value["subjects"][0]["samples"]["run"]) == 8
    assert json.loads(again.stdout) == value


def test_output_and_report_are_written(folder: Path, tmp_path: Path) -> None:
    """The file of samples and the page of both a benchmark and its replay."""
    raw, page, second = (tmp_path / name for name in ("raw.json", "page.html", "again.html"))

    result = bench(folder, "-o", raw, "--report", page)
    again = invoke("bench", "--replay", raw, "--report", second)

    assert result.exit_code == again.exit_code == 0, result.output + again.output
    assert read_record(raw).complete
    assert "<html" in page.read_text(encoding="utf-8")
    assert second.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_strict_refuses_what_was_disturbed(tmp_path: Path) -> None:
    """With --strict an invalid run exits with 1, and the reason is the error; else it is told."""
    disturbed = with_cpu(clean_record(), busy_others=1.5)

    lenient = replayed(tmp_path, disturbed)
    strict = replayed(tmp_path, disturbed, "--strict")

    assert lenient.exit_code == 0
    assert "INVALID: other processes took up to 1.5 cores" in lenient.stdout
    assert strict.exit_code == 1
    assert "error: invalid: other processes" in strict.stderr


def test_strict_takes_what_is_valid(tmp_path: Path) -> None:
    """A clean record passes."""
    result = replayed(tmp_path, clean_record(), "--strict")

    assert result.exit_code == 0, result.output
    assert "valid: nothing was seen" in result.stdout


def test_interrupt_keeps_the_samples_and_exits_with_130(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C shows and writes what there is."""
    interrupt_after(monkeypatch, 3)

    result = bench(folder, "-o", tmp_path / "raw.json")

    assert result.exit_code == 130
    assert "interrupted" in result.stdout
    record = read_record(tmp_path / "raw.json")
    assert record.interrupted
    assert len(record.subjects[0].at_s) == 3


def test_interrupt_before_the_first_sample_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is nothing to show, there is no file either."""

    def interrupted(_self: OnnxRuntimeSession, _images: Array, **_: Any) -> RawOutput:
        raise KeyboardInterrupt

    monkeypatch.setattr(OnnxRuntimeSession, "run", interrupted)

    result = bench(folder, "-o", tmp_path / "raw.json")

    assert result.exit_code == 130
    assert names_in(tmp_path) == []


def test_replay_of_an_interrupted_benchmark_is_no_interrupt(tmp_path: Path) -> None:
    """It is shown with its warning, and nothing was stopped."""
    result = replayed(tmp_path, dataclasses.replace(clean_record(), interrupted=True))

    assert result.exit_code == 0
    assert "stopped by the user" in result.stdout


def test_replay_takes_another_reference(tmp_path: Path) -> None:
    """Ratios are taken against any of the artifacts that were measured."""
    record = clean_record()
    first = record.subjects[0].name

    result = replayed(tmp_path, record, "--reference", first, "--json")

    ratios = json.loads(result.stdout)["summary"]["ratios"]
    assert {ratio["reference"] for ratio in ratios} == {first}


def test_page_that_cannot_be_written_loses_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are printed first, and then the error."""

    def full(*_: Any) -> None:
        raise ArtifactError("cannot write: No space left", where="page.html", hint="free some")

    monkeypatch.setattr(page, "write_report", full)

    result = replayed(tmp_path, clean_record(), "--report", tmp_path / "page.html")

    assert result.exit_code == 1
    assert "latency of one run" in result.stdout
    assert "error: cannot write" in result.stderr


def test_outputs_are_not_written_over_what_is_read(folder: Path, tmp_path: Path) -> None:
    """Neither the reference, nor a picture, nor the samples are replaced by the page."""
    pictures = folder_of(tmp_path / "images", 2)
    picture = next(pictures.iterdir())
    other = folder / "other.onnx"
    same = tmp_path / "same"

    for arguments in (
        ("--against", other, "--report", other),
        ("--images", pictures, "--report", picture),
        ("-o", same, "--report", same),
    ):
        assert_refused(bench(folder, *arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", 2), "batch of 2"),
        (("--images", "nowhere"), "nowhere"),
        (("--against", "nowhere.onnx"), "nowhere.onnx"),
        (("--against", "OTHER"), "not the same work"),
        (("--device", "cuda:99x"), "cuda:99x"),
        (("--noise", 0), "--noise"),
        (("--noise", "nan"), "--noise"),
        (("--time-limit", -1), "--time-limit"),
        (("--streams", 0), "--streams"),
        (("--density", "10:20"), "10:20"),
        (("--density", "x"), "--density"),
        (("--suite", "coco"), "--suite"),
        (("--backend", "openvino"), "--backend"),
        (("--optimization-level", 3), "--optimization-level"),
        (("--fp16",), "--fp16"),
        (("--backend", "tensorrt"), "--backend"),
        (("--density", "10:1"), "--density"),
        (("--against", "yolor-p66"), "did you mean yolor-p6?"),
        (("--against", "yolor-p6"), "80 classes, expected"),
        (("--against", "weights.pt"), "weights.pt"),
        (("--reference", "p7"), "--reference"),
        (("--seed", -1), "--seed"),
        (("-o", "no/such/folder/raw.json"), "does not exist"),
        (("--report", "no/such/folder/page.html"), "does not exist"),
    ],
)
def test_bad_input_is_refused(folder: Path, arguments: tuple[object, ...], words: str) -> None:
    """Each is an error with where and hint, and exit code 1."""
    given = [folder / "other.onnx" if item == "OTHER" else item for item in arguments]

    assert_refused(bench(folder, *given), words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{}", "not the raw samples"),
        ('{"kind": "yolor_deploy.bench", "format": 99, "version": "9"}', "format 99"),
    ],
)
def test_replay_of_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """JSON of another kind or version is refused, and the file is named."""
    path = tmp_path / "raw.json"
    path.write_text(text, encoding="utf-8")

    assert_refused(invoke("bench", "--replay", path), words, str(path))


def test_replay_measures_nothing(folder: Path, tmp_path: Path) -> None:
    """Artifacts beside --replay are a usage error."""
    result = bench(folder, "--replay", tmp_path / "raw.json")

    assert result.exit_code == 2


def test_nothing_to_measure_is_a_usage_error() -> None:
    """Without artifacts there is no benchmark."""
    assert invoke("bench").exit_code == 2
