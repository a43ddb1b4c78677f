"""``.npy`` files with inputs of a network that the user's own preprocessing wrote."""

from __future__ import annotations

import os
import struct
import tokenize
import warnings
from pathlib import Path

import numpy as np

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import InputSpec

_COLOURS = 3
_AXES_OF_BATCH = 4
# What NumPy's parser of the header raises for damaged files.
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    struct.error,
    tokenize.TokenError,
)


def tensors_in_file(path: Path) -> int | None:
    """Return n if a file holds [n, 3, h, w] or [n, h, w, 3], and None if it holds anything else.

    Reads the header only.

    Raises:
        EvaluationError: Not a ``.npy`` file, damaged, or of pickled objects.
    """
    shape = _open(path).shape
    if len(shape) != _AXES_OF_BATCH or _COLOURS not in (shape[1], shape[3]) or 0 in shape:
        return None
    return int(shape[0])


def tensor_from_file(path: Path, image: InputSpec, *, row: int | None) -> Array:
    """Read one input of a network from a file, and check that it is one.

    Args:
        path: File that ``numpy.save`` wrote, of any byte order.
        image: What the network takes; the file must be of this type and layout.
        row: Which one of a file that holds several; None for a file of [3, h, w] or [h, w, 3].

    Returns:
        ``image.dtype`` of shape ``image.shape(1)``, contiguous, all finite.

    Raises:
        EvaluationError: Damaged, or of another shape or type, or with NaN.
    """
    stored = _open(path)
    where = str(path) if row is None or len(stored) == 1 else f"{path}[{row}]"
    found = stored[np.newaxis] if row is None else stored[row : row + 1]
    if found.shape != image.shape(1):
        expected = list(image.shape(1)[1:])
        raise EvaluationError(
            f"tensor is {stored.dtype} {list(stored.shape)}, expected {image.dtype} {expected} or "
            f"[n, {', '.join(map(str, expected))}]",
            where=where,
            hint=f"write tensors of the model's own size, in {image.layout}; or give image files",
        )
    if found.dtype.newbyteorder("=") != image.dtype:
        values = "0..255" if image.dtype == "uint8" else "0..1"
        raise EvaluationError(
            f"tensor is {found.dtype}, expected {image.dtype}",
            where=where,
            hint=f"write numpy.{image.dtype} with values in {values}, as the model gets them",
        )
    tensor: Array = np.array(found, dtype=image.dtype, order="C")  # a copy: the file may go away
    bad = tensor.size - int(np.count_nonzero(np.isfinite(tensor)))
    if bad:
        raise EvaluationError(
            f"tensor has {bad} values that are NaN or infinite",
            where=where,
            hint="mend the preprocessing that wrote it; a division by zero is the usual cause",
        )
    return tensor


def _open(path: Path) -> Array:
    """Map a file; its values are read when they are used. Nothing in it is unpickled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            return np.lib.format.open_memmap(os.fspath(path), mode="r")
    except _DAMAGED as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise EvaluationError(
            f"tensor cannot be read: {reason or error}",
            where=str(path),
            hint="write it with numpy.save, and check that it was copied completely",
        ) from error
