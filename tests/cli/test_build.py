"""`yolor-deploy build`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.calibration_sets import folder_of
from tests.cli.invoke import assert_refused, invoke
from tests.exports import exported, names_in
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.core.artifact import Artifact


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An exported model of a few layers."""
    return exported(write_tiny_checkpoint(tmp_path)).artifact.path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures."""
    return folder_of(tmp_path / "images", 8)


def test_build_names_its_file_after_precision_and_target(model: Path, folder: Path) -> None:
    """Without -o nothing is overwritten: each precision has a name of its own."""
    invoke("build", model, "--fp16")
    invoke("build", model, "--int8", "--calibration", folder)
    result = invoke(
        "build", model, "--int8", "--fp16", "--target", "tensorrt", "--calibration", folder
    )

    assert result.exit_code == 0
    names = {path.name for path in model.parent.glob("*.onnx")}
    assert names == {
        "tiny.onnx",
        "tiny.fp16.onnx",
        "tiny.int8.onnxruntime.onnx",
        "tiny.int8+fp16.tensorrt.onnx",
    }
    assert "tiny.calibration.npz" in names_in(model.parent)


def test_build_tells_what_it_did_and_what_it_cost(model: Path, folder: Path) -> None:
    """Layers, their exceptions, and the distance from float32 are on the screen."""
    result = invoke("build", model, "--int8", "--calibration", folder)

    assert "8 bits: 3 of 6 convolutions" in result.stdout
    assert "kept, detection" in result.stdout
    assert "3 input channels: faster in float" in result.stdout
    assert "detections agree with AP" in result.stdout
    assert "fewer than 32" in result.stdout or "8 images" in result.stdout


def test_build_says_where_half_precision_was_looked_at(model: Path) -> None:
    """Without images, the largest values are of drawn ones, and that is said."""
    result = invoke("build", model, "--fp16")

    assert "2 drawn images: give --calibration for real ones" in result.stdout
    assert "may leave its range" in result.stdout


def test_build_prints_json(model: Path, folder: Path) -> None:
    """The JSON has the file, its metadata, every range and the cost."""
    result = invoke("build", model, "--int8", "--calibration", folder, "--json")

    value = json.loads(result.stdout)
    assert Artifact.read(Path(value["path"])).meta.precision == "int8"
    assert value["cost"]["images"] == 8
    assert set(value["sites"]["ranges"]) > {"module_list.0.activation"}
    manifest = value["meta"]["history"][-2]["options"]
    assert len(manifest["images"]) == 8
    assert manifest["method"] == "mse"
    assert {"letterbox", "resize", "colours"} <= manifest["preprocessing"].keys()


def test_build_again_reuses_the_calibration(model: Path, folder: Path) -> None:
    """Once calibrated, a build with another method needs no images."""
    invoke("build", model, "--int8", "--calibration", folder)
    file = model.with_suffix(".calibration.npz")

    result = invoke("build", model, "--int8", "--calibration-file", file, "--method", "max")

    assert result.exit_code == 0


def test_build_takes_a_subset_of_the_images(model: Path, folder: Path) -> None:
    """--images limits the number."""
    result = invoke("build", model, "--int8", "--calibration", folder, "--images", "3")

    assert "calibration: 3 images" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--int8",), ("--calibration", "needs ranges")),
        (("--fp16", "--bf16"), ("--fp16 and --bf16",)),
        (("--int8", "--fp8"), ("--int8 and --fp8",)),
        (("--fp32", "--fp16"), ("--fp32",)),
        (("--fp16", "--target", "mars"), ("'mars'", "onnxruntime, tensorrt")),
        (("--fp16", "--backend", "mars"), ("'mars'", "--backend")),
        (("--bf16",), ("--target tensorrt",)),
        (("--fp16", "--method", "mse"), ("--method", "option of calibration")),
        (("--fp16", "--images", "8"), ("--images", "option of calibration")),
        (("--int8", "--calibration", "nowhere"), ("nowhere", "no such file")),
        (("--int8", "--calibration-file", "nowhere.npz"), ("nowhere.npz", "No such file")),
        (("--fp16", "--calibration-file", "nowhere.npz"), ("nowhere.npz", "No such file")),
        (("--fp16", "-o", "missing/built.onnx"), ("missing", "does not exist")),
        (("--int8", "--calibration", "IMAGES", "--method", "magic"), ("'magic'", "--method")),
        (("--int8", "--calibration", "IMAGES", "--keep", "no.layer"), ("'no.layer'", "--keep")),
        (("--int8", "--calibration", "IMAGES", "--images", "0"), ("expected 1 or more",)),
        (("--int8", "--calibration", "EMPTY"), ("without images",)),
    ],
    ids=lambda value: "-".join(value) if "--" in value[0] else "",
)
def test_build_refuses(
    model: Path, folder: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """One message of three parts, exit code 1, and no new model."""
    empty = model.parent / "empty"
    empty.mkdir()
    paths = {"IMAGES": str(folder), "EMPTY": str(empty)}

    result = invoke("build", model, *(paths.get(word, word) for word in arguments))

    assert_refused(result, *words)
    assert [path.name for path in model.parent.glob("*.onnx")] == ["tiny.onnx"]


def test_build_refuses_what_is_no_model(tmp_path: Path) -> None:
    """A file of something else is named."""
    path = tmp_path / "notes.onnx"
    path.write_text("not a model", encoding="utf-8")

    assert_refused(invoke("build", path, "--fp16"), "not a readable ONNX file")
