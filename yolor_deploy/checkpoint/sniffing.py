"""What a file is, by its content: suffixes lie, and people save web pages as ``yolor_p6.pt``."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path

from yolor_deploy.checkpoint.darknet_weights import looks_like_weights
from yolor_deploy.checkpoint.legacy import MAGIC_PICKLE
from yolor_deploy.checkpoint.model import Container
from yolor_deploy.checkpoint.safetensors_file import looks_like_safetensors
from yolor_deploy.core.artifact import looks_like_onnx
from yolor_deploy.core.errors import CheckpointError

HEAD_BYTES = 512

_UNPACK = "unpack it, and give the checkpoint inside"
_OTHER = "give a .pt, .weights or .safetensors file of YOLOR or Scaled-YOLOv4"
_TAR_MAGIC = (257, b"ustar")

# (offset, first bytes, what it is, what to do)
_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "git-LFS pointer: the text that stands for a file in a repository, not the file",
        "run `git lfs pull` in that repository, or download the file itself",
    ),
    (0, b"\x80", "pickle that torch.save did not write", "save the model with torch.save"),
    (0, b"PK\5\6", "empty zip archive", "download or copy the file again"),
    (*_TAR_MAGIC, "tar archive", f"{_UNPACK}; torch.save of before 2017 must be saved again"),
    (0, b"Rar!", "RAR archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive", _UNPACK),
    (0, b"\x1f\x8b", "gzip archive", _UNPACK),
    (0, b"BZh", "bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "zstd archive", _UNPACK),
    (0, b"ftrt", "TensorRT engine: compiled, without weights that could be read", _OTHER),
    (0, b"ptrt", "TensorRT engine: compiled, without weights that could be read", _OTHER),
    (4, b"TFL3", "TensorFlow Lite model", _OTHER),
    (0, b"\x89HDF\r\n", "HDF5 file, as Keras writes it", _OTHER),
    (0, b"\x93NUMPY", "NumPy array", _OTHER),
    (0, b"GGUF", "GGUF file", _OTHER),
    (0, b"%PDF", "PDF document", _OTHER),
    (0, b"\x89PNG", "PNG image", _OTHER),
    (0, b"\xff\xd8\xff", "JPEG image", _OTHER),
    (0, b"\x7fELF", "program or library", _OTHER),
)


def container_of(path: Path) -> Container:
    """Return how a checkpoint is packed.

    Raises:
        CheckpointError: There is no such file, it cannot be read, or it is no checkpoint.
    """
    head = _head(path)
    if head.startswith(b"PK\3\4"):
        return "zip"
    if MAGIC_PICKLE.match(head):
        return "legacy"
    for offset, magic, kind, hint in _KINDS:
        if head[offset:].startswith(magic):
            raise _refusal(kind, path, hint)
    if looks_like_safetensors(head):
        return "safetensors"
    if looks_like_weights(head):
        return "darknet"
    raise _unknown(head, path)


def _head(path: Path) -> bytes:
    """Return the first bytes of a regular file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _refusal("folder", path, "give the checkpoint file inside")
        if not stat.S_ISREG(mode):
            raise _refusal("device or pipe", path, "give a regular file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise CheckpointError("no such file", where=str(path), hint="check the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"cannot be read: {reason}", where=str(path), hint="check its permissions and the path"
        ) from error
    if not head:
        raise _refusal("empty file", path, "download or copy the file again")
    return head


def _unknown(head: bytes, path: Path) -> CheckpointError:
    if not head.strip(b"\0"):
        return _refusal(
            f"file that begins with {len(head)} zero bytes, as a broken download leaves",
            path,
            "download or copy the file again",
        )
    text = _text(head)
    if text is not None:
        return _of_text(text.lstrip("\ufeff \t\r\n").lower(), path)
    if looks_like_onnx(path):
        return _refusal(
            "ONNX model",
            path,
            "give the checkpoint that it was exported from; `detect`, `bench` and `info` take ONNX",
        )
    return _refusal(
        "file of no known kind", path, f"{_OTHER}; if it is one, download or copy it again"
    )


def _of_text(text: str, path: Path) -> CheckpointError:
    if text.startswith(("<!doctype html", "<html", "<head")):
        return _refusal(
            "web page, not the file that it offers",
            path,
            "download again through the link to the file itself; a sign-in or a warning page of "
            "the site may stand in between",
        )
    if text.startswith(("[net]", "[network]")):
        return _refusal(
            "darknet description, without weights", path, "give weights, and this as --cfg"
        )
    return _refusal(f"text, which begins {text[:40]!r}", path, _OTHER)


def _refusal(kind: str, path: Path, hint: str) -> CheckpointError:
    return CheckpointError(f"not a checkpoint: {kind}", where=str(path), hint=hint)


def _text(head: bytes) -> str | None:
    try:
        # Incremental, because the head may end inside a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c in "\ufeff\t\r\n" for c in text) else None
