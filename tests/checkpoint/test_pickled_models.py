from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.checkpoint.authors import authors_module
from tests.checkpoint.oracle import assert_same_tensors
from yolor_deploy.checkpoint import Checkpoint, read_checkpoint
from yolor_deploy.core.errors import CheckpointError

CONTAINERS = [pytest.param(True, id="zip"), pytest.param(False, id="legacy")]


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the floating-point entries of the state_dict."""
    return {n: t.detach() for n, t in model.state_dict().items() if t.is_floating_point()}


def saved_model(folder: Path, *, new: bool = True, **attributes: Any) -> tuple[nn.Module, Path]:
    """Pickle a ``models.yolo.Model``; give it some other attributes first."""
    path = folder / "model.pt"
    with authors_module(folder, "models.yolo") as yolo:
        model: nn.Module = yolo.Model()
        for name, value in attributes.items():
            setattr(model, name, value)
        torch.save({"model": model, "epoch": 3}, path, _use_new_zipfile_serialization=new)
    return model, path


@pytest.mark.parametrize("new", CONTAINERS)
def test_model_gives_state_dict_and_structure(tmp_path: Path, new: bool) -> None:
    """Both containers give what the module itself gives, source text in the old one or not."""
    model, path = saved_model(tmp_path, new=new)

    checkpoint = read_checkpoint(path)

    assert_same_tensors(checkpoint.tensors, weights_of(model))
    assert checkpoint.structure == model.yaml
    assert checkpoint.strides == (8.0, 16.0)
    assert checkpoint.class_names == ("ant", "bee")
    assert checkpoint.facts == {"epoch": 3}
    assert (b"class Model" in path.read_bytes()) is not new


def test_buffers_that_are_not_saved_stay_out(tmp_path: Path) -> None:
    """A non-persistent buffer is no part of a state_dict."""
    _, path = saved_model(tmp_path)

    assert "scratch" not in read_checkpoint(path).tensors


@pytest.mark.parametrize("new", CONTAINERS)
def test_whole_darknet_gives_its_state_dict(tmp_path: Path, new: bool) -> None:
    """init.pt of the main branch is a pickled module, without a dict around it."""
    path = tmp_path / "init.pt"
    with authors_module(tmp_path, "models.models") as models:
        model: nn.Module = models.Darknet()
        torch.save(model, path, _use_new_zipfile_serialization=new)

    checkpoint = read_checkpoint(path)

    assert list(checkpoint.tensors) == ["module_list.0.Conv2d.weight", "module_list.0.Conv2d.bias"]
    assert_same_tensors(checkpoint.tensors, weights_of(model))


def test_data_parallel_is_unwrapped(tmp_path: Path) -> None:
    """The model inside DataParallel is the model, with its structure."""
    path = tmp_path / "parallel.pt"
    with authors_module(tmp_path, "models.yolo") as yolo:
        model = yolo.Model()
        torch.save({"model": nn.DataParallel(model)}, path)

    checkpoint = read_checkpoint(path)

    assert_same_tensors(checkpoint.tensors, weights_of(model))
    assert checkpoint.structure == model.yaml


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({0: "ant", 1: "bee"}, ("ant", "bee")),
        ({1: "bee", 0: "ant"}, ("ant", "bee")),
        (("ant", "bee"), ("ant", "bee")),
        ([7, "bee"], ("7", "bee")),
        (None, None),
    ],
)
def test_class_names_are_read_from(
    tmp_path: Path, names: object, expected: tuple[str, ...] | None
) -> None:
    """Names may be a list, a tuple, or a dict by class index in any order."""
    _, path = saved_model(tmp_path, names=names)

    assert read_checkpoint(path).class_names == expected


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("names", {1: "ant", 2: "bee"}, "keys 0, 1, 2"),
        ("names", "ant", "neither a list nor a dict"),
        ("stride", torch.tensor([8.0, float("nan")]), "positive numbers"),
        ("stride", [8, -16], "positive numbers"),
        ("yaml", {"backbone": [torch.ones(1)]}, "TensorRef"),
        ("yaml", {"backbone": "x" * 5000}, "text of 5000 characters"),
    ],
)
def test_model_with_unusable_attribute_is_refused(
    tmp_path: Path, attribute: str, value: object, message: str
) -> None:
    """An attribute that cannot be what it should be is an error that says which it is."""
    _, path = saved_model(tmp_path, new=True, **{attribute: value})

    with pytest.raises(CheckpointError, match=message) as refused:
        read_checkpoint(path)

    assert f"{attribute} of the model" in refused.value.where


def test_strides_may_be_a_list(tmp_path: Path) -> None:
    """Third parties write numbers where the authors have a tensor."""
    _, path = saved_model(tmp_path, stride=[8, 16])

    assert read_checkpoint(path).strides == (8.0, 16.0)


def test_yaml_that_is_a_file_name_is_no_structure(tmp_path: Path) -> None:
    """A path says nothing of the structure; it is left out, not guessed."""
    _, path = saved_model(tmp_path, yaml="yolor-p6.yaml")

    checkpoint: Checkpoint = read_checkpoint(path)

    assert checkpoint.structure is None
    assert checkpoint.tensors
