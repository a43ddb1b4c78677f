"""The images of a calibration: which are taken, and what the network gets."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.shapes.generate import generate
from tests.calibration_sets import FORMS, folder_of, names_of, picture, spec_of, tensor_at
from tests.sessions import FakeSession, artifact, one_box_each
from yolor_deploy.calibration.images import find_calibration_images, preprocessing_of
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, InputDtype, InputLayout, LetterboxRule
from yolor_deploy.detector import Detector
from yolor_deploy.image_files import find_images


def test_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    """Of a folder the images are taken by name; other files, hidden ones and folders are not."""
    folder_of(tmp_path, 2)
    (tmp_path / "02.JPEG").write_bytes((tmp_path / "00.png").read_bytes())
    (tmp_path / ".03.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "04.png").mkdir()

    images = find_calibration_images([tmp_path])

    assert names_of(images) == ["00.png", "01.png", "02.JPEG"]
    assert images.kind == "images"
    assert len(images) == 3


def test_folder_knows_the_suffixes_that_detect_knows(tmp_path: Path) -> None:
    """The images that ``detect`` finds in a folder are those that a calibration finds."""
    images = ["avif", "bmp", "gif", "jp2", "jpeg", "jpg", "mpo", "pgm", "png", "ppm", "tif"]
    for suffix in [*images, "tiff", "webp", "npz", "txt", "pdf"]:
        Image.new("RGB", (4, 3)).save(tmp_path / f"{suffix}.{suffix}", format="PNG")

    found = find_calibration_images([tmp_path])

    assert list(found.names) == [str(item.path) for item in find_images([tmp_path])]


def test_sources_keep_their_order_and_count_once(tmp_path: Path) -> None:
    """Files come as given, a pattern by names, and a file that is named again is not added."""
    (tmp_path / "a").mkdir()
    folder = folder_of(tmp_path / "a" / "b", 3)
    other_spelling = folder / ".." / "b" / "01.png"

    images = find_calibration_images(
        [folder / "02.png", f"{tmp_path}/**/*.png", str(folder), other_spelling]
    )

    assert names_of(images) == ["02.png", "00.png", "01.png"]


def test_limit_spreads_over_the_whole_list(tmp_path: Path) -> None:
    """Of 40 inputs a limit of 8 takes one from each run of five, the same ones every time."""
    tensor_at(tmp_path / "all.npy", np.zeros((40, 3, 1, 1), np.float32))

    chosen = find_calibration_images([tmp_path], limit=8).names
    rows = [int(name.partition("[")[2].rstrip("]")) for name in chosen]

    assert [row // 5 for row in rows] == list(range(8))
    assert len({row % 5 for row in rows}) > 1  # not every fifth one
    assert find_calibration_images([tmp_path], limit=8).names == chosen
    assert find_calibration_images([tmp_path], limit=8, seed=1).names != chosen


def test_limit_draws_what_it_always_drew(tmp_path: Path) -> None:
    """A manifest of last year names the inputs that are drawn today."""
    tensor_at(tmp_path / "all.npy", np.zeros((100, 3, 1, 1), np.float32))

    names = names_of(find_calibration_images([tmp_path], limit=4))

    draws = [int(hashlib.sha256(f"0:{run}".encode()).hexdigest(), 16) % 25 for run in range(4)]
    assert names == [f"all.npy[{25 * run + draw}]" for run, draw in enumerate(draws)]


@pytest.mark.parametrize("limit", [3, 4])
def test_limit_above_the_number_takes_all(tmp_path: Path, limit: int) -> None:
    """Three images stay three, in their order."""
    images = find_calibration_images([folder_of(tmp_path, 3)], limit=limit)

    assert names_of(images) == ["00.png", "01.png", "02.png"]


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
def test_image_goes_through_the_letterbox_of_inference(
    tmp_path: Path, dtype: InputDtype, layout: InputLayout
) -> None:
    """A calibration sees, bit for bit, the tensor that the detector gives to the network."""
    spec = replace(spec_of(dtype, layout, height=64), letterbox=LetterboxRule(90, scale_up=False))
    whole = artifact()
    session = FakeSession(
        replace(whole, meta=replace(whole.meta, spec=spec)), one_box_each([0] * 4)
    )
    folder = folder_of(tmp_path, 3)
    Detector(session).batch([folder / f"0{index}.png" for index in range(3)])

    read = list(find_calibration_images([folder]).tensors(spec))

    assert len(read) == len(session.inputs) == 3
    for item, given in zip(read, session.inputs, strict=True):
        assert item.tensor.dtype == given.dtype
        np.testing.assert_array_equal(item.tensor, given)


def test_item_tells_its_file(tmp_path: Path) -> None:
    """Name, hash of the bytes and size before letterboxing are those of the file."""
    path = folder_of(tmp_path, 1) / "00.png"

    (item,) = find_calibration_images([path]).tensors(spec_of())

    assert item.name == str(path)
    assert item.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert item.image_size == picture(0).shape[:2]


def test_finding_reads_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing decodes nothing, and a pass decodes an image when it is asked for, not before."""
    opened: list[Path] = []

    def load(path: Path) -> Array:
        opened.append(path)
        return picture(0)

    monkeypatch.setattr("yolor_deploy.calibration.images.load_image", load)

    images = find_calibration_images([folder_of(tmp_path, 5)])
    images.digest()
    tensors = images.tensors(spec_of())

    assert opened == []
    next(tensors)
    assert [path.name for path in opened] == ["00.png"]


def test_digest_is_of_the_bytes_and_their_order(tmp_path: Path) -> None:
    """Other bytes or another order are another set; the same files elsewhere are the same set."""
    folder, other = folder_of(tmp_path / "a", 3), folder_of(tmp_path / "b", 3)
    digest = find_calibration_images([folder]).digest()

    assert find_calibration_images([other]).digest() == digest
    backwards = [folder / f"0{index}.png" for index in (2, 1, 0)]
    assert find_calibration_images(backwards).digest() != digest
    assert find_calibration_images([folder], limit=2).digest() != digest
    Image.fromarray(picture(7)).save(other / "01.png")
    assert find_calibration_images([other]).digest() != digest


def test_digest_follows_a_name_only_where_it_changes_the_order(tmp_path: Path) -> None:
    """A renamed file in the same place is the same set; moved past another one it is not."""
    folder = folder_of(tmp_path, 3)
    digest = find_calibration_images([folder]).digest()

    (folder / "01.png").rename(folder / "01b.png")
    same_place = find_calibration_images([folder]).digest()
    (folder / "01b.png").rename(folder / "09.png")
    moved = find_calibration_images([folder]).digest()

    assert same_place == digest
    assert moved != digest


def test_digest_tells_rows_of_one_file_apart(tmp_path: Path) -> None:
    """Two draws from the same file are two sets."""
    tensor_at(tmp_path / "all.npy", np.zeros((40, 3, 1, 1), np.float32))

    first, second = (find_calibration_images([tmp_path], limit=2, seed=seed) for seed in (0, 1))

    assert first.names != second.names
    assert first.digest() != second.digest()


def test_order_is_not_that_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is listed backwards gives the same inputs and the same digest."""
    folder = folder_of(tmp_path, 4)
    forwards = find_calibration_images([folder])
    listed = sorted(folder.iterdir(), reverse=True)
    monkeypatch.setattr(Path, "iterdir", lambda _folder: iter(listed))

    backwards = find_calibration_images([folder])

    assert backwards.names == forwards.names
    assert backwards.digest() == forwards.digest()


def test_changed_file_gets_a_new_hash(tmp_path: Path) -> None:
    """A hash that was computed once does not outlive the bytes that it is of."""
    path = tmp_path / "a.bmp"
    Image.new("RGB", (4, 3), "red").save(path)
    images = find_calibration_images([path])
    before = images.digest()

    Image.new("RGB", (4, 3), "blue").save(path)  # as many bytes as before
    os.utime(path, ns=(1, 1))

    assert images.digest() != before
    assert next(images.tensors(spec_of())).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_preprocessing_says_what_was_done() -> None:
    """The description is JSON, and holds all that the pixels depend on."""
    described = preprocessing_of(spec_of("uint8", "NHWC", height=64))

    assert json.loads(json.dumps(described)) == described
    assert described == {
        "kind": "images",
        "height": 64,
        "width": 32,
        "dtype": "uint8",
        "layout": "NHWC",
        "colours": "RGB",
        "value_range": [0, 255],
        "letterbox": {"pad_value": 114, "scale_up": True, "placement": "centre"},
        "resize": "opencv-linear/1",
    }


def test_preprocessing_of_tensors_claims_nothing_of_their_making() -> None:
    """Of tensors only the form is known."""
    described = preprocessing_of(spec_of(), kind="tensors")

    assert described["letterbox"] is None
    assert described["resize"] is None
    assert described["value_range"] == [0, 1]


@pytest.mark.parametrize(
    "changed",
    [
        spec_of("uint8"),
        spec_of(layout="NHWC"),
        spec_of(height=64),
        replace(spec_of(), letterbox=LetterboxRule(pad_value=0)),
        replace(spec_of(), letterbox=LetterboxRule(scale_up=False)),
    ],
)
def test_preprocessing_differs_where_pixels_do(changed: DetectorSpec) -> None:
    """Ranges of another input are stale."""
    assert preprocessing_of(changed) != preprocessing_of(spec_of())


def test_generated_data_set_can_be_given_as_it_is(tmp_path: Path) -> None:
    """The folder of images of a data set is a calibration folder."""
    annotations = generate(tmp_path, "calibration", count=2)

    images = find_calibration_images([annotations.parent / "images"])

    assert len(list(images.tensors(spec_of()))) == 2
