"""Arrays of other libraries, where they are."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from yolor_deploy.core.errors import RunError

_PINNED = 0  # what page-locked host memory, which every GPU reads, has for its GPU


class ArrayView(NamedTuple):
    """An array where it is.

    Attributes:
        pointer: Address of its first element, on the device.
        shape: Of the array.
        dtype: NumPy's name of it.
        is_contiguous: Whether it is dense, the last axis fastest.
        owner: What keeps the memory.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    is_contiguous: bool
    owner: object


def view_of(array: Any, consumer: int, *, device_id: int) -> ArrayView:
    """Look at an array on a GPU.

    Args:
        array: Anything with ``__cuda_array_interface__`` or DLPack.
        consumer: Stream that is made to wait for the one that the array names, as the CUDA array
            interface counts them: 1 for CUDA's 0, -1 for none.
        device_id: Ordinal of the GPU that will read it.

    Raises:
        RunError: It is no array, or is in host memory, or on another GPU.
    """
    from cuda.core.utils import StridedMemoryView  # noqa: PLC0415 - late

    try:
        view = StridedMemoryView.from_any_interface(array, stream_ptr=consumer)
    except Exception as error:
        raise RunError(
            f"{type(array).__name__} is no array of a GPU: {error}",
            where="array",
            hint="give arrays with __cuda_array_interface__ or DLPack, on the device",
        ) from error
    if not view.is_device_accessible:
        raise RunError(
            f"{type(array).__name__} is in host memory",
            where="array",
            hint="move the array to the GPU first",
        )
    if view.device_id > _PINNED and view.device_id != device_id:
        raise RunError(
            f"{type(array).__name__} is on GPU {view.device_id}, expected GPU {device_id}",
            where="array",
            hint="move the array to that GPU, or open the session on the other",
        )
    return ArrayView(
        int(view.ptr),
        tuple(view.shape),
        _name_of(view.dtype),
        is_contiguous(tuple(view.shape), view.strides),
        array,
    )


@cache
def _name_of(dtype: Any) -> str:
    """Return NumPy's name of a dtype, which it takes some microseconds to put together."""
    return str(dtype)


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Return whether an array is dense; strides are in elements, None if it is."""
    if strides is None:
        return True
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True
