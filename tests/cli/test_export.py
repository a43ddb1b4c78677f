"""``yolor-deploy export``: the options reach the file, and the result is told."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.cli.invoke import assert_refused, invoke
from tests.references import REFERENCES
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.spec import BatchRange, NmsConfig


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


def test_export_writes_beside_the_checkpoint_and_shows_the_proof(tiny: TinyCheckpoint) -> None:
    """Stdout has the result, stderr what is being done."""
    result = invoke("export", *tiny.options)

    assert result.exit_code == 0, result.output
    path = tiny.path.with_suffix(".onnx")
    assert Artifact.read(path).meta.nms == NmsConfig()
    for text in ("tiny: proof", "ONNX, batch 1", "raw_1", "detections", "same"):
        assert text in result.stdout
    assert "implicit knowledge: 4 of 4 sites folded into convolutions" in result.stdout
    assert "module_list.3.implicit at module_list.8: folded into module_list.9.Conv2d" in (
        result.stdout
    )
    assert f"wrote {path} (0.0 MB)" in result.stdout
    assert "DIFFERENT" not in result.stdout
    assert "export: running the file in ONNX Runtime, batch 1" in result.stderr


def test_json_has_stable_keys(tiny: TinyCheckpoint) -> None:
    """A script finds file, hash, metadata, nodes, folding, proof and times under fixed names."""
    output = tiny.path.with_name("out.onnx")

    result = invoke("export", *tiny.options, "-o", output, "--json")

    value = json.loads(result.stdout)
    assert list(value) == [
        *("path", "size_bytes", "sha256", "meta", "nodes", "fold", "proof", "seconds"),
    ]
    assert value["path"] == str(output)
    assert value["size_bytes"] == output.stat().st_size
    assert value["sha256"] == sha256_of_file(output)
    assert value["meta"] == json.loads(Artifact.read(output).meta.to_json())
    assert value["nodes"]["Conv"] == 6
    assert {tuple(site) for site in value["fold"]} == {("layer", "kind", "into", "kept")}
    assert all(comparison["passed"] for comparison in value["proof"])
    assert list(value["seconds"]) == ["read", "run", "fold", "write", "prove"]


def test_every_option_reaches_the_file(tiny: TinyCheckpoint) -> None:
    """What was asked for is in the metadata."""
    names = tiny.path.with_name("names.txt")
    names.write_text("a\nb\nc\n", encoding="utf-8")
    output = tiny.path.with_name("out.onnx")

    result = invoke(
        *("export", *tiny.options, "-o", output, "--names", names, "--size", "96x64"),
        *("--batch", "1:2:4", "--input", "uint8-nhwc", "--score-threshold", "0.1"),
        *("--iou-threshold", "0.6", "--max-detections", "20", "--max-candidates", "200"),
        *("--best-class", "--class-agnostic", "--no-fold-implicit", "--seed", "5"),
    )

    assert result.exit_code == 0, result.output
    meta = Artifact.read(output).meta
    assert meta.spec.class_names == ("a", "b", "c")
    assert asdict(meta.spec.input) == {
        "height": 96,
        "width": 64,
        "batch": asdict(BatchRange(1, 2, 4)),
        "dtype": "uint8",
        "layout": "NHWC",
    }
    assert meta.nms == NmsConfig(0.1, 0.6, 20, 200, multi_label=False, class_agnostic=True)
    assert meta.history[1].options["fold_implicit"] is False
    assert "would stay" not in result.stdout
    assert "kept, " in result.stdout


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("raw", ["raw_0", "raw_1"]),
        ("predictions", ["predictions"]),
        ("detections", ["num_detections", "boxes_xyxy", "scores", "class_ids"]),
    ],
)
@pytest.mark.parametrize(
    ("given", "shape", "element"),
    [
        ("float32", [1, 3, 32, 32], onnx.TensorProto.FLOAT),
        ("uint8", [1, 3, 32, 32], onnx.TensorProto.UINT8),
        ("float32-nhwc", [1, 32, 32, 3], onnx.TensorProto.FLOAT),
        ("uint8-nhwc", [1, 32, 32, 3], onnx.TensorProto.UINT8),
    ],
)
def test_inputs_and_outputs_have_their_contract(
    tiny: TinyCheckpoint, kind: str, names: list[str], given: str, shape: list[int], element: int
) -> None:
    """Names, types and shapes of the graph are those that the options promise."""
    result = invoke("export", *tiny.options, "--output", kind, "--input", given, "--size", "32")

    assert result.exit_code == 0, result.output
    graph = onnx.load(tiny.path.with_suffix(".onnx")).graph
    images, *thresholds = graph.input
    assert images.name == "images"
    assert images.type.tensor_type.elem_type == element
    assert [d.dim_value for d in images.type.tensor_type.shape.dim] == shape
    assert [value.name for value in graph.output] == names
    expected = ["score_threshold", "iou_threshold"] if kind == "detections" else []
    assert [value.name for value in thresholds] == expected


def test_random_weights_are_said(tmp_path: Path) -> None:
    """Nobody should take a model by name for a detector."""
    output = tmp_path / "model.onnx"

    result = invoke("export", "yolor-ssss-dwt", "-o", output, "--size", "64x96", "--output", "raw")

    assert result.exit_code == 0, result.output
    assert "random weights: this file measures speed, it detects nothing" in result.stdout
    assert Artifact.read(output).meta.spec.random_weights


def test_pickled_model_needs_no_cfg(tmp_path: Path) -> None:
    """A model of the yaml families tells its own structure."""
    output = tmp_path / "model.onnx"

    result = invoke("export", REFERENCES / "yolor-e6.pt", "-o", output, "--size", "64", "--json")

    assert result.exit_code == 0, result.output
    folded = json.loads(result.stdout)["meta"]["history"][1]["options"]["folded"]
    assert folded["implicit"] == 8
    assert [level["stride"] for level in json.loads(result.stdout)["meta"]["spec"]["levels"]] == [
        *(8, 16, 32, 64),
    ]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_name_with_markup_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    """Square brackets of a file's name are no formatting, in a spinner neither."""
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    folder = tmp_path / "a["
    folder.mkdir()
    tiny = write_tiny_checkpoint(folder, name="b]")

    result = invoke("export", *tiny.options)

    assert result.exit_code == 0, result.output
    assert f"wrote {folder / 'b].onnx'}" in result.stdout


def test_failed_proof_is_an_error(tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not compute the same is not written."""
    monkeypatch.setattr("yolor_deploy.measure.parity.FOLDING", _Nothing())

    result = invoke("export", *tiny.options)

    assert_refused(result, "folded, float64: raw_", "no file was written")
    assert not tiny.path.with_suffix(".onnx").exists()


class _Nothing:
    """A tolerance that allows nothing."""

    absolute = -1.0
    relative = 0.0


def test_interrupt_has_its_own_exit_code(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control-C is no error of the user's, and shows no traceback."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("yolor_deploy.pipeline.prove_artifact", interrupt)

    result = invoke("export", *tiny.options)

    assert result.exit_code == 130
    assert "stopped; nothing was left half-written" in result.stderr
    assert sorted(p.name for p in tiny.path.parent.iterdir()) == ["tiny.cfg", "tiny.pt"]


def test_bug_keeps_its_traceback(tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is not dressed up as the user's."""

    def break_down(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("yolor_deploy.pipeline.prove_artifact", break_down)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        invoke("export", *tiny.options)


def test_density_is_planted_and_told(tmp_path: Path) -> None:
    """A model of a published name finds what is asked for, and the file says so."""
    output = tmp_path / "model.onnx"
    options = ("yolor-ssss-s2d", "-o", output, "--size", "128", "--density", "60:20")

    shown = invoke("export", *options)
    told = json.loads(invoke("export", *options, "--json").stdout)

    assert shown.exit_code == 0, shown.output
    line = next(line for line in shown.stdout.splitlines() if "random weights" in line)
    assert line.startswith("random weights: this file measures speed; planted: 60:")
    assert line.endswith("candidates and objects an image, 60:20 asked for")
    assert told["planted"]["asked"] == {"candidates": 60, "objects": 20}
    assert told["planted"]["candidates"] == [60]
    assert list(told["seconds"])[-1] == "plant"
    assert told["meta"]["history"][-1]["options"]["found_candidates"] == [60]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


@pytest.mark.parametrize(
    ("density", "words"),
    [
        ("many", ("'many' is not CANDIDATES:OBJECTS", "--density", "1000:100")),
        ("5:9", ("5:9 is not 0 <= OBJECTS <= CANDIDATES",)),
        ("60:20", ("trained", "leave out --density")),
    ],
)
def test_density_that_cannot_be_is_refused(
    tiny: TinyCheckpoint, density: str, words: tuple[str, ...]
) -> None:
    """A text that is no density, and a trained checkpoint, end before anything is written."""
    result = invoke("export", *tiny.options, "--density", density)

    assert_refused(result, *words)
    assert not tiny.path.with_suffix(".onnx").exists()
