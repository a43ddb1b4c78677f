"""Where an artifact goes: checked before the work, written beside, moved there at the end."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from yolor_deploy.core.artifact import passport_path
from yolor_deploy.core.errors import ArtifactError

_NAME_BYTES_KEPT = 100  # of the output, in the name of the temporary folder


def default_output(source: str) -> Path:
    """Return where ``export`` writes by default: beside a file, or here for a name."""
    path = Path(source)
    return path.with_suffix(".onnx") if path.exists() else Path(f"{source}.onnx")


def require_writable(
    output: Path, *, inputs: Sequence[str | Path] = (), option: str = "-o"
) -> None:
    """Refuse an output path before the long work, not after it.

    Args:
        output: A file that is there or not; a link is replaced, and what it points to is kept.
        inputs: Files that are read, which must not be overwritten.
        option: That names the output, for the hint.

    Raises:
        ArtifactError: Its folder is missing or read-only, or it is a folder, a device or an input.
    """
    try:
        problem, hint = _why_not_writable(output, [Path(path) for path in inputs], option)
    except OSError as error:  # such as a name that no file can have
        problem, hint = f"cannot write: {error.strerror}", f"give another name with {option}"
    if problem:
        raise ArtifactError(problem, where=str(output), hint=hint)


def _why_not_writable(output: Path, inputs: Sequence[Path], option: str) -> tuple[str, str]:
    if not output.parent.is_dir():
        return f"folder {output.parent} does not exist", "make it first"
    if output.is_dir():
        return "a folder, expected a file", f"name a file with {option}"
    if output.exists() and not output.is_file():
        return "a device or pipe, expected a file", f"name a file with {option}"
    if any(path.exists() and output.exists() and path.samefile(output) for path in inputs):
        return "the output is the same file as an input", f"give another name with {option}"
    if not os.access(output.parent, os.W_OK | os.X_OK):
        return f"folder {output.parent} is read-only", f"write elsewhere with {option}"
    return "", ""


@contextmanager
def temporary_folder(output: Path) -> Iterator[Path]:
    """Yield a folder beside the output that is gone afterwards, whatever happens.

    Raises:
        ArtifactError: The disk is full, or the folder is read-only.
    """
    prefix = f".{os.fsdecode(os.fsencode(output.name)[:_NAME_BYTES_KEPT])}-"
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=output.parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise unwritable(output, error) from error


def unwritable(output: Path, error: OSError, *, option: str = "-o") -> ArtifactError:
    """Return the error of a file that could not be written."""
    hint = f"write elsewhere with {option}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        free = shutil.disk_usage(output.parent).free // 1_000_000
        hint = f"{free} MB are free there; free some, or {hint}"
    return ArtifactError(f"cannot write: {error.strerror or error}", where=str(output), hint=hint)


def move_into_place(folder: Path, output: Path) -> None:
    """Move the finished files to where they belong, the one that names the other last.

    Args:
        folder: Holds a file with the name of the output, and perhaps its weights as ``.data``.
        output: Replaced.

    Raises:
        OSError: They cannot be moved.
    """
    data = folder / f"{output.name}.data"
    old = output.parent / data.name
    if data.exists():
        data.replace(old)
        (folder / output.name).replace(output)
    else:
        (folder / output.name).replace(output)
        old.unlink(missing_ok=True)  # weights of a larger model that had this name


def move_engine_into_place(folder: Path, output: Path) -> None:
    """Move a finished plan and its passport to where they belong.

    Between the two moves the passport is that of another plan, which it then refuses.

    Args:
        folder: Holds both, with the name of the output.
        output: The plan; replaced, with its passport.

    Raises:
        OSError: They cannot be moved.
    """
    for path in (output, passport_path(output)):
        (folder / path.name).replace(path)
