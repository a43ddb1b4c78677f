"""Files that are no checkpoint at all, as people do hand them in."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from yolor_deploy.checkpoint import read_checkpoint
from yolor_deploy.core.errors import CheckpointError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def tar() -> bytes:
    """Return an archive of the kind that torch.save wrote at first."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("storages"))
    return out.getvalue()


def npy() -> bytes:
    """Return a NumPy array as a file."""
    out = io.BytesIO()
    np.save(out, np.zeros(100))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "problem", "hint"),
    [
        pytest.param(b"", "empty file", "again", id="empty"),
        pytest.param(LFS, "git-LFS pointer", "git lfs pull", id="git-lfs"),
        pytest.param(b"\n<!DOCTYPE html><html>x", "web page", "link to the file", id="html"),
        pytest.param(b"\xef\xbb\xbf<html>" + b"x" * 999, "web page", "again", id="html-with-bom"),
        pytest.param(b"Rar!\x1a\x07\x01\0xxx", "RAR archive", "unpack", id="rar"),
        pytest.param(b"7z\xbc\xaf\x27\x1c\0\4", "7z archive", "unpack", id="7z"),
        pytest.param(b"\x1f\x8b\x08\0xx", "gzip archive", "unpack", id="gzip"),
        pytest.param(tar(), "tar archive", "saved again", id="tar"),
        pytest.param(b"PK\5\6" + bytes(18), "empty zip", "again", id="empty-zip"),
        pytest.param(pickle.dumps({"a": 1}), "pickle that torch.save", "torch.save", id="pickle"),
        pytest.param(b"ftrt" + bytes(64), "TensorRT engine", "give a .pt", id="engine"),
        pytest.param(b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite", "give a .pt", id="tflite"),
        pytest.param(b"\x89HDF\r\n\x1a\n", "HDF5", "give a .pt", id="keras"),
        pytest.param(npy(), "NumPy array", "give a .pt", id="npy"),
        pytest.param(b"\xff\xd8\xff\xe0xx", "JPEG image", "give a .pt", id="jpeg"),
        pytest.param(b"[net]\nbatch=1\n", "darknet description", "--cfg", id="cfg"),
        pytest.param(b"nc: 80\n", "text, which begins 'nc: 80", "give a .pt", id="yaml"),
        pytest.param("ж".encode() * 600, "text, which begins", "give a .pt", id="utf-8"),
        pytest.param(bytes(5000), "512 zero bytes", "again", id="zeros"),
        pytest.param(bytes(range(7, 250)) * 9, "no known kind", "give a .pt", id="noise"),
    ],
)
def test_file_that_is_no_checkpoint_is_called_what_it_is(
    tmp_path: Path, content: bytes, problem: str, hint: str
) -> None:
    """Each kind has its own words, and says what to do."""
    path = tmp_path / "yolor_p6.pt"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=problem) as error:
        read_checkpoint(path)

    assert hint in error.value.hint
    assert error.value.where == str(path)


def test_onnx_model_is_called_what_it_is(tmp_path: Path) -> None:
    """An exported model goes to other commands."""
    path = tmp_path / "model.pt"
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    onnx.save(helper.make_model(graph), str(path))

    with pytest.raises(CheckpointError, match="ONNX model"):
        read_checkpoint(path)


def test_missing_file_is_said(tmp_path: Path) -> None:
    """A typing error is the commonest."""
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "missing.pt")


def test_folder_is_said(tmp_path: Path) -> None:
    """A run's folder is not its checkpoint."""
    with pytest.raises(CheckpointError, match="folder"):
        read_checkpoint(tmp_path)


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Opening a pipe would wait for ever."""
    path = tmp_path / "pipe.pt"
    os.mkfifo(path)

    with pytest.raises(CheckpointError, match="device or pipe"):
        read_checkpoint(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_said(tmp_path: Path) -> None:
    """The permission is what the hint speaks of."""
    path = tmp_path / "secret.pt"
    path.write_bytes(b"x")
    path.chmod(0)

    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["x" * 5000, "zero\0byte"])
def test_impossible_path_is_said(tmp_path: Path, name: str) -> None:
    """A path that no file can have is a user's mistake like any other."""
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / name)
