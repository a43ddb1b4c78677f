"""A calibration goes on where it stopped, and is refused for anything else than it was made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.calibration_sets import folder_of
from tests.exports import exported
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.backends.onnxruntime.observer import Observer
from yolor_deploy.calibration.file import Calibration, read_calibration
from yolor_deploy.calibration.images import find_calibration_images
from yolor_deploy.calibration.run import calibrate, load_calibration
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, EvaluationError

COUNT = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An exported model of a few layers."""
    return exported(write_tiny_checkpoint(tmp_path_factory.mktemp("model"))).artifact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures."""
    return folder_of(tmp_path / "images", COUNT)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per image that the network has seen."""
    seen: list[int] = []
    run = Observer.run

    def counted(self: Observer, tensor: np.ndarray) -> object:
        seen.append(1)
        return run(self, tensor)

    monkeypatch.setattr(Observer, "run", counted)
    return seen


def calibrated(model: Artifact, folder: Path, file: Path | None = None) -> Calibration:
    """Calibrate on a folder."""
    return calibrate(model, find_calibration_images([folder]), file=file)


def interrupted(model: Artifact, folder: Path, file: Path, *, after: int) -> None:
    """Calibrate until so many images are done, and stop as Ctrl-C does."""

    def stop(done: int, _total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(model, find_calibration_images([folder]), file=file, progress=stop)


def assert_same(first: Calibration, second: Calibration) -> None:
    """Check that two calibrations hold the same counts of the same values."""
    assert list(first.histograms) == list(second.histograms)
    for name, histogram in first.histograms.items():
        other = second.histograms[name]
        np.testing.assert_array_equal(histogram.counts, other.counts)
        assert (histogram.minimum, histogram.maximum) == (other.minimum, other.maximum)
        assert (histogram.seen, histogram.tiny) == (other.seen, other.tiny)


def test_calibration_sees_every_value_of_every_image(model: Artifact, folder: Path) -> None:
    """The raw maps are among the values, and each image adds as many as the maps have."""
    found = calibrated(model, folder)

    spec = model.meta.spec
    sizes = [int(np.prod(spec.head_shape(level))) for level in spec.levels]
    assert [found.histograms[f"raw_{i}"].seen for i in (0, 1)] == [COUNT * n for n in sizes]
    assert found.histograms["images"].largest == 1.0
    assert found.manifest.complete
    assert [name for name, _ in found.manifest.images] == [f"{i:02d}.png" for i in range(COUNT)]


def test_calibration_is_stored_and_read_back(model: Artifact, folder: Path, tmp_path: Path) -> None:
    """What is in the file is what was in memory."""
    file = tmp_path / "model.calibration.npz"

    found = calibrated(model, folder, file)

    assert_same(load_calibration(model, file), found)
    assert read_calibration(file).manifest == found.manifest


def test_interrupted_calibration_goes_on(
    model: Artifact, folder: Path, tmp_path: Path, runs: list[int]
) -> None:
    """The second run sees only the images that the first did not, and the sum is that of one."""
    file = tmp_path / "model.calibration.npz"
    whole = calibrated(model, folder)
    runs.clear()

    interrupted(model, folder, file, after=4)
    first = len(runs)
    found = calibrated(model, folder, file)

    assert (first, len(runs)) == (4, COUNT)
    assert_same(found, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", file.name]


def test_complete_calibration_is_reused(
    model: Artifact, folder: Path, tmp_path: Path, runs: list[int]
) -> None:
    """A second build does not run the network again."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    runs.clear()

    calibrated(model, folder, file)

    assert runs == []


def test_images_added_at_the_end_are_added(
    model: Artifact, folder: Path, tmp_path: Path, runs: list[int]
) -> None:
    """A folder that has grown behind its last name costs the new images only."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    runs.clear()
    folder_of(folder, COUNT + 2)

    found = calibrated(model, folder, file)

    assert len(runs) == 2
    assert len(found.manifest.images) == COUNT + 2


def test_stale_calibration_is_refused(model: Artifact, folder: Path, tmp_path: Path) -> None:
    """An image that is another one under its old name is named."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    shutil.copyfile(folder / "05.png", folder / "02.png")

    with pytest.raises(EvaluationError, match=r"stale.*image 3 was 02\.png"):
        calibrated(model, folder, file)


def test_calibration_of_more_images_is_refused(
    model: Artifact, folder: Path, tmp_path: Path
) -> None:
    """Images that were taken away are in the counts still."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    (folder / "05.png").unlink()

    with pytest.raises(EvaluationError, match="of 6 images, 5 are given"):
        calibrated(model, folder, file)


def test_calibration_of_another_model_is_refused(
    model: Artifact, folder: Path, tmp_path: Path
) -> None:
    """Ranges of other weights are foreign."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    other = exported(write_tiny_checkpoint(tmp_path, name="other", seed=1)).artifact

    with pytest.raises(EvaluationError, match="another model"):
        calibrated(other, folder, file)
    with pytest.raises(EvaluationError, match="another model"):
        load_calibration(other, file)


def test_calibration_of_other_preprocessing_is_refused(
    model: Artifact, folder: Path, tmp_path: Path
) -> None:
    """Tensors are not images, even for the same model."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    tensors = tmp_path / "tensors"
    tensors.mkdir()
    np.save(tensors / "0.npy", np.full((3, 64, 64), 0.5, np.float32))

    with pytest.raises(EvaluationError, match="in another way: kind 'images' instead of"):
        calibrated(model, tensors, file)


def test_unfinished_calibration_serves_no_build_without_images(
    model: Artifact, folder: Path, tmp_path: Path
) -> None:
    """Without its images nobody can finish it."""
    file = tmp_path / "model.calibration.npz"
    interrupted(model, folder, file, after=2)

    with pytest.raises(EvaluationError, match="interrupted after 2 images"):
        load_calibration(model, file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"PK\x05\x06" + bytes(18)])
def test_damaged_calibration_is_refused(model: Artifact, tmp_path: Path, content: bytes) -> None:
    """A file of something else is an error that says so."""
    file = tmp_path / "model.calibration.npz"
    file.write_bytes(content)

    with pytest.raises(EvaluationError, match="not a readable calibration"):
        load_calibration(model, file)


def test_wrong_range_is_refused_at_the_first_image(
    model: Artifact, tmp_path: Path, runs: list[int]
) -> None:
    """Values in 0..255 for a network of 0..1 do not cost an hour first."""
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.full((3, 64, 64), 100.0 + index, np.float32))
    file = tmp_path / "model.calibration.npz"

    with pytest.raises(EvaluationError, match="255"):
        calibrated(model, tmp_path, file)

    assert runs == []
    assert not file.exists()


def test_corrupt_image_is_skipped_and_named(model: Artifact, tmp_path: Path) -> None:
    """One of twenty is left out of the counts, and listed."""
    folder = folder_of(tmp_path / "images", 20)
    (folder / "07.png").write_bytes(b"no picture")

    found = calibrated(model, folder)

    assert len(found.manifest.images) == 19
    ((name, _),) = found.manifest.skipped
    assert name.endswith("07.png")


def test_calibration_file_that_cannot_be_written_is_an_error(
    model: Artifact, folder: Path, tmp_path: Path
) -> None:
    """The folder that is not there is named at once, with the option that helps."""
    with pytest.raises(ArtifactError, match="missing does not exist"):
        calibrated(model, folder, tmp_path / "missing" / "model.calibration.npz")
    with pytest.raises(ArtifactError) as caught:
        calibrated(model, folder, tmp_path)

    assert "--calibration-file" in caught.value.hint


def test_calibration_that_grew_is_not_complete_until_it_is_done(
    model: Artifact, folder: Path, tmp_path: Path
) -> None:
    """Interrupted among new images, a file that was complete before is not taken for whole."""
    file = tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    folder_of(folder, COUNT + 3)

    interrupted(model, folder, file, after=COUNT + 1)

    with pytest.raises(EvaluationError, match=f"interrupted after {COUNT + 1} images"):
        load_calibration(model, file)


def test_image_that_cannot_be_read_any_more_makes_it_stale(model: Artifact, tmp_path: Path) -> None:
    """What was counted and is gone cannot be told from what was never there."""
    folder, file = folder_of(tmp_path / "images", 20), tmp_path / "model.calibration.npz"
    calibrated(model, folder, file)
    (folder / "19.png").write_bytes(b"no picture")

    with pytest.raises(EvaluationError, match="of 20 images, 19 of those given can be read"):
        calibrated(model, folder, file)
