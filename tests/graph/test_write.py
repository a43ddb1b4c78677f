"""Bytes of a model, written without a second copy of its weights."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from tests.graph.tiny_graphs import convolution_net, tiny_spec
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph import write
from yolor_deploy.graph.nms_head import attach_nms
from yolor_deploy.graph.write import write_model


def detector() -> ir.Model:
    """Return a model with weights, a function, two domains and metadata."""
    spec = tiny_spec()
    model = convolution_net(spec)
    attach_nms(model, spec, NmsConfig())
    model.metadata_props["key"] = "väl" * 100
    return model


def model_with(array: npt.NDArray[np.generic]) -> ir.Model:
    """Return a model that gives one constant."""
    value = ir.Value(name="constant", const_value=ir.tensor(array, name="constant"))
    value.shape = ir.Shape(array.shape)
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    node = ir.node("Identity", [value], name="identity")
    graph = ir.Graph(
        [], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 17}, name="g"
    )
    return ir.Model(graph, ir_version=8)


def weights_of(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.generic]]:
    """Return the initializers by name."""
    return {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}


def test_bytes_hold_what_the_library_would_write(tmp_path: Path) -> None:
    """Graph, functions, opsets and metadata are those of onnx_ir; weights are, bit for bit."""
    model = detector()
    expected = ir.to_proto(model)

    write_model(model, tmp_path / "model.onnx")

    found = onnx.load(tmp_path / "model.onnx")
    written, wanted = weights_of(found), weights_of(expected)
    assert list(written) == list(wanted)
    for name, values in wanted.items():
        assert written[name].dtype == values.dtype
        np.testing.assert_array_equal(written[name], values)
    for proto in (found, expected):
        proto.graph.ClearField("initializer")
        shown = [
            v for v in proto.graph.value_info if v.name not in wanted
        ]  # a weight tells its own
        proto.graph.ClearField("value_info")
        proto.graph.value_info.extend(shown)
    assert found == expected
    assert found.metadata_props[0].value == "väl" * 100


def test_written_model_passes_the_checker(tmp_path: Path) -> None:
    """The file is valid in full, shapes included."""
    write_model(detector(), tmp_path / "model.onnx")

    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)


def test_writing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    """A model can be written twice, with the same bytes, and still has its weights."""
    model = detector()
    before = ir.to_proto(model)

    write_model(model, tmp_path / "first.onnx")
    write_model(model, tmp_path / "second.onnx")

    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    assert ir.to_proto(model) == before


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.array(2.5, np.float32), id="scalar"),
        pytest.param(np.array(-7, np.int64), id="int64-scalar"),
        pytest.param(np.zeros((0,), np.float32), id="empty"),
        pytest.param(np.zeros((3, 0, 2), np.int64), id="empty-of-rank-3"),
        pytest.param(np.array([0, -1, 2**63 - 1]), id="int64"),
        pytest.param(np.array([np.nan, np.inf, -0.0], np.float32), id="special-values"),
        pytest.param(np.arange(6, dtype=np.float16).reshape(2, 3), id="float16"),
        pytest.param(np.array([1.5, -2.0], ml_dtypes.bfloat16), id="bfloat16"),
        pytest.param(np.arange(6, dtype=np.float64).reshape(2, 3).T, id="not-contiguous"),
        pytest.param(np.array([True, False]), id="bool"),
        pytest.param(np.arange(256, dtype=np.uint8), id="uint8"),
    ],
)
def test_values_of_every_kind_come_back(tmp_path: Path, array: npt.NDArray[np.generic]) -> None:
    """Type, shape and bits of a weight are kept."""
    write_model(model_with(array), tmp_path / "model.onnx")

    found = weights_of(onnx.load(tmp_path / "model.onnx"))["constant"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("count", [31, 32, 4095, 4096, 600_000])
def test_lengths_around_a_byte_of_the_wire_format(tmp_path: Path, count: int) -> None:
    """Lengths are written in groups of seven bits: 127, 128 and 16,384 bytes are the edges."""
    array = np.arange(count, dtype=np.float32)

    write_model(model_with(array), tmp_path / "model.onnx")

    found = weights_of(onnx.load(tmp_path / "model.onnx"))["constant"]
    np.testing.assert_array_equal(found, array)


def test_model_without_weights_is_written(tmp_path: Path) -> None:
    """Nothing to write is no special case."""
    image = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Identity", [image], name="identity")
    graph = ir.Graph([image], node.outputs, nodes=[node], opset_imports={"": 17}, name="g")

    write_model(ir.Model(graph, ir_version=8), tmp_path / "model.onnx")

    assert len(onnx.load(tmp_path / "model.onnx").graph.node) == 1


def test_large_weights_go_into_a_second_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit the message holds the name of the file that holds the weights."""
    model = detector()
    expected = weights_of(ir.to_proto(model))
    monkeypatch.setattr(write, "LARGEST_FILE_BYTES", 1000)

    write_model(model, tmp_path / "model.onnx")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    outline = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    places = {
        e.value for w in outline.graph.initializer for e in w.external_data if e.key == "location"
    }
    assert places == {"model.onnx.data"}
    found = weights_of(onnx.load(tmp_path / "model.onnx"))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_failed_write_keeps_the_weights_in_the_model(tmp_path: Path) -> None:
    """A folder that is not there is an error of the system, and the model can be written again."""
    model = detector()

    with pytest.raises(FileNotFoundError):
        write_model(model, tmp_path / "none" / "model.onnx")
    write_model(model, tmp_path / "model.onnx")

    assert len(weights_of(onnx.load(tmp_path / "model.onnx"))) == 4
