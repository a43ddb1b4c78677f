"""``yolor-deploy verify``: same or different, as a table, as JSON and as an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.invoke import assert_refused, invoke
from tests.engines import written_engine
from tests.exports import exported
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


@pytest.fixture
def model(tiny: TinyCheckpoint) -> Path:
    """What was exported from it."""
    return exported(tiny).artifact.path


def test_same_model_exits_with_0(tiny: TinyCheckpoint, model: Path) -> None:
    """The table has a row per stage and output."""
    result = invoke("verify", model, "--against", tiny.path, "--cfg", tiny.cfg)

    assert result.exit_code == 0, result.output
    for text in ("folded, float64", "ONNX, drawn image", "head, drawn image", "detections above"):
        assert text in result.stdout
    assert result.stdout.endswith("same within rounding\n")
    assert "DIFFERENT" not in result.stdout


def test_different_model_exits_with_1(tiny: TinyCheckpoint, model: Path) -> None:
    """A script needs no more than the exit code; the table says what differs."""
    other = write_tiny_checkpoint(tiny.path.parent, name="other", seed=1)

    result = invoke("verify", model, "--against", other.path, "--cfg", other.cfg)

    assert result.exit_code == 1
    assert result.stdout.endswith("DIFFERENT\n")
    assert "error:" not in result.stderr


@pytest.mark.parametrize(("seed", "passed"), [(0, True), (1, False)])
def test_json_has_stable_keys(tiny: TinyCheckpoint, model: Path, seed: int, passed: bool) -> None:
    """The verdict and every comparison are there, whether it passed or not."""
    other = write_tiny_checkpoint(tiny.path.parent, name="other", seed=seed)

    result = invoke("verify", model, "--against", other.path, "--cfg", tiny.cfg, "--json")

    value = json.loads(result.stdout)
    assert list(value) == ["path", "against", "passed", "images", "proof"]
    assert value["path"] == str(model)
    assert value["passed"] is passed
    assert value["images"] == ["drawn image"]
    assert {tuple(row) for row in value["proof"]} == {
        ("stage", "output", "values", "max_error", "max_expected", "tolerance", "passed", "note")
    }
    assert result.exit_code == (0 if passed else 1)


def test_folder_of_images_is_run(tiny: TinyCheckpoint, model: Path) -> None:
    """Every image of the folder has its rows; other files are passed over."""
    folder = tiny.path.with_name("images")
    folder.mkdir()
    (folder / "readme.txt").write_text("no image", encoding="utf-8")
    for index, name in enumerate(["b[/x].png", "a.jpg"]):
        pixels = np.random.default_rng(index).integers(0, 256, (30, 50, 3), dtype=np.uint8)
        target = folder / name.replace("/", "")
        Image.fromarray(pixels).save(target)

    result = invoke(
        *("verify", model, "--against", tiny.path, "--cfg", tiny.cfg, "--images", folder)
    )

    assert result.exit_code == 0, result.output
    assert "ONNX, a.jpg" in result.stdout
    assert "ONNX, b[x].png" in result.stdout


def test_image_that_is_none_is_refused(tiny: TinyCheckpoint, model: Path) -> None:
    """A text file given as an image is said before anything is run."""
    result = invoke(
        *("verify", model, "--against", tiny.path, "--cfg", tiny.cfg, "--images", tiny.cfg)
    )

    assert_refused(result, "tiny.cfg")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["none.onnx", "--against", "{pt}"], "no such file", id="missing-model"),
        pytest.param(["{pt}", "--against", "{pt}"], "not a readable ONNX file", id="checkpoint"),
        pytest.param(["{folder}", "--against", "{pt}"], "Is a directory", id="folder"),
        pytest.param(["{onnx}", "--against", "none.pt"], "no such file", id="missing-checkpoint"),
        pytest.param(["{onnx}", "--against", "{onnx}"], "ONNX model", id="against-itself"),
        pytest.param(["{onnx}", "--against", "yolor-q6"], "yolor-p6", id="unknown-name"),
        pytest.param(
            ["{onnx}", "--against", "yolor-p6", "--cfg", "{cfg}"], "has its own", id="name-and-cfg"
        ),
    ],
)
def test_verify_refuses_what_it_cannot_compare(
    tiny: TinyCheckpoint, model: Path, arguments: list[str], words: str
) -> None:
    """Each mistake has its message."""
    places = {"pt": tiny.path, "cfg": tiny.cfg, "onnx": model, "folder": tiny.path.parent}

    result = invoke("verify", *(argument.format(**places) for argument in arguments))

    assert_refused(result, words)


def test_engine_is_sent_to_diff(tiny: TinyCheckpoint) -> None:
    """A plan is no graph whose maps can be looked at."""
    plan = written_engine(tiny.path.with_name("model.engine")).path

    assert_refused(invoke("verify", plan, "--against", *tiny.options), "engine of precision fp16")


def test_built_model_is_sent_to_diff(tiny: TinyCheckpoint, model: Path) -> None:
    """Fewer bits differ by more than rounding: another command tells what they cost."""
    invoke("build", model, "--fp16", "-o", model.with_name("half.onnx"))

    result = invoke("verify", model.with_name("half.onnx"), "--against", *tiny.options)

    assert_refused(result, "precision fp16, expected a model of fp32", "diff")
