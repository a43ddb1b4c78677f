"""The image files that a command was given: files, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import image_format

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".mpo"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
"""Of files that a folder is searched for, in lower case."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file whose header was read.

    Attributes:
        path: As given, or as found in a folder.
        stem: Name for what is written about it; no other file of the same list has it.
        format: Pillow's name, such as ``JPEG``.
    """

    path: Path
    stem: str
    format: str


def find_images(sources: Sequence[Path | str]) -> tuple[ImageFile, ...]:
    """List image files and check that each has the header of an image.

    A file is taken whatever its suffix. Of a folder the files with an image suffix are taken, not
    those of its folders. Anything else may be a pattern: ``day?/*.jpg``, ``shots/**/*.png``. A file
    that is named twice is listed once.

    Args:
        sources: Files, folders, patterns.

    Returns:
        In the order given; folders and patterns in the order of names.

    Raises:
        EvaluationError: Nothing is there, or a file is not an image.
    """
    paths: dict[Path, Path] = {}  # by the file itself, however it was named
    for source in sources:
        for path in _files_of(str(source)):
            paths.setdefault(path.resolve(), path)
    files = list(paths.values())
    return tuple(
        ImageFile(path, stem, image_format(path))
        for path, stem in zip(files, _unique_stems(files), strict=True)
    )


def _files_of(source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if _is_image_name(item))
        if not found:
            raise EvaluationError(
                "folder without images",
                where=source,
                hint=f"its own folders are not searched: give '{source}/**/*.jpg' for that",
            )
        yield from found
    elif path.exists() or not glob.has_magic(source):
        yield path  # a missing file is reported where it is opened
    else:
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        files = [item for item in map(Path, matches) if item.is_file()]
        if not files:
            raise EvaluationError(
                "no file matches this pattern", where=source, hint="check the folder and the suffix"
            )
        yield from files


def _is_image_name(path: Path) -> bool:
    hidden = path.name.startswith(".")  # such as the resource forks that macOS leaves
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def _unique_stems(files: Sequence[Path]) -> list[str]:
    """Return ``cat``, ``cat_2``, ``cat_3`` for three files named cat.

    A number never takes the name of another file, and case does not tell names apart: the folder
    that they are written to may be on a file system that does not either.
    """
    named = {path.stem.casefold() for path in files}
    taken: set[str] = set()
    stems = []
    for path in files:
        stem, number = path.stem, 1
        while stem.casefold() in (taken if number == 1 else taken | named):
            number += 1
            stem = f"{path.stem}_{number}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems
