"""Models of published names: made once, kept, and made anew when something else is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.exports import exported, silent
from tests.sessions import artifact
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.benchmark import made as module
from yolor_deploy.benchmark.limits import is_published
from yolor_deploy.benchmark.made import Made, made_model, recipe_of
from yolor_deploy.benchmark.options import Recipe
from yolor_deploy.benchmark.planting import Density, planted_density
from yolor_deploy.core.artifact import METADATA_KEY, Artifact, StageRecord
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.options import ExportConfig

NAME = "yolor-p6"


def _with_history(path: Path, record: StageRecord) -> None:
    """Add a stage to what a file says of itself."""
    meta = Artifact.read(path).meta
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = replace(meta, history=(*meta.history, record)).to_json()
    onnx.save(model, path)


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ExportConfig]:
    """What was exported: a tiny model in place of each published one."""
    checkpoint = write_tiny_checkpoint(tmp_path)
    seen: list[ExportConfig] = []

    def export(config: ExportConfig, *, note: Any) -> None:
        assert note
        assert config.output is not None
        assert config.density is not None
        seen.append(config)
        exported(checkpoint, output=config.output, nms=config.nms, batch=config.batch)
        options = {
            "candidates": config.density.candidates,
            "objects": config.density.objects,
        }
        _with_history(config.output, StageRecord("plant", options, {}))

    monkeypatch.setattr(module, "export", export)
    return seen


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Ten candidates and three objects, one image a run, float32."""
    return Made(tmp_path / "work", Recipe(), Density(10, 3), 1, NmsConfig(), 0)


def test_name_is_exported_with_what_was_asked_for(made: Made, exports: list[ExportConfig]) -> None:
    """Density, batch and post-processing are those of the benchmark."""
    path = made_model(NAME, replace(made, batch=2), note=silent)

    (config,) = exports
    assert config.source == NAME
    assert (config.batch.minimum, config.batch.maximum) == (2, 2)
    assert planted_density(Artifact.read(path)) == Density(10, 3)


def test_model_that_is_there_is_taken(made: Made, exports: list[ExportConfig]) -> None:
    """The second benchmark does not export again."""
    first = made_model(NAME, made, note=silent)

    second = made_model(NAME, made, note=silent)

    assert first == second
    assert len(exports) == 1


@pytest.mark.parametrize(
    "change",
    [{"density": Density(20, 3)}, {"batch": 2}, {"nms": NmsConfig(score_threshold=0.1)}],
    ids=["density", "batch", "threshold"],
)
def test_other_wishes_make_another_model(
    made: Made, exports: list[ExportConfig], change: dict[str, Any]
) -> None:
    """A model of other numbers is not taken for this one."""
    made_model(NAME, made, note=silent)

    made_model(NAME, replace(made, **change), note=silent)

    assert len(exports) == 2


def test_file_cut_short_is_made_again(made: Made, exports: list[ExportConfig]) -> None:
    """What a full disk left is no model."""
    path = made_model(NAME, made, note=silent)
    path.write_bytes(path.read_bytes()[:100])

    again = made_model(NAME, made, note=silent)

    assert len(exports) == 2
    assert Artifact.read(again).meta.kind == "model"


def test_half_model_is_built_once(made: Made, exports: list[ExportConfig]) -> None:
    """A precision is built of the exported model, and taken the next time."""
    half = replace(made, recipe=Recipe(Precision("fp16")))

    first = made_model(NAME, half, note=silent)
    written = first.stat().st_mtime_ns
    second = made_model(NAME, half, note=silent)

    assert Artifact.read(first).meta.precision == "fp16"
    assert planted_density(Artifact.read(first)) == Density(10, 3)
    assert second.stat().st_mtime_ns == written
    assert len(exports) == 1


def test_folder_that_cannot_be_made_is_refused(made: Made, tmp_path: Path) -> None:
    """A file of that name is in the way, and it says which option changes it."""
    (tmp_path / "work").write_text("", encoding="utf-8")

    with pytest.raises(ArtifactError, match="cannot make the folder") as caught:
        made_model(NAME, made, note=silent)

    assert "--work" in caught.value.hint


def test_recipe_of_a_half_model_is_half() -> None:
    """Another model becomes what the first one is."""
    half = artifact()
    half = replace(half, meta=replace(half.meta, precision="fp16"))

    assert recipe_of(half) == Recipe(Precision("fp16"), "onnxruntime")
    assert recipe_of(artifact()) == Recipe(backend="onnxruntime")


def test_recipe_of_eight_bits_is_refused() -> None:
    """Random weights have no ranges to calibrate."""
    small = artifact()
    small = replace(small, meta=replace(small.meta, precision="int8"))

    with pytest.raises(BuildError, match="int8 cannot be made of random weights"):
        recipe_of(small)


def test_what_is_asked_for_goes_before_the_first_artifact() -> None:
    """A recipe is completed by that of the artifact beside which it is measured."""
    first = Recipe(backend="tensorrt", optimization_level=2)

    assert Recipe(Precision("fp16")).completed_by(first) == Recipe(Precision("fp16"), "tensorrt", 2)
    assert Recipe(backend="onnxruntime").completed_by(first).backend == "onnxruntime"


def test_name_of_a_file_is_no_published_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file goes before a published model of the same name."""
    monkeypatch.chdir(tmp_path)
    assert is_published(NAME)

    Path(NAME).write_text("", encoding="utf-8")

    assert not is_published(NAME)
    assert not is_published("yolor-p66")
