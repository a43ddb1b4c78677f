from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import yolor_deploy
from tests.backends.cuda_provider import install
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from tests.sessions import Answer, FakeSession, artifact, batch_range, one_box_each
from yolor_deploy import Detections, Detector, detector
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import (
    ArtifactError,
    BackendUnavailableError,
    BuildError,
    EvaluationError,
)
from yolor_deploy.core.image import ImageArray, LetterboxTransform
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import InputSpec, OutputKind


def picture(height: int = 20, width: int = 40, *, level: int = 0) -> ImageArray:
    """Return an image of one grey level."""
    return np.full((height, width, 3), level, np.uint8)


def logits(probabilities: Array) -> Array:
    """Return what a sigmoid makes those probabilities of."""
    odds = probabilities / (1 - probabilities)
    result: Array = np.log(odds).astype(np.float32)
    return result


def head_map(images: Array) -> Array:
    """Return a raw map [n, 2 * (5 + 3), 4, 4] with one sure star at anchor 0, row 1, column 2."""
    values = np.full((len(images), 2, 8, 4, 4), 0.001)
    values[:, :, :4] = 0.5
    values[:, 0, 4, 1, 2] = 0.9
    values[:, 0, 7, 1, 2] = 0.9
    return logits(values).reshape(len(images), 16, 4, 4)


def raw_output(images: Array) -> RawOutput:
    """Return the outputs of an artifact that ends in raw maps."""
    return {"raw_0": head_map(images)}


def predictions_output(images: Array) -> RawOutput:
    """Return the same star as predictions: centre 20, 12, size 16, objectness and classes."""
    predictions = np.zeros((len(images), 32, 8), np.float32)
    predictions[:, 6] = (20, 12, 16, 16, 0.9, 0, 0, 0.9)
    return {"predictions": predictions}


def nothing(images: Array) -> RawOutput:
    """Return detections without any."""
    return {**one_box_each([0, 0, 1, 1])(images), "num_detections": np.zeros((len(images), 1))}


def test_detector_maps_boxes_to_the_image() -> None:
    """Gain and border are undone: input pixels become pixels of the image."""
    session = FakeSession(artifact(), one_box_each([8, 12, 16, 20]))

    found = Detector(session)(picture(20, 40))  # gain 0.8, border of 8 rows

    assert found.boxes_xyxy.tolist() == [[10, 5, 20, 15]]
    assert found.scores.tolist() == [np.float32(0.87)]
    assert found.class_ids.tolist() == [2]


def test_detector_letterboxes_the_image() -> None:
    """The network gets the image in the middle, 0..1, and grey around it."""
    session = FakeSession(artifact(), nothing)

    Detector(session)(picture(20, 40, level=255))

    (tensor,) = session.inputs
    assert (tensor[0, :, 8:24] == 1).all()
    assert tensor[0, :, :8] == pytest.approx(114 / 255)
    assert tensor[0, :, 24:] == pytest.approx(114 / 255)


@pytest.mark.parametrize(
    ("output", "answer"), [("raw", raw_output), ("predictions", predictions_output)]
)
def test_detector_finishes_what_the_graph_leaves_out(output: OutputKind, answer: Answer) -> None:
    """Raw maps and predictions give the same detections as a graph with the whole head."""
    session = FakeSession(artifact(output), answer)

    found = Detector(session)(picture(32, 32))

    assert found.boxes_xyxy == pytest.approx(np.array([[12, 4, 28, 20]]), abs=1e-4)
    assert found.scores == pytest.approx([0.81], abs=1e-5)
    assert found.class_ids.tolist() == [2]


def test_detector_takes_files_pillow_images_and_arrays(tmp_path: Path) -> None:
    """The same picture is the same tensor, however it is given."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    session = FakeSession(artifact(), nothing)
    detect = Detector(session)

    for image in (pixels, path, str(path), Image.fromarray(pixels)):
        detect(image)

    assert all(np.array_equal(tensor, session.inputs[0]) for tensor in session.inputs)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_detector_refuses_other_arrays(image: ImageArray) -> None:
    """An array that is not uint8 [h, w, 3] is refused with what it is."""
    detect = Detector(FakeSession(artifact(), nothing))

    with pytest.raises(EvaluationError, match=r"expected uint8 \[h, w, 3\]"):
        detect(image)


def test_nothing_found_is_empty() -> None:
    """An image without objects gives detections of length 0."""
    found = Detector(FakeSession(artifact(), nothing))(picture())

    assert isinstance(found, Detections)
    assert len(found) == 0


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [
        pytest.param((1, 1, 1), [1, 1, 1, 1, 1], id="static-1"),
        pytest.param((4, 4, 4), [4, 4], id="static-4"),
        pytest.param((1, 2, 8), [2, 2, 1], id="dynamic"),
        pytest.param((2, 3, 8), [3, 2], id="dynamic-with-minimum"),
        pytest.param((3, 4, 8), [4, 3], id="filled-to-minimum"),
    ],
)
def test_batch_is_cut_to_what_the_artifact_takes(
    batch: tuple[int, int, int], sizes: list[int]
) -> None:
    """Five images run in pieces of the optimum, the last filled with grey up to the minimum."""
    session = FakeSession(artifact(image=batch_range(*batch)), one_box_each([0, 0, 32, 32]))
    pictures = [picture(32 + n, 32 + n) for n in range(5)]

    found = Detector(session).batch(pictures)

    assert [len(tensor) for tensor in session.inputs] == sizes
    right = [detections.boxes_xyxy[0, 2] for detections in found]
    assert right == pytest.approx([32, 33, 34, 35, 36])  # in order, each by its own size
    filled = np.concatenate(session.inputs)[5:]
    assert filled == pytest.approx(114 / 255)


def test_batch_of_nothing_runs_nothing() -> None:
    """No images give no results, and the network does not run."""
    session = FakeSession(artifact(), nothing)

    assert Detector(session).batch([]) == []
    assert session.inputs == []


def test_detector_gives_the_input_its_form() -> None:
    """A network that takes bytes, channels last, gets bytes, channels last."""
    image = InputSpec(height=32, width=64, dtype="uint8", layout="NHWC")
    session = FakeSession(artifact(image=image), nothing)

    Detector(session)(picture(16, 32, level=9))

    assert session.inputs[0].shape == (1, 32, 64, 3)
    assert (session.inputs[0] == 9).all()


def test_thresholds_reach_the_graph() -> None:
    """The given threshold is passed on, and for the other the artifact's own."""
    session = FakeSession(artifact(), nothing)

    Detector(session, score_threshold=0.6)(picture())

    assert session.thresholds == [(0.6, 0.45)]


def test_thresholds_hold_where_the_graph_has_none() -> None:
    """A score threshold above the only score leaves nothing of raw maps."""
    session = FakeSession(artifact("raw"), raw_output)

    assert len(Detector(session, score_threshold=0.8)(picture())) == 1
    assert len(Detector(session, score_threshold=0.82)(picture())) == 0
    assert session.thresholds[0] == (None, None)


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_detector_refuses_thresholds(name: str, value: float) -> None:
    """A threshold outside 0..1 is refused when the detector is made."""
    thresholds: dict[str, Any] = {name: value}

    with pytest.raises(BuildError, match=f"{name} is"):
        Detector(FakeSession(artifact(), nothing), **thresholds)


@pytest.mark.parametrize("name", ["boxes_xyxy", "scores"])
def test_detector_reports_nan(name: str) -> None:
    """A network that computes NaN is reported by its file, and not returned as boxes."""

    def answer(images: Array) -> RawOutput:
        output = dict(one_box_each([0, 0, 4, 4])(images))
        output[name] = np.full_like(output[name], np.nan)
        return output

    with pytest.raises(ArtifactError, match="NaN") as caught:
        Detector(FakeSession(artifact(), answer))(picture())

    assert caught.value.where == "tiny.onnx"


def test_detector_warns_of_random_weights(caplog: pytest.LogCaptureFixture) -> None:
    """A model with random weights is said to be one."""
    with caplog.at_level(logging.WARNING):
        Detector(FakeSession(artifact(random_weights=True), nothing))

    assert "tiny.onnx has random weights" in caplog.text


def test_detector_closes_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context manager closes a session that the detector opened, and no other."""
    opened = FakeSession(artifact(), nothing)
    monkeypatch.setattr(detector, "open_session", lambda _path, **_: opened)
    handed_in = FakeSession(artifact(), nothing)

    with Detector("tiny.onnx"), Detector(handed_in):
        closed_inside = opened.closed

    assert not closed_inside
    assert opened.closed
    assert not handed_in.closed


@pytest.mark.parametrize("device", ["cuda:1", RuntimeDevice("cuda", 1)], ids=str)
def test_detector_runs_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str | RuntimeDevice
) -> None:
    """A device may be given as the command line takes it."""
    provider = install(monkeypatch)
    model = written_artifact(tmp_path / "model.onnx", tiny_spec()).path

    with Detector(model, device=device) as found:
        found(picture())

    ((name, options), _) = provider.providers[0]
    assert (name, options["device_id"]) == ("CUDAExecutionProvider", "1")


def test_detector_refuses_a_device_for_a_session() -> None:
    """A session runs where it was opened."""
    with pytest.raises(ValueError, match="device 'cuda' given with a session"):
        Detector(FakeSession(artifact(), nothing), device="cuda")


def test_open_session_refuses_an_unknown_device() -> None:
    """Before the file is looked at."""
    with pytest.raises(BackendUnavailableError, match="'tpu' is not a device"):
        detector.open_session("none.onnx", device="tpu")


def test_open_session_refuses_other_files(tmp_path: Path) -> None:
    """A file that is no artifact of ours is refused before a runtime sees it."""
    path = tmp_path / "other.onnx"
    path.write_bytes(b"hello")

    with pytest.raises(ArtifactError) as caught:
        detector.open_session(path)

    assert caught.value.where == str(path)


def test_open_session_refuses_an_unknown_runtime() -> None:
    """An artifact that was made for another runtime names it."""
    made = artifact()
    meta = type(made.meta)("engine", made.meta.spec, "fp32", "raw", None, "abacus", ())

    with pytest.raises(ArtifactError, match="'abacus'"):
        detector.open_session(Artifact(made.path, meta))


def test_importing_the_package_is_light() -> None:
    """``import yolor_deploy`` loads not even NumPy; its public classes load on first use."""
    program = (
        "import sys, yolor_deploy\n"
        "assert not {'numpy', 'PIL', 'onnx', 'onnxruntime', 'torch'} & set(sys.modules)\n"
        "from yolor_deploy import Detector, Detections\n"
        "assert not {'onnx', 'onnxruntime', 'torch'} & set(sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


def test_public_names_exist() -> None:
    """Every public name can be had from the package, and a wrong one is an AttributeError."""
    for name in yolor_deploy.__all__:
        assert getattr(yolor_deploy, name)
    with pytest.raises(AttributeError, match="no attribute 'Detecter'"):
        getattr(yolor_deploy, "Detecter")  # noqa: B009 - a constant name would not type-check


def test_detector_places_images_by_another_rule() -> None:
    """What a caller puts in place of the letterbox fills the input, and maps the boxes back."""
    session = FakeSession(artifact(), one_box_each([1, 2, 3, 4]))

    def place(image: ImageArray) -> tuple[ImageArray, LetterboxTransform]:
        return np.full((32, 32, 3), 255, np.uint8), LetterboxTransform(0.5, 0, 0, *image.shape[:2])

    found = Detector(session, place=place)(picture(20, 40))

    assert (session.inputs[0] == 1).all()
    assert found.boxes_xyxy.tolist() == [[2, 4, 6, 8]]
