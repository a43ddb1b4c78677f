"""Calibrations that cannot be used, or not entirely: which file, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.calibration_sets import (
    GOOD,
    folder_of,
    spec_of,
    spoil_removed,
    spoil_text,
    spoil_truncated,
    tensor_at,
)
from yolor_deploy.calibration.images import find_calibration_images
from yolor_deploy.core.errors import EvaluationError


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_text, "not an image"),
        (spoil_truncated, "image file is truncated"),
        (spoil_removed, "No such file"),
    ],
)
def test_corrupt_image_among_good_ones_is_skipped(
    tmp_path: Path, suffix: str, spoil: Callable[[Path], None], reason: str
) -> None:
    """One bad file in 30 is named and counted, and the other 29 are read."""
    folder = folder_of(tmp_path, 30, suffix=suffix)
    images = find_calibration_images([folder])
    bad = folder / f"11{suffix}"
    spoil(bad)

    for _ in range(2):  # a second pass finds the same, once
        read = [item.name for item in images.tensors(spec_of())]

        assert read == [name for name in images.names if name != str(bad)]
        assert [item.name for item in images.skipped] == [str(bad)]
        assert re.search(reason, images.skipped[0].reason)


def test_two_corrupt_images_of_thirty_are_refused(tmp_path: Path) -> None:
    """Above 5 % the set is refused as soon as that is certain, and the files are named."""
    folder = folder_of(tmp_path, 30)
    for name in ("04.png", "20.png"):
        spoil_text(folder / name)
    images = find_calibration_images([folder])
    read: list[str] = []

    with pytest.raises(EvaluationError, match=r"^2 of 30 calibration inputs .* 9 after") as caught:
        read.extend(item.name for item in images.tensors(spec_of()))

    assert len(images.skipped) == 2
    assert caught.value.where == f"{folder / '04.png'}, {folder / '20.png'}"
    assert "expected at most 5 %: not an image" in caught.value.problem


@pytest.mark.parametrize(("count", "bad", "refused"), [(20, 1, False), (19, 1, True), (1, 1, True)])
def test_five_percent_is_the_limit(tmp_path: Path, count: int, bad: int, refused: bool) -> None:
    """Exactly 5 % may be bad, and not more."""
    folder = folder_of(tmp_path, count)
    for index in range(bad):
        spoil_text(folder / f"{count - 1 - index:02d}.png")
    images = find_calibration_images([folder])

    if refused:
        with pytest.raises(EvaluationError, match=f"{bad} of {count} .*cannot be used, expected"):
            list(images.tensors(spec_of()))
    else:
        assert len(list(images.tensors(spec_of()))) == count - bad


def test_refusal_names_the_first_few(tmp_path: Path) -> None:
    """Of many bad files three are named, and the rest is a number."""
    folder = folder_of(tmp_path, 60)
    for index in range(10):
        spoil_text(folder / f"{index:02d}.png")

    with pytest.raises(EvaluationError) as caught:
        list(find_calibration_images([folder]).tensors(spec_of()))

    assert caught.value.where.endswith("02.png and 1 more")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("empty", "folder without images"),
        ("texts", "folder without images"),
        ("missing", "no such file or folder"),
        ("*.gif", "no file matches"),
        ("x" * 5000, "cannot be read: .*name too long"),
    ],
)
def test_find_refuses(tmp_path: Path, source: str, problem: str) -> None:
    """What leads to no input is named as it was given, even beside good files."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no image")
    good = folder_of(tmp_path / "good", 1)

    with pytest.raises(EvaluationError, match=problem) as caught:
        find_calibration_images([good, tmp_path / source])

    assert caught.value.where == str(tmp_path / source)
    assert caught.value.hint


def test_find_refuses_no_sources() -> None:
    """A calibration without images is not one."""
    with pytest.raises(EvaluationError, match="no calibration images were given"):
        find_calibration_images([])


def test_find_refuses_images_and_tensors_together(tmp_path: Path) -> None:
    """Images beside what was made of them would count twice, preprocessed in two ways."""
    folder_of(tmp_path, 2)
    path = tensor_at(tmp_path / "a.npy", GOOD)

    with pytest.raises(EvaluationError, match=r"^2 image files and 1 \.npy files") as caught:
        find_calibration_images([tmp_path])

    assert caught.value.where == str(path)


@pytest.mark.parametrize("limit", [0, -1])
def test_find_refuses_a_limit_below_one(tmp_path: Path, limit: int) -> None:
    """The number is quoted."""
    with pytest.raises(EvaluationError, match=f"is {limit}, expected 1 or more"):
        find_calibration_images([folder_of(tmp_path, 1)], limit=limit)
