"""What a benchmark is run on: the user's pictures, or drawn ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.sessions import FakeSession, artifact, one_box_each
from yolor_deploy.benchmark import inputs
from yolor_deploy.benchmark.inputs import drawn_input, images_input
from yolor_deploy.core.errors import ArtifactError, EvaluationError
from yolor_deploy.core.spec import BatchRange, DetectorSpec, InputDtype, InputLayout, InputSpec
from yolor_deploy.detector import Detector


def spec_of(
    dtype: InputDtype = "float32", layout: InputLayout = "NCHW", batch: BatchRange | None = None
) -> DetectorSpec:
    """Return a detector of images of 64 x 96 pixels."""
    image = InputSpec(64, 96, batch or BatchRange(1, 1, 8), dtype, layout)
    return artifact(image=image).meta.spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of five pictures of several sizes."""
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (40 + number, 50, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("dtype", "layout"), [("float32", "NCHW"), ("uint8", "NHWC"), ("uint8", "NCHW")]
)
def test_preprocess_is_what_the_detector_does(dtype: InputDtype, layout: InputLayout) -> None:
    """The tensor is, byte for byte, the one that a detector runs on the same pictures."""
    image = InputSpec(64, 96, BatchRange(2, 2, 2), dtype, layout)
    session = FakeSession(artifact(image=image), one_box_each((1, 1, 9, 9)))
    made = drawn_input(session.artifact.meta.spec, batch=2, count=2)

    Detector(session).batch(made.pictures(1))

    found = made.preprocess(1)
    assert found.dtype == session.inputs[0].dtype
    np.testing.assert_array_equal(found, session.inputs[0])


def test_drawn_batches_all_differ() -> None:
    """Eight batches are rotated, and no two pictures of them are the same."""
    made = drawn_input(spec_of(), batch=2, seed=5)

    assert (made.kind, made.batches, made.batch, made.seed) == ("drawn", 8, 2, 5)
    assert "16 drawn pictures of 1280 x 720 pixels, seed 5" in made.source
    assert len({picture.tobytes() for picture in made.images}) == 16
    assert made.preprocess(7).shape == (2, 3, 64, 96)


def test_same_seed_draws_the_same() -> None:
    """A benchmark can be repeated."""
    first, same, other = (drawn_input(spec_of(), count=1, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.preprocess(0), same.preprocess(0))
    assert not np.array_equal(first.preprocess(0), other.preprocess(0))


def test_large_batches_are_fewer() -> None:
    """Tensors of all batches take 256 MB at most, but there is one."""
    image = InputSpec(1536, 1536, BatchRange(1, 1, 64))
    large = replace(spec_of(), input=image)

    assert inputs._batches(large, 4, None) == 2
    assert inputs._batches(large, 64, None) == 1
    assert inputs._batches(replace(large, input=replace(image, dtype="uint8")), 4, None) == 8


def test_pictures_of_a_folder_are_batched(folder: Path) -> None:
    """Pictures come in the order of names; the last batch begins again where there are too few."""
    made = images_input([folder], spec_of(), batch=2)

    assert (made.kind, made.batches, made.seed) == ("images", 3, None)
    assert [picture.shape[0] for picture in made.pictures(0)] == [40, 41]
    assert [picture.shape[0] for picture in made.pictures(2)] == [44, 40]
    assert made.source == f"5 of 5 images in {folder}"


def test_no_more_pictures_are_read_than_are_run(folder: Path) -> None:
    """Of a large folder only the first pictures are decoded."""
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:100])  # cut short

    made = images_input([folder], spec_of(), count=3)

    assert len(made.images) == 3
    assert made.source.startswith("3 of 5 images")


def test_pictures_that_fill_the_memory_are_fewer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded pictures take so many bytes at most, but there is a whole batch of them."""
    monkeypatch.setattr(inputs, "_batches", lambda *_: 5)
    monkeypatch.setattr(inputs, "_MOST_BYTES", 3 * 43 * 50 * 3)

    assert images_input([folder], spec_of()).batches == 3
    monkeypatch.setattr(inputs, "_MOST_BYTES", 1)
    assert len(images_input([folder], spec_of(), batch=4).images) == 4


def test_one_picture_fills_a_batch(folder: Path) -> None:
    """With fewer pictures than a batch has, they come again."""
    made = images_input([folder / "0.png"], spec_of(), batch=3)

    assert made.batches == 1
    tensor = made.preprocess(0)
    np.testing.assert_array_equal(tensor[0], tensor[2])


def test_no_picture_is_refused(tmp_path: Path) -> None:
    """A folder without images is named; so is a list without anything."""
    with pytest.raises(EvaluationError, match="folder without images"):
        images_input([tmp_path], spec_of())
    with pytest.raises(EvaluationError, match="no images"):
        images_input([], spec_of())


def test_unreadable_picture_is_refused(folder: Path) -> None:
    """The file is named, and what to do about it."""
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:200])

    with pytest.raises(EvaluationError, match="cannot be read") as caught:
        images_input([folder], spec_of())

    assert caught.value.where == str(folder / "1.png")


def test_batch_beyond_the_range_is_refused(folder: Path) -> None:
    """The batch is checked before any picture is read."""
    spec = spec_of(batch=BatchRange(2, 2, 4))

    with pytest.raises(ArtifactError, match="batch of 5, custom takes 2 to 4"):
        drawn_input(spec, batch=5)
    with pytest.raises(ArtifactError, match="batch of 1, custom takes 2 to 4"):
        images_input([folder], spec, batch=1)
