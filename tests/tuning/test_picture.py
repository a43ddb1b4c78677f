"""The picture of ``tune``: it decodes, and shows what it must."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tuning.test_file import TUNING
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.tuning.file import Tuning
from yolor_deploy.tuning.picture import write_picture

GREEN, RED, BLUE = (0x2E, 0x8B, 0x57), (0xC0, 0x39, 0x2B), (0x2F, 0x6D, 0xB5)
"""Chosen; limit, or best where it is missed; several units."""


def drawn(tuning: Tuning, path: Path) -> dict[tuple[int, ...], int]:
    """Draw, and count the pixels of each colour."""
    write_picture(tuning, path, title="model.onnx")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(c): n for c, n in zip(colours.tolist(), counts.tolist(), strict=True)}


def test_picture_shows_trials_limit_and_choice(tmp_path: Path) -> None:
    """Star and bar of the kept unit are green, the limit is red, sets of units are blue."""
    counts = drawn(TUNING, tmp_path / "a.png")

    assert counts[GREEN] > 5000
    assert counts[RED] > 100
    assert counts[BLUE] > 50
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


def test_picture_of_one_trial_says_why(tmp_path: Path) -> None:
    """Where all in 8 bits was enough there are no units to draw, and the star misses nothing."""
    one = replace(TUNING, trials=TUNING.trials[:1], kept_units=(), max_ap_drop=1.0)
    missed = replace(one, state="missed")

    counts = drawn(one, tmp_path / "a.png")
    drawn(missed, tmp_path / "b.png")

    assert 50 < counts[GREEN] < 5000
    assert BLUE not in counts
    assert sha256_of_file(tmp_path / "a.png") != sha256_of_file(tmp_path / "b.png")


def test_picture_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The error is one of ours."""
    with pytest.raises(ArtifactError, match="cannot write"):
        write_picture(TUNING, tmp_path / "missing" / "a.png", title="model.onnx")
