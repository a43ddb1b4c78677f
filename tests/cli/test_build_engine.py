"""`yolor-deploy build` for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.backends import stand_in
from tests.backends.rtx_models import EXPORTS
from tests.calibration_sets import folder_of
from tests.cli.invoke import assert_refused, invoke
from tests.exports import names_in
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.passport import Passport

NEEDED = pytest.mark.tensorrt_rtx
RTX = ("--backend", "tensorrt_rtx", "--compute-capability", "8.6")
FOR_BOTH = "for compute capability 8.6, 12.0"
OPTIONS_OF_ENGINES = (
    *(("--nms", "kernels"), ("--compute-capability", "8.6"), ("--profile", "1")),
    *(("--workspace", "64"), ("--optimization-level", "3"), ("--aux-streams", "0")),
    *(("--tf32",), ("--no-tf32",), ("--timing-cache", "cache"), ("--plugin-library", "lib.so")),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A detector of one convolution a level, for batches of 1 to 8, alone in its folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return written_artifact(folder / "model.onnx", tiny_spec()).path


@NEEDED
def test_build_tells_what_the_engine_is(model: Path) -> None:
    """What built it, for what, what it holds, what was not allowed, and where its passport is."""
    result = invoke("build", model, *RTX, "--compute-capability", "12.0", "--profile", "1:4:8")

    assert result.exit_code == 0, result.output
    plan = model.with_name("model.fp32.tensorrt_rtx.engine")
    passport = Passport.read(plan)
    for text in (
        f"engine: TensorRT-RTX {passport.builder.version}, built without a GPU, {FOR_BOTH}",
        "post-processing: our kernels, behind the engine: TensorRT-RTX takes no plugins",
        "batches: 1 to 8, best 4",
        "TF32: off, products of float32 keep their bits (--tf32 for more speed)",
        f"wrote {plan}.json: its passport, to be kept beside it",
    ):
        assert text in result.stdout.splitlines()
    assert f"wrote {plan} (fp32 for tensorrt_rtx, " in result.stdout
    assert "GB at most" in result.stdout
    assert "build: building with TensorRT-RTX" in result.stderr


@NEEDED
def test_build_tells_what_half_precision_cost_first(tmp_path: Path) -> None:
    """The model is lowered as `build` does without an engine, and nothing of that is left."""
    path = EXPORTS["darknet-silu-detections"](tmp_path).path

    result = invoke("build", path, *RTX, "--fp16", "-o", tmp_path / "half.engine")

    lines = result.stdout.splitlines()
    assert lines[0] == "calibration: 2 drawn images: give --calibration for real ones"
    assert any(line.startswith("against fp32 on 2 images") for line in lines)
    assert "half.engine (fp16 for tensorrt_rtx" in lines[-2]
    assert {*names_in(tmp_path)} >= {"half.engine", "half.engine.json"}
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["tiny.onnx"]


@NEEDED
def test_build_in_8_bits_calibrates(tmp_path: Path) -> None:
    """The layout is that of TensorRT without saying so; ranges are kept for the next build."""
    path = EXPORTS["darknet-silu-detections"](tmp_path).path
    images = folder_of(tmp_path / "images", 4)

    result = invoke("build", path, *RTX, "--int8", "--fp16", "--calibration", images, "--json")
    file = path.with_suffix(".calibration.npz")
    again = invoke("build", path, *RTX, "--int8", "--calibration-file", file)

    value = json.loads(result.stdout)
    assert value["meta"]["precision"] == "int8+fp16"
    assert value["sites"]["quantised"]
    assert again.exit_code == 0, again.output
    assert "8 bits: 4 of 6 convolutions" in again.stdout


@NEEDED
def test_build_prints_json(model: Path) -> None:
    """The JSON has the passport as it lies on disk, and where both files are."""
    result = invoke("build", model, *RTX, "--tf32", "--json")

    value = json.loads(result.stdout)
    plan = model.with_name("model.fp32.tensorrt_rtx.engine")
    assert list(value) == [
        *("path", "passport_path", "size_bytes", "sha256", "meta", "passport", "sites", "cost"),
        *("nms_reason", "warnings", "peak_rss_bytes", "seconds"),
    ]
    assert value["path"] == str(plan)
    assert value["passport"] == json.loads(Path(value["passport_path"]).read_text("utf-8"))
    assert value["passport"]["options"]["tf32"] is True
    assert value["sites"] is None
    assert value["cost"] is None
    assert Artifact.read(plan).meta.kind == "engine"


@NEEDED
def test_build_tells_of_tf32_and_of_each_profile(model: Path) -> None:
    """What is allowed is said as well as what is not."""
    result = invoke("build", model, *RTX, "--tf32", "--profile", "1", "--profile", "2:4:8")

    assert "TF32: on, products of float32 may be rounded to 10 bits of mantissa" in result.stdout
    assert "batches: 1; 2 to 8, best 4" in result.stdout


@NEEDED
def test_build_shows_warnings_of_tensorrt(tmp_path: Path) -> None:
    """One line for each kind, with how often it came."""
    path = EXPORTS["darknet-silu-detections"](tmp_path).path
    images = folder_of(tmp_path / "images", 2)

    result = invoke("build", path, *RTX, "--int8", "--fp16", "--calibration", images)

    assert "  warning: (foreignNode) Converting conv weight scales to fp32. (" in result.stdout


@NEEDED
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nms", "magic"), ("--nms", "'magic' is not one of plugin, kernels, ops")),
        (("--nms", ""), ("--nms", "'' is not one of")),
        (("--nms", "plugin"), ("--nms plugin", "takes no plugins")),
        (("--nms", "ops"), ("--nms ops", "no non-maximum suppression")),
        (("--compute-capability", "9.9"), ("--compute-capability", "'9.9'", "8.9")),
        (("--compute-capability", "sm_86"), ("--compute-capability", "'sm_86'")),
        (("--fp8", "--calibration", "."), ("--compute-capability", "8.6 has no fp8")),
        (("--profile", "x"), ("--profile", "'x' is not N or MIN:OPT:MAX")),
        (("--profile", "1:2"), ("--profile", "'1:2' is not N or MIN:OPT:MAX")),
        (("--profile", "4:2:8"), ("--profile", "batch range 4:2:8")),
        (("--profile", "0"), ("--profile", "batch range 0:0:0")),
        (("--profile", "1:1:16"), ("--profile", "the model takes 1 to 8", "--batch 1:1:16")),
        (("--workspace", "0"), ("--workspace", "0 MiB, expected 1 to 16777216")),
        (("--workspace", "-1"), ("--workspace", "-1 MiB")),
        (("--optimization-level", "6"), ("--optimization-level", "6, expected 0 to 5")),
        (("--aux-streams", "-1"), ("--aux-streams", "-1, expected 0 to 1000")),
        (("--timing-cache", "cache"), ("--timing-cache", "keeps no cache")),
        (("--plugin-library", "lib.so"), ("--plugin-library", "takes no plugins")),
        (("--target", "onnxruntime"), ("--target onnxruntime", "layout of tensorrt")),
        (("--target", "mars"), ("'mars'", "onnxruntime, tensorrt")),
        (("--keep", "a.layer"), ("--keep", "stays fp32")),
        (("--calibration", "."), ("--calibration", "stays fp32")),
        (("--int8",), ("--calibration", "needs ranges")),
        (("--fp16", "--bf16"), ("--fp16 and --bf16",)),
        (("-o", "none/x.engine"), ("none", "does not exist")),
        (("-o", ""), ("a folder, expected a file", "-o")),
        (("--method", "mse"), ("--method", "option of calibration")),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else "",
)
def test_build_refuses(model: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    """One message of three parts that names the option, exit code 1, and no new file."""
    assert_refused(invoke("build", model, *RTX, *arguments), *words)
    assert names_in(model.parent) == ["model.onnx"]


@NEEDED
def test_build_without_a_gpu_to_build_for_lists_those_that_are_known(model: Path) -> None:
    """TensorRT-RTX does not guess."""
    result = invoke("build", model, "--backend", "tensorrt_rtx")

    assert_refused(result, "--compute-capability", "no compute capability is given", "8.6, 8.9")


@pytest.mark.parametrize("options", OPTIONS_OF_ENGINES, ids=" ".join)
def test_options_of_engines_are_refused_without_one(model: Path, options: tuple[str, ...]) -> None:
    """They would have no effect."""
    result = invoke("build", model, "--fp16", *options)

    assert_refused(result, f"where: {options[0]}\n", "--backend tensorrt_rtx")
    assert names_in(model.parent) == ["model.onnx"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workspace", "much"),
        ("--workspace", "1.5"),
        ("--optimization-level", "best"),
        ("--aux-streams", ""),
        ("--profile",),
        ("--compute-capability",),
    ],
    ids=" ".join,
)
def test_value_that_is_no_number_is_wrong_usage(model: Path, arguments: tuple[str, ...]) -> None:
    """As everywhere: exit code 2."""
    result = invoke("build", model, "--backend", "tensorrt_rtx", *arguments)

    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_missing_tensorrt_is_said_with_what_installs_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is named, and nothing was done."""
    stand_in.uninstall(monkeypatch, "tensorrt")

    result = invoke("build", model, "--backend", "tensorrt", "--fp16")

    assert_refused(result, "TensorRT cannot be imported", "pip install tensorrt")
    assert names_in(model.parent) == ["model.onnx"]


def test_tensorrt_without_a_gpu_is_said(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint names the backend that needs none."""
    stand_in.install(monkeypatch, tmp_path, driver=stand_in.NO_GPU)

    result = invoke("build", model, "--backend", "tensorrt")

    assert_refused(result, "builds on the GPU that the engine is for", "--backend tensorrt_rtx")


def test_tensorrt_builds_for_its_gpu_alone(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that only TensorRT-RTX has is refused by its name."""
    stand_in.install(monkeypatch, tmp_path)

    result = invoke("build", model, "--backend", "tensorrt", "--compute-capability", "8.6")

    assert_refused(result, "where: --compute-capability", "GPU of this machine alone")


def test_engine_of_tensorrt_is_told_with_its_gpu(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin is inside if there is one, and the GPU is named."""
    stand_in.install(monkeypatch, tmp_path)
    library = tmp_path / "libyolor_nms_plugin.so"
    library.write_bytes(b"\x7fELF")

    result = invoke("build", model, "--backend", "tensorrt", "--plugin-library", library)

    assert result.exit_code == 0, result.output
    text = "engine: TensorRT 10.16.1, built on NVIDIA Test, CUDA 13.0, for compute capability 8.6"
    assert text in result.stdout
    assert "post-processing: our plugin, inside the engine\n" in result.stdout
