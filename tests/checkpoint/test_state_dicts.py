from __future__ import annotations

import argparse
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint.oracle import assert_same_tensors
from yolor_deploy.checkpoint import CfgText, read_checkpoint
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError

CONTAINERS = [pytest.param(True, id="zip"), pytest.param(False, id="legacy")]


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a small state_dict of the main branch."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "module_list.0.Conv2d.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "module_list.0.BatchNorm2d.weight": torch.randn(4, generator=generator),
    }


def saved(folder: Path, value: Any, **options: Any) -> Path:
    """Write a value with torch.save."""
    path = folder / "checkpoint.pt"
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("new", CONTAINERS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_protocol_is_read(tmp_path: Path, new: bool, protocol: int) -> None:
    """Whatever protocol and container torch.save was told, the tensors are the same."""
    path = saved(
        tmp_path,
        {"model": weights()},
        _use_new_zipfile_serialization=new,
        pickle_protocol=protocol,
    )

    assert_same_tensors(read_checkpoint(path).tensors, weights())


@pytest.mark.parametrize("key", ["model", "ema", "state_dict", None])
def test_state_dict_is_found(tmp_path: Path, key: str | None) -> None:
    """Bare, or under any of the usual keys."""
    path = saved(tmp_path, {key: weights(), "epoch": 1} if key else OrderedDict(weights()))

    assert_same_tensors(read_checkpoint(path).tensors, weights())


def test_moving_average_comes_before_the_model(tmp_path: Path) -> None:
    """Where a trainer wrote both, the average is what it evaluated."""
    path = saved(tmp_path, {"model": weights(1), "ema": weights(2)})

    assert_same_tensors(read_checkpoint(path).tensors, weights(2))


def test_empty_moving_average_is_passed_over(tmp_path: Path) -> None:
    """``ema: None`` is what a stripped checkpoint of some trainers has."""
    path = saved(tmp_path, {"model": weights(1), "ema": None})

    assert_same_tensors(read_checkpoint(path).tensors, weights(1))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "ema.module."])
def test_prefixes_of_wrappers_go(tmp_path: Path, prefix: str) -> None:
    """DataParallel, torch.compile and averages rename every tensor."""
    path = saved(tmp_path, {f"{prefix}{name}": tensor for name, tensor in weights().items()})

    assert_same_tensors(read_checkpoint(path).tensors, weights())


def test_prefix_of_some_tensors_stays(tmp_path: Path) -> None:
    """A layer that is called ``module`` is not a wrapper."""
    tensors = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}

    assert list(read_checkpoint(saved(tmp_path, tensors)).tensors) == list(tensors)


def test_counters_stay_out(tmp_path: Path) -> None:
    """Buffers of profilers, of BatchNorm and of averages are no weights."""
    counters = {
        "total_ops": torch.zeros(1, dtype=torch.float64),
        "module.module_list.0.total_params": torch.zeros(1),
        "module.module_list.0.num_batches_tracked": torch.tensor(3),
        "n_averaged": torch.tensor(2),
    }
    path = saved(tmp_path, {**counters, **{f"module.{n}": t for n, t in weights().items()}})

    assert_same_tensors(read_checkpoint(path).tensors, weights())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("new", CONTAINERS)
def test_dtypes_are_kept(tmp_path: Path, dtype: torch.dtype, new: bool) -> None:
    """Every floating-point dtype comes out as it was stored."""
    tensors = {name: tensor.to(dtype) for name, tensor in weights().items()}
    path = saved(tmp_path, tensors, _use_new_zipfile_serialization=new)

    assert_same_tensors(read_checkpoint(path).tensors, tensors)


@pytest.mark.parametrize("new", CONTAINERS)
def test_views_of_one_storage_are_read(tmp_path: Path, new: bool) -> None:
    """Offsets and strides are followed, and what shared memory in the file shares it again."""
    storage = torch.arange(24.0)
    tensors = {
        "model.0.a": storage[4:16].view(3, 4).t(),
        "model.0.b": storage[::2],
        "model.0.c": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "model.0.d": torch.empty(0, 3),
        "model.0.e": torch.tensor(2.5),
    }
    path = saved(tmp_path, tensors, _use_new_zipfile_serialization=new)

    found = read_checkpoint(path).tensors

    assert_same_tensors(found, tensors)
    assert (
        found["model.0.a"].untyped_storage().data_ptr()
        == found["model.0.b"].untyped_storage().data_ptr()
    )


@pytest.mark.parametrize("new", CONTAINERS)
def test_what_trainers_put_beside_the_model_does_no_harm(tmp_path: Path, new: bool) -> None:
    """Short texts and finite numbers become facts; everything else is left where it is."""
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(2)
    optimizer.step()
    beside = {
        "epoch": 7,
        "best_fitness": np.array([0.25]),
        "best_map": np.float64(0.125),
        "loss": float("nan"),
        "wandb_id": None,
        "date": "2021-06-01",
        "training_results": "many\nlines",
        "optimizer": optimizer.state_dict(),
        "opt": argparse.Namespace(cfg=Path("models/yolor.cfg"), device=torch.device("cpu")),
        "sizes": [torch.Size([1, 2]), torch.float16, {1, 2}, b"bytes", defaultdict(list)],
        "history": np.zeros((3, 7)),
    }
    path = saved(tmp_path, {"model": weights(), **beside}, _use_new_zipfile_serialization=new)

    checkpoint = read_checkpoint(path)

    assert_same_tensors(checkpoint.tensors, weights())
    assert checkpoint.facts == {
        "epoch": 7,
        "best_fitness": 0.25,
        "best_map": 0.125,
        "date": "2021-06-01",
    }


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    """Content decides: a zip checkpoint called .weights is read as what it is."""
    path = saved(tmp_path, weights()).rename(tmp_path / "model.weights")

    assert read_checkpoint(path).container == "zip"


def test_renamed_folder_inside_the_archive_is_found(tmp_path: Path) -> None:
    """The folder of the archive has the name that the file had when it was saved."""
    torch.save(weights(), tmp_path / "some other name.pt")
    path = (tmp_path / "some other name.pt").rename(tmp_path / "model.pt")

    assert_same_tensors(read_checkpoint(path).tensors, weights())


def test_cfg_is_handed_on(tmp_path: Path) -> None:
    """The description given beside the file is kept as it is."""
    cfg = CfgText("mine.cfg", "[net]\n")

    assert read_checkpoint(saved(tmp_path, weights()), cfg=cfg).cfg == cfg


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"optimizer": {}, "epoch": 3}, "'optimizer', 'epoch'"),
        ({}, "no model inside"),
        ([torch.ones(1)], "a value of type list"),
        ({"model": {"a": 1}}, "a dict with 'model'"),
        ({"steps": torch.tensor(3)}, "no floating-point tensors"),
    ],
)
def test_file_without_a_model_is_refused(tmp_path: Path, value: object, message: str) -> None:
    """The error shows what the file does hold."""
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(saved(tmp_path, value))


def test_safetensors_are_read(tmp_path: Path) -> None:
    """A state_dict as safetensors, with its metadata, under any suffix."""
    path = tmp_path / "model.pt"
    save_file({**weights(), "module_list.0.num_batches_tracked": torch.tensor(1)}, path, {"a": "b"})

    checkpoint = read_checkpoint(path)

    assert checkpoint.container == "safetensors"
    assert_same_tensors(dict(sorted(checkpoint.tensors.items())), dict(sorted(weights().items())))
    assert checkpoint.facts == {"a": "b"}


@pytest.mark.parametrize("kept", [9, 60, -1])
def test_truncated_safetensors_are_refused(tmp_path: Path, kept: int) -> None:
    """The header is there in all of these: the sizes are what tells."""
    path = tmp_path / "model.safetensors"
    save_file(weights(), path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(CheckpointError, match="damaged safetensors file"):
        read_checkpoint(path)


def test_safetensors_of_another_family_are_recognised(tmp_path: Path) -> None:
    """Tensor names tell the family, whatever the container."""
    path = tmp_path / "model.safetensors"
    save_file({"model.22.dfl.conv.weight": torch.ones(1)}, path)

    with pytest.raises(UnsupportedModelError, match="YOLOv8"):
        read_checkpoint(path)
