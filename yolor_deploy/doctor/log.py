"""A log of TensorRT or trtexec, looked up in the table of known messages."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolor_deploy.backends.tensorrt.catalogue import Diagnosis, diagnose_lines
from yolor_deploy.core.errors import ArtifactError

_HEAD_BYTES = 8192  # that tell text from anything else
_LONGEST_LINE = 1 << 20  # characters; of a longer one only the beginning is looked at
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # what PowerShell writes
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a log says.

    Attributes:
        lines: How many it has.
        diagnoses: Its known messages, the first error first.
        first_error_line: Of the first line that calls itself an error, known or not; None if none
            does.
    """

    lines: int
    diagnoses: tuple[Diagnosis, ...]
    first_error_line: int | None

    @property
    def has_error(self) -> bool:
        """Whether one of the known messages is an error."""
        return any(diagnosis.severity == "error" for diagnosis in self.diagnoses)

    @property
    def hint(self) -> str | None:
        """What to do where nothing is known; None where something is."""
        if self.diagnoses:
            return None
        if self.first_error_line is None:
            return "log more: `trtexec --verbose`, or a logger of severity INFO or VERBOSE"
        return (
            f"line {self.first_error_line} is the first with an error: send it to the authors of "
            "yolor-deploy, with the version of TensorRT"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "ok": not self.has_error,
            "lines": self.lines,
            "diagnoses": [asdict(diagnosis) for diagnosis in self.diagnoses],
            "hint": self.hint,
        }


@dataclass(slots=True)
class _Passed:
    """What was seen while lines went by."""

    lines: int = 0
    first_error_line: int | None = None


def examine_log(path: Path) -> LogReport:
    """Look up a log of any length, in UTF-8, UTF-16 with its mark, or any encoding like ASCII.

    Raises:
        ArtifactError: The file cannot be read, or is not text.
    """
    passed = _Passed()
    try:
        with path.open("rb") as raw:
            encoding = _encoding(raw.peek(_HEAD_BYTES)[:_HEAD_BYTES], path)
            with io.TextIOWrapper(
                raw, encoding=encoding, errors="backslashreplace", newline="\n"
            ) as file:
                diagnoses = diagnose_lines(_lines(file, passed))
    except OSError as error:
        raise ArtifactError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            hint="give an engine, or a log such as that of `trtexec ... > build.log 2>&1`",
        ) from error
    return LogReport(passed.lines, diagnoses, passed.first_error_line)


def _encoding(head: bytes, path: Path) -> str:
    """Return the encoding of a text by its beginning.

    Raises:
        ArtifactError: It is not text.
    """
    for mark, name in _ENCODINGS:
        if head.startswith(mark):
            return name
    if b"\0" in head:
        raise ArtifactError(
            "is not text, and no log therefore",
            where=str(path),
            hint="give the log itself, such as that of `trtexec ... > build.log 2>&1`; for a model "
            "or a checkpoint there is `yolor-deploy info`",
        )
    return "utf-8"


def _lines(file: io.TextIOWrapper, passed: _Passed) -> Iterator[str]:
    """Give lines one by one, of bounded length, and count them."""
    while line := file.readline(_LONGEST_LINE):
        passed.lines += 1
        if passed.first_error_line is None and ("[E]" in line or "ERROR" in line):
            passed.first_error_line = passed.lines
        yield line
        while line and not line.endswith("\n"):
            line = file.readline(_LONGEST_LINE)
