"""The NMS library: found, refused, and why."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.cuda.library import NmsLibrary, why_unavailable


def test_library_that_was_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    """A missing library is named, with what builds it."""
    path = tmp_path / "libyolor_nms.so"

    with pytest.raises(BackendUnavailableError, match="was not built") as caught:
        NmsLibrary(path)

    assert caught.value.where == str(path)
    assert "nvcc" in caught.value.hint
    assert why_unavailable(path) == "the NMS library was not built"


def test_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    """A damaged library is an error of the user's installation, not a crash."""
    path = tmp_path / "libyolor_nms.so"
    path.write_bytes(b"\x7fELF" + bytes(60))

    with pytest.raises(BackendUnavailableError, match="does not load"):
        NmsLibrary(path)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        pytest.param("int yolor_nms_version(void) { return 99; }", "version 99", id="newer"),
        pytest.param("int something_else;", "does not load", id="other-library"),
    ],
)
def test_library_of_another_version_is_refused(tmp_path: Path, source: str, problem: str) -> None:
    """The structs of another version have other fields: nothing is called."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    path = tmp_path / "libyolor_nms.so"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=source, text=True, check=True)

    with pytest.raises(BackendUnavailableError, match=problem):
        NmsLibrary(path)
