"""What a machine reaches at best: in a chain of matrix products, and in a copy.

The products are square and large, which suits every library best. The copy is far larger than a
cache, so a layer whose values stay in one can be faster than its share of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from yolor_deploy.backends.onnxruntime.stages import ClockNs
from yolor_deploy.backends.onnxruntime.temporary import temporary_folder

Kind = Literal["fp32", "fp16", "int8"]
Load = Callable[[Path], Any]

_FILE = "peak.onnx"
_OPSET = 17
_IR_VERSION = 8
_BUDGET_NS = 300_000_000
_LONGEST_NS = 150_000_000  # of a try of the larger chain
_FEWEST, _MOST = 3, 50  # tries
_CHAINS = {"cpu": ((1024, 2), (2048, 1)), "cuda": ((2048, 4), (8192, 2))}  # side, length
_COPY_BYTES = {"cpu": 256 << 20, "cuda": 512 << 20}
_TENSOR = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "int8": TensorProto.UINT8}


def peak_of_products(
    kind: Kind, load: Load, clock_ns: ClockNs, *, device: str = "cpu", index: int = 0
) -> tuple[float, str]:
    """Measure a chain of products that any machine finishes, and a larger one if it is fast enough.

    Args:
        kind: Of the numbers.
        load: From a file to a session on the device.
        clock_ns: What the time is read from.
        device: As ONNX Runtime calls it.
        index: Which.

    Returns:
        The higher of both, 1e9 multiplications and additions a second; and its sizes, as text.
    """
    found: list[tuple[float, str]] = []
    for side, length in _CHAINS[device]:
        work = 2 * side**3 * length
        if found and work / found[-1][0] > _LONGEST_NS:
            break
        model = product_chain(kind, rows=side, side=side, length=length)
        took_ns = best_ns(runner(model, load, device=device, index=index), clock_ns)
        found.append((work / took_ns, f"products of {side} x {side} matrices, {length} in a row,"))
    return max(found)


def peak_of_copy(
    load: Load, clock_ns: ClockNs, *, threads: int, device: str = "cpu", index: int = 0
) -> tuple[float, str]:
    """Measure a copy: of host memory by NumPy in threads, of a GPU's by a negation.

    Args:
        load: As of ``peak_of_products``.
        clock_ns: Likewise.
        threads: Of a copy of host memory.
        device: Likewise.
        index: Likewise.

    Returns:
        1e9 bytes a second, read and written together; and how it was made, as text.
    """
    size = _COPY_BYTES[device]
    if device == "cpu":
        copy = host_copy(size, threads)
        text = f"copy of {size >> 20} MiB by NumPy in {threads} threads"
    else:
        copy = runner(negation(size // 4), load, device=device, index=index)
        text = f"negation of {size >> 20} MiB of float32"
    return 2 * size / best_ns(copy, clock_ns), text


def best_ns(work: Callable[[], object], clock_ns: ClockNs) -> int:
    """Return the shortest time of some work, of as many tries as fit in 0.3 s, at least 3."""
    work()  # the first allocates
    start = clock_ns()
    times: list[int] = []
    while len(times) < _MOST:
        begin = clock_ns()
        work()
        end = clock_ns()
        times.append(end - begin)
        if len(times) >= _FEWEST and end - start > _BUDGET_NS:
            break
    return max(1, min(times))


def product_chain(kind: Kind, *, rows: int, side: int, length: int) -> onnx.ModelProto:
    """Return a model of so many products [rows, side] x [side, side], one after the other.

    Numbers stay finite: every matrix has rows that sum to about 1. In 8 bits each result is
    rounded to 8 bits again, as between convolutions.
    """
    rng = np.random.default_rng(0)
    weight = rng.random((side, side), dtype=np.float32) * np.float32(2 / side)
    arrays: dict[str, npt.NDArray[Any]] = {"weight": weight}
    if kind == "fp16":
        arrays = {"weight": weight.astype(np.float16)}
    elif kind == "int8":
        arrays = {
            "weight": rng.integers(-127, 128, (side, side), dtype=np.int8),
            "scale": np.array(1 / 127, np.float32),
            "coarser": np.array(side / 127, np.float32),
            "zero": np.array(0, np.int8),
            "middle": np.array(128, np.uint8),
        }
    nodes = [_product(kind, f"value_{i}", f"value_{i + 1}") for i in range(length)]
    ends = [
        helper.make_tensor_value_info(name, _TENSOR[kind], [rows, side])
        for name in ("value_0", f"value_{length}")
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return _model(graph)


def negation(count: int) -> onnx.ModelProto:
    """Return a model that reads so many float32 and writes as many."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [count]) for n in ("x", "y")]
    node = helper.make_node("Neg", ["x"], ["y"])
    return _model(helper.make_graph([node], "negation", ends[:1], ends[1:]))


def runner(model: onnx.ModelProto, load: Load, *, device: str, index: int) -> Callable[[], object]:
    """Load a model of one input and one output; return what runs it once, and waits for it.

    Raises:
        ArtifactError: There is no place on disk for the model.
    """
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    with temporary_folder("a model to measure the machine with", where=_FILE) as folder:
        path = folder / _FILE
        onnx.save(model, path)
        session = load(path)
    (taken,), (given,) = model.graph.input, model.graph.output
    element = helper.tensor_dtype_to_np_dtype(taken.type.tensor_type.elem_type)
    shape = [side.dim_value for side in taken.type.tensor_type.shape.dim]
    ones = np.ones(shape, element)
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(ones, device, index)
    binding.bind_ortvalue_input(taken.name, value)
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, element, device, index)
    binding.bind_ortvalue_output(given.name, result)

    def run() -> object:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return ones  # on the CPU the input is this array itself

    return run


def host_copy(num_bytes: int, threads: int) -> Callable[[], object]:
    """Return what copies so many bytes of host memory, in equal parts by so many threads."""
    source = np.ones(num_bytes, np.uint8)
    target = np.zeros(num_bytes, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

    def copy() -> None:
        workers = [threading.Thread(target=np.copyto, args=part) for part in parts[1:]]
        for worker in workers:
            worker.start()
        np.copyto(*parts[0])
        for worker in workers:
            worker.join()

    return copy


def _product(kind: Kind, taken: str, given: str) -> onnx.NodeProto:
    if kind != "int8":
        return helper.make_node("MatMul", [taken, "weight"], [given])
    left, right = [taken, "scale", "middle"], ["weight", "scale", "zero"]
    return helper.make_node("QLinearMatMul", [*left, *right, "coarser", "middle"], [given])


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    opset = helper.make_operatorsetid("", _OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
