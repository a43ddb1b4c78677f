"""Tells each stage as it begins, and what each took."""

from __future__ import annotations

import time
from collections.abc import Callable

Note = Callable[[str], None]
"""Told each stage as it begins."""


class StageTimer:
    """Seconds of each stage, in order.

    Args:
        note: Told each stage as it begins.
    """

    def __init__(self, note: Note) -> None:
        self.note = note
        self.seconds: dict[str, float] = {}
        self.stage = ""
        self.started = 0.0

    def begin(self, stage: str, text: str) -> None:
        """Begin a stage, which ends the one before."""
        self.end()
        self.note(text)
        self.stage, self.started = stage, time.perf_counter()

    def end(self) -> dict[str, float]:
        """End the last stage, and return the seconds of all."""
        if self.stage:
            self.seconds[self.stage] = round(time.perf_counter() - self.started, 3)
            self.stage = ""
        return self.seconds
