"""Reading a model: types and shapes of all values, weights left where they are."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from tests.exports import exported
from tests.graph.tiny_nets import TinyNet, detector_net, noise, run
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.spec import OutputKind
from yolor_deploy.graph.read import read_model


def saved(folder: Path, model: ir.Model) -> Path:
    """Write a model of which only inputs and outputs are declared."""
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("batch", [1, 2])
def test_every_value_has_type_and_shape(tmp_path: Path, batch: int) -> None:
    """Values inside layers, which a file does not declare, are inferred."""
    model = read_model(saved(tmp_path, detector_net(batch=batch, uint8=True)))

    shapes = {}
    for value in (value for node in model.graph for value in node.outputs):
        assert value.dtype == ir.DataType.FLOAT
        assert value.shape is not None
        shapes[value.name] = list(value.shape)
    assert shapes["stem.act.sigmoid"] == [batch, 8, 8, 8]
    assert shapes["up"] == [batch, 8, 8, 8]
    assert shapes["raw_1"] == [batch, 8, 4, 4]


@pytest.mark.parametrize("kind", ["raw", "predictions", "detections"])
def test_every_kind_of_export_is_read(tmp_path: Path, kind: OutputKind) -> None:
    """What `export` wrote is read with its metadata, and means what it meant."""
    path = exported(write_tiny_checkpoint(tmp_path), output_kind=kind).artifact.path

    model = read_model(path)

    values = [value for node in model.graph for value in node.outputs]
    assert None not in {value.dtype for value in values}
    assert all(value.shape is not None for value in values)
    before, after = onnx.load(path), ir.to_proto(model)
    assert after.metadata_props == before.metadata_props
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output
    assert after.graph.node == before.graph.node
    assert after.graph.initializer == before.graph.initializer
    assert after.functions == before.functions


def test_weights_stay_on_disk_until_used(tmp_path: Path) -> None:
    """Weights beside the file are read when they are needed, and not before."""
    proto = ir.to_proto(detector_net())
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="w", size_threshold=0)
    expected = run(detector_net(), noise())

    model = read_model(path)

    tensors = [value.const_value for value in model.graph.initializers.values()]
    large = [tensor for tensor in tensors if tensor is not None and tensor.nbytes > 1000]
    assert len(large) == 7
    assert all(isinstance(tensor, ir.ExternalTensor) and tensor.raw is None for tensor in large)
    for name, values in run(ir.external_data.load_to_model(model), noise()).items():
        assert (values == expected[name]).all()


@pytest.mark.parametrize("content", [b"not onnx", b"\x08\x08\x3a\x02"], ids=["text", "cut-short"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file and says what to do."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match="not a readable ONNX file") as caught:
        read_model(path)

    assert caught.value.where == str(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is the same error."""
    with pytest.raises(ArtifactError, match="not a readable ONNX file"):
        read_model(tmp_path / "model.onnx")


def test_shapes_that_contradict_each_other_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A declared output that is not what the graph gives is an error, not a warning."""
    model = detector_net()
    model.graph.outputs[1].shape = ir.Shape(["batch", 9, 4, 4])

    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ArtifactError, match=r"dimension 1: \(8\) vs \(9\)"),
    ):
        read_model(saved(tmp_path, model))

    assert not caplog.records


def test_types_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """An operator that takes no bytes, given bytes, is an error."""
    net = TinyNet()
    model = net.model([net.op("Sigmoid", [net.x], "sigmoid")])
    model.graph.inputs[0].type = ir.TensorType(ir.DataType.UINT8)

    with pytest.raises(ArtifactError, match="not a readable ONNX file"):
        read_model(saved(tmp_path, model))


def test_refused_file_leaves_nothing_open(tmp_path: Path) -> None:
    """A file that was refused can be replaced and read."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(ArtifactError):
        read_model(path)

    saved(tmp_path, detector_net())

    assert len(read_model(path).graph) == len(detector_net().graph)
