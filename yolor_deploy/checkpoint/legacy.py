"""The container that torch.save wrote before version 1.6: pickles, then storages, in one stream.

Magic number, protocol version, facts of the machine, the object, the list of storage keys: five
pickles. Then each storage in the order of that list: int64 elements, and the elements.

Source: ``torch.serialization._legacy_save``; the released Scaled-YOLOv4 files are of this kind.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from yolor_deploy.checkpoint.pickles import Storages, read_pickle
from yolor_deploy.checkpoint.stand_ins import StorageRef
from yolor_deploy.core.errors import CheckpointError

PROTOCOL_VERSION = 1001
_MAGIC = 0x1950A86A20F9469CFC6C
_COUNT_BYTES = 8
_AGAIN = "download or copy the file again"
# The magic number as a pickle of any binary protocol, framed or not.
MAGIC_PICKLE = re.compile(
    rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a"
    + re.escape(_MAGIC.to_bytes(10, "little"))
    + rb"(?:\x94)?\.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class LegacyStream:
    """A stream of torch.save; fulfils ``storages.Records``.

    Attributes:
        value: The object, with stand-ins.
    """

    value: Any
    _file: BinaryIO
    _spans: dict[str, tuple[int, int]]

    def size_bytes(self, storage: StorageRef) -> int:
        """Return how many bytes the file has for a storage; 0 if it is not listed."""
        begin, end = self._spans.get(storage.key, (0, 0))
        return end - begin

    def read_into(self, storage: StorageRef, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes of a storage.

        Raises:
            CheckpointError: The file became shorter meanwhile.
        """
        begin, _ = self._spans[storage.key]
        self._file.seek(begin)
        done = 0
        while done < len(buffer):
            count = self._file.readinto(buffer[done:])  # type: ignore[attr-defined]
            if not count:
                raise CheckpointError(
                    f"the file ends inside storage {storage.key!r}",
                    where=str(self._file.name),
                    hint=_AGAIN,
                )
            done += count


@contextmanager
def open_stream(file: BinaryIO, size: int, *, where: str) -> Iterator[LegacyStream]:
    """Read the pickles of a stream, and find its storages.

    Args:
        file: Open for reading; stays open.
        size: Bytes of the file.
        where: The file, for messages.

    Raises:
        CheckpointError: Damaged, cut short, or of a big-endian machine.
    """
    storages = Storages()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic = MAGIC_PICKLE.match(data[:64])
        assert magic  # the reader has looked for it
        version = read_pickle(data, where=where, start=magic.end())
        machine = read_pickle(data, where=where, start=version.end)
        _require_format(version.value, machine.value, where=where)
        stored = read_pickle(data, where=where, start=machine.end, storages=storages)
        keys = read_pickle(data, where=where, start=stored.end)
    spans = _spans(file, _keys(keys.value, where=where), storages, keys.end, size, where=where)
    yield LegacyStream(stored.value, file, spans)


def _require_format(version: object, machine: object, *, where: str) -> None:
    if version != PROTOCOL_VERSION:
        shown = version if isinstance(version, int) else type(version).__name__
        raise CheckpointError(
            f"torch.save protocol {shown}, expected {PROTOCOL_VERSION}", where=where, hint=_AGAIN
        )
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError(
            "not written by a little-endian machine",
            where=where,
            hint="load and save the checkpoint once on a little-endian machine",
        )


def _keys(value: object, *, where: str) -> list[str]:
    keys = value if isinstance(value, list) else [None]
    if not all(isinstance(key, str | int) for key in keys) or len(set(keys)) != len(keys):
        raise CheckpointError(
            "the list of storages is not a list of different keys", where=where, hint=_AGAIN
        )
    return [str(key) for key in keys]


def _spans(
    file: BinaryIO,
    keys: Iterable[str],
    storages: Storages,
    start: int,
    size: int,
    *,
    where: str,
) -> dict[str, tuple[int, int]]:
    """Return begin and end of the elements of each storage, having walked all of them."""
    spans: dict[str, tuple[int, int]] = {}
    position = start
    for key in keys:
        storage = storages.declared.get(key)
        if storage is None:
            raise CheckpointError(
                f"storage {key[:64]!r} is listed, and used by nothing", where=where, hint=_AGAIN
            )
        file.seek(position, os.SEEK_SET)
        numel = int.from_bytes(file.read(_COUNT_BYTES), "little", signed=True)
        begin = position + _COUNT_BYTES
        position = begin + storage.numel * storage.dtype.itemsize
        if position > size:
            raise CheckpointError(
                f"cut short: storage {key!r} needs byte {position} of {size}",
                where=where,
                hint=_AGAIN,
            )
        if numel != storage.numel:
            raise CheckpointError(
                f"storage {key!r} is declared as {storage.numel} elements, and has {numel}",
                where=where,
                hint=_AGAIN,
            )
        spans[key] = (begin, position)
    return spans
