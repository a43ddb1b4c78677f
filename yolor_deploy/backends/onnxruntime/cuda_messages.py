"""What ONNX Runtime says when a GPU fails, read for what a user can do about it.

Its types do not tell: a lack of memory is a ``RuntimeException`` as a bug is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_REQUESTED = re.compile(r"requested (?:buffer of size|bytes of) (\d+)")
_AVAILABLE = re.compile(r"Available memory of (\d+)")
_NODE = re.compile(r"while running (\w+) node\. Name: ?'([^']*)'")
_MEMORY = ("out of memory", "ALLOC_FAILED", "Failed to allocate memory", "smaller than requested")
_DEVICE = (*_MEMORY, "CUDA failure", "CUDA error", "CUDNN", "CUBLAS", "cudnn", "cublas")
_LONGEST = 300  # characters of a message that is none of these
_MIB = 1 << 20


class Cause(NamedTuple):
    """What a message tells.

    Attributes:
        is_memory: Whether memory of the GPU ran out.
        is_device: Whether the GPU or its libraries failed, rather than the file.
        detail: Node and sizes, or else the message, to be put behind our own words.
    """

    is_memory: bool
    is_device: bool
    detail: str


def cause_of(text: str) -> Cause:
    """Read a message of ONNX Runtime."""
    is_memory = any(words in text for words in _MEMORY)
    is_device = any(words in text for words in _DEVICE)
    node = _NODE.search(text)
    of_node = f" at {node[1]} {node[2]!r}" if node else ""
    if not is_memory:
        return Cause(is_memory, is_device, f"{of_node}: {' '.join(text.split())[:_LONGEST]}")
    requested, available = _REQUESTED.search(text), _AVAILABLE.search(text)
    sizes = [f"{int(requested[1]) / _MIB:,.0f} MiB more were asked for"] if requested else []
    sizes += [f"{int(available[1]) / _MIB:,.0f} MiB were free"] if available else []
    return Cause(is_memory, is_device, of_node + (f": {', '.join(sizes)}" if sizes else ""))
