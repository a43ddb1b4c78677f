"""What TensorRT says of a failure, without what only follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Without a GPU every failure is followed by one of CUDA, which has nothing to do with it:
# "cudaError 35: CUDA driver version is insufficient".
_OF_CUDA = re.compile(r"Error Code \d+: Cuda Runtime")
_HEADLINE = re.compile(r"^Invalid Node - ")
_WRAPPED = re.compile(
    r"^(?:[\w:]+: )?Error Code \d+: [^(]+\((?P<text>.*?)\.?(?: In \w+ at \S+:\d+)?\)$"
)


def first_cause(messages: Iterable[str]) -> str:
    """Return the first line that tells a cause, without code and source position.

    Args:
        messages: In the order in which they came; each may have many lines.
    """
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if not _OF_CUDA.search(line) and not _HEADLINE.match(line)]
    if not lines:
        return "no reason is given"
    line = (telling or lines)[0]
    wrapped = _WRAPPED.match(line)
    return wrapped["text"] if wrapped else line
