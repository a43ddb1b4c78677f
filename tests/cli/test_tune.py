"""``yolor-deploy tune``: tables, forms of the result, exit codes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.calibration_sets import folder_of
from tests.cli.invoke import assert_refused, invoke
from tests.exports import exported
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.core.artifact import Artifact


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny.onnx`` and ``images``; the first test that calibrates leaves its file there."""
    path = tmp_path_factory.mktemp("tune")
    exported(write_tiny_checkpoint(path), output=path / "tiny.onnx")
    folder_of(path / "images", 32)
    return path


@pytest.fixture
def arguments(folder: Path, tmp_path: Path) -> list[object]:
    """The command, without its limit."""
    images = ("--calibration", folder / "images", "--score-images", 2, "--truth-threshold", 0.1)
    return ["tune", folder / "tiny.onnx", *images, "-o", tmp_path / "out.json"]


def test_result_is_told_with_the_next_command(
    arguments: list[object], tmp_path: Path, folder: Path
) -> None:
    """Tables of units and of the front; the last line is the command that builds the result."""
    result = invoke(*arguments, "--base", "fp32", "--max-ap-drop", 0)

    assert result.exit_code == 0, result.output
    for words in ("units that cost most: 4 of 4 measured", "Pareto front", "verified: drop 0.00"):
        assert words in result.stdout
    assert "predicted, not measured" in result.stdout
    assert (tmp_path / "out.png").is_file()
    command = shlex.split(result.stdout.splitlines()[-1])
    assert command[:3] == ["yolor-deploy", "build", str(folder / "tiny.onnx")]
    built = invoke(*command[1:], "-o", tmp_path / "built.onnx")
    assert built.exit_code == 0, built.output
    keep = json.loads((tmp_path / "out.json").read_text())["keep"]
    assert keep
    assert Artifact.read(tmp_path / "built.onnx").meta.history[-1].options["keep"] == keep


def test_missed_limit_exits_with_1_after_the_result(
    arguments: list[object], tmp_path: Path
) -> None:
    """The tables are shown, the file is written, and then the error."""
    result = invoke(*arguments, "--max-ap-drop", 0, "--max-trials", 2, "--no-picture")

    assert result.exit_code == 1
    assert "Pareto front" in result.stdout
    assert "error: AP drops by " in result.stderr
    assert f"  where: {tmp_path / 'out.json'}" in result.stderr
    assert "  hint: run it again" in result.stderr
    assert json.loads((tmp_path / "out.json").read_text())["state"] == "missed"
    assert not (tmp_path / "out.png").exists()


def test_json_is_what_is_in_the_file(arguments: list[object], tmp_path: Path) -> None:
    """With ``--json`` stdout is one document."""
    result = invoke(*arguments, "--max-ap-drop", 50, "--no-picture", "--json")

    value = json.loads(result.stdout)
    assert value == json.loads((tmp_path / "out.json").read_text())
    assert value["settings"]["precision"] == "int8+fp16"
    assert value["settings"]["target"] == "tensorrt"
    assert value["keep"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "tpu"), ("'tpu' is not one of onnxruntime, tensorrt", "--target")),
        (("--by", "net"), ("'net' is not one of layer, block", "--by")),
        (("--base", "int4"), ("'int4' is not one of", "--base")),
        (("--method", "mean"), ("'mean' is not one of", "--method")),
        (("--max-ap-drop", "-1"), ("-1.0 given, expected 0 to 100 points", "--max-ap-drop")),
        (("--budget", "0"), ("0.0 given, expected minutes above 0", "--budget")),
        (("--data", "missing"), ("folder without 'annotations.json'", "missing")),
        (("--images", "missing"), ("without the other", "--annotations, --images")),
        (("--calibration", "missing.png"), ("no such file", "missing.png")),
    ],
)
def test_wrong_options_are_one_error(
    arguments: list[object], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """Each is refused before a model runs: error, where and hint."""
    assert_refused(invoke(*arguments, *options), *words)


def test_two_data_sets_are_a_usage_error(arguments: list[object], tmp_path: Path) -> None:
    """Annotations come from a folder or from a file."""
    result = invoke(*arguments, "--data", tmp_path, "--annotations", tmp_path / "a.json")

    assert result.exit_code == 2
    assert "--annotations FILE and --images DIR" in " ".join(result.stderr.replace("│", "").split())


def test_result_serves_the_build_that_it_was_tuned_for(
    arguments: list[object], tmp_path: Path, folder: Path
) -> None:
    """Layers that suffice with half around them need not suffice without, or elsewhere."""
    invoke(*arguments, "--max-ap-drop", 50, "--no-picture")
    model = folder / "tiny.onnx"
    ranges = ("--calibration", folder / "images", "--tuning", tmp_path / "out.json")

    result = invoke("build", model, "--int8", "--target", "tensorrt", *ranges)

    assert_refused(result, "tuned for int8+fp16 on tensorrt", "built for int8 on tensorrt")
