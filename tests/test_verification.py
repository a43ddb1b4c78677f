"""An artifact against its checkpoint, long after the export."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.exports import LOW, exported, names_in, silent
from tests.references import REFERENCES
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint
from yolor_deploy import pipeline, verification
from yolor_deploy.core.artifact import METADATA_KEY, Artifact
from yolor_deploy.core.errors import ArtifactError, CheckpointError, EvaluationError
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.graph import write
from yolor_deploy.pipeline import ExportConfig
from yolor_deploy.verification import VerifyReport


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


def verified(artifact: Artifact, tiny: TinyCheckpoint, *images: Path) -> VerifyReport:
    """Verify an artifact against the tiny checkpoint."""
    return verification.verify(
        artifact, against=str(tiny.path), cfg=str(tiny.cfg), images=images, note=silent
    )


def failed(report: VerifyReport) -> set[tuple[str, str]]:
    """Return stage and output of every comparison that failed."""
    return {(p.stage, p.output) for p in report.parities if not p.passed}


def changed(artifact: Artifact, change: Callable[[onnx.ModelProto], None]) -> Artifact:
    """Change the file of an artifact, and read it again."""
    model = onnx.load(artifact.path)
    change(model)
    onnx.save(model, artifact.path)
    return Artifact.read(artifact.path)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"output_kind": "raw"}, id="raw"),
        pytest.param({"output_kind": "predictions"}, id="predictions"),
        pytest.param({"dtype": "uint8", "layout": "NHWC"}, id="uint8-nhwc"),
        pytest.param({"batch": BatchRange(3, 3, 3)}, id="static-batch"),
        pytest.param({"batch": BatchRange(2, 4, 8), "size": (32, 96)}, id="dynamic-rectangle"),
        pytest.param({"fold_implicit": False}, id="unfolded"),
        pytest.param({"nms": replace(LOW, class_agnostic=True)}, id="agnostic"),
        pytest.param({"nms": replace(LOW, multi_label=False)}, id="best-class"),
        pytest.param({"nms": replace(LOW, iou_threshold=1.0)}, id="no-suppression"),
        pytest.param({"nms": replace(LOW, score_threshold=1.0)}, id="nothing-found"),
        pytest.param({"nms": replace(LOW, max_detections=3)}, id="few-rows"),
    ],
)
def test_sound_artifact_of_any_kind_passes(tiny: TinyCheckpoint, options: dict[str, Any]) -> None:
    """Whatever it takes and gives, it is compared at every stage."""
    artifact = exported(tiny, **options).artifact

    report = verified(artifact, tiny)

    assert report.passed, failed(report)
    assert report.images == ("drawn image",)
    stages = [p.stage.split(",")[0].split(" above")[0] for p in report.parities]
    assert list(dict.fromkeys(stages))[:3] == ["folded", "ONNX", "detections"]
    assert ("head" in stages) == (artifact.meta.output != "raw")


def test_images_are_run_one_by_one(tiny: TinyCheckpoint) -> None:
    """Each image has its own rows, under its own name, letterboxed to the input size."""
    rng = np.random.default_rng(0)
    paths = [tiny.path.with_name(name) for name in ("a.png", "b.png")]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 70, 3), dtype=np.uint8)).save(path)
    artifact = exported(tiny).artifact

    report = verified(artifact, tiny, *paths)

    assert report.passed
    assert report.images == ("a.png", "b.png")
    assert [p.stage for p in report.parities if p.output == "raw_0"] == [
        "folded, float64",
        "ONNX, a.png",
        "ONNX, b.png",
    ]


def test_missing_image_is_an_error(tiny: TinyCheckpoint) -> None:
    """An image that cannot be read is not passed over."""
    artifact = exported(tiny).artifact

    with pytest.raises(EvaluationError, match="no such image"):
        verified(artifact, tiny, tiny.path.with_name("none.png"))


def test_changed_weight_is_named(tiny: TinyCheckpoint) -> None:
    """A weight that differs shows in the maps that it acts on."""
    artifact = exported(tiny).artifact

    def change(model: onnx.ModelProto) -> None:
        weight = next(w for w in model.graph.initializer if w.name == "module_list.9.Conv2d.weight")
        values = numpy_helper.to_array(weight).copy()
        values[0, 0] += 0.05
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))

    report = verified(changed(artifact, change), tiny)

    assert not report.passed
    maps = {output for stage, output in failed(report) if stage.startswith("ONNX")}
    assert maps == {"raw_0"}


def test_changed_anchor_of_the_head_is_named(tiny: TinyCheckpoint) -> None:
    """The maps agree, the head and the detections do not."""
    artifact = exported(tiny).artifact

    def change(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "YolorNMS")
        next(a for a in node.attribute if a.name == "anchors").floats[0] = 14.0

    report = verified(changed(artifact, change), tiny)

    assert {stage.split(",")[0].split(" above")[0] for stage, _ in failed(report)} == {
        "head",
        "detections",
    }


def test_changed_default_threshold_is_named(tiny: TinyCheckpoint) -> None:
    """The file's own defaults are run too, not only thresholds that are given to it."""
    artifact = exported(tiny).artifact

    def change(model: onnx.ModelProto) -> None:
        value = next(w for w in model.graph.initializer if w.name == "score_threshold")
        value.CopyFrom(numpy_helper.from_array(np.array([0.4], np.float32), "score_threshold"))

    report = verified(changed(artifact, change), tiny)

    assert failed(report) == {("detections above 0.05, drawn image", "detections")}


def test_other_weights_of_the_same_model_differ(tiny: TinyCheckpoint) -> None:
    """Another training of the model is told from this one."""
    artifact = exported(tiny).artifact
    other = write_tiny_checkpoint(tiny.path.parent, name="other", seed=1)

    report = verified(artifact, other)

    assert ("ONNX, drawn image", "raw_0") in failed(report)


def test_other_model_is_refused(tiny: TinyCheckpoint) -> None:
    """Classes and levels of both are in the message."""
    artifact = exported(tiny).artifact

    with pytest.raises(ArtifactError, match=r"tiny \(3 classes, 2 levels\).*custom \(1 classes"):
        verification.verify(
            artifact, against=str(REFERENCES / "yolor-p6_nc1.pt"), cfg=None, note=silent
        )


def test_other_anchors_are_refused(tiny: TinyCheckpoint) -> None:
    """A cfg whose anchors were changed since is told, with both."""
    artifact = exported(tiny).artifact
    tiny.cfg.write_text(tiny.cfg.read_text().replace("40,30", "40,31"), encoding="utf-8")

    with pytest.raises(ArtifactError, match=r"has anchors .*30\.0.* at stride 16.*31\.0"):
        verified(artifact, tiny)


def test_missing_checkpoint_is_an_error(tiny: TinyCheckpoint) -> None:
    """A path that is not there is said."""
    artifact = exported(tiny).artifact

    with pytest.raises(CheckpointError, match="no such file"):
        verification.verify(artifact, against="none.pt", note=silent)


def test_seed_of_random_weights_is_that_of_the_export(tmp_path: Path) -> None:
    """A model by name is drawn again with the seed that its file tells."""
    config = ExportConfig(
        "yolor-ssss-s2d", output=tmp_path / "model.onnx", size=(64, 64), seed=3, output_kind="raw"
    )
    artifact = pipeline.export(config, note=silent).artifact

    report = verification.verify(artifact, against="yolor-ssss-s2d", note=silent)

    assert report.passed


def test_changed_input_shape_is_refused(tiny: TinyCheckpoint) -> None:
    """A graph that does not take what its metadata tell is an error, and no traceback."""
    artifact = exported(tiny).artifact
    spec = replace(artifact.meta.spec, input=replace(artifact.meta.spec.input, height=32))
    lying = replace(artifact.meta, spec=spec)

    def change(model: onnx.ModelProto) -> None:
        assert model.metadata_props[0].key == METADATA_KEY
        model.metadata_props[0].value = lying.to_json()

    with pytest.raises(ArtifactError, match="cannot run the file"):
        verified(changed(artifact, change), tiny)


@pytest.mark.parametrize("is_read_only", [False, True])
def test_weights_in_a_second_file_are_found(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch, is_read_only: bool
) -> None:
    """External data are read where they lie; a folder that is read-only makes no difference."""
    monkeypatch.setattr(write, "LARGEST_FILE_BYTES", 1000)
    artifact = exported(tiny).artifact
    before = names_in(tiny.path.parent)
    if is_read_only:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(tempfile, "mkstemp", refuse)

    report = verified(artifact, tiny)

    assert report.passed
    assert names_in(tiny.path.parent) == before


def test_renamed_artifact_still_finds_its_weights(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file names its weights: they need not be called as it is."""
    monkeypatch.setattr(write, "LARGEST_FILE_BYTES", 1000)
    path = exported(tiny).artifact.path
    renamed = path.rename(path.with_name("renamed.onnx"))

    assert verified(Artifact.read(renamed), tiny).passed


def test_full_disk_is_said(tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that is looked into needs space, and leaves nothing where there is none."""
    artifact = exported(tiny).artifact
    before = names_in(tiny.path.parent)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)

    with pytest.raises(ArtifactError, match="No space left on device"):
        verified(artifact, tiny)
    assert names_in(tiny.path.parent) == before
