"""The container that torch.save writes since version 1.6: a zip archive without compression."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from yolor_deploy.checkpoint.pickle_scan import MAX_PICKLE_BYTES
from yolor_deploy.checkpoint.stand_ins import StorageRef
from yolor_deploy.core.errors import CheckpointError

# YOLOv4-P7, the largest published model, has 1,430 entries of 80 bytes.
MAX_DIRECTORY_BYTES = 16 << 20
_END = struct.Struct("<4s4H2LH")
_END_ZIP64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_ZIP64 = struct.Struct("<4sLQL")
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 1

_AGAIN = "download or copy the file again"

# What `zipfile` raises on damaged archives, by reading it and by fuzzing.
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


class ZipArchive:
    """An archive of torch.save; fulfils ``storages.Records``.

    Args:
        archive: Its entries have been checked.
        folder: The one folder in which all of them lie.
        where: The file, for messages.
    """

    def __init__(self, archive: zipfile.ZipFile, folder: str, *, where: str) -> None:
        self._archive = archive
        self._folder = folder
        self._where = where
        self._sizes = {entry.filename: entry.file_size for entry in archive.infolist()}

    def read_pickle(self) -> bytes:
        """Return ``data.pkl``.

        Raises:
            CheckpointError: It is damaged or larger than any pickle of a detector.
        """
        name = f"{self._folder}/data.pkl"
        if self._sizes[name] > MAX_PICKLE_BYTES:
            raise CheckpointError(
                f"{name} has {self._sizes[name]} bytes, expected at most {MAX_PICKLE_BYTES}",
                where=self._where,
                hint="save the model's state_dict() alone",
            )
        return self._read(name)

    def require_little_endian(self) -> None:
        """Check the order of bytes, which torch writes since version 2.1.

        Raises:
            CheckpointError: The numbers were written on a big-endian machine.
        """
        name = f"{self._folder}/byteorder"
        if name in self._sizes and (order := self._read(name, most=16)) != b"little":
            raise CheckpointError(
                f"byte order {order.decode(errors='replace')!r}, expected 'little'",
                where=self._where,
                hint="load and save the checkpoint once on a little-endian machine",
            )

    def size_bytes(self, storage: StorageRef) -> int:
        """Return how many bytes the file has for a storage.

        Raises:
            CheckpointError: It has none.
        """
        name = self._record(storage)
        if name not in self._sizes:
            raise CheckpointError(
                f"the archive has no entry {name!r}", where=self._where, hint=_AGAIN
            )
        return self._sizes[name]

    def read_into(self, storage: StorageRef, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes of a storage, and compare their checksum.

        Raises:
            CheckpointError: The bytes are damaged or not all there.
        """
        name = self._record(storage)
        with _reported_damage(self._where, entry=name), self._archive.open(name) as file:
            done = 0
            while done < len(buffer):
                piece = file.read(min(_CHUNK_BYTES, len(buffer) - done))
                if not piece:
                    raise EOFError(f"it ends after {done} of {len(buffer)} bytes")
                buffer[done : done + len(piece)] = piece
                done += len(piece)

    def _record(self, storage: StorageRef) -> str:
        return f"{self._folder}/data/{storage.key}"

    def _read(self, name: str, most: int = MAX_PICKLE_BYTES) -> bytes:
        with _reported_damage(self._where, entry=name), self._archive.open(name) as file:
            return file.read(min(self._sizes[name], most))


@contextmanager
def open_archive(file: BinaryIO, size: int, *, where: str) -> Iterator[ZipArchive]:
    """Open an archive of torch.save.

    Args:
        file: Open for reading; stays open.
        size: Bytes of the file.
        where: The file, for messages.

    Raises:
        CheckpointError: Damaged, compressed, or not of torch.save.
    """
    _require_small_directory(file, size, where=where)
    with _reported_damage(where):
        archive = zipfile.ZipFile(file)
    with archive:
        entries = archive.infolist()
        folder = _folder(entries, where=where)
        _require_stored(entries, size, where=where)
        yield ZipArchive(archive, folder, where=where)


@contextmanager
def _reported_damage(where: str, *, entry: str | None = None) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise CheckpointError(
            f"damaged zip archive: {str(error)[:200] or type(error).__name__}",
            where=f"{where}, entry {entry!r}" if entry else where,
            hint=_AGAIN,
        ) from error


def _require_small_directory(file: BinaryIO, size: int, *, where: str) -> None:
    """Check the size of the archive's directory, which ``zipfile`` reads into memory at once.

    The records at the end are found as ``zipfile`` finds them; torch writes no comment after them.
    """
    tail_bytes = _END.size + _LOCATOR_ZIP64.size + _END_ZIP64.size
    file.seek(max(0, size - tail_bytes))
    tail = file.read(tail_bytes).rjust(tail_bytes, b"\0")
    end = _END.unpack(tail[-_END.size :])
    if end[0] != b"PK\5\6" or end[-1]:
        raise CheckpointError(
            "zip archive without its end: the file was cut short", where=where, hint=_AGAIN
        )
    directory_bytes = end[5]
    if _LOCATOR_ZIP64.unpack_from(tail, _END_ZIP64.size)[0] == b"PK\6\7":
        directory_bytes = max(directory_bytes % 0xFFFFFFFF, _END_ZIP64.unpack_from(tail)[8])
    if directory_bytes > min(MAX_DIRECTORY_BYTES, size):
        raise CheckpointError(
            f"zip directory of {directory_bytes} bytes in a file of {size}, expected at most "
            f"{MAX_DIRECTORY_BYTES}",
            where=where,
            hint=_AGAIN,
        )


def _folder(entries: list[zipfile.ZipInfo], *, where: str) -> str:
    """Return the folder that holds the entries, whatever its name."""
    names = [entry.filename for entry in entries]
    folders = [
        name.removesuffix("/data.pkl")
        for name in names
        if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    program = any(name.endswith("/constants.pkl") or "/code/" in name for name in names)
    if program:
        raise CheckpointError(
            "TorchScript archive: a traced program, not a checkpoint",
            where=where,
            hint="give the checkpoint that training wrote, from which this was traced",
        )
    if len(folders) != 1:
        raise CheckpointError(
            f"zip archive with {len(folders)} entries FOLDER/data.pkl, expected 1",
            where=where,
            hint="if a checkpoint was packed into this archive, unpack it and give what is inside",
        )
    _require_inside(names, folders[0], where=where)
    return folders[0]


def _require_inside(names: list[str], folder: str, *, where: str) -> None:
    """Check that names are those of torch.save: one folder, nothing twice, no way out.

    Nothing is ever extracted; an archive with such names was made to harm something.
    """
    if len(set(names)) != len(names):
        raise CheckpointError("zip archive with two entries of one name", where=where, hint=_AGAIN)
    for name in names:
        parts = name.split("/")
        if parts[0] != folder or ".." in parts or "\\" in name or not folder.strip("."):
            raise CheckpointError(
                f"zip entry {name[:80]!r} lies outside the folder of the checkpoint",
                where=where,
                hint="give the file as torch.save wrote it",
            )


def _require_stored(entries: list[zipfile.ZipInfo], size: int, *, where: str) -> None:
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise CheckpointError(
                f"compressed entry {entry.filename[:80]!r}: {entry.compress_size} bytes that "
                f"claim to be {entry.file_size}",
                where=where,
                hint="torch.save does not compress; give the file as it wrote it",
            )
        if entry.flag_bits & _ENCRYPTED:
            raise CheckpointError(
                f"encrypted entry {entry.filename[:80]!r}",
                where=where,
                hint="give the file as torch.save wrote it",
            )
    total = sum(entry.file_size for entry in entries)
    if total > size:
        raise CheckpointError(
            f"zip entries claim {total} bytes in a file of {size}", where=where, hint=_AGAIN
        )
