"""``yolor-deploy diff``: exit codes, forms of the result, limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from tests.cli.invoke import assert_refused, invoke
from tests.graph.tiny_graphs import tiny_spec, written_artifact

ALL = ["--max-moved", "inf", "--max-rescored", "inf", "--max-relabelled", "inf"]
"""No limit but those on lost and added boxes."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds many boxes in noise."""
    return written_artifact(tmp_path_factory.mktemp("before") / "old.onnx", tiny_spec()).path


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights at another size: many boxes differ."""
    spec = tiny_spec(size=(64, 64))
    return written_artifact(tmp_path_factory.mktemp("after") / "new.onnx", spec).path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two images of noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        noise = rng.integers(0, 256, (50, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{name}.png")
    return folder


def assert_over_limits(result: Result, *words: str) -> None:
    """Check that a result was printed, and one message of three parts on stderr after it."""
    assert result.exit_code == 1, result.output
    assert result.stdout
    starts = [line.split(":")[0].strip() for line in result.stderr.splitlines()]
    assert [starts.count(part) for part in ("error", "where", "hint")] == [1, 1, 1]
    for word in words:
        assert word in result.stderr, result.stderr


def test_equal_models_exit_with_0(before: Path, images: Path) -> None:
    """A model may replace itself; the table counts what was kept."""
    result = invoke("diff", before, before, "--images", images)

    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "lost" in result.stdout
    assert "0 (0.00%)" in result.stdout
    assert "worst images" not in result.stdout


def test_different_models_exit_with_1(before: Path, after: Path, images: Path) -> None:
    """Each limit that is exceeded is a line of the error, after the tables."""
    result = invoke("diff", before, after, "--images", images)

    assert_over_limits(result, "boxes lost: ", "boxes added: ", "allowed 1.00%", "--draw DIR")
    assert "worst images" in result.stdout
    assert f"where: {after} against {before}" in result.stderr


def test_limits_decide(before: Path, after: Path, images: Path) -> None:
    """The same difference passes under limits that allow it, and only under those."""
    wide = [*ALL, "--max-lost", "1", "--max-added", "inf"]

    assert invoke("diff", before, after, "--images", images, *wide).exit_code == 0
    narrow = invoke("diff", before, after, "--images", images, *wide, "--max-lost", "0")

    assert_over_limits(narrow, "boxes lost: ")
    assert "added:" not in narrow.stderr


def test_json_is_printed_alone(before: Path, after: Path, images: Path) -> None:
    """With ``--json`` stdout is one document, which says whether the limits are kept."""
    result = invoke("diff", before, after, "--images", images, "--json")

    value = json.loads(result.stdout)
    assert result.exit_code == 1
    assert value["passed"] is False
    assert all(reason in result.stderr for reason in value["violations"])
    assert (value["before"], value["after"]) == (str(before), str(after))
    assert [image["file"] for image in value["images"]] == [
        str(images / name) for name in ("a.png", "b.png")
    ]
    assert value["lost"] == sum(image["lost"] for image in value["images"]) > 0


def test_json_is_written_before_the_error(
    tmp_path: Path, before: Path, after: Path, images: Path
) -> None:
    """The file is what ``--json`` prints, also where the limits are exceeded."""
    out = tmp_path / "diff.json"

    result = invoke("diff", before, after, "--images", images, "-o", out, "--json")

    assert result.exit_code == 1
    assert json.loads(out.read_text()) == json.loads(result.stdout)


def test_options_reach_the_comparison(before: Path, images: Path) -> None:
    """Threshold, margin and IoU are those of the command line; images may be named one by one."""
    options = ("--score-threshold", 0.5, "--margin", 0.1, "--iou", 0.7, "--json")
    both = ("--images", images / "a.png", "--images", images / "b.png")

    value = json.loads(invoke("diff", before, before, *both, *options).stdout)

    assert (value["score_threshold"], value["margin"], value["iou_threshold"]) == (0.5, 0.1, 0.7)
    assert len(value["images"]) == 2
    assert value["passed"] is True


def test_worst_images_are_drawn_and_listed(
    tmp_path: Path, before: Path, after: Path, images: Path
) -> None:
    """As many as asked for, in the folder that the hint names."""
    out = tmp_path / "pictures"

    result = invoke("diff", before, after, "--images", images, "--draw", out, "--worst", 1)

    assert_over_limits(result, f"look at the pictures in {out}")
    (picture,) = out.iterdir()
    assert result.stdout.count(".png") == 1
    assert picture.name in result.stdout
    with Image.open(picture) as drawn:
        assert drawn.size == (90, 50)


def test_damaged_image_is_an_error_in_the_end(before: Path, images: Path) -> None:
    """The others are compared and shown; the damaged one is named, exit code 1."""
    cut = images / "cut.png"
    cut.write_bytes((images / "a.png").read_bytes()[:4000])

    result = invoke("diff", before, before, "--images", images)

    assert_over_limits(result, "1 of 3 images cannot be read", str(cut), "mend or leave out")
    assert "raise a limit" not in result.stderr


def test_nothing_found_is_no_sign_off(before: Path, images: Path) -> None:
    """Where neither model finds a box nothing was compared, which is no success."""
    result = invoke("diff", before, before, "--images", images, "--score-threshold", 1)

    assert_over_limits(result, "neither model finds a box above score 1", "--score-threshold")


def test_different_classes_are_refused(tmp_path: Path, before: Path, images: Path) -> None:
    """The first class that differs is named."""
    spec = replace(tiny_spec(), class_names=("class 0", "cat", "dog"))
    other = written_artifact(tmp_path / "other.onnx", spec)

    result = invoke("diff", before, other.path, "--images", images)

    assert_refused(result, "class 1 is 'cat', expected 'class 1'", str(other.path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--images", "missing.png"), ("no such image", "missing.png")),
        (("--images", "missing*.png"), ("no file matches", "missing*.png")),
        (("--max-lost", "-1"), ("limit is -1.0", "--max-lost")),
        (("--max-moved", "nan"), ("limit is nan", "--max-moved")),
        (("--iou", "0"), ("iou is 0.0", "--iou")),
        (("--score-threshold", "2"), ("score_threshold is 2.0", "--score-threshold")),
        (("-o", "missing/diff.json"), ("does not exist", "missing/diff.json")),
    ],
)
def test_wrong_options_are_one_error(
    before: Path, images: Path, arguments: tuple[str, str], words: tuple[str, str]
) -> None:
    """Each is refused before a model runs: error, where and hint."""
    assert_refused(invoke("diff", before, before, "--images", images, *arguments), *words)


def test_missing_model_is_refused(tmp_path: Path, before: Path, images: Path) -> None:
    """A path that is not there is named, whichever of the two it is."""
    missing = tmp_path / "missing.onnx"

    assert_refused(invoke("diff", missing, before, "--images", images), str(missing))
    assert_refused(invoke("diff", before, missing, "--images", images), str(missing))


def test_output_never_overwrites_a_model(before: Path, images: Path) -> None:
    """The result is not written over what it was made from."""
    content = before.read_bytes()

    result = invoke("diff", before, before, "--images", images, "-o", before)

    assert_refused(result, "same file as an input")
    assert before.read_bytes() == content


def test_images_are_required(before: Path) -> None:
    """Without images the command is used wrongly, exit code 2."""
    result = invoke("diff", before, before)

    assert result.exit_code == 2
    assert "--images" in result.stderr
