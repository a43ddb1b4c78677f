"""`build`: what it writes, what it keeps float, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from tests.calibration_sets import folder_of
from tests.exports import exported, names_in, outputs_of, silent
from tests.tiny_checkpoints import TinyCheckpoint, save, write_tiny_checkpoint
from yolor_deploy import pipeline, precision_stages
from yolor_deploy.backends import open_for_accuracy
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, BuildError
from yolor_deploy.core.precision import GraphTarget, Precision
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.detector import open_session
from yolor_deploy.pipeline import BuildConfig, BuildResult
from yolor_deploy.precision_stages import CalibrationConfig

FORMS: list[tuple[str, GraphTarget]] = [
    ("fp32", "onnxruntime"),
    ("fp16", "onnxruntime"),
    ("bf16", "tensorrt"),
    ("int8", "onnxruntime"),
    ("int8", "tensorrt"),
    ("int8+fp16", "tensorrt"),
    ("int8+bf16", "tensorrt"),
    ("fp8", "tensorrt"),
    ("fp8+fp16", "tensorrt"),
]
LEAST_DECIBELS = {"fp16": 45.0, "bf16": 25.0, "int8": 18.0, "fp8": 12.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures."""
    return folder_of(tmp_path_factory.mktemp("calibration") / "images", 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of a few layers."""
    made = exported(write_tiny_checkpoint(tmp_path_factory.mktemp("model")))
    return made.artifact.path


def built(
    model: Path,
    name: str = "int8",
    target: GraphTarget = "tensorrt",
    *,
    images: Path | None = None,
    output: Path | None = None,
    keep: tuple[str, ...] = (),
) -> BuildResult:
    """Build a model without a calibration file."""
    config = BuildConfig(
        model,
        output=output,
        precision=Precision.from_name(name),
        target=target,
        calibration=CalibrationConfig((str(images),)) if images else None,
        keep=keep,
    )
    return pipeline.build(config, note=silent)


@pytest.mark.parametrize(("name", "target"), FORMS)
def test_build_writes_a_checked_model_near_the_float_one(
    model: Path, folder: Path, tmp_path: Path, name: str, target: GraphTarget
) -> None:
    """Whatever the precision: typed, checked, described, and as near as its bits allow."""
    result = built(model, name, target, images=folder, output=tmp_path / "built.onnx")

    artifact = Artifact.read(tmp_path / "built.onnx")
    onnx.checker.check_model(str(artifact.path), full_check=True)
    assert artifact.meta.precision == name
    is_portable = name in {"fp32", "fp16"}
    assert artifact.meta.target == (None if is_portable else target)
    assert artifact.meta.spec == Artifact.read(model).meta.spec
    assert [r.stage for r in artifact.meta.history][-2:] == ["calibrate", "lower"]
    assert artifact.meta.history[-1].input_sha256 == sha256_of_file(model)
    least = min((v for key, v in LEAST_DECIBELS.items() if key in name), default=100.0)
    assert min(result.cost.signal_to_noise_db) > least
    assert result.cost.boxes > 0
    assert names_in(tmp_path) == ["built.onnx"]


@pytest.mark.parametrize("kind", ["raw", "predictions"])
@pytest.mark.parametrize("name", ["fp16", "int8+fp16"])
def test_build_keeps_the_kind_of_outputs_and_inputs(
    tmp_path: Path, folder: Path, kind: str, name: str
) -> None:
    """Outputs stay float32 whatever is inside; a uint8 input in NHWC stays what it is."""
    source = exported(
        write_tiny_checkpoint(tmp_path), output_kind=kind, dtype="uint8", layout="NHWC"
    ).artifact

    result = built(source.path, name, images=folder, output=tmp_path / "built.onnx")

    graph = onnx.load(result.artifact.path).graph
    assert {value.type.tensor_type.elem_type for value in graph.output} == {TensorProto.FLOAT}
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert [value.name for value in graph.output] == list(source.output_names)


def test_build_keeps_a_range_of_batches(tmp_path: Path, folder: Path) -> None:
    """A model of one to four images is calibrated one by one, and still takes four."""
    source = exported(write_tiny_checkpoint(tmp_path), batch=BatchRange(1, 2, 4)).artifact

    result = built(source.path, images=folder, target="onnxruntime")

    images = np.random.default_rng(0).random((4, 3, 64, 64), np.float32)
    outputs = open_session(result.artifact).run(images)
    assert outputs["num_detections"].shape == (4, 1)


def test_half_model_detects_what_the_float_model_detects(model: Path, tmp_path: Path) -> None:
    """In stock ONNX Runtime, boxes and scores differ by the rounding of half precision."""
    result = built(model, "fp16", output=tmp_path / "half.onnx")

    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    found, expected = outputs_of(result.artifact.path, images), outputs_of(model, images)
    np.testing.assert_allclose(found["scores"][0, :20], expected["scores"][0, :20], atol=2e-3)
    assert found["boxes_xyxy"].dtype == np.float32


def test_build_gives_the_same_bytes_again(model: Path, folder: Path, tmp_path: Path) -> None:
    """A build is reproducible."""
    paths = [tmp_path / "first.onnx", tmp_path / "second.onnx"]

    for path in paths:
        built(model, images=folder, output=path)

    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_kept_layers_are_not_quantised(model: Path, folder: Path, tmp_path: Path) -> None:
    """A layer that is named stays float, and the metadata say why."""
    name = "module_list.1.Conv2d"

    result = built(model, images=folder, output=tmp_path / "kept.onnx", keep=(name,))

    assert name not in result.sites.quantised
    assert dict(result.sites.kept)[name] == "asked for"
    graph = onnx.load(result.artifact.path).graph
    (node,) = [node for node in graph.node if node.name == name]
    assert not any("dequantize" in value for value in node.input)


def with_large_activations(tiny: TinyCheckpoint, scale: float) -> TinyCheckpoint:
    """Make the third convolution give values of that scale, and the others undo it."""
    weight = "module_list.2.BatchNorm2d.weight"
    tiny.tensors[weight] = torch.full_like(tiny.tensors[weight], scale)
    for name in ("module_list.9.Conv2d.weight", "module_list.13.Conv2d.weight"):
        tiny.tensors[name] = tiny.tensors[name] / scale
    save(tiny.path, tiny.tensors)
    return tiny


def test_layers_beyond_the_range_of_half_stay_float(tmp_path: Path, folder: Path) -> None:
    """Values of 100,000 would be infinite: the nodes around them are float32, and named."""
    tiny = with_large_activations(write_tiny_checkpoint(tmp_path), 3e5)
    source = exported(tiny).artifact

    result = built(source.path, "fp16", images=folder, output=tmp_path / "half.onnx")

    named = dict(result.sites.float_nodes)
    assert "module_list.2.Conv2d" in named
    assert "module_list.0.Conv2d" not in named
    assert min(result.cost.signal_to_noise_db) > 40
    assert result.sites.tensors[0].overflows


def test_build_refuses_a_result_that_is_not_finite(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an overflow were missed, the comparison sees it, and no file is left."""
    tiny = with_large_activations(write_tiny_checkpoint(tmp_path), 3e5)
    source = exported(tiny).artifact
    monkeypatch.setattr(precision_stages, "_nodes_around", lambda *_: {})

    with pytest.raises(BuildError, match="NaN or infinity"):
        built(source.path, "fp16", images=folder, output=tmp_path / "half.onnx")

    assert not (tmp_path / "half.onnx").exists()


def test_build_refuses_eight_bits_without_images(model: Path) -> None:
    """Ranges do not come from nowhere."""
    with pytest.raises(BuildError, match="needs ranges, and no images"):
        built(model, "int8")


def test_build_refuses_what_was_built_already(model: Path, folder: Path, tmp_path: Path) -> None:
    """Bits that are gone do not come back."""
    first = built(model, images=folder, output=tmp_path / "int8.onnx").artifact.path

    with pytest.raises(ArtifactError, match="precision int8, expected a model of fp32"):
        built(first, "fp16", output=tmp_path / "again.onnx")


def test_build_refuses_a_network_quantised_by_other_tools(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    """Metadata that tell of float32 do not hide Q/DQ pairs."""
    proto = onnx.load(built(model, images=folder, output=tmp_path / "int8.onnx").artifact.path)
    original = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    for entry in proto.metadata_props:
        entry.value = original[entry.key]
    onnx.save(proto, tmp_path / "disguised.onnx")

    with pytest.raises(ArtifactError, match="quantised already"):
        built(tmp_path / "disguised.onnx", "fp16", output=tmp_path / "again.onnx")


@pytest.mark.parametrize("name", ["bf16", "fp8", "int8+fp16"])
def test_build_refuses_what_a_cpu_gains_nothing_from(
    model: Path, folder: Path, tmp_path: Path, name: str
) -> None:
    """The hint names the target that has it."""
    with pytest.raises(BuildError) as caught:
        built(model, name, "onnxruntime", images=folder, output=tmp_path / "no.onnx")

    assert "--target tensorrt" in caught.value.hint
    assert names_in(tmp_path) == []


def test_build_refuses_unknown_layers(model: Path, folder: Path, tmp_path: Path) -> None:
    """A name that is of no layer is quoted, with some that are."""
    with pytest.raises(BuildError, match=r"'model\.99\.conv'") as caught:
        built(model, images=folder, output=tmp_path / "no.onnx", keep=("model.99.conv",))

    assert "module_list.0.Conv2d" in caught.value.hint


def test_model_for_tensorrt_is_not_run_by_accident(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    """ONNX Runtime would run it slowly: it is refused, and runs for accuracy when asked for."""
    artifact = built(model, images=folder, output=tmp_path / "int8.onnx").artifact
    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)

    with pytest.raises((ArtifactError, BackendUnavailableError), match="tensorrt"):
        open_session(artifact)

    outputs = open_session(artifact, for_accuracy=True).run(images)
    assert outputs["num_detections"].shape == (1, 1)


def test_interrupted_build_leaves_no_file(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the last stage leaves the folder as it was."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "cost_of_lowering", interrupt)

    with pytest.raises(KeyboardInterrupt):
        built(model, images=folder, output=tmp_path / "built.onnx")

    assert names_in(tmp_path) == []


def test_build_does_not_overwrite_its_input(model: Path) -> None:
    """The float model stays."""
    with pytest.raises(ArtifactError, match="same file as an input"):
        built(model, "fp16", output=model)


def test_boxes_of_a_half_model_are_decoded_exactly_at_1536_px(tmp_path: Path) -> None:
    """Half maps, float32 decoding: within 0.01 px of exact; half decoding would be a pixel off."""
    source = exported(
        write_tiny_checkpoint(tmp_path), size=(64, 1536), output_kind="predictions"
    ).artifact
    artifact = built(source.path, "fp16", output=tmp_path / "half.onnx").artifact
    images = np.random.default_rng(0).random((1, 3, 64, 1536), np.float32)

    outputs = open_for_accuracy(artifact, with_raw=True).run(images)

    maps = [outputs["raw_0"], outputs["raw_1"]]
    exact = predictions_from_raw([raw.astype(np.float64) for raw in maps], source.meta.spec)
    error = np.abs(outputs["predictions"][..., :4] - exact[..., :4])
    half = np.abs(exact[..., :4].astype(np.float16).astype(np.float64) - exact[..., :4])
    assert error.max() < 0.01
    assert half.max() > 0.4
    assert all(np.array_equal(raw, raw.astype(np.float16)) for raw in maps)
