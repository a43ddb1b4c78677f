"""``--require``: what a machine must run, it cannot skip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = """
import pytest

@pytest.mark.tensorrt_rtx
def test_marked():
    pytest.skip("not today")

def test_other():
    pytest.skip("not today either")
"""


@pytest.mark.parametrize(
    ("options", "outcome", "status"),
    [
        pytest.param([], "2 skipped", 0, id="not-required"),
        pytest.param(["--require=tensorrt_rtx"], "1 failed, 1 skipped", 1, id="required"),
        pytest.param(["--require=tensorrt_xrt"], "invalid choice", 4, id="unknown"),
    ],
)
def test_required_marker_cannot_be_skipped(
    tmp_path: Path, options: list[str], outcome: str, status: int
) -> None:
    """A skip is a failure where its marker is required, and an unknown marker is refused."""
    (tmp_path / "test_skipped.py").write_text(SKIPPED, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers = tensorrt_rtx: needs TensorRT-RTX\n", encoding="utf-8"
    )

    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path)]
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
    )

    said = result.stdout + result.stderr
    assert outcome in said
    if status != 4:
        assert ("not today" in said) == bool(options)
    assert result.returncode == status
