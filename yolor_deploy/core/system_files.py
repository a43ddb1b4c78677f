"""Small files in which the system tells about itself: ``/proc`` and ``/sys``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")


def system_text(path: Path) -> str:
    """Return what a file of the system says; nothing where it is missing or refuses to be read.

    A file of ``/sys`` can be there and fail all the same, as that of a sensor that sleeps does.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def system_number(path: Path) -> int | None:
    """Return the whole number that a file of the system holds; None where it holds none."""
    try:
        return int(system_text(path))
    except ValueError:
        return None
