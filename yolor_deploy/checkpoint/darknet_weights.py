"""Darknet ``.weights``: a header without a magic number, then float32 values without names."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
import torch

from yolor_deploy.checkpoint.finite import require_finite
from yolor_deploy.checkpoint.model import DarknetWeights
from yolor_deploy.core.errors import CheckpointError

_VERSION = struct.Struct("<3i")
_MAX_VERSION = 99
# Since this version the count of images is 64 bits wide. Source: darknet's parser.
_WIDE_SEEN = 2
HEAD_BYTES = _VERSION.size + 8
_FLOAT_BYTES = 4


def looks_like_weights(head: bytes) -> bool:
    """Return whether a file may be darknet weights, by its first ``HEAD_BYTES`` bytes.

    Source: every darknet writes version 0.1 or 0.2, with a small revision.
    """
    if len(head) < HEAD_BYTES:
        return False
    version: tuple[int, int, int] = _VERSION.unpack_from(head)
    return all(0 <= part <= _MAX_VERSION for part in version) and version[0] + version[1] > 0


def read_darknet_weights(file: BinaryIO, size: int, *, where: str) -> DarknetWeights:
    """Read a ``.weights`` file whose head looks like one.

    Args:
        file: Open for reading.
        size: Bytes of the file.
        where: The file, for messages.

    Raises:
        CheckpointError: The values are not all there, or are not finite.
    """
    file.seek(0)
    major, minor, revision = _VERSION.unpack(file.read(_VERSION.size))
    seen_bytes = 8 if major * 10 + minor >= _WIDE_SEEN else 4
    seen = int.from_bytes(file.read(seen_bytes), "little")
    body_bytes = size - _VERSION.size - seen_bytes
    if body_bytes <= 0 or body_bytes % _FLOAT_BYTES:
        raise CheckpointError(
            f"darknet weights of version {major}.{minor}.{revision} with {body_bytes} bytes of "
            f"values, expected a multiple of {_FLOAT_BYTES}",
            where=where,
            hint="download or copy the file again: it was cut short, or is of another kind",
        )
    values = np.empty(body_bytes // _FLOAT_BYTES, dtype="<f4")
    if file.readinto(values.data.cast("B")) != body_bytes:  # type: ignore[attr-defined]
        raise CheckpointError(
            "the file became shorter while it was read", where=where, hint="try again"
        )
    require_finite({"values": torch.from_numpy(values)}, where=where)
    return DarknetWeights(major, minor, revision, seen, values)
