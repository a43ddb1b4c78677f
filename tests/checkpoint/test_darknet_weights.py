from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from yolor_deploy.checkpoint import read_checkpoint
from yolor_deploy.core.errors import CheckpointError

VALUES = np.linspace(-1.0, 1.0, 12, dtype=np.float32)


def written(folder: Path, header: bytes, body: bytes = VALUES.tobytes()) -> Path:
    """Write a file of that header and body."""
    path = folder / "model.weights"
    path.write_bytes(header + body)
    return path


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(struct.pack("<3iQ", 0, 2, 5, 32_013_312), (0, 2, 5, 32_013_312), id="0.2"),
        pytest.param(struct.pack("<3iI", 0, 1, 0, 77), (0, 1, 0, 77), id="0.1"),
        pytest.param(struct.pack("<3iQ", 1, 0, 0, 1 << 40), (1, 0, 0, 1 << 40), id="1.0"),
    ],
)
def test_header_decides_the_width_of_the_image_count(
    tmp_path: Path, header: bytes, expected: tuple[int, int, int, int]
) -> None:
    """64 bits from version 0.2 on, 32 before; the values follow at once."""
    checkpoint = read_checkpoint(written(tmp_path, header))

    darknet = checkpoint.darknet
    assert darknet is not None
    assert (darknet.major, darknet.minor, darknet.revision, darknet.seen) == expected
    np.testing.assert_array_equal(darknet.values, VALUES)
    assert darknet.values.dtype == np.float32
    assert darknet.values.flags.owndata
    assert not checkpoint.tensors


@pytest.mark.parametrize("body", [b"", b"12345", VALUES.tobytes()[:-1]])
def test_length_that_is_no_number_of_floats_is_refused(tmp_path: Path, body: bytes) -> None:
    """A truncated file is noticed unless it was cut between two values."""
    with pytest.raises(CheckpointError, match="expected a multiple of 4"):
        read_checkpoint(written(tmp_path, struct.pack("<3iQ", 0, 2, 5, 0), body))


@pytest.mark.parametrize("version", [(0, 0, 0), (0, 100, 0), (-1, 2, 0), (0, 2, 1 << 20)])
def test_implausible_version_is_no_weights_file(
    tmp_path: Path, version: tuple[int, int, int]
) -> None:
    """There is no magic number: only versions that darknets have had are taken."""
    path = written(tmp_path, struct.pack("<3iQ", *version, 0))

    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """Nothing is known of the layers yet, but NaN is NaN in all of them."""
    values = VALUES.copy()
    values[3] = np.nan
    path = written(tmp_path, struct.pack("<3iQ", 0, 2, 5, 0), values.tobytes())

    with pytest.raises(CheckpointError, match="1 NaN and 0 infinite values among 12"):
        read_checkpoint(path)
