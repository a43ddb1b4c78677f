"""A log as a file: its encoding, its length, and what is no log."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.doctor.log import examine_log

FAILURE = "[E] [TRT] Error Code 1: Internal Error (Unsupported SM: 0x809)"
UNKNOWN = "[E] [TRT] Error Code 2: Internal Error (Assertion moonPhase == kFULL failed.)"


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """Write a log."""
    path = folder / "build.log"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_log_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes UTF-16; a path may hold what is no UTF-8."""
    report = examine_log(write(tmp_path, "[I] modèle.onnx", FAILURE, encoding=encoding))

    assert report.lines == 2
    assert [(item.key, item.line) for item in report.diagnoses] == [("gpu-newer-than-tensorrt", 2)]
    assert report.has_error
    assert report.hint is None


def test_utf_16_of_the_other_byte_order_is_read(tmp_path: Path) -> None:
    """The mark tells which it is."""
    path = tmp_path / "build.log"
    path.write_bytes(b"\xfe\xff" + f"start\n{FAILURE}\n".encode("utf-16-be"))

    assert examine_log(path).diagnoses[0].line == 2


def test_bytes_of_no_encoding_are_quoted_as_escapes(tmp_path: Path) -> None:
    """They are shown as they are, and nothing is lost."""
    path = tmp_path / "build.log"
    path.write_bytes(b"\xff\xc3 " + FAILURE.encode())

    (found,) = examine_log(path).diagnoses

    assert found.text == rf"\xff\xc3 {FAILURE}"


def test_log_without_known_message_points_to_its_first_error(tmp_path: Path) -> None:
    """What is not known yet can become known."""
    report = examine_log(write(tmp_path, "[I] start", UNKNOWN, UNKNOWN))

    assert report.diagnoses == ()
    assert not report.has_error
    assert report.first_error_line == 2
    assert report.hint is not None
    assert "line 2" in report.hint


def test_log_without_error_asks_for_more(tmp_path: Path) -> None:
    """A logger of severity ERROR may have kept the reason to itself."""
    report = examine_log(write(tmp_path, "[I] start", "[I] end"))

    assert report.first_error_line is None
    assert report.hint is not None
    assert "--verbose" in report.hint


def test_empty_log_has_no_lines(tmp_path: Path) -> None:
    """Nothing in it is known, and nothing is wrong."""
    report = examine_log(write(tmp_path))

    assert (report.lines, report.has_error) == (0, False)


def test_line_without_end_is_read_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning is looked at, and lines after it keep their number."""
    monkeypatch.setattr("yolor_deploy.doctor.log._LONGEST_LINE", 100)
    long = f"{FAILURE} {'x' * 1000}"

    report = examine_log(write(tmp_path, "[I] start", long, "x" * 200, "[E] (Unsupported SM: 0x1)"))

    assert report.lines == 4
    assert report.diagnoses[0].line == 2


def test_last_line_needs_no_end(tmp_path: Path) -> None:
    """A process that was killed leaves none."""
    path = tmp_path / "build.log"
    path.write_text(f"[I] start\n{FAILURE}")

    assert (examine_log(path).lines, examine_log(path).diagnoses[0].line) == (2, 2)


def test_log_may_come_through_a_pipe(tmp_path: Path) -> None:
    """``doctor <(trtexec ...)`` gives a file that is read once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"[I] start\n{FAILURE}\n",))
    writer.start()

    report = examine_log(pipe)
    writer.join()

    assert report.diagnoses[0].line == 2


@pytest.mark.parametrize("contents", [b"ftrt\x02\0\0\0", b"text\n\0\n"])
def test_what_is_not_text_is_refused(tmp_path: Path, contents: bytes) -> None:
    """A plan is no log."""
    path = tmp_path / "yolor.engine"
    path.write_bytes(contents)

    with pytest.raises(ArtifactError, match="not text") as caught:
        examine_log(path)

    assert caught.value.where == str(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """The name of it is in the error."""
    with pytest.raises(ArtifactError, match="No such file") as caught:
        examine_log(tmp_path / "none.log")

    assert "none.log" in caught.value.where


def test_folder_is_refused(tmp_path: Path) -> None:
    """It cannot be read."""
    with pytest.raises(ArtifactError, match="cannot be read"):
        examine_log(tmp_path)


def test_report_is_plain_values(tmp_path: Path) -> None:
    """A script finds all of it by name."""
    value = examine_log(write(tmp_path, FAILURE)).to_json()

    assert list(value) == ["ok", "lines", "diagnoses", "hint"]
    assert value["ok"] is False
    (found,) = value["diagnoses"]
    assert list(found) == ["key", "severity", "line", "text", "cause", "remedy"]
