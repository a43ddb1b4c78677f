"""What stands in the place of the classes and functions that a pickle names.

Nothing here runs code of the pickle's choosing. A class becomes a subclass of ``StandIn``, which
keeps the state it is given and does nothing with it. A function becomes a ``Call`` of a function of
ours, which checks its arguments and returns plain data.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from yolor_deploy.core.errors import CheckpointError

MAX_DIMENSIONS = 16
# Of an array that is a value, such as best_fitness, and not a weight.
MAX_ARRAY_BYTES = 1 << 16
_NUMBER_CODE = re.compile(r"[<>|]?(f[248]|[iu][1248]|b1)")


class StandIn:
    """An object of a class that was not imported.

    Attributes:
        dotted: Name of the class in the pickle.
        state: Its ``__dict__`` in the pickle.
    """

    __slots__ = ("state",)
    dotted: ClassVar[str] = ""
    state: dict[Any, Any]

    def __new__(cls, *_: object) -> StandIn:  # noqa: D102, PYI034 - Self is of Python 3.11
        made = object.__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and state:  # (__dict__, slots)
            state = state[0]
        self.state = state if isinstance(state, dict) else {}


@functools.cache
def stand_in_class(dotted: str) -> type[StandIn]:
    """Return the stand-in for the class of that dotted name."""
    name = dotted.rpartition(".")[2]
    return type(name, (StandIn,), {"__slots__": (), "dotted": dotted})


class Sealed:
    """Something that a pickle may hold and may not change: BUILD would set attributes and slots."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise damaged(f"state given to a {type(self).__name__}")


class Call(Sealed):
    """A function of ours, as a pickle may call it.

    Args:
        function: Takes the positional arguments that the pickle gives.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        """Call it with what the pickle gives."""
        return self._function(*arguments)


class PlainDict(dict[Any, Any]):
    """An ``OrderedDict`` or ``defaultdict`` of the pickle: dicts keep their order anyway."""

    __slots__ = ()

    def __new__(cls, *_: object) -> PlainDict:  # noqa: D102, PYI034 - Self is of Python 3.11
        return dict.__new__(cls)

    def __init__(self, items: object = None) -> None:
        super().__init__()
        if isinstance(items, list):
            for item in items:
                key, value = item
                self[_key(key)] = value

    def __setstate__(self, state: object) -> None:
        """Ignore attributes: a state_dict carries versions of its modules as ``_metadata``."""


class StorageType(Sealed):
    """``torch.HalfStorage`` and its kin.

    Attributes:
        dtype: Of the elements.
    """

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class StorageRef(Sealed):
    """A storage, or a stretch of one, that has not been read.

    Attributes:
        key: Its name in the file.
        dtype: Of the elements.
        numel: Elements of the whole storage.
        begin: First element of the stretch.
        length: Elements of the stretch.
    """

    __slots__ = ("begin", "dtype", "key", "length", "numel")

    def __init__(
        self, key: str, dtype: torch.dtype, numel: int, *, begin: int = 0, length: int | None = None
    ) -> None:
        self.key = key
        self.dtype = dtype
        self.numel = numel
        self.begin = begin
        self.length = numel if length is None else length


class TensorRef(Sealed):
    """A tensor whose storage has not been read, and whose layout has not been checked.

    Attributes:
        storage: Where its elements lie.
        offset: First element, counted in the storage.
        size: Elements along each axis.
        stride: Elements of the storage from one index of an axis to the next.
    """

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(
        self, storage: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.size = size
        self.stride = stride


class DtypeRef:
    """A ``numpy.dtype``.

    Attributes:
        code: Kind and bytes, such as ``f8``, with the byte order in front once it is known.
    """

    __slots__ = ("code",)

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code if isinstance(code, str) else ""

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order in ("<", ">") and self.code[:1] not in ("<", ">"):
            self.code = f"{order}{self.code}"

    def numpy(self) -> np.dtype[Any] | None:
        """Return the dtype if it is one of plain numbers."""
        return np.dtype(self.code) if _NUMBER_CODE.fullmatch(self.code) else None


class ArrayRef:
    """A ``numpy.ndarray``, as the bytes that the pickle holds."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple):
            self._state = state[-4:]

    def numpy(self) -> np.ndarray[Any, np.dtype[Any]] | None:
        """Return the array if it is small and of plain numbers."""
        if len(self._state) != 4:  # noqa: PLR2004 - shape, dtype, order, bytes
            return None
        shape, dtype, is_fortran, raw = self._state
        of = dtype.numpy() if isinstance(dtype, DtypeRef) else None
        if of is None or not isinstance(raw, bytes) or len(raw) > MAX_ARRAY_BYTES:
            return None
        if not raw or not are_extents(shape) or math.prod(shape) * of.itemsize != len(raw):
            return None
        array: np.ndarray[Any, np.dtype[Any]] = np.ndarray(
            shape, of, raw, order="F" if is_fortran else "C"
        )
        return array


def are_extents(value: object) -> bool:
    """Return whether a value is a tuple of few integers, none of them negative."""
    return (
        isinstance(value, tuple)
        and len(value) <= MAX_DIMENSIONS
        and all(type(item) is int and item >= 0 for item in value)
    )


def damaged(problem: str) -> CheckpointError:
    """Return the error of a pickle that calls our functions otherwise than torch.save does."""
    return CheckpointError(
        problem,
        where="the pickle of the checkpoint",
        hint="download or copy the file again; if it stays so, it was not written by torch.save",
    )


def _key(value: object) -> object:
    if value is not None and not isinstance(value, str | int | float):
        raise damaged(f"key of type {type(value).__name__}, expected text or a number")
    return value


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> TensorRef:
    # Signs and extents are checked when the tensor is read: its name is known then.
    if not isinstance(storage, StorageRef) or type(offset) is not int:
        raise damaged("tensor without a storage")
    if not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise damaged("tensor without a shape")
    return TensorRef(storage, offset, size, stride)


def _parameter(data: object, *_: object) -> TensorRef:
    if not isinstance(data, TensorRef):
        raise damaged("parameter without a tensor")
    return data


def _from_type(function: object, _type: object, arguments: object, *_: object) -> object:
    """Rebuild a tensor that had attributes of its own, which are dropped."""
    if not isinstance(function, Call) or function not in _REBUILDS.values():
        raise damaged("tensor rebuilt by something that is not a function of torch")
    if not isinstance(arguments, tuple):
        raise damaged("tensor without a storage")
    return function(*arguments)


def _size(extents: object = ()) -> tuple[int, ...]:
    if isinstance(extents, list):
        extents = tuple(extents)
    if not are_extents(extents):
        raise damaged("torch.Size of something that is not a few integers")
    assert isinstance(extents, tuple)  # are_extents has checked it
    return extents


def _set(items: object = ()) -> set[object]:
    if not isinstance(items, list | tuple):
        raise damaged("set of something that is not a list")
    return {_key(item) for item in items}


def _encoded(text: object, encoding: object = "latin1", *_: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise damaged("bytes that are not written as latin1")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError as error:
        raise damaged("bytes that are not written as latin1") from error


def _scalar(dtype: object, raw: object = b"", *_: object) -> object:
    array = ArrayRef()
    array.__setstate__(((), dtype, False, raw))
    value = array.numpy()
    return None if value is None else value.item()


def _path(*parts: object) -> str:
    return "/".join(part for part in parts if isinstance(part, str))


def _device(kind: object = "cpu", *_: object) -> str:
    return kind if isinstance(kind, str) else "cpu"


_REBUILDS = {
    "torch._utils._rebuild_tensor": Call(_tensor),
    "torch._utils._rebuild_tensor_v2": Call(_tensor),
    "torch._utils._rebuild_parameter": Call(_parameter),
    "torch._utils._rebuild_parameter_with_state": Call(_parameter),
}

CALLS: Mapping[str, object] = {
    **_REBUILDS,
    "torch._tensor._rebuild_from_type_v2": Call(_from_type),
    "torch.Size": Call(_size),
    "torch.device": Call(_device),
    "collections.OrderedDict": PlainDict,
    "collections.defaultdict": PlainDict,
    "builtins.set": Call(_set),
    "_codecs.encode": Call(_encoded),
    **{
        f"{module}.{name}": Call(_path)
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
    "numpy.dtype": Call(DtypeRef),
    **{
        f"numpy.{core}.multiarray.{name}": Call(function)
        for core in ("core", "_core")
        for name, function in (("scalar", _scalar), ("_reconstruct", lambda *_: ArrayRef()))
    },
}
"""What stands in for functions, by the dotted name of the function."""
