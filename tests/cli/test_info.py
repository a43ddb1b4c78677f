"""``yolor-deploy info``: any file explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.calibration_sets import folder_of
from tests.cli.invoke import assert_refused, invoke
from tests.engines import PLAN, written_engine
from tests.exports import exported
from tests.references import REFERENCES
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint
from yolor_deploy.core.artifact import Artifact, passport_path, sha256_of_file


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


def test_checkpoint_is_explained(tiny: TinyCheckpoint) -> None:
    """Model, classes, levels, weights, and where implicit knowledge would go."""
    result = invoke("info", tiny.path, "--cfg", tiny.cfg)

    assert result.exit_code == 0, result.output
    for text in (
        "container: zip",
        f"sha256: {sha256_of_file(tiny.path)}",
        "model: tiny (darknet family)",
        "classes: 3: class_0, class_1, class_2",
        "  stride 8: anchors 12x16",
        "boxes: 80 before post-processing",
        "epoch: -1",
        "  module_list.3.implicit at module_list.8: folds into module_list.9.Conv2d",
    ):
        assert text in result.stdout.splitlines()
    assert "stored as: 28 float32" in result.stdout


def test_checkpoint_json_has_stable_keys(tiny: TinyCheckpoint) -> None:
    """The same facts under fixed names."""
    result = invoke("info", tiny.path, "--cfg", tiny.cfg, "--json")

    value = json.loads(result.stdout)
    assert list(value) == [
        *("file", "container", "sha256", "model", "input", "classes", "levels", "boxes"),
        *("parameters", "stored as", "epoch", "implicit sites"),
    ]
    parameters = sum(
        tensor.numel() for name, tensor in tiny.tensors.items() if "running_" not in name
    )
    assert value["parameters"] == f"{parameters:,}"
    assert len(value["implicit sites"]) == 4


def test_artifact_is_explained(tiny: TinyCheckpoint) -> None:
    """Post-processing, folding and history of a file that `export` wrote."""
    path = exported(tiny).artifact.path

    result = invoke("info", path)

    assert result.exit_code == 0, result.output
    for text in (
        "kind: model, fp32, for any runtime",
        "outputs: num_detections, boxes_xyxy, scores, class_ids",
        "post-processing: score_threshold 0.05, iou_threshold 0.45, max_detections 250",
        "  module_list.6.implicit at module_list.16: folded into module_list.15.Conv2d",
        f"input sha256 {sha256_of_file(tiny.path)}",
    ):
        assert text in result.stdout


def test_artifact_json_has_stable_keys(tiny: TinyCheckpoint) -> None:
    """The same facts under fixed names, without post-processing where there is none."""
    result = invoke("info", exported(tiny, output_kind="raw").artifact.path, "--json")

    assert list(json.loads(result.stdout)) == [
        *("file", "kind", "model", "input", "classes", "levels", "boxes", "outputs"),
        *("folding", "history"),
    ]


def test_facts_of_a_checkpoint_do_not_pass_for_ours(tiny: TinyCheckpoint) -> None:
    """A file may call things of its own by our names, and hold sequences for the terminal."""
    facts = {"sites": 3, "seed": "x", "note": "\x1b[31mred", "model": tiny.tensors}
    torch.save(facts, tiny.path)
    path = exported(tiny).artifact.path

    results = [invoke("info", path), invoke("info", tiny.path, "--cfg", tiny.cfg)]
    verdict = invoke("verify", path, "--against", tiny.path, "--cfg", tiny.cfg)

    for result in results:
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout
    assert "cfg tiny.cfg, container zip, source tiny.pt" in results[0].stdout
    assert "sites: 3" in results[1].stdout
    assert verdict.exit_code == 0, verdict.output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("yolor-p6_nc1.pt", "container: zip"),
        ("yolor-e6.pt", "implicit sites:"),
        ("yolov4-p7_mc_legacy.pt", "container: legacy"),
    ],
)
def test_pickled_models_need_no_cfg(name: str, text: str) -> None:
    """The authors' own files are explained as they are."""
    result = invoke("info", REFERENCES / name)

    assert result.exit_code == 0, result.output
    assert text in result.stdout.splitlines()
    assert "(yaml family)" in result.stdout


def test_darknet_weights_are_explained_with_their_cfg() -> None:
    """A .weights file has a count of values instead of tensors."""
    result = invoke(
        *("info", REFERENCES / "yolor_csp_weights.weights"),
        *("--cfg", REFERENCES / "yolor_csp_weights.cfg"),
    )

    assert result.exit_code == 0, result.output
    assert "container: darknet" in result.stdout
    assert "float32 values" in result.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(b"hello\n", "text, which begins 'hello", id="text"),
        pytest.param(b": a text whose first byte could be a field" * 9, "where:", id="text-colon"),
        pytest.param(b"ftrt" + bytes(64), "without its passport file.json", id="engine"),
        pytest.param(b"vtrt" + bytes(64), "without its passport file.json", id="engine-rtx"),
        pytest.param(bytes(range(7, 250)) * 9, "no known kind", id="noise"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A file that is neither is called what it is."""
    path = tmp_path / "file"
    path.write_bytes(content)

    assert_refused(invoke("info", path), words, str(path))


def test_folder_and_missing_file_are_refused(tmp_path: Path) -> None:
    """A folder is not looked through."""
    assert_refused(invoke("info", tmp_path), "folder")
    assert_refused(invoke("info", tmp_path / "none.pt"), "no such file")


def test_onnx_file_of_others_is_refused(tiny: TinyCheckpoint) -> None:
    """Without our metadata a model says too little of itself."""
    path = exported(tiny).artifact.path
    path.write_bytes(path.read_bytes().replace(b"yolor_deploy\x12", b"somebodyelse\x12"))

    assert_refused(invoke("info", path), "ONNX file without yolor-deploy metadata")


def test_truncated_artifact_is_refused(tiny: TinyCheckpoint) -> None:
    """A file that was cut short is no artifact."""
    path = exported(tiny).artifact.path
    path.write_bytes(path.read_bytes()[:-1000])

    assert_refused(invoke("info", path), str(path))


def test_built_artifact_is_explained_in_short(tiny: TinyCheckpoint) -> None:
    """Precision, target and calibration are told; the long lists are only counted."""
    model = exported(tiny).artifact.path
    folder = folder_of(tiny.path.parent / "images", 8)
    invoke("build", model, "--int8", "--calibration", folder, "-o", model.with_name("int8.onnx"))

    result = invoke("info", model.with_name("int8.onnx"))

    assert "kind: model, int8, for onnxruntime" in result.stdout
    assert "images (8)" in result.stdout
    assert "method mse" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 1000


@pytest.fixture
def engine(tmp_path: Path) -> Artifact:
    """A plan with its passport."""
    return written_engine(tmp_path / "model.engine")


def test_engine_is_explained_by_its_passport(engine: Artifact) -> None:
    """What built it, for what, what it takes and gives, and from which model it came."""
    result = invoke("info", engine.path)

    assert result.exit_code == 0, result.output
    for text in (
        "kind: engine, fp16, for tensorrt",
        "engine: TensorRT 10.16.1.11, built on NVIDIA Test, CUDA 13.0, for compute capability 8.6",
        f"plan: 260 bytes, sha256 {sha256_of_file(engine.path)}, as it was built",
        f"built from: sha256 {'cd' * 32}",
        "  batch 1",
        "  batch 2 to 8, best 4",
        "  images: float32 [-1, 3, 32, 64]",
        "  scores: float32 [-1, 20]",
        "detections by: plugin",
        f"plugin: version 1, sha256 {'ef' * 32}",
        "TF32: off, products of float32 keep their bits (--tf32 for more speed)",
        f"  engine: tf32 False; input sha256 {'ab' * 32} (tensorrt 10.16.1.11)",
    ):
        assert text in result.stdout.splitlines()


def test_engine_json_has_the_passport(engine: Artifact) -> None:
    """The same facts under fixed names, and the passport as it lies on disk."""
    result = invoke("info", engine.path, "--json")

    value = json.loads(result.stdout)
    assert list(value) == [
        *("file", "kind", "model", "input", "classes", "levels", "boxes", "outputs"),
        *("post-processing", "engine", "plan", "built from", "profiles", "plan inputs"),
        *("plan outputs", "detections by", "plugin", "TF32", "history", "passport"),
    ]
    assert value["passport"] == json.loads(passport_path(engine.path).read_text("utf-8"))


@pytest.mark.tensorrt_rtx
def test_engine_that_build_wrote_is_explained(tiny: TinyCheckpoint) -> None:
    """A real one, of TensorRT-RTX."""
    model = exported(tiny).artifact.path
    plan = model.with_name("tiny.engine")
    options = ("--backend", "tensorrt_rtx", "--compute-capability", "8.6", "-o", plan)
    invoke("build", model, *options)

    result = invoke("info", plan)

    assert result.exit_code == 0, result.output
    assert "built without a GPU, for compute capability 8.6" in result.stdout
    assert "detections by: kernels" in result.stdout
    assert f"built from: sha256 {sha256_of_file(model)}" in result.stdout


@pytest.mark.parametrize(
    ("plan", "passport", "words"),
    [
        pytest.param(PLAN[:-1], None, ("259 bytes, its passport tells 260",), id="shortened"),
        pytest.param(PLAN[:-1] + b"x", None, ("another SHA-256",), id="changed"),
        pytest.param(PLAN, "{", ("passport model.engine.json is damaged",), id="damaged"),
        pytest.param(PLAN, '{"yolor_deploy_passport": 1}', ("is damaged", "again"), id="empty"),
        pytest.param(
            PLAN,
            '{"yolor_deploy_passport": 9}',
            ("passport has format 9, expected 1", "version of yolor-deploy that wrote it"),
            id="newer",
        ),
    ],
)
def test_engine_that_is_not_that_of_its_passport_is_refused(
    engine: Artifact, plan: bytes, passport: str | None, words: tuple[str, ...]
) -> None:
    """What a passport tells of another plan is not told of this one."""
    engine.path.write_bytes(plan)
    if passport is not None:
        passport_path(engine.path).write_text(passport, encoding="utf-8")

    assert_refused(invoke("info", engine.path), str(engine.path), *words)
