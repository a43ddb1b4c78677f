"""Inputs that the user's own preprocessing wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.calibration_sets import FORMS, GOOD, names_of, spec_of, spoil_truncated, tensor_at
from yolor_deploy.calibration.images import find_calibration_images
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import InputDtype, InputLayout


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize("stored", ["single", "batch of one", "batch", "big-endian", "Fortran"])
def test_tensors_are_taken_as_they_are(
    tmp_path: Path, dtype: InputDtype, layout: InputLayout, stored: str
) -> None:
    """What the user's preprocessing wrote reaches the network unchanged, whatever its storage."""
    spec = spec_of(dtype, layout, height=16)
    values = np.random.default_rng(0).uniform(0, 200, (4, *spec.input.shape(1)[1:])).astype(dtype)
    forms = {
        "single": values[2],
        "batch of one": values[2:3],
        "batch": values,
        "big-endian": values.astype(values.dtype.newbyteorder(">")),
        "Fortran": np.asfortranarray(values),
    }
    path = tensor_at(tmp_path / "a.npy", forms[stored])
    expected = values if len(forms[stored]) == 4 else values[2:3]

    images = find_calibration_images([path])
    read = list(images.tensors(spec))

    assert images.kind == "tensors"
    assert [item.image_size for item in read] == [None] * len(expected)
    for index, item in enumerate(read):
        assert item.tensor.dtype == np.dtype(dtype)
        assert item.tensor.flags.c_contiguous
        assert item.tensor.flags.writeable  # a copy: nothing points into the file
        np.testing.assert_array_equal(item.tensor, expected[index : index + 1])
        np.testing.assert_array_equal(images.tensor(index, spec), item.tensor)


def test_names_of_tensors_tell_their_row(tmp_path: Path) -> None:
    """Only a file that holds several inputs needs numbers."""
    tensor_at(tmp_path / "a.npy", np.zeros((2, 3, 4, 4), np.float32))
    tensor_at(tmp_path / "b.npy", np.zeros((1, 3, 4, 4), np.float32))
    tensor_at(tmp_path / "c.npy", np.zeros((3, 4, 4), np.float32))

    names = names_of(find_calibration_images([tmp_path]))

    assert names == ["a.npy[0]", "a.npy[1]", "b.npy", "c.npy"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.where(np.arange(32) == 5, np.float32(np.nan), GOOD), "has 96 values that are NaN"),
        (np.where(np.arange(32) == 5, np.float32(np.inf), GOOD), "has 96 values .* infinite"),
        (
            GOOD[:, :16],
            r"float32 \[3, 16, 32\], expected float32 \[3, 32, 32\] or \[n, 3, 32, 32\]",
        ),
        (GOOD.transpose(1, 2, 0), r"\[32, 32, 3\], expected float32 \[3, 32, 32\]"),
        (GOOD[0], r"\[32, 32\], expected"),
        (GOOD[np.newaxis, np.newaxis], r"\[1, 1, 3, 32, 32\], expected"),
        (np.zeros((0, 3, 32, 32), np.float32), r"\[0, 3, 32, 32\], expected"),
        (np.float32(0), r"float32 \[\], expected"),
        (GOOD.astype(np.float64), "is float64, expected float32"),
        (GOOD.astype(np.float16), "is float16, expected float32"),
        (GOOD.astype(np.uint8), "is uint8, expected float32"),
        (GOOD[np.newaxis].astype(np.uint8), "is uint8, expected float32"),
        (np.array([{"a": 1}], dtype=object), "cannot be read: .*Python objects"),
    ],
)
def test_tensor_of_another_form_is_refused(tmp_path: Path, values: Array, problem: str) -> None:
    """What is found and what the network takes are both quoted, with the file."""
    path = tmp_path / "a.npy"
    np.save(path, values, allow_pickle=True)

    with pytest.raises(EvaluationError, match=problem) as caught:
        find_calibration_images([path]).tensor(0, spec_of())

    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x06\x00((((((", b"PK\x03\x04", b"text", b"\x80\x04N."],
)
def test_file_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing in such a file is executed, and the message says how to write one."""
    path = tmp_path / "a.npy"
    path.write_bytes(content)

    with pytest.raises(EvaluationError, match="tensor cannot be read") as caught:
        find_calibration_images([path]).tensor(0, spec_of())

    assert "numpy.save" in caught.value.hint


def test_truncated_tensor_among_good_ones_is_skipped(tmp_path: Path) -> None:
    """The rule of 5 % holds for tensors as for images."""
    for index in range(30):
        tensor_at(tmp_path / f"{index:02d}.npy", GOOD)
    spoil_truncated(tmp_path / "03.npy")
    images = find_calibration_images([tmp_path])

    assert len(list(images.tensors(spec_of()))) == 29
    assert [Path(item.name).name for item in images.skipped] == ["03.npy"]


def test_bad_row_is_named_with_its_number(tmp_path: Path) -> None:
    """One NaN in a file of 30 inputs costs one input."""
    values = np.repeat(GOOD[np.newaxis], 30, axis=0)
    values[17, 0, 0, 0] = np.nan
    images = find_calibration_images([tensor_at(tmp_path / "all.npy", values)])

    assert len(list(images.tensors(spec_of()))) == 29
    assert images.skipped == [
        (f"{tmp_path / 'all.npy'}[17]", "tensor has 1 values that are NaN or infinite")
    ]
