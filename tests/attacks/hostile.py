"""Files made to harm: built when a test runs, so that nothing hostile lies in the repository."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch._utils import _rebuild_tensor_v2

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


@dataclass(frozen=True)
class Storage:
    """What a pickle claims of a storage."""

    key: str = "0"
    numel: int = 6
    kind: type = torch.FloatStorage


@dataclass(frozen=True)
class Layout:
    """What a pickle claims of a tensor; float32 [2, 3] unless told otherwise."""

    storage: Storage = Storage()
    offset: Any = 0
    size: Any = (2, 3)
    stride: Any = (3, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_tensor_v2, (
            self.storage,
            self.offset,
            self.size,
            self.stride,
            False,
            OrderedDict(),
        )


class _Pickler(pickle.Pickler):
    view: Any = ()

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Storage):
            return ("storage", obj.kind, obj.key, "cpu", obj.numel, *self.view)
        return None


def pickled(value: Any, *, view: tuple[Any, ...] = (), protocol: int = 2) -> bytes:
    """Pickle a value as torch.save does, with ``Layout`` for tensors."""
    out = io.BytesIO()
    pickler = _Pickler(out, protocol)
    pickler.view = view
    pickler.dump(value)
    return out.getvalue()


def archive(
    data: bytes,
    records: Mapping[str, bytes] | None = None,
    *,
    folder: str = "archive",
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """Pack a pickle and records as torch.save does."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as packed:
        packed.writestr(f"{folder}/data.pkl", data)
        for name, content in (records or {}).items():
            packed.writestr(f"{folder}/{name}", content)
    return out.getvalue()


def stream(data: bytes, keys: Any = (), body: bytes = b"") -> bytes:
    """Pack a pickle and storages as torch.save did before 1.6."""
    prelude = MAGIC + pickle.dumps(1001, protocol=2) + pickle.dumps(MACHINE, protocol=2)
    return prelude + data + pickle.dumps(list(keys), protocol=2) + body


def floats(count: int, *, claimed: int | None = None) -> bytes:
    """Return a storage of the old container: its length, then float32 values."""
    return struct.pack("<q", count if claimed is None else claimed) + bytes(4 * count)


def saved(value: Any, **options: Any) -> bytes:
    """Return what torch.save writes."""
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()
