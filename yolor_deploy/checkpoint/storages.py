"""Tensors made from the storages of a file, each read once and only when a tensor needs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch

from yolor_deploy.checkpoint.stand_ins import (
    MAX_DIMENSIONS,
    StorageRef,
    TensorRef,
    are_extents,
)
from yolor_deploy.core.errors import CheckpointError

_HINT = "download or copy the file again; if it stays so, it was not written by torch.save"


class Records(Protocol):
    """Where a file keeps the bytes of its storages."""

    def size_bytes(self, storage: StorageRef) -> int:
        """Return how many bytes the file has for a storage."""
        ...

    def read_into(self, storage: StorageRef, buffer: memoryview) -> None:
        """Fill ``buffer``, which is ``size_bytes`` long, with the bytes of a storage."""
        ...


def read_tensors(
    references: Mapping[str, TensorRef], records: Records, *, where: str, file_bytes: int
) -> dict[str, torch.Tensor]:
    """Read tensors; those that share a storage in the file share it in memory.

    Args:
        references: What to read, by name.
        records: The bytes.
        where: The file, for messages.
        file_bytes: Size of the file: a bound of what all tensors together may take.

    Returns:
        Tensors in memory of their own, of the dtypes of the file.

    Raises:
        CheckpointError: A tensor does not lie inside its storage, or a storage inside the file.
    """
    flat: dict[str, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    total = 0
    for name, reference in references.items():
        at = f"{where}, tensor {name!r}"
        _require_layout(reference, where=at)
        total += math.prod(reference.size) * reference.storage.dtype.itemsize
        if total > 2 * file_bytes:  # twice, because a weight may have two names
            raise CheckpointError(
                f"tensors take more than twice the {file_bytes} bytes of the file",
                where=at,
                hint=_HINT,
            )
        storage = reference.storage
        if storage.key not in flat:
            flat[storage.key] = _read_storage(storage, records, where=at)
        tensors[name] = flat[storage.key].as_strided(
            reference.size, reference.stride, storage.begin + reference.offset
        )
    return tensors


def _read_storage(storage: StorageRef, records: Records, *, where: str) -> torch.Tensor:
    size = storage.numel * storage.dtype.itemsize
    found = records.size_bytes(storage)
    if size != found:
        raise CheckpointError(
            f"storage {storage.key!r} is declared as {storage.numel} elements of {storage.dtype}, "
            f"{size} bytes; the file has {found}",
            where=where,
            hint=_HINT,
        )
    data = torch.empty(size, dtype=torch.uint8)
    if size:
        records.read_into(storage, data.numpy().data)
    return data.view(storage.dtype)


def _require_layout(tensor: TensorRef, *, where: str) -> None:
    """Check that every element of a tensor lies in its storage.

    More elements than the storage has are refused as well: a stride of 0 would let a few bytes
    claim to be a tensor of any size, and no trained weight looks like that.
    """
    size, stride, length = tensor.size, tensor.stride, tensor.storage.length
    sound = are_extents(size) and are_extents(stride) and len(size) == len(stride)
    if sound:
        count = math.prod(size)
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
        sound = count <= length and tensor.offset >= 0 and tensor.offset + last < length
    # An empty tensor reaches nothing, but its other extents must still be numbers torch can take.
    if not sound or any(number >> 48 for number in (*size, *stride)):
        raise CheckpointError(
            f"tensor of size {_short(size)}, stride {_short(stride)}, offset {tensor.offset} is "
            f"not inside its storage of {length} elements",
            where=where,
            hint=_HINT,
        )


def _short(numbers: tuple[object, ...]) -> str:
    # Nothing else is printed: the text of tuples that share tuples has no bound.
    is_short = len(numbers) <= MAX_DIMENSIONS and all(type(n) is int for n in numbers)
    return repr(numbers) if is_short else "(not a few whole numbers)"
