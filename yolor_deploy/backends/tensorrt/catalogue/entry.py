"""One message of TensorRT that is known: how it is recognised, what it means, what mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "harmless"]

SEEN_IN_RTX = "TensorRT-RTX 1.7, run on a machine without a GPU"
"""Source of an entry whose message we have seen ourselves."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that is known.

    Attributes:
        key: Its name, which stays.
        severity: ``error`` ends a build or a run; ``warning`` changes speed, memory or numbers;
            ``harmless`` does neither.
        marks: Literal parts of the message: a line without any of them cannot be it. They are
            looked for first, because that is many times faster than an expression.
        pattern: Of the telling part, without time, source file and line. Every repetition in it is
            bounded, so that no line takes long.
        cause: One sentence; ``{name}`` is replaced by that group of the pattern, ``bytes`` as GiB.
        remedy: What to do, as an instruction.
        known: Versions that it was seen in.
        source: Where it was seen.
        follows: Whether it mostly follows from another error, and is told after it.
        explains: Keys of errors that a warning is the cause of; beside one of them it is an error.
    """

    key: str
    severity: Severity
    marks: tuple[str, ...]
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    known: str
    source: str
    follows: bool = False
    explains: tuple[str, ...] = ()
