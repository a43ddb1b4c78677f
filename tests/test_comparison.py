"""Two models on the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.graph.tiny_graphs import tiny_spec, written_artifact
from tests.sessions import FakeSession, artifact, one_box_each
from yolor_deploy import comparison
from yolor_deploy.comparison import DiffConfig, compare_artifacts
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import BuildError, EvaluationError
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import InputSpec
from yolor_deploy.image_files import ImageFile, find_images
from yolor_deploy.measure.difference_report import DifferenceLimits

BOX = [4.0, 8.0, 20.0, 24.0]
"""In pixels of the input, 32 x 32; the images are as large, so that it is in their pixels too."""


def model(
    box: list[float] = BOX, *, score: float = 0.875, class_id: int = 2, name: str = "tiny"
) -> FakeSession:
    """Return a loaded model that finds this box in every image."""
    made = replace(artifact(), path=Path(f"{name}.onnx"))
    return FakeSession(made, one_box_each(box, score=score, class_id=class_id))


def blind() -> FakeSession:
    """Return a loaded model that finds nothing."""
    session = model()
    found = session.answer
    session.answer = lambda images: {**found(images), "num_detections": np.zeros((1, 1), np.int32)}
    return session


@pytest.fixture
def images(tmp_path: Path) -> tuple[ImageFile, ...]:
    """Three images of 32 x 32 pixels: black, grey and white."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, level in (("a", 0), ("b", 128), ("c", 255)):
        Image.new("RGB", (32, 32), (level,) * 3).save(folder / f"{name}.png")
    return find_images([folder])


def damaged(folder: Path, name: str) -> ImageFile:
    """Return an image that ends after its header."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / f"{name}.png")
    (folder / f"{name}.png").write_bytes((folder / f"{name}.png").read_bytes()[:4000])
    return find_images([folder / f"{name}.png"])[0]


def only_dark(found: Callable[[Array], RawOutput]) -> Callable[[Array], RawOutput]:
    """Return an answer that finds nothing in a white image."""

    def answer(pixels: Array) -> RawOutput:
        outputs = found(pixels)
        if pixels.mean() > 0.99:
            return {**outputs, "num_detections": np.zeros((len(pixels), 1), np.int32)}
        return outputs

    return answer


def test_equal_models_do_not_differ(images: tuple[ImageFile, ...]) -> None:
    """Each box is kept, unmoved and with its score; images are named in the order given."""
    report = compare_artifacts(model(name="old"), model(name="new"), images, DiffConfig())

    assert (report.kept, report.boxes_before, report.boxes_after) == (3, 3, 3)
    assert (report.lost, report.added, report.relabelled, report.at_threshold) == (0, 0, 0, 0)
    assert (report.moved_px.maximum, report.rescored.maximum) == (0.0, 0.0)
    assert [image.name for image in report.images] == [str(image.path) for image in images]
    assert (report.before, report.after) == ("old.onnx", "new.onnx")


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        pytest.param(blind(), (0, 0, 3, 0, 0), id="lost"),
        pytest.param(model([0, 0, 4, 4]), (0, 0, 3, 3, 0), id="elsewhere"),
        pytest.param(model(class_id=1), (0, 0, 0, 0, 3), id="relabelled"),
        pytest.param(model(score=0.5), (3, 0, 0, 0, 0), id="rescored"),
        pytest.param(model(score=0.22), (0, 3, 0, 0, 0), id="at-threshold"),
    ],
)
def test_differences_are_counted(
    images: tuple[ImageFile, ...], after: FakeSession, counts: tuple[int, ...]
) -> None:
    """What another model finds in place of a box decides where that is counted."""
    report = compare_artifacts(model(), after, images, DiffConfig())

    assert counts == (
        report.kept,
        report.at_threshold,
        report.lost,
        report.added,
        report.relabelled,
    )


def test_both_models_run_below_the_threshold(images: tuple[ImageFile, ...]) -> None:
    """Both get the threshold less the margin, by default that of the model before."""
    before, after = model(), model()

    compare_artifacts(before, after, images, DiffConfig(score_threshold=0.5, margin=0.125))
    report = compare_artifacts(before, after, images[:1], DiffConfig())
    compare_artifacts(before, after, images[:1], DiffConfig(score_threshold=0.03))

    assert report.score_threshold == 0.25
    assert before.thresholds == after.thresholds
    lows = [score for score, _ in before.thresholds]
    assert lows == pytest.approx([0.375, 0.375, 0.375, 0.2, 0.0])


def test_sizes_of_models_may_differ(images: tuple[ImageFile, ...]) -> None:
    """Boxes are compared in pixels of the original: twice as large an input, the same box."""
    larger = artifact(image=InputSpec(height=64, width=64))
    after = FakeSession(larger, one_box_each([2 * value for value in BOX], score=0.875))

    report = compare_artifacts(model(), after, images, DiffConfig())

    assert report.kept == 3
    assert report.moved_px.maximum == 0.0


def test_images_are_run_one_at_a_time(images: tuple[ImageFile, ...]) -> None:
    """Each run has one image, and progress is told after each."""
    before, steps = model(), []

    compare_artifacts(
        before, model(), images, DiffConfig(), progress=lambda *step: steps.append(step)
    )

    assert [len(batch) for batch in before.inputs] == [1, 1, 1]
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("circle", "Square", "star"), "class 1 is 'Square', expected 'square' as in old.onnx"),
        (("circle", "square"), "class 2 is missing, expected 'star' as in old.onnx"),
        (("circle", "square", "star", "x"), "class 3 is 'x', expected none as in old.onnx"),
    ],
)
def test_different_classes_are_refused(
    images: tuple[ImageFile, ...], names: tuple[str, ...], problem: str
) -> None:
    """The first class that differs is named, and neither model runs."""
    before, after = model(name="old"), model(name="new")
    meta = after.artifact.meta
    after.artifact = replace(
        after.artifact, meta=replace(meta, spec=replace(meta.spec, class_names=names))
    )

    with pytest.raises(EvaluationError) as caught:
        compare_artifacts(before, after, images, DiffConfig())

    assert (caught.value.problem, caught.value.where) == (problem, "new.onnx")
    assert before.inputs == after.inputs == []


def test_damaged_image_is_left_out_and_named(tmp_path: Path, images: tuple[ImageFile, ...]) -> None:
    """The other images are compared, and progress counts it."""
    broken = damaged(tmp_path, "broken")
    steps: list[tuple[int, int]] = []

    report = compare_artifacts(
        model(),
        model(),
        [images[0], broken, images[1]],
        DiffConfig(),
        progress=lambda *step: steps.append(step),
    )

    assert [image.name for image in report.images] == [str(images[0].path), str(images[1].path)]
    assert report.left_out == (str(broken.path),)
    assert steps[-1] == (3, 3)


def test_only_damaged_images_are_an_error(tmp_path: Path) -> None:
    """Where no image can be read there is nothing to report; each is named."""
    broken = [damaged(tmp_path, name) for name in ("x", "y")]

    with pytest.raises(EvaluationError, match="none of 2 images can be read") as caught:
        compare_artifacts(model(), model(), broken, DiffConfig())
    with pytest.raises(EvaluationError, match="cannot be read"):
        compare_artifacts(model(), model(), broken[:1], DiffConfig())

    assert caught.value.where == f"{broken[0].path}, {broken[1].path}"


def test_worst_images_are_drawn(tmp_path: Path, images: tuple[ImageFile, ...]) -> None:
    """Of images that changed the worst get a picture, with what was lost in red."""
    after = model()
    after.answer = only_dark(after.answer)
    out = tmp_path / "out"

    compare_artifacts(model(), after, images, DiffConfig(draw=out, worst=2))

    assert [path.name for path in out.iterdir()] == ["c.png"]
    with Image.open(out / "c.png") as picture:
        assert picture.size == (32, 32)
        assert picture.getpixel((5, 23)) == comparison._RED


def test_as_many_pictures_as_asked(tmp_path: Path, images: tuple[ImageFile, ...]) -> None:
    """More images that changed than pictures: the first ones of equals are drawn."""
    compare_artifacts(model(), blind(), images, DiffConfig(draw=tmp_path / "out", worst=2))

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("after", "limits", "colour"),
    [
        pytest.param(model([4, 8, 20, 26]), DifferenceLimits(), comparison._GREY, id="kept"),
        pytest.param(
            model([4, 8, 20, 26]),
            DifferenceLimits(max_moved_px=1),
            comparison._ORANGE,
            id="moved",
        ),
        pytest.param(
            model([4, 8, 20, 26]),
            DifferenceLimits(max_iou_loss=0.01),
            comparison._ORANGE,
            id="iou",
        ),
        pytest.param(model(score=0.5), DifferenceLimits(), comparison._ORANGE, id="rescored"),
        pytest.param(model(class_id=1), DifferenceLimits(), comparison._PURPLE, id="relabelled"),
    ],
)
def test_colours_tell_what_happened(
    tmp_path: Path,
    images: tuple[ImageFile, ...],
    after: FakeSession,
    limits: DifferenceLimits,
    colour: tuple[int, int, int],
) -> None:
    """A pair within the limits is grey, one beyond them orange, another class purple."""
    config = DiffConfig(draw=tmp_path / "out", limits=limits)

    compare_artifacts(model(), after, images[:1], config)

    with Image.open(tmp_path / "out" / "a.png") as picture:
        shown = {colour for _, colour in picture.getcolors(1024) or []}
    others = {comparison._GREY, comparison._ORANGE, comparison._PURPLE} - {colour}
    assert colour in shown
    assert not shown & (others - {comparison._GREY})  # the box before is grey beside orange


def test_added_boxes_are_blue(tmp_path: Path, images: tuple[ImageFile, ...]) -> None:
    """What the model before did not find is drawn in the colour of added boxes."""
    compare_artifacts(blind(), model(), images[:1], DiffConfig(draw=tmp_path / "out"))

    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.getpixel((5, 23)) == comparison._BLUE


def test_pictures_never_overwrite_images(images: tuple[ImageFile, ...]) -> None:
    """The folder of the images is refused before a model runs."""
    before = model()

    with pytest.raises(EvaluationError, match="would overwrite"):
        compare_artifacts(before, model(), images, DiffConfig(draw=images[0].path.parent))

    assert before.inputs == []


def test_a_file_is_no_folder_for_pictures(tmp_path: Path, images: tuple[ImageFile, ...]) -> None:
    """Where the folder should be there is a file: it is named, and stays."""
    (tmp_path / "out").write_text("mine")

    with pytest.raises(EvaluationError, match="a file, expected a folder"):
        compare_artifacts(model(), blind(), images, DiffConfig(draw=tmp_path / "out"))

    assert (tmp_path / "out").read_text() == "mine"


def test_unwritable_picture_is_an_error(tmp_path: Path, images: tuple[ImageFile, ...]) -> None:
    """A folder that cannot be made is the user's to mend."""
    (tmp_path / "file").write_text("mine")
    config = DiffConfig(draw=tmp_path / "file" / "out")

    with pytest.raises(EvaluationError, match="cannot be written"):
        compare_artifacts(model(), blind(), images, config)


def test_sessions_that_are_handed_in_stay_open(images: tuple[ImageFile, ...]) -> None:
    """Only who opens a session closes it."""
    before, after = model(), model()

    compare_artifacts(before, after, images[:1], DiffConfig())

    assert not before.closed
    assert not after.closed


def test_files_are_opened_and_closed(
    images: tuple[ImageFile, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is loaded for the comparison, and freed after it."""
    opened: list[FakeSession] = []

    def open_session(path: Path, *, for_accuracy: bool, trust: bool) -> FakeSession:
        assert not trust
        assert for_accuracy
        opened.append(model(name=Path(path).stem))
        return opened[-1]

    monkeypatch.setattr(comparison, "open_session", open_session)

    report = compare_artifacts(Path("x.onnx"), "y.onnx", images[:1], DiffConfig())

    assert (report.before, report.after) == ("x.onnx", "y.onnx")
    assert [session.closed for session in opened] == [True, True]


def test_real_file_does_not_differ_from_itself(tmp_path: Path) -> None:
    """In ONNX Runtime, on noise, every one of many boxes is kept."""
    written: Artifact = written_artifact(tmp_path / "model.onnx", tiny_spec())
    noise = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")

    report = compare_artifacts(
        written.path, written.path, find_images([tmp_path / "noise.png"]), DiffConfig()
    )

    assert report.kept == report.boxes_before == report.boxes_after > 5
    assert report.worst(1) == ()


@pytest.mark.parametrize(
    ("make", "where"),
    [
        pytest.param(lambda: DiffConfig(margin=-0.01), "--margin", id="margin"),
        pytest.param(lambda: DiffConfig(margin=float("nan")), "--margin", id="nan"),
        pytest.param(lambda: DiffConfig(iou_threshold=0), "--iou", id="iou-0"),
        pytest.param(lambda: DiffConfig(iou_threshold=1.5), "--iou", id="iou"),
        pytest.param(lambda: DiffConfig(worst=-1), "--worst", id="worst"),
    ],
)
def test_options_out_of_range_are_refused(make: Callable[[], DiffConfig], where: str) -> None:
    """The option is named, with the value and what was expected."""
    with pytest.raises(EvaluationError, match="expected") as caught:
        make()

    assert caught.value.where == where


def test_score_threshold_out_of_range_is_refused() -> None:
    """It is refused as the models refuse it."""
    with pytest.raises(BuildError, match="expected 0 to 1"):
        DiffConfig(score_threshold=1.5)
