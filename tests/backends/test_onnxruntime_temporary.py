"""What is written to disk for measuring goes again, and a disk that is full is told."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import onnx
import pytest

from tests.backends.test_onnxruntime_instruments import images, made, opened
from yolor_deploy.backends.onnxruntime import head_session, machine_peak, profile
from yolor_deploy.backends.onnxruntime.instruments import OnnxRuntimeInstruments
from yolor_deploy.backends.onnxruntime.temporary import temporary_folder
from yolor_deploy.core.errors import ArtifactError

Use = Callable[[OnnxRuntimeInstruments], object]

USES = [
    pytest.param(lambda instruments: instruments.run_stages(images()), id="stages"),
    pytest.param(lambda instruments: instruments.profile(images(), 1), id="profile"),
    pytest.param(lambda instruments: instruments.peak(), id="peak"),
]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(machine_peak, "_CHAINS", {"cpu": ((8, 2),)})
    monkeypatch.setattr(machine_peak, "_COPY_BYTES", {"cpu": 4000})
    return folder


def disk_full(*_: object, **__: object) -> NoReturn:
    """Refuse to write."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("use", USES)
def test_nothing_is_left_behind(tmp_path: Path, temporary: Path, use: Use) -> None:
    """Whatever was written is gone once it was loaded."""
    use(OnnxRuntimeInstruments(opened(made(tmp_path))))

    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("use", USES)
def test_folder_that_cannot_be_made_is_told(tmp_path: Path, temporary: Path, use: Use) -> None:
    """As on a disk that is read-only."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))
    temporary.rmdir()

    with pytest.raises(
        ArtifactError, match=r"cannot write .*: No such file or directory"
    ) as caught:
        use(instruments)

    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("use", USES)
def test_disk_that_is_full_is_told(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, use: Use
) -> None:
    """And no folder is left."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))
    monkeypatch.setattr(head_session, "write_model", disk_full)
    monkeypatch.setattr(onnx, "save", disk_full)
    monkeypatch.setattr(profile, "inference_session", disk_full)

    with pytest.raises(ArtifactError, match="No space left on device"):
        use(instruments)

    assert list(temporary.iterdir()) == []


def test_profile_that_was_cut_off_is_told(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime writes as much as there is place for, and says nothing."""
    instruments = OnnxRuntimeInstruments(opened(made(tmp_path)))
    whole = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: whole(path, **how)[:100])

    with pytest.raises(ArtifactError, match="its profile was not written to the end"):
        instruments.profile(images(), 1)

    assert list(temporary.iterdir()) == []


def test_errors_of_the_load_keep_their_type(temporary: Path) -> None:
    """Only what the disk refuses is an error of the folder."""
    with pytest.raises(KeyError), temporary_folder("a file", where="test"):
        raise KeyError

    assert list(temporary.iterdir()) == []
