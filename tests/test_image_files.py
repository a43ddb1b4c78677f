from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.image_files import find_images


def image_at(path: Path) -> Path:
    """Write an image of 4 x 3 pixels, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)
    return path


def test_files_keep_their_order(tmp_path: Path) -> None:
    """Files are listed as they were given, with the format of their content."""
    first, second = image_at(tmp_path / "b.png"), image_at(tmp_path / "a.jpg")

    found = find_images([first, str(second)])

    assert [(item.path, item.stem, item.format) for item in found] == [
        (first, "b", "PNG"),
        (second, "a", "JPEG"),
    ]


def test_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    """Of a folder the images are taken by name; other files, hidden ones and folders are not."""
    image_at(tmp_path / "b.PNG")
    image_at(tmp_path / "a.jpeg")
    image_at(tmp_path / ".c.png")
    image_at(tmp_path / "deeper" / "d.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()

    assert [item.path.name for item in find_images([tmp_path])] == ["a.jpeg", "b.PNG"]


def test_pattern_is_expanded(tmp_path: Path) -> None:
    """A pattern that the shell has left alone is expanded, folders below included."""
    for name in ("x/1.png", "x/y/2.png", "x/y/3.jpg"):
        image_at(tmp_path / name)

    found = find_images([f"{tmp_path}/**/*.png"])

    assert [item.path.name for item in found] == ["1.png", "2.png"]


def test_name_with_brackets_is_a_file_first(tmp_path: Path) -> None:
    """A file whose name looks like a pattern is that file."""
    path = image_at(tmp_path / "shot[1].png")

    assert [item.path for item in find_images([path])] == [path]


def test_file_named_twice_is_listed_once(tmp_path: Path) -> None:
    """A file given by itself, by its folder and by another spelling is one image."""
    path = image_at(tmp_path / "a.png")

    found = find_images([path, tmp_path, tmp_path / ".." / tmp_path.name / "a.png"])

    assert [item.path for item in found] == [path]


def test_equal_stems_get_numbers(tmp_path: Path) -> None:
    """Files of the same stem are told apart, whatever the case of letters."""
    names = ["one/cat.png", "two/cat.png", "two/cat.jpg", "three/CAT.png"]
    paths = [image_at(tmp_path / name) for name in names]

    assert [item.stem for item in find_images(paths)] == ["cat", "cat_2", "cat_3", "CAT_4"]


def test_number_never_takes_the_name_of_another_file(tmp_path: Path) -> None:
    """A file that is really called cat_2 keeps its name, wherever it stands in the list."""
    names = ["one/cat.png", "two/cat.png", "cat_2.png", "three/cat_2.png"]
    paths = [image_at(tmp_path / name) for name in names]

    stems = [item.stem for item in find_images(paths)]

    assert stems == ["cat", "cat_3", "cat_2", "cat_2_2"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("missing.png", "no such image"),
        ("empty", "folder without images"),
        ("*.gif", "no file matches"),
        ("text.png", "not an image"),
    ],
)
def test_find_images_refuses(tmp_path: Path, source: str, problem: str) -> None:
    """What leads to no image is named as it was given, even beside good files."""
    good = image_at(tmp_path / "good.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")

    with pytest.raises(EvaluationError, match=problem) as caught:
        find_images([good, tmp_path / source])

    assert caught.value.where == str(tmp_path / source)
