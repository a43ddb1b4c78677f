"""Layers are counted from the model of an artifact, and found for engines by its hash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.exports import exported
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.benchmark import layers as module
from yolor_deploy.benchmark.layers import layers_of
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.runtime import LayerTime

CONVOLUTION = "module_list.0.Conv2d"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model of a few layers."""
    path = tmp_path_factory.mktemp("layers")
    return exported(write_tiny_checkpoint(path), output=path / "tiny.onnx").artifact


def test_layers_have_their_costs_and_the_times_of_the_profile(model: Artifact) -> None:
    """What the profile names has a time, what it does not has none."""
    profile = (LayerTime(CONVOLUTION, 0.5),)

    found = layers_of(model, profile, batch=1, folders=[])

    assert found is not None
    by_name = {layer.name: layer for layer in found}
    assert by_name[CONVOLUTION].flops > 0
    assert by_name[CONVOLUTION].ms == 0.5
    assert by_name["/yolor_nms/YolorNMS"].ms is None


def test_engine_counts_the_model_beside_it_in_its_own_width(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is found by its content, and half precision moves half of the bytes."""
    engine = replace(
        model,
        path=tmp_path / "tiny.engine",
        meta=replace(model.meta, kind="engine", precision="fp16"),
    )
    monkeypatch.setattr(module, "_model_of", lambda *_: model)

    half = layers_of(engine, (), batch=1, folders=[])
    whole = layers_of(model, (), batch=1, folders=[])

    assert half is not None
    assert whole is not None
    assert [layer.flops for layer in half] == [layer.flops for layer in whole]
    assert [2 * layer.num_bytes for layer in half] == pytest.approx(
        [layer.num_bytes for layer in whole], abs=1
    )


def test_engine_without_its_model_is_not_counted(model: Artifact, tmp_path: Path) -> None:
    """A plan tells nothing of its graph."""
    engine = replace(model, path=tmp_path / "tiny.engine", meta=replace(model.meta, kind="engine"))

    assert layers_of(engine, (), batch=1, folders=[model.path.parent]) is None
