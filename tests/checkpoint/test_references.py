from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoint.oracle import assert_same_tensors, state_dict_by_torch
from tests.references import REFERENCES, weights_with_implicit
from yolor_deploy.checkpoint import read_checkpoint

PICKLED = ("yolor-p6_nc1", "yolor-e6", "yolov4-p7_mc_legacy")
STATE_DICTS = ("implicit_zoo", "yolor_csp_cfg_fp16")


@pytest.mark.parametrize("name", [*PICKLED, *STATE_DICTS])
def test_tensors_are_those_that_torch_reads(name: str) -> None:
    """Names, order, dtypes and bits are the same as with torch.load and the authors' classes."""
    path = REFERENCES / f"{name}.pt"

    checkpoint = read_checkpoint(path)

    assert_same_tensors(checkpoint.tensors, state_dict_by_torch(path))


@pytest.mark.parametrize(
    ("name", "strides", "num_classes", "num_levels"),
    [
        ("yolor-p6_nc1", (8.0, 16.0, 32.0, 64.0), 1, 4),
        ("yolor-e6", (8.0, 16.0, 32.0, 64.0), 80, 4),
        ("yolov4-p7_mc_legacy", (8.0, 16.0, 32.0, 64.0, 128.0), 80, 5),
    ],
)
def test_pickled_model_tells_its_structure(
    name: str, strides: tuple[float, ...], num_classes: int, num_levels: int
) -> None:
    """Yaml, strides and class names come out of the pickle as plain values."""
    checkpoint = read_checkpoint(REFERENCES / f"{name}.pt")

    structure = checkpoint.structure
    assert structure is not None
    assert set(structure) >= {"nc", "depth_multiple", "width_multiple", "backbone", "head"}
    assert structure["nc"] == num_classes
    assert len(structure["anchors"]) == num_levels
    assert type(structure["backbone"]) is list
    assert checkpoint.strides == strides
    assert checkpoint.class_names == tuple(str(index) for index in range(num_classes))


@pytest.mark.parametrize(
    ("name", "container"),
    [("yolor-p6_nc1", "zip"), ("implicit_zoo", "zip"), ("yolov4-p7_mc_legacy", "legacy")],
)
def test_container_and_facts_are_told(name: str, container: str) -> None:
    """An array of one element, as best_fitness is in the authors' files, counts as a number."""
    checkpoint = read_checkpoint(REFERENCES / f"{name}.pt")

    assert checkpoint.container == container
    assert checkpoint.facts["epoch"] == -1
    assert checkpoint.facts["best_fitness"] == 0.5
    assert checkpoint.file == f"{name}.pt"
    assert checkpoint.sha256 is not None
    assert len(checkpoint.sha256) == 64


def test_state_dict_has_no_structure() -> None:
    """A checkpoint of the main branch carries tensors alone: its structure is in the cfg."""
    checkpoint = read_checkpoint(REFERENCES / "implicit_zoo.pt")

    assert checkpoint.structure is None
    assert checkpoint.strides is None
    assert checkpoint.class_names is None
    assert not [name for name in checkpoint.tensors if name.endswith("num_batches_tracked")]


def test_tensors_can_be_changed_without_changing_the_file() -> None:
    """Memory is our own: writing to a tensor warns of nothing, and the file stays as it is."""
    path = REFERENCES / "implicit_zoo.pt"
    before = path.read_bytes()

    for tensor in read_checkpoint(path).tensors.values():
        tensor.fill_(1.0)

    assert path.read_bytes() == before


def test_darknet_weights_with_implicit_values(tmp_path: Path) -> None:
    """Both writers' files give all their values; names wait for the cfg."""
    plain = read_checkpoint(REFERENCES / "yolor_csp_weights.weights").darknet
    full = read_checkpoint(weights_with_implicit(tmp_path)).darknet

    assert plain is not None
    assert full is not None
    assert (full.major, full.minor, full.revision, full.seen) == (0, 2, 5, 54_321)
    assert full.values.shape == (676_898,)
    np.testing.assert_array_equal(full.values[:520_360], plain.values[:520_360])
    np.testing.assert_array_equal(full.values[520_360 + 989 :], plain.values[520_360:])


def test_fp16_stays_fp16() -> None:
    """Tensors keep the dtype of the file."""
    checkpoint = read_checkpoint(REFERENCES / "yolor_csp_cfg_fp16.pt")

    assert {tensor.dtype for tensor in checkpoint.tensors.values()} == {torch.float16}
