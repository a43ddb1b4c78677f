"""``yolor-deploy doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import yolor_deploy.doctor
from tests.cli.invoke import assert_refused, invoke
from tests.engines import written_engine
from yolor_deploy.core.artifact import passport_path
from yolor_deploy.doctor import Finding

FAILURE = "[E] [TRT] Error Code 1: Internal Error (Unsupported SM: 0x809)"


def write_log(folder: Path, *lines: str) -> Path:
    """Write a log."""
    path = folder / "build.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_table_has_a_line_for_each_finding() -> None:
    """What is there, and what mends what is not."""
    result = invoke("doctor")

    assert result.exit_code == 0, result.output
    for name in ("numpy", "onnxruntime", "ONNX Runtime on CUDA", "NMS library"):
        assert name in result.stdout


def test_json_has_all_findings() -> None:
    """A script finds state and remedy by name."""
    value = json.loads(invoke("doctor", "--json").stdout)

    assert value["ok"] is True
    assert list(value["findings"][0]) == ["area", "name", "state", "detail", "use", "hint"]
    areas = [finding["area"] for finding in value["findings"]]
    assert list(dict.fromkeys(areas)) == ["packages", "memory", "GPU", "NMS", "TensorRT"]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_what_is_broken_is_a_failure(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """The exit code says it, and the output still tells everything."""
    broken = Finding("packages", "numpy", "broken", "not installed", hint="pip install numpy")
    monkeypatch.setattr(yolor_deploy.doctor, "examine", lambda: [broken])

    result = invoke("doctor", *arguments)

    assert result.exit_code == 1
    assert "pip install numpy" in result.stdout


def test_log_is_explained(tmp_path: Path) -> None:
    """The line, what it means and what to do, and an exit code that says it failed."""
    result = invoke("doctor", write_log(tmp_path, "[I] start", FAILURE))

    assert result.exit_code == 1
    for word in ("line", "found", "cause", "remedy", "2", "ERROR", "8.9", "newer TensorRT"):
        assert word in result.stdout


def test_log_is_explained_as_json(tmp_path: Path) -> None:
    """A script finds all of it by name."""
    path = write_log(tmp_path, FAILURE)
    result = invoke("doctor", path, "--json")
    value = json.loads(result.stdout)

    assert result.exit_code == 1
    assert (value["file"], value["ok"], value["lines"]) == (str(path), False, 1)
    assert value["diagnoses"][0]["key"] == "gpu-newer-than-tensorrt"


def test_log_of_warnings_is_no_failure(tmp_path: Path) -> None:
    """They are told, and end nothing."""
    result = invoke("doctor", write_log(tmp_path, "[W] CUDA lazy loading is not enabled."))

    assert result.exit_code == 0, result.output
    assert "harmless" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_log_without_known_message_says_so(tmp_path: Path, arguments: list[str]) -> None:
    """It is not called well: what to do next is told."""
    path = write_log(tmp_path, "[I] start", "[E] something else")
    result = invoke("doctor", path, *arguments)

    assert result.exit_code == 0, result.output
    assert "line 2 is the first with an error" in result.stdout


def test_what_a_log_says_cannot_reach_the_terminal(tmp_path: Path) -> None:
    """Neither sequences nor markup of a quoted line are acted on."""
    line = f"\x07\x1b]0;owned\x07 [red]{FAILURE}"
    result = invoke("doctor", write_log(tmp_path, line))

    assert "\x07" not in result.stdout
    assert "\x1b" not in result.stdout
    assert "[red]" in result.stdout


def test_what_a_passport_says_cannot_reach_the_terminal(tmp_path: Path) -> None:
    """A version is quoted without what a terminal would act on."""
    path = written_engine(tmp_path / "yolor.engine").path
    beside = passport_path(path)
    value = json.loads(beside.read_text(encoding="utf-8"))
    value["builder"]["version"] = "\x1b[31m10"
    beside.write_text(json.dumps(value), encoding="utf-8")

    result = invoke("doctor", path)

    assert "\x1b" not in result.stdout
    assert "\\x1b[31m10" in result.stdout


def test_line_break_in_a_name_stays_in_its_line(tmp_path: Path) -> None:
    """A message has three lines whatever the file is called."""
    result = invoke("doctor", tmp_path / "a\nb.engine")

    assert_refused(result, "a\\nb.engine", "give an engine, or a log")
    assert len(result.stderr.splitlines()) == 3


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_file_that_is_no_log_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    """Bytes tell nothing, and neither does a plan without its passport."""
    path = tmp_path / "yolor.engine"
    path.write_bytes(b"\x08\x02\0\0")
    assert_refused(invoke("doctor", path, *arguments), "not text", str(path), "trtexec")

    path.write_bytes(b"ftrt\x02\0\0\0")
    assert_refused(invoke("doctor", path, *arguments), "without its passport", str(path))


def test_missing_log_is_refused(tmp_path: Path) -> None:
    """The name is told."""
    assert_refused(invoke("doctor", tmp_path / "none.log"), "No such file", "none.log")
