"""``yolor-deploy eval``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.invoke import assert_refused, invoke
from tests.coco import SCENES, Coco, perfect, planting, session_of, write_coco
from tests.exports import exported, names_in
from tests.sessions import FakeSession
from tests.tiny_checkpoints import NUM_CLASSES, write_tiny_checkpoint
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.evaluation import run as evaluation


@pytest.fixture
def data(tmp_path: Path) -> Coco:
    """Four images with four objects of two classes."""
    return write_coco(tmp_path / "data", SCENES)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeSession]:
    """Models by file name: ``good.onnx`` finds everything, ``bad.onnx`` misses the circles."""
    squares = [[(box, kind) for box, kind in row if kind == 1] for row in SCENES]
    models = {"good.onnx": session_of(perfect(SCENES)), "bad.onnx": session_of(perfect(squares))}
    monkeypatch.setattr(evaluation, "open_session", lambda path, **_: models[path.name])
    return models


def test_eval_prints_points(data: Coco, sessions: dict[str, FakeSession]) -> None:
    """Tables have AP by size and by class in points, and the conditions are below them."""
    result = invoke("eval", "bad.onnx", "--data", data.folder, "--bootstrap", 20)

    assert result.exit_code == 0, result.output
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    assert ["AP50", "50.00"] in rows
    assert ["AP", "large", "-"] in rows
    assert ["circle", "0.00"] in rows
    assert ["square", "100.00"] in rows
    assert any(row[:2] == ["AP", "50.00"] and row[2].startswith("[") for row in rows)
    assert "4 images, 4 objects; protocol letterbox, input 32x32; score > 0.001" in result.stdout
    assert "note: returns 5 detections" in result.stdout
    assert sessions["bad.onnx"].closed


@pytest.mark.usefixtures("sessions")
def test_eval_prints_json(data: Coco) -> None:
    """JSON has the fields of the report, AP as a fraction, and nothing else is on stdout."""
    result = invoke("eval", "bad.onnx", "--data", data.folder, "--json", "--bootstrap", 20)

    value = json.loads(result.stdout)
    assert value["accuracy"]["ap"] == pytest.approx(0.5)
    assert value["accuracy"]["per_class"] == pytest.approx({"circle": 0, "square": 1})
    assert value["interval"]["samples"] == 20
    assert value["protocol"]["input_height"] == 32
    assert len(value["image_seconds"]) == 4


@pytest.mark.usefixtures("sessions")
def test_eval_compares_two_models(data: Coco) -> None:
    """A, B and the difference are in one table, and a sentence says what it means."""
    result = invoke("eval", "good.onnx", "bad.onnx", "--data", data.folder, "--bootstrap", 0)

    assert result.exit_code == 0, result.output
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    assert ["AP", "100.00", "50.00", "-50.00"] in rows
    assert ["circle", "100.00", "0.00", "-100.00"] in rows
    assert result.stdout.splitlines()[-1] == (
        "B is worse by 50.00 points; without an interval this may be chance"
    )


@pytest.mark.usefixtures("sessions")
def test_eval_compares_two_models_as_json(data: Coco) -> None:
    """Both reports, the difference, its interval and the sentence are there."""
    result = invoke(
        *("eval", "good.onnx", "good.onnx", "--data", data.folder, "--json", "--bootstrap", 10)
    )

    value = json.loads(result.stdout)
    assert value["a"]["accuracy"] == value["b"]["accuracy"]
    assert value["ap_difference"] == value["interval"]["low"] == value["interval"]["high"] == 0
    assert "no difference can be seen" in value["verdict"]


@pytest.mark.usefixtures("sessions")
def test_eval_writes_files(data: Coco, tmp_path: Path) -> None:
    """The report and the detections are written, the latter in the COCO result form."""
    report, detections = tmp_path / "report.json", tmp_path / "detections.json"

    result = invoke(
        *("eval", "good.onnx", "--data", data.folder, "--bootstrap", 0),
        *("--output", report, "--save-detections", detections),
    )

    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["accuracy"]["ap"] == pytest.approx(1)
    rows = json.loads(detections.read_text())
    assert len(rows) == 4
    assert rows[0].keys() == {"image_id", "category_id", "bbox", "score"}
    assert names_in(tmp_path) == ["data", "detections.json", "report.json"]


@pytest.mark.usefixtures("sessions")
def test_eval_takes_annotations_and_images_apart(data: Coco, tmp_path: Path) -> None:
    """The annotation file may have any name and lie anywhere."""
    elsewhere = data.annotations.rename(tmp_path / "instances.json")

    result = invoke(
        *("eval", "good.onnx", "--annotations", elsewhere, "--images", data.images),
        *("--bootstrap", 0, "--json"),
    )

    assert json.loads(result.stdout)["accuracy"]["ap"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "device", "notes"),
    [
        pytest.param([], None, [], id="left-out"),
        pytest.param(["--device", "cpu"], RuntimeDevice("cpu"), [], id="cpu"),
        pytest.param(
            ["--device", "cuda:1", "--trust"],
            RuntimeDevice("cuda", 1),
            ["computed on cuda:1"],
            id="cuda",
        ),
    ],
)
def test_eval_passes_the_device_on(
    data: Coco,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    device: RuntimeDevice | None,
    notes: list[str],
) -> None:
    """Both models run where it is said, and the report says so of a GPU."""
    given: list[RuntimeDevice | None] = []

    def opened(
        _path: Path, *, for_accuracy: bool, device: RuntimeDevice | None, trust: bool
    ) -> FakeSession:
        assert for_accuracy
        assert trust == ("--trust" in arguments)
        given.append(device)
        return session_of(perfect(SCENES))

    monkeypatch.setattr(evaluation, "open_session", opened)

    result = invoke(
        *("eval", "a.onnx", "b.onnx", "--data", data.folder, "--bootstrap", 0, "--json"),
        *arguments,
    )

    value = json.loads(result.stdout)
    assert given == [device, device]
    for report in (value["a"], value["b"]):
        assert [note for note in report["notes"] if "computed" in note] == notes


def test_eval_of_an_exported_model(tmp_path: Path) -> None:
    """What ``export`` wrote is run; the classes match by order, and the counts are right."""
    tiny = write_tiny_checkpoint(tmp_path)
    model = tmp_path / "tiny.onnx"
    exported(tiny, output=model, nms=NmsConfig())
    names = [f"kind {k}" for k in range(NUM_CLASSES)]
    data = write_coco(tmp_path / "data", SCENES, names=names)

    by_name = invoke("eval", model, "--data", data.folder)
    by_order = invoke(
        *("eval", model, "--data", data.folder, "--match-classes", "order"),
        *("--bootstrap", 5, "--json"),
    )

    assert_refused(by_name, "'kind 0', 'kind 1'", "--match-classes order")
    value = json.loads(by_order.stdout)
    assert value["accuracy"]["objects"] == 4
    assert value["nms"]["score_threshold"] == 0.001
    assert 0 <= value["accuracy"]["ap"] < 1


def _no_images(data: Coco) -> list[Any]:
    data.images.rename(data.folder / "pictures")
    return ["--data", data.folder]


def _no_annotations(data: Coco) -> list[Any]:
    data.annotations.unlink()
    return ["--data", data.folder]


def _not_json(data: Coco) -> list[Any]:
    data.annotations.write_bytes(b"\xff{")
    return ["--data", data.folder]


def _nested(data: Coco) -> list[Any]:
    data.annotations.write_text("[" * 100_000)
    return ["--data", data.folder]


def _no_objects(data: Coco) -> list[Any]:
    data.value["annotations"] = []
    data.save()
    return ["--data", data.folder]


def _other_classes(data: Coco) -> list[Any]:
    for row in data.value["categories"]:
        row["name"] += "s"
    data.save()
    return ["--data", data.folder]


def _ids_of_others(data: Coco) -> list[Any]:
    for row in data.value["images"]:
        row["id"] += 2
    data.save()
    return ["--data", data.folder]


def _no_picture(data: Coco) -> list[Any]:
    (data.images / "1.png").write_text("no image")
    return ["--data", data.folder]


def _yolor(data: Coco) -> list[Any]:
    return ["--data", data.folder, "--protocol", "yolor"]


def _device(data: Coco) -> list[Any]:
    return ["--data", data.folder, "--device", "gpu0"]


def _threshold(data: Coco) -> list[Any]:
    return ["--data", data.folder, "--score-threshold", "nan"]


def _output_is_input(data: Coco) -> list[Any]:
    return ["--data", data.folder, "--output", data.annotations]


def _output_nowhere(data: Coco) -> list[Any]:
    return ["--data", data.folder, "--save-detections", data.folder / "none" / "d.json"]


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_no_images, "without 'images'", id="no-images"),
        pytest.param(_no_annotations, "without 'annotations.json'", id="no-annotations"),
        pytest.param(_not_json, "cannot be read as JSON", id="not-json"),
        pytest.param(_nested, "cannot be read as JSON", id="nested"),
        pytest.param(_no_objects, "no annotated object", id="no-objects"),
        pytest.param(_other_classes, "does not know: 'circles', 'squares'", id="other-classes"),
        pytest.param(_ids_of_others, "image_id 10, which is not listed", id="ids"),
        pytest.param(_no_picture, "1.png", id="no-picture"),
        pytest.param(_yolor, "--protocol letterbox", id="protocol"),
        pytest.param(_threshold, "score_threshold is nan", id="threshold"),
        pytest.param(_device, "'gpu0' is not a device", id="device"),
        pytest.param(_output_is_input, "--output", id="output-is-input"),
        pytest.param(_output_nowhere, "--save-detections", id="output-nowhere"),
    ],
)
def test_eval_refuses(data: Coco, spoil: Any, words: str) -> None:
    """What the user can mend is one message with a hint, and nothing is on stdout."""
    arguments = spoil(data)

    result = invoke("eval", "good.onnx", *arguments)

    assert_refused(result, words)


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["good.onnx"], id="no-data"),
        pytest.param(["good.onnx", "--annotations", "a.json"], id="no-images"),
        pytest.param(["good.onnx", "--data", ".", "--images", "."], id="both"),
        pytest.param(
            ["good.onnx", "bad.onnx", "--data", ".", "--save-detections", "d.json"], id="two-models"
        ),
    ],
)
def test_eval_explains_wrong_usage(arguments: list[str]) -> None:
    """Options that do not go together are exit code 2, as any wrong usage."""
    result = invoke("eval", *arguments)

    assert result.exit_code == 2
    assert "give --data DIR" in result.stderr or "takes one model" in result.stderr


def test_eval_refuses_a_file_that_is_no_artifact(data: Coco, tmp_path: Path) -> None:
    """A missing or foreign model is named."""
    assert_refused(invoke("eval", tmp_path / "none.onnx", "--data", data.folder), "no such file")


def test_eval_interrupted_leaves_nothing(
    data: Coco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle ends the command with 130, and no file is half-written."""

    def interrupted(images: Any) -> Any:
        if len(session.inputs) > 2:
            raise KeyboardInterrupt
        return planting({})(images)

    session = session_of(interrupted)
    monkeypatch.setattr(evaluation, "open_session", lambda _path, **_: session)

    result = invoke("eval", "x.onnx", "--data", data.folder, "--output", tmp_path / "report.json")

    assert result.exit_code == 130
    assert session.closed
    assert names_in(tmp_path) == ["data"]
