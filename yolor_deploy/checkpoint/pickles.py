"""A pickle, read without running anything that it names."""

from __future__ import annotations

import io
import logging
import pickle
from dataclasses import dataclass, field
from typing import Any

from yolor_deploy.checkpoint.pickle_globals import require_known, resolve
from yolor_deploy.checkpoint.pickle_scan import PickleBytes, scan_pickle
from yolor_deploy.checkpoint.stand_ins import StandIn, StorageRef, StorageType, damaged
from yolor_deploy.core.errors import CheckpointError

logger = logging.getLogger(__name__)

# What `pickle` may raise on damaged bytes, by its documentation and by fuzzing. Everything that
# stands in for a global of the pickle raises CheckpointError, which is none of these.
_DAMAGE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)


@dataclass(slots=True)
class Storages:
    """The storages that a pickle refers to.

    Attributes:
        declared: The whole storage of each key.
    """

    declared: dict[str, StorageRef] = field(default_factory=dict)

    def refer(self, reference: object) -> object:
        """Return what a persistent id of ``torch.save`` stands for.

        Args:
            reference: ``("storage", type, key, device, elements[, view])``, or, in the old
                container, ``("module", class, source file, source text)``.

        Raises:
            CheckpointError: It is neither, or contradicts an earlier one.
        """
        match reference:
            case ("module", type() as cls, _, _) if issubclass(cls, StandIn):
                return cls  # the source text is not ours to run
            case ("storage", StorageType() as kind, key, _, int() as numel, *rest):
                # Only Python 2 wrote keys as numbers.
                whole = self._declare(StorageRef(str(_text(key)), kind.dtype, numel))
                return _stretch(whole, rest[0] if rest else None)
        raise damaged("storage described otherwise than torch.save does")

    def _declare(self, storage: StorageRef) -> StorageRef:
        known = self.declared.setdefault(storage.key, storage)
        if storage.numel < 0 or (known.numel, known.dtype) != (storage.numel, storage.dtype):
            raise damaged(
                f"storage {storage.key!r} is declared as {storage.numel} elements of "
                f"{storage.dtype}, and as {known.numel} of {known.dtype}"
            )
        return known


@dataclass(frozen=True, slots=True)
class Unpickled:
    """A pickle, read.

    Attributes:
        value: Plain values and stand-ins.
        end: Position after the pickle.
    """

    value: Any
    end: int


def read_pickle(
    data: PickleBytes, *, where: str, start: int = 0, storages: Storages | None = None
) -> Unpickled:
    """Read one pickle.

    Args:
        data: The bytes that hold it.
        where: The file, for messages.
        start: Its first byte.
        storages: Takes the storages that it refers to.

    Raises:
        CheckpointError: Damaged, or with a name outside the table.
        UnsupportedModelError: With names of another family of detectors.
    """
    names: set[str] = set()
    try:
        end = scan_pickle(data, start=start, names=names, where=where)
    except CheckpointError:
        # A name says more than the opcode that comes with it.
        require_known(names, where=where)
        raise
    require_known(names, where=where)
    reader = _Unpickler(io.BytesIO(data[start:end]), storages or Storages())
    try:
        return Unpickled(reader.load(), end)
    except CheckpointError as error:
        raise CheckpointError(error.problem, where=where, hint=error.hint) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"damaged pickle: {type(error).__name__}: {str(error)[:200]}",
            where=where,
            hint="download or copy the file again",
        ) from error


class _Unpickler(pickle.Unpickler):
    """Resolves names in our table only; never imports."""

    def __init__(self, file: io.BytesIO, storages: Storages) -> None:
        # latin1 takes whatever bytes Python 2 called a string.
        super().__init__(file, fix_imports=False, encoding="latin1")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        found = resolve(f"{module}.{name}")
        if found is None:  # the scan has refused it before; this is the second lock
            raise damaged(f"pickle names `{module}.{name}`, which is outside the allow list")
        return found

    def persistent_load(self, pid: Any) -> Any:
        return self._storages.refer(pid)


def _text(key: object) -> str | int:
    if not isinstance(key, str | int) or len(str(key)) > 64:  # noqa: PLR2004
        raise damaged("storage whose key is not a short text")
    return key


def _stretch(whole: StorageRef, view: object) -> StorageRef:
    """Return the part of a storage that a view of the old container names."""
    match view:
        case None:
            return whole
        case (_, int() as begin, int() as length) if 0 <= begin <= begin + length <= whole.numel:
            return StorageRef(whole.key, whole.dtype, whole.numel, begin=begin, length=length)
    raise damaged(f"view of storage {whole.key!r} that is not inside its {whole.numel} elements")
