from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.cli.invoke import assert_refused
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from tests.sessions import CLASS_NAMES, FakeSession, artifact, one_box_each
from yolor_deploy import detector
from yolor_deploy.cli import app
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.runtime import Array, RawOutput


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    """A loaded model that finds one star in the left half of every image."""
    fake = FakeSession(artifact(), one_box_each([0, 8, 16, 24]))
    monkeypatch.setattr(detector, "open_session", lambda _path, **_: fake)
    return fake


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two images, 40 x 20 pixels, one of them compressed with loss."""
    folder = tmp_path / "images"
    folder.mkdir()
    picture = Image.new("RGB", (40, 20), (90, 90, 90))
    picture.save(folder / "a.png")
    picture.save(folder / "b.jpg")
    return folder


def detect(*arguments: object) -> Result:
    """Run ``yolor-deploy detect``."""
    return CliRunner().invoke(app, ["detect", *map(str, arguments)])


def files_below(folder: Path) -> list[str]:
    """Return the names of all files in a folder and its folders."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def truncate(path: Path) -> None:
    """Cut an image after its header."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.usefixtures("session")
def test_detect_writes_pictures_and_json(tmp_path: Path, images: Path) -> None:
    """By default there is an annotated picture of each image, and one JSON file."""
    result = detect("tiny.onnx", images, "-o", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert files_below(tmp_path / "out") == ["a.png", "b.jpg", "detections.json"]
    with Image.open(tmp_path / "out" / "a.png") as drawn:
        assert drawn.size == (40, 20)
        assert np.asarray(drawn).std() > 0  # the image itself has one colour
    with Image.open(tmp_path / "out" / "b.jpg") as drawn:
        assert drawn.format == "JPEG"


@pytest.mark.usefixtures("session")
def test_detect_writes_what_was_found(tmp_path: Path, images: Path) -> None:
    """JSON has file, size and, in pixels of the image, each detection."""
    detect("tiny.onnx", images / "a.png", "-o", tmp_path)

    report = json.loads((tmp_path / "detections.json").read_text())
    (image,) = report.pop("images")
    assert image == {
        "file": str(images / "a.png"),
        "stem": "a",
        "width": 40,
        "height": 20,
        "detections": [
            {"class_id": 2, "class_name": "star", "score": 0.87, "box_xyxy": [0, 0, 20, 20]}
        ],
    }
    assert report == {
        "format": 1,
        "model": "tiny.onnx",
        "score_threshold": 0.25,
        "iou_threshold": 0.45,
        "class_names": list(CLASS_NAMES),
    }


@pytest.mark.usefixtures("session")
def test_detect_writes_csv(tmp_path: Path, images: Path) -> None:
    """CSV has a line per detection under a line of names."""
    detect("tiny.onnx", images, "-o", tmp_path, "--format", "csv", "--no-draw")

    with (tmp_path / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(images / "a.png"), str(images / "b.jpg")]
    assert list(rows[0].items())[1:] == [
        ("class_id", "2"),
        ("class_name", "star"),
        ("score", "0.87"),
        ("x1", "0.0"),
        ("y1", "0.0"),
        ("x2", "20.0"),
        ("y2", "20.0"),
    ]
    assert files_below(tmp_path) == ["detections.csv", "images/a.png", "images/b.jpg"]


@pytest.mark.usefixtures("session")
def test_detect_writes_yolo_labels(tmp_path: Path, images: Path) -> None:
    """A label file has class, centre and size as fractions of the image, and the score last."""
    out = tmp_path / "out"

    detect("tiny.onnx", images, "-o", out, "--format", "yolo", "--format", "json", "--no-draw")

    assert files_below(out) == ["detections.json", "labels/a.txt", "labels/b.txt"]
    line = "2 0.250000 0.500000 0.500000 1.000000 0.870000\n"
    assert (out / "labels" / "a.txt").read_text() == line


def test_detect_writes_an_empty_label_file(
    tmp_path: Path, images: Path, session: FakeSession
) -> None:
    """An image without objects has a label file without lines, as training tools expect."""
    found = session.answer
    session.answer = lambda tensor: {**found(tensor), "num_detections": np.zeros((1, 1), np.int32)}

    detect("tiny.onnx", images / "a.png", "-o", tmp_path, "--format", "yolo", "--no-draw")

    assert (tmp_path / "labels" / "a.txt").read_text() == ""


@pytest.mark.usefixtures("session")
def test_detect_tells_equal_names_apart(tmp_path: Path, images: Path) -> None:
    """Images of the same name from different folders do not overwrite each other's files."""
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (8, 8)).save(other / "a.png")

    detect("tiny.onnx", images / "a.png", other, "-o", tmp_path / "out", "--format", "yolo")

    assert files_below(tmp_path / "out") == [
        "a.png",
        "a_2.png",
        "labels/a.txt",
        "labels/a_2.txt",
    ]
    with Image.open(tmp_path / "out" / "a_2.png") as drawn:
        assert drawn.size == (8, 8)


@pytest.mark.usefixtures("session")
def test_detect_prints_json_alone(tmp_path: Path, images: Path) -> None:
    """With ``--json`` stdout is the JSON document that is also written."""
    result = detect("tiny.onnx", images, "-o", tmp_path, "--json")

    assert json.loads(result.stdout) == json.loads((tmp_path / "detections.json").read_text())


@pytest.mark.usefixtures("session")
def test_detect_prints_a_table(tmp_path: Path, images: Path) -> None:
    """Without ``--json`` stdout counts the objects of each image by class."""
    result = detect("tiny.onnx", images / "b.jpg", "-o", tmp_path)

    assert "b.jpg" in result.stdout
    assert "40x20" in result.stdout
    assert "1 star" in result.stdout


def test_detect_passes_thresholds(tmp_path: Path, images: Path, session: FakeSession) -> None:
    """Thresholds of the command line reach the model, and the report."""
    options = ("--score-threshold", 0.6, "--iou-threshold", 0.7, "--json")

    result = detect("tiny.onnx", images, "-o", tmp_path, *options)

    assert session.thresholds == [(0.6, 0.7), (0.6, 0.7)]
    report = json.loads(result.stdout)
    assert (report["score_threshold"], report["iou_threshold"]) == (0.6, 0.7)


def test_detect_runs_a_real_file(tmp_path: Path, images: Path) -> None:
    """A model file is opened in ONNX Runtime, and what it finds is in the image."""
    written_artifact(tmp_path / "model.onnx", tiny_spec())
    noise = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "noise.png")

    result = detect(tmp_path / "model.onnx", images / "noise.png", "-o", tmp_path, "--json")

    (image,) = json.loads(result.stdout)["images"]
    assert len(image["detections"]) > 0
    boxes = np.array([found["box_xyxy"] for found in image["detections"]])
    assert boxes.min() >= 0
    assert (boxes <= [90, 50, 90, 50]).all()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.png", "no such image"),
        ("text.png", "not an image"),
        ("half.png", "cannot be read"),
    ],
)
@pytest.mark.usefixtures("session")
def test_unreadable_image_is_one_error(tmp_path: Path, name: str, problem: str) -> None:
    """An unreadable image is error, where and hint, exit 1, and nothing is written."""
    (tmp_path / "text.png").write_text("no image")
    truncate(tmp_path / "half.png")

    result = detect("tiny.onnx", tmp_path / name, "-o", tmp_path / "out")

    assert result.exit_code == 1
    assert result.stdout == ""
    error, where, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert problem in error
    assert where == f"  where: {tmp_path / name}"
    assert hint.startswith("  hint: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("session")
def test_unreadable_header_stops_before_writing(tmp_path: Path, images: Path) -> None:
    """One file that is no image, last of several, is found before anything is written."""
    (images / "z.png").write_text("no image")

    result = detect("tiny.onnx", images, "-o", tmp_path / "out")

    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("session")
def test_damaged_pixels_do_not_cost_the_others(tmp_path: Path, images: Path) -> None:
    """An image that breaks off late is an error in the end; the others' files are complete."""
    truncate(images / "aa.png")

    result = detect("tiny.onnx", images, "-o", tmp_path / "out")

    assert result.exit_code == 1
    assert "1 of 3 images left out" in result.stderr
    assert str(images / "aa.png") in result.stderr
    assert files_below(tmp_path / "out") == ["a.png", "b.jpg", "detections.json"]
    report = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [Path(image["file"]).name for image in report["images"]] == ["a.png", "b.jpg"]


@pytest.mark.usefixtures("session")
def test_detect_refuses_to_overwrite_its_input(images: Path) -> None:
    """Annotated pictures never replace the images that they were made from."""
    before = (images / "a.png").read_bytes()

    result = detect("tiny.onnx", images, "-o", images)

    assert result.exit_code == 1
    assert "would overwrite" in result.stderr
    assert (images / "a.png").read_bytes() == before
    assert files_below(images) == ["a.png", "b.jpg"]


@pytest.mark.usefixtures("session")
def test_detect_refuses_a_file_as_output(tmp_path: Path, images: Path) -> None:
    """Where the output folder should be there is a file: it stays, and is named."""
    out = tmp_path / "out"
    out.write_text("mine")

    result = detect("tiny.onnx", images, "-o", out)

    assert result.exit_code == 1
    assert f"where: {out}" in result.stderr
    assert out.read_text() == "mine"


@pytest.mark.usefixtures("session")
def test_full_disk_is_an_error(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full no file is left half-written, and the error says so."""

    def fail(_path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)

    result = detect("tiny.onnx", images, "-o", tmp_path / "out", "--no-draw")

    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert files_below(tmp_path / "out") == []


def test_bug_keeps_its_traceback(tmp_path: Path, images: Path, session: FakeSession) -> None:
    """What no user can cause is not dressed up as their error."""

    def broken(_images: Array) -> RawOutput:
        raise AssertionError("a bug")

    session.answer = broken

    result = detect("tiny.onnx", images, "-o", tmp_path)

    assert isinstance(result.exception, AssertionError)


@pytest.mark.parametrize(
    ("arguments", "device"),
    [([], None), (["--device", "cpu"], "cpu"), (["--device", "cuda:1", "--trust"], "cuda:1")],
)
def test_device_reaches_the_runtime(
    tmp_path: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    device: str | None,
) -> None:
    """What is asked for is passed on; if nothing is, the runtime chooses."""
    given: list[RuntimeDevice | None] = []

    def opened(_path: Path, *, device: RuntimeDevice | None, trust: bool) -> FakeSession:
        assert trust == ("--trust" in arguments)
        given.append(device)
        return FakeSession(artifact(), one_box_each([0, 8, 16, 24]))

    monkeypatch.setattr(detector, "open_session", opened)

    result = detect("tiny.onnx", images, "-o", tmp_path / "out", *arguments)

    assert result.exit_code == 0, result.output
    assert given == [None if device is None else RuntimeDevice.parse(device)]


@pytest.mark.usefixtures("session")
def test_device_that_does_not_exist_is_refused(tmp_path: Path, images: Path) -> None:
    """The error has the words that are understood, and nothing is written."""
    result = detect("tiny.onnx", images, "-o", tmp_path / "out", "--device", "gpu0")

    assert_refused(result, "'gpu0' is not a device", "where: --device", "cuda:0")
    assert not (tmp_path / "out").exists()


def test_detect_on_a_gpu_without_one_writes_nothing(tmp_path: Path, images: Path) -> None:
    """The CPU does not take the place of the GPU that was asked for."""
    model = written_artifact(tmp_path / "model.onnx", tiny_spec()).path

    result = detect(model, images, "-o", tmp_path / "out", "--device", "cuda:99")

    assert_refused(result, "where: --device cuda:99")
    assert not (tmp_path / "out").exists()


def test_unknown_format_is_a_usage_error(images: Path) -> None:
    """A form that does not exist is refused with the ones that do, exit 2."""
    result = detect("tiny.onnx", images, "--format", "xml")

    assert result.exit_code == 2
    assert "json" in result.stderr
