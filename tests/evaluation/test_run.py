"""Average precision of artifacts on annotated images."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.coco import (
    OBJECTS,
    SCENES,
    SIDE,
    Box,
    Coco,
    eval_config,
    perfect,
    planting,
    session_of,
    write_coco,
)
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from tests.sessions import FakeSession, artifact, batch_range
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import ArtifactError, BuildError, EvaluationError
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import BatchRange, NmsConfig
from yolor_deploy.evaluation.run import evaluate


@pytest.fixture
def data(tmp_path: Path) -> Coco:
    """Four images with four objects of two classes; a third class has none."""
    return write_coco(tmp_path / "data", SCENES)


def with_nms(nms: NmsConfig) -> Artifact:
    """Return the tiny artifact with other post-processing."""
    tiny = artifact()
    return replace(tiny, meta=replace(tiny.meta, nms=nms))


def test_evaluate_finds_all_objects(data: Coco) -> None:
    """Perfect detections have an AP of 1, in categories that are matched by name."""
    session = session_of(perfect(SCENES))

    result = evaluate(session, eval_config(data))

    assert result.accuracy.ap == pytest.approx(1)
    assert result.accuracy.per_class == pytest.approx({"circle": 1, "square": 1})
    assert (result.accuracy.images, result.accuracy.objects) == (4, 4)
    assert {row["category_id"] for row in result.rows} == {5, 7}
    assert {row["image_id"] for row in result.rows} == {10, 11, 13}
    assert not session.closed


def test_evaluate_gives_rows_in_the_coco_result_form(data: Coco) -> None:
    """Boxes are left, top, width, height in pixels of the image."""
    result = evaluate(session_of(perfect(SCENES, score=0.5)), eval_config(data))

    assert result.rows[0] == {
        "image_id": 10,
        "category_id": 5,
        "bbox": [4, 4, 20, 10],
        "score": 0.5,
    }


def test_evaluate_counts_what_is_missed(data: Coco) -> None:
    """One of two circles found is half of the recall: precision 1 at 51 of 101 points."""
    found = {0: [(OBJECTS[0][0], 0.9, 0), (OBJECTS[1][0], 0.9, 1)], 1: [(OBJECTS[1][0], 0.8, 1)]}

    result = evaluate(session_of(planting(found)), eval_config(data))

    assert result.accuracy.per_class == pytest.approx({"circle": 51 / 101, "square": 1})


def test_evaluate_maps_boxes_back_from_the_letterbox(tmp_path: Path) -> None:
    """An image that is made smaller has its objects where they are in the file."""
    box: Box = (8, 4, 48, 20)
    data = write_coco(tmp_path / "wide", [[(box, 2)]], size=(32, 64))  # gain 0.5, border of 8 rows
    session = session_of(planting({0: [((4, 10, 24, 18), 0.9, 2)]}))

    result = evaluate(session, eval_config(data))

    assert result.rows[0]["bbox"] == [8, 4, 40, 16]
    assert result.accuracy.ap == pytest.approx(1)


def test_evaluate_uses_low_thresholds_and_says_so(data: Coco) -> None:
    """AP is over all scores: the artifact's thresholds for showing boxes are not those of AP."""
    session = session_of(perfect(SCENES))

    result = evaluate(session, eval_config(data))

    assert set(session.thresholds) == {(0.001, 0.65)}
    assert (result.nms.score_threshold, result.nms.iou_threshold) == (0.001, 0.65)


def test_evaluate_takes_other_thresholds(data: Coco) -> None:
    """They are handed to the network, and refused outside of 0..1."""
    session = session_of(perfect(SCENES))

    evaluate(session, eval_config(data, score_threshold=0.3, iou_threshold=0.5))

    assert set(session.thresholds) == {(0.3, 0.5)}
    with pytest.raises(BuildError, match="expected 0 to 1"):
        evaluate(session, eval_config(data, score_threshold=-1.0))


def test_evaluate_in_batches(data: Coco) -> None:
    """A static batch of 3 gives the same AP for four images, a time for each and a step a batch."""
    session = FakeSession(artifact(image=batch_range(3, 3, 3)), perfect(SCENES))
    steps: list[tuple[int, int]] = []

    result = evaluate(session, eval_config(data), progress=lambda *step: steps.append(step))

    assert result.accuracy.ap == pytest.approx(1)
    assert [len(images) for images in session.inputs] == [3, 3]
    assert len(result.image_seconds) == 4
    assert steps == [(3, 4), (4, 4)]


def test_evaluate_gives_an_interval(data: Coco) -> None:
    """With samples there is an interval around AP, and a step for each of them."""
    found = {0: [(OBJECTS[0][0], 0.9, 0)], 1: [(OBJECTS[1][0], 0.8, 1)]}
    steps: list[tuple[int, int]] = []

    result = evaluate(
        session_of(planting(found)),
        eval_config(data, bootstrap=30),
        progress=lambda *step: steps.append(step),
    )

    assert result.interval is not None
    assert 0 <= result.interval.low < result.accuracy.ap < result.interval.high <= 1
    assert steps == [(step, 34) for step in range(1, 35)]


def test_evaluate_of_one_image_has_no_interval(tmp_path: Path) -> None:
    """One image is drawn in one way only, which would look like certainty."""
    data = write_coco(tmp_path / "one", SCENES[:1])

    result = evaluate(session_of(perfect(SCENES[:1])), eval_config(data, bootstrap=30))

    assert result.interval is None


def test_evaluate_loads_an_artifact(tmp_path: Path) -> None:
    """A path is opened; the report has the hash of the file and what is in it as JSON."""
    path = tmp_path / "model.onnx"
    spec = tiny_spec(size=(64, 64), batch=BatchRange(1, 2, 4))
    written_artifact(path, spec)
    data = write_coco(tmp_path / "data", SCENES, names=spec.class_names)

    result = evaluate(path, eval_config(data))

    value = json.loads(json.dumps(result.to_json()))
    assert value["model_sha256"] == sha256_of_file(path)
    assert value["annotations_sha256"] == sha256_of_file(data.annotations)
    assert value["protocol"]["name"] == "letterbox"
    assert value["nms"]["max_detections"] == 20
    assert value["accuracy"]["objects"] == 4
    assert {"rows", "matches"}.isdisjoint(value)


def test_evaluate_matches_names_without_case_and_blanks(tmp_path: Path) -> None:
    """``Circle `` in the file is ``circle`` of the model, at whatever place it is."""
    data = write_coco(tmp_path / "data", SCENES, names=(" Circle ", "SQUARE", "star"))
    data.value["categories"].reverse()
    data.save()

    result = evaluate(session_of(perfect(SCENES)), eval_config(data))

    assert result.accuracy.ap == pytest.approx(1)


def test_evaluate_matches_by_order(tmp_path: Path) -> None:
    """With other names the category of the lowest id is class 0, if that is asked for."""
    data = write_coco(tmp_path / "data", SCENES, names=("Kreis", "Quadrat", "Stern"))
    data.value["categories"].reverse()
    data.save()

    result = evaluate(session_of(perfect(SCENES)), eval_config(data, match_classes="order"))

    assert result.accuracy.ap == pytest.approx(1)
    assert result.accuracy.per_class.keys() == {"Kreis", "Quadrat"}
    assert result.match_classes == "order"


def test_evaluate_leaves_out_classes_that_are_not_annotated(tmp_path: Path) -> None:
    """A star where the file knows no stars is not a false detection, and that is said."""
    data = write_coco(tmp_path / "data", SCENES, names=("circle", "square"))
    star = ((1.0, 1.0, 9.0, 9.0), 0.99, 2)
    found = {k: [star, *[(box, 0.9, kind) for box, kind in row]] for k, row in enumerate(SCENES)}

    result = evaluate(session_of(planting(found)), eval_config(data))

    assert result.accuracy.ap == pytest.approx(1)
    (note,) = [note for note in result.notes if "left out" in note]
    assert "1 of 3 classes" in note
    assert "'star'" in note


def test_evaluate_ignores_unknown_categories_without_objects(tmp_path: Path) -> None:
    """A category that no image shows costs nothing."""
    data = write_coco(tmp_path / "data", SCENES, names=("circle", "square", "unicorn"))

    result = evaluate(session_of(perfect(SCENES)), eval_config(data))

    assert result.accuracy.ap == pytest.approx(1)


@pytest.mark.parametrize(
    ("names", "match_classes", "problem"),
    [
        pytest.param(
            ("dog", "cat", "star"), "name", "does not know: 'dog', 'cat'", id="unknown-names"
        ),
        pytest.param(("circle", "square"), "order", "2 categories for 3 classes", id="count"),
        pytest.param(
            ("circle", "square", "Circle"), "name", "'circle' is the name of several", id="twice"
        ),
    ],
)
def test_evaluate_refuses_annotations_of_other_classes(
    tmp_path: Path, names: tuple[str, ...], match_classes: str, problem: str
) -> None:
    """Categories that do not match the classes are named before anything is detected."""
    data = write_coco(tmp_path / "data", SCENES, names=names)
    session = session_of(perfect(SCENES))

    with pytest.raises(EvaluationError, match=problem):
        evaluate(session, eval_config(data, match_classes=match_classes))

    assert not session.inputs


@pytest.mark.parametrize(
    ("row", "changes", "problem"),
    [
        pytest.param(1, {"id": 10}, r"images\[1\] has id 10, which images\[0\]", id="id-twice"),
        pytest.param(1, {"id": "11"}, r"id '11', expected a whole number", id="id-is-text"),
        pytest.param(1, {"id": [1]}, r"id \[1\], expected a whole number", id="id-is-list"),
        pytest.param(1, {"id": 77}, "image_id 11, which is not listed", id="id-of-no-image"),
        pytest.param(1, {"file_name": "gone.png"}, "1 of 4 images are not there", id="missing"),
        pytest.param(1, {"file_name": ""}, "file_name '', expected", id="no-name"),
        pytest.param(1, {"file_name": None}, "file_name None, expected", id="null-name"),
        pytest.param(1, {"width": 640}, "image 11 is 640x32, but its file '1.png'", id="size"),
    ],
)
def test_evaluate_refuses_wrong_ids_and_images(
    data: Coco, row: int, changes: dict[str, object], problem: str
) -> None:
    """A list of images that does not fit the folder is refused before anything is detected."""
    data.value["images"][row].update(changes)
    data.save()
    session = session_of(perfect(SCENES))

    with pytest.raises(EvaluationError, match=problem):
        evaluate(session, eval_config(data))

    assert not session.inputs


def test_evaluate_names_a_turned_image(tmp_path: Path) -> None:
    """A file whose EXIF turns it is not of the size that was annotated, and the hint says so."""
    data = write_coco(tmp_path / "data", SCENES, size=(32, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save(data.images / "1.png", exif=exif)

    with pytest.raises(EvaluationError, match=r"image 11 is 64x32, .* is 32x64") as caught:
        evaluate(session_of(perfect(SCENES)), eval_config(data))

    assert "EXIF" in caught.value.hint


def test_evaluate_takes_images_without_sizes(data: Coco) -> None:
    """Height and width may be missing or null."""
    for image in data.value["images"]:
        del image["height"]
        image["width"] = None
    data.save()

    assert evaluate(session_of(perfect(SCENES)), eval_config(data)).accuracy.ap == pytest.approx(1)


@pytest.mark.parametrize("kept", [pytest.param(20, id="header"), pytest.param(1500, id="pixels")])
def test_evaluate_names_an_unreadable_image(data: Coco, kept: int) -> None:
    """AP without some of the images would be of another data set: the damaged one is named."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    path = data.images / "2.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(EvaluationError) as caught:
        evaluate(session_of(perfect(SCENES)), eval_config(data))

    assert caught.value.where == str(path)


def test_evaluate_refuses_detections_that_are_not_numbers(data: Coco) -> None:
    """A network that computes NaN has no AP."""

    def answer(images: Array) -> RawOutput:
        output = dict(perfect(SCENES)(images))
        output["boxes_xyxy"] = output["boxes_xyxy"] * np.float32(np.nan)
        return output

    with pytest.raises(ArtifactError, match="NaN"):
        evaluate(session_of(answer), eval_config(data))


@pytest.mark.parametrize(
    ("nms", "words"),
    [
        pytest.param(NmsConfig(max_detections=5), "returns 5 detections", id="detections"),
        pytest.param(NmsConfig(max_candidates=1000), "best 1000 candidates", id="candidates"),
        pytest.param(NmsConfig(multi_label=False), "best class", id="best-class"),
        pytest.param(NmsConfig(class_agnostic=True), "different classes", id="agnostic"),
        pytest.param(NmsConfig(), "", id="nothing"),
    ],
)
def test_evaluate_warns_of_what_limits_ap(
    data: Coco, caplog: pytest.LogCaptureFixture, nms: NmsConfig, words: str
) -> None:
    """Post-processing that drops what AP would count is said in the log and in the report."""
    with caplog.at_level(logging.WARNING, logger="yolor_deploy"):
        result = evaluate(session_of(perfect(SCENES), with_nms(nms)), eval_config(data))

    messages = [record.getMessage() for record in caplog.records]
    assert [words in note for note in result.notes] == ([True] if words else [])
    assert messages == [f"tiny.onnx: {note}" for note in result.notes]


def test_evaluate_says_what_to_install(data: Coco, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pycocotools nothing is detected in vain."""
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.coco", None)
    session = session_of(perfect(SCENES))

    with pytest.raises(EvaluationError, match="pycocotools is not installed"):
        evaluate(session, eval_config(data))

    assert not session.inputs


def test_eval_config_refuses_a_negative_number_of_samples(data: Coco) -> None:
    """There is no interval of -1 samples."""
    with pytest.raises(EvaluationError, match="bootstrap is -1"):
        eval_config(data, bootstrap=-1)
