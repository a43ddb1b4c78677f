"""A folder for what is written only to be loaded, or read, at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolor_deploy.core.errors import ArtifactError


@contextmanager
def temporary_folder(what: str, *, where: str) -> Iterator[Path]:
    """Yield a new folder, which goes again in any case.

    Args:
        what: Is written into it, for errors.
        where: Of errors.

    Raises:
        ArtifactError: It cannot be made or written to, such as on a disk that is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="yolor-deploy-") as folder:
            yield Path(folder)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {what}: {error.strerror or error}",
            where=where,
            hint="free some space, or set TMPDIR to a folder where there is some",
        ) from error
