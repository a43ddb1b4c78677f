"""Candidates and objects planted in a file: what comes out, what is kept, what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.benchmark.counts import counts_of
from tests.exports import exported, names_in
from tests.random_models import NMS, random_artifact, random_spec
from tests.sessions import artifact as fake_artifact
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.backends import open_for_accuracy, open_session
from yolor_deploy.benchmark.inputs import BenchInput, drawn_input
from yolor_deploy.benchmark.planting import (
    Density,
    plant_artifact,
    planted_density,
)
from yolor_deploy.core.artifact import Artifact, StageRecord, sha256_of_file
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.planted_head import planted_head
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import BatchRange, OutputKind
from yolor_deploy.graph import write
from yolor_deploy.pipeline import BuildConfig, build

DENSITY = Density(100, 25)


def drawn(artifact: Artifact, *, batch: int = 1, count: int = 2) -> BenchInput:
    """Return drawn pictures for an artifact."""
    return drawn_input(artifact.meta.spec, batch=batch, count=count)


@pytest.mark.parametrize("output", ["raw", "predictions", "detections"])
def test_planted_file_gives_what_is_asked_for(tmp_path: Path, output: OutputKind) -> None:
    """Candidates come out exactly and objects within a tenth, whatever the file ends in."""
    artifact = random_artifact(tmp_path / "random.onnx", output=output)
    inputs = drawn(artifact, count=1)

    counts = plant_artifact(artifact, DENSITY, inputs, tmp_path / "planted.onnx")

    planted = Artifact.read(tmp_path / "planted.onnx")
    found = counts_of(open_for_accuracy(planted, with_raw=True), inputs)
    assert counts.candidates == found.candidates == (100,)
    assert counts.objects == found.objects
    assert abs(counts.objects[0] - 25) <= 2.5
    assert (
        str(counts) == f"100:{counts.objects[0]} candidates and objects an image, 100:25 asked for"
    )


def test_other_pictures_give_nearly_the_same(tmp_path: Path) -> None:
    """What was planted on one picture comes out of pictures of its kind."""
    artifact = random_artifact(tmp_path / "random.onnx")
    inputs = drawn(artifact, count=6)

    plant_artifact(artifact, DENSITY, inputs, tmp_path / "planted.onnx")

    session = open_for_accuracy(Artifact.read(tmp_path / "planted.onnx"), with_raw=True)
    found = counts_of(session, inputs)
    assert found.candidates is not None
    assert len(found.candidates) == len(found.objects) == 6
    assert 50 < np.mean(found.candidates) < 200
    assert min(found.objects) > 5


def test_graph_stays_the_same(tmp_path: Path) -> None:
    """Only weights and metadata change: nodes, shapes and sizes are those of before."""
    artifact = random_artifact(tmp_path / "random.onnx")

    plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")

    before, after = (onnx.load(tmp_path / f"{n}.onnx") for n in ("random", "planted"))
    onnx.checker.check_model(after, full_check=True)
    assert list(after.graph.node) == list(before.graph.node)
    assert list(after.graph.output) == list(before.graph.output)
    sizes = [{t.name: list(t.dims) for t in m.graph.initializer} for m in (before, after)]
    assert sizes[0] == sizes[1]
    assert before.graph.initializer != after.graph.initializer


def test_history_tells_what_was_planted(tmp_path: Path) -> None:
    """The file says what was asked for, what came out, on which pictures, and of which file."""
    artifact = random_artifact(tmp_path / "random.onnx")

    counts = plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")

    planted = Artifact.read(tmp_path / "planted.onnx")
    record = planted.meta.history[-1]
    assert record.stage == "plant"
    assert record.options == {
        "candidates": 100,
        "objects": 25,
        "found_candidates": list(counts.candidates),
        "found_objects": list(counts.objects),
        "pictures": "drawn",
        "seed": 0,
    }
    assert record.input_sha256 == sha256_of_file(artifact.path)
    assert planted_density(planted) == DENSITY
    assert planted_density(artifact) is None
    assert replace(planted.meta, history=()) == artifact.meta


def test_planted_again_is_what_was_asked_last(tmp_path: Path) -> None:
    """A planted file can be planted otherwise."""
    artifact = random_artifact(tmp_path / "random.onnx")
    plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "one.onnx")
    first = Artifact.read(tmp_path / "one.onnx")

    counts = plant_artifact(first, Density(30, 10), drawn(first), tmp_path / "two.onnx")

    assert counts.candidates == (30,)
    assert planted_density(Artifact.read(tmp_path / "two.onnx")) == Density(30, 10)


def test_density_goes_on_into_what_is_built(tmp_path: Path) -> None:
    """A model of half precision finds nearly as much, and knows what was planted."""
    artifact = random_artifact(tmp_path / "random.onnx")
    plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")

    built = build(
        BuildConfig(tmp_path / "planted.onnx", precision=Precision.from_name("fp16"))
    ).artifact

    found = counts_of(open_for_accuracy(built, with_raw=True), drawn(artifact, count=1))
    assert planted_density(built) == DENSITY
    assert found.candidates is not None
    assert abs(found.candidates[0] - 100) <= 10


def test_smallest_batch_may_be_above_one(tmp_path: Path) -> None:
    """A file for three images is planted on three, and their mean is what is asked for."""
    spec = random_spec(batch=BatchRange(3, 3, 3))
    artifact = random_artifact(tmp_path / "random.onnx", spec=spec)

    counts = plant_artifact(artifact, DENSITY, drawn(artifact, batch=3), tmp_path / "planted.onnx")

    assert sum(counts.candidates) == 300
    assert len(counts.objects) == 3


def test_weights_beside_the_file_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of more than 2 GB is planted too."""
    monkeypatch.setattr(write, "LARGEST_FILE_BYTES", 1000)
    artifact = random_artifact(tmp_path / "random.onnx")

    counts = plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")

    assert counts.candidates == (100,)
    assert names_in(tmp_path) == [
        *("planted.onnx", "planted.onnx.data", "random.onnx", "random.onnx.data"),
    ]


def test_session_without_raw_maps_counts_objects_alone(tmp_path: Path) -> None:
    """What enters the post-processing inside a file is not seen."""
    artifact = random_artifact(tmp_path / "random.onnx")
    counts = plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")
    planted = Artifact.read(tmp_path / "planted.onnx")

    found = counts_of(open_session(planted), drawn(artifact, count=1))

    assert found.candidates is None
    assert found.objects == counts.objects


def test_numbers_of_a_run_go_into_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run gives other numbers than were expected, the run's are kept."""
    artifact = random_artifact(tmp_path / "random.onnx")
    monkeypatch.setattr(
        "yolor_deploy.planting.planted_head",
        lambda *given: replace(planted_head(*given), candidates=(1,), objects=(1,)),
    )

    counts = plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")

    record = Artifact.read(tmp_path / "planted.onnx").meta.history[-1]
    assert counts.candidates == (100,)
    assert record.options["found_candidates"] == [100]
    assert [r.stage for r in Artifact.read(tmp_path / "planted.onnx").meta.history] == ["plant"]


def test_density_that_is_missed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A single object of a thousand candidates all over the image cannot be, and is a warning."""
    artifact = random_artifact(tmp_path / "random.onnx")

    with caplog.at_level(logging.WARNING):
        plant_artifact(artifact, Density(500, 1), drawn(artifact), tmp_path / "planted.onnx")

    assert "500:1 asked for" in caplog.text


def test_trained_weights_are_refused(tmp_path: Path) -> None:
    """A trained head is not overwritten, and nothing is left behind."""
    artifact = exported(write_tiny_checkpoint(tmp_path)).artifact
    before = names_in(tmp_path)

    with pytest.raises(BuildError, match="trained") as caught:
        plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")

    assert caught.value.where == str(artifact.path)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"kind": "engine"}, "engine of fp32"), ({"precision": "int8+fp16"}, r"model of int8\+fp16")],
)
def test_what_was_built_is_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    """Planting comes before building."""
    artifact = random_artifact(tmp_path / "random.onnx")
    artifact = replace(artifact, meta=replace(artifact.meta, **change))

    with pytest.raises(BuildError, match=problem):
        plant_artifact(artifact, DENSITY, drawn(artifact), tmp_path / "planted.onnx")


def test_density_beyond_the_rows_is_refused(tmp_path: Path) -> None:
    """More objects than the artifact gives are refused before it is run."""
    artifact = random_artifact(tmp_path / "random.onnx")
    density = Density(1000, NMS.max_detections + 1)

    with pytest.raises(BuildError, match="51 objects, the artifact gives at most 50"):
        plant_artifact(artifact, density, drawn(artifact), tmp_path / "planted.onnx")

    assert names_in(tmp_path) == ["random.onnx"]


def test_output_over_the_model_is_refused(tmp_path: Path) -> None:
    """The file that is read is not overwritten."""
    artifact = random_artifact(tmp_path / "random.onnx")

    with pytest.raises(ArtifactError, match="same file as an input"):
        plant_artifact(artifact, DENSITY, drawn(artifact), artifact.path)


@pytest.mark.parametrize("options", [{}, {"candidates": "many", "objects": 1}, {"candidates": 5}])
def test_damaged_history_is_refused(options: dict[str, Any]) -> None:
    """A record that does not tell the numbers is no record."""
    artifact = fake_artifact()
    meta = replace(artifact.meta, history=(StageRecord("plant", options, {}),))

    with pytest.raises(ArtifactError, match="metadata is damaged: planted"):
        planted_density(replace(artifact, meta=meta))
