"""What TensorRT says, and what is to be done about it.

The table of messages is split by where they come from; ``diagnose`` looks a log up in it.
"""

from __future__ import annotations

from yolor_deploy.backends.tensorrt.catalogue.diagnosis import (
    Diagnosis,
    diagnose,
    diagnose_lines,
    first_error,
)
from yolor_deploy.backends.tensorrt.catalogue.entry import Entry, Severity
from yolor_deploy.backends.tensorrt.catalogue.table import ENTRIES

__all__ = [
    "ENTRIES",
    "Diagnosis",
    "Entry",
    "Severity",
    "diagnose",
    "diagnose_lines",
    "first_error",
]
