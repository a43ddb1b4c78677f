"""Write a model to disk without a second copy of its weights in memory.

onnx and onnx_ir build the whole protobuf message, then its bytes: three times the weights, 4 GB
for YOLOR-D6. Here the message is written field by field, with the bytes of each weight straight
from its array.

Source: the protobuf wire format; field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import TensorProto

LARGEST_FILE_BYTES = 2_000_000_000  # protobuf refuses messages of 2 GiB
_MODEL_GRAPH = 7  # ModelProto.graph
_GRAPH_INITIALIZER = 5  # GraphProto.initializer
_TENSOR_RAW_DATA = 9  # TensorProto.raw_data
_LENGTH_DELIMITED = 2


def write_model(model: ir.Model, path: Path) -> None:
    """Write a model; weights above 2 GB go into ``<name>.data`` beside it.

    The bytes are the same for equal models.

    Args:
        model: Its initializers hold little-endian values; unchanged afterwards.
        path: A new file.

    Raises:
        OSError: It cannot be written.
    """
    weights = dict(model.graph.initializers)
    size = sum(v.const_value.nbytes for v in weights.values() if v.const_value is not None)
    if size > LARGEST_FILE_BYTES:
        ir.save(model, path, external_data=f"{path.name}.data")
        return
    model.graph.initializers.clear()
    try:
        proto = ir.to_proto(model)
    finally:
        model.graph.initializers.update(weights)
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    tensors = [_tensor_parts(value) for value in weights.values()]
    graph_size = len(graph) + sum(_field_size(len(h) + a.nbytes) for h, a in tensors)
    with path.open("wb") as file:
        file.write(proto.SerializeToString())
        _write_header(file, _MODEL_GRAPH, graph_size)
        file.write(graph)
        for header, array in tensors:
            _write_header(file, _GRAPH_INITIALIZER, len(header) + array.nbytes)
            file.write(header)
            file.write(array.data)


def _tensor_parts(value: ir.Value) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """Return the message of a weight up to the length of its bytes, and these bytes."""
    assert value.const_value is not None
    array = np.ascontiguousarray(value.const_value.numpy())
    # As bytes: types that are not NumPy's own, such as bfloat16, have no buffer of their own.
    array = array.reshape(-1).view(np.uint8)
    tensor = TensorProto(
        name=value.name, dims=value.const_value.shape.numpy(), data_type=value.const_value.dtype
    )
    raw = _varint(_TENSOR_RAW_DATA << 3 | _LENGTH_DELIMITED) + _varint(array.nbytes)
    return tensor.SerializeToString() + raw, array


def _field_size(length: int) -> int:
    """Return how many bytes an initializer takes with its tag and length."""
    return len(_varint(_GRAPH_INITIALIZER << 3)) + len(_varint(length)) + length


def _write_header(file: BinaryIO, number: int, length: int) -> None:
    file.write(_varint(number << 3 | _LENGTH_DELIMITED) + _varint(length))


def _varint(value: int) -> bytes:
    return bytes(_groups(value))


def _groups(value: int) -> Iterator[int]:
    while value > 0x7F:  # noqa: PLR2004 - the continuation bit
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
