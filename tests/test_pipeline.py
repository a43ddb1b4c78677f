"""From a checkpoint to one file: what it holds, what it computes, what a failure leaves."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.exports import (
    LOW,
    assert_same_detections,
    exported,
    names_in,
    outputs_of,
    silent,
    tensor,
)
from tests.references import REFERENCES, weights_with_implicit
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint
from yolor_deploy import pipeline, source
from yolor_deploy.checkpoint import CfgText
from yolor_deploy.core.artifact import METADATA_KEY, Artifact
from yolor_deploy.core.density import Density
from yolor_deploy.core.errors import BuildError, CheckpointError
from yolor_deploy.core.spec import BatchRange, InputDtype, InputLayout, OutputKind
from yolor_deploy.graph import write
from yolor_deploy.pictures import draw_picture, tensor_from_pictures
from yolor_deploy.pipeline import ExportConfig
from yolor_deploy.proof import seeded_images

DETECTIONS = ("num_detections", "boxes_xyxy", "scores", "class_ids")


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


def test_file_is_valid_and_of_the_promised_version(tiny: TinyCheckpoint) -> None:
    """The checker accepts the file in full; opset 17 and IR 8 are what TensorRT 8.6 reads."""
    result = exported(tiny)

    onnx.checker.check_model(str(result.artifact.path), full_check=True)
    model = onnx.load(result.artifact.path)
    assert {o.domain: o.version for o in model.opset_import} == {"": 17, "yolor_deploy": 1}
    assert model.ir_version == 8
    assert result.artifact.path == tiny.path.with_suffix(".onnx")
    assert [node.op_type for node in model.graph.node].count("YolorNMS") == 1


def test_file_detects_by_itself_with_its_default_thresholds(tiny: TinyCheckpoint) -> None:
    """Stock ONNX Runtime needs only the image, and higher thresholds as inputs find less."""
    path = exported(tiny).artifact.path
    images = tensor(seeded_images(1, 64, 64))

    default = outputs_of(path, images)
    same = outputs_of(path, images, score_threshold=0.05, iou_threshold=0.45)
    strict = outputs_of(path, images, score_threshold=0.4)
    merged = outputs_of(path, images, iou_threshold=0.0)

    assert tuple(default) == DETECTIONS
    assert_same_detections(same, default)
    assert 0 < strict["num_detections"].item() < default["num_detections"].item()
    assert (strict["scores"][0, : strict["num_detections"].item()] > 0.4).all()
    assert merged["num_detections"].item() < default["num_detections"].item()


@pytest.mark.parametrize(
    ("kind", "names", "shapes"),
    [
        ("raw", ("raw_0", "raw_1"), ((1, 8, 8, 12), (1, 8, 4, 6))),
        ("predictions", ("predictions",), ((1, 8 * 12 + 4 * 6, 8),)),
        ("detections", DETECTIONS, ((1, 1), (1, 250, 4), (1, 250), (1, 250))),
    ],
)
def test_output_kinds_have_their_names_and_shapes(
    tiny: TinyCheckpoint, kind: OutputKind, names: tuple[str, ...], shapes: tuple[Any, ...]
) -> None:
    """The names and shapes are a contract, finest stride first, for a rectangle too."""
    artifact = exported(tiny, output_kind=kind, size=(64, 96)).artifact

    outputs = outputs_of(artifact.path, tensor(seeded_images(1, 64, 96)))

    assert tuple(outputs) == names == artifact.output_names
    assert tuple(value.shape for value in outputs.values()) == shapes
    assert [
        tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in onnx.load(artifact.path).graph.output
    ] == list(shapes)


def test_metadata_tell_what_was_done(tiny: TinyCheckpoint) -> None:
    """The file says of which bytes it was made, how, and what is inside."""
    names = tiny.path.with_name("names.txt")
    names.write_bytes("\ufeffrot\r\nžlutá\r\n\r\n緑\r\n".encode())

    result = exported(tiny, names=names, batch=BatchRange(1, 2, 4))

    meta = Artifact.read(result.artifact.path).meta
    assert meta == result.artifact.meta
    assert meta.spec.class_names == ("rot", "žlutá", "緑")
    assert meta.spec.input.batch == BatchRange(1, 2, 4)
    assert meta.nms == LOW
    assert [record.stage for record in meta.history] == ["load", "fold", "onnx"]
    load, fold, _ = meta.history
    assert load.input_sha256 == hashlib.sha256(tiny.path.read_bytes()).hexdigest()
    assert load.options["source"] == "tiny.pt"
    assert load.options["cfg"] == "tiny.cfg"
    assert set(load.versions) == {"yolor-deploy", "torch"}
    assert fold.options["folded"] == {"batchnorm": 4, "implicit": 4}
    assert not meta.spec.random_weights


def test_random_weights_are_marked(tmp_path: Path) -> None:
    """A model without training says so, with the seed that draws the same again."""
    output = tmp_path / "small.onnx"
    config = ExportConfig("yolor-ssss-s2d", output=output, size=(64, 64), seed=7)

    result = pipeline.export(config, note=silent)

    assert result.artifact.meta.spec.random_weights
    assert result.artifact.meta.spec.variant == "yolor-ssss-s2d"
    assert result.artifact.meta.history[0].options["seed"] == 7
    assert result.artifact.meta.history[0].input_sha256 is None


def test_density_is_planted_after_the_proof(tmp_path: Path) -> None:
    """The proven file is planted then, on a drawn picture, and only the planted one stays."""
    output = tmp_path / "small.onnx"
    config = ExportConfig(
        "yolor-ssss-s2d", output=output, size=(128, 128), seed=7, density=Density(60, 20)
    )

    result = pipeline.export(config, note=silent)

    assert names_in(tmp_path) == ["small.onnx"]
    assert result.artifact == Artifact.read(output)
    assert [record.stage for record in result.artifact.meta.history] == [
        *("load", "fold", "onnx", "plant"),
    ]
    assert result.artifact.meta.history[-1].options["seed"] == 7
    assert result.planted is not None
    assert result.planted.candidates == (60,)
    assert abs(result.planted.objects[0] - 20) <= 2
    assert list(result.seconds)[-2:] == ["prove", "plant"]
    found = outputs_of(output, tensor_from_pictures([draw_picture(7)], result.artifact.meta.spec))
    assert found["num_detections"].item() == result.planted.objects[0]


def test_density_of_a_trained_checkpoint_is_refused_before_the_work(tiny: TinyCheckpoint) -> None:
    """What is trained keeps its head, and nothing is run or written before that is said."""
    told: list[str] = []
    config = ExportConfig(str(tiny.path), cfg=str(tiny.cfg), density=Density(10, 3))

    with pytest.raises(BuildError, match="trained"):
        pipeline.export(config, note=told.append)

    assert told == [f"reading {tiny.path}"]
    assert names_in(tiny.path.parent) == ["tiny.cfg", "tiny.pt"]


def test_density_beyond_the_model_is_refused_before_the_work(tmp_path: Path) -> None:
    """Candidates that a size has no anchors for are refused by the size of the export."""
    config = ExportConfig(
        "yolor-ssss-s2d", output=tmp_path / "a.onnx", size=(64, 64), density=Density(1000, 100)
    )

    with pytest.raises(BuildError, match="1000 candidates, yolor-ssss-s2d has 252 anchors"):
        pipeline.export(config, note=silent)


def test_metadata_hold_no_folder(tiny: TinyCheckpoint) -> None:
    """The file is the same wherever the checkpoint lies, and tells nobody where that was."""
    text = exported(tiny).artifact.path.read_bytes()

    assert str(tiny.path.parent).encode() not in text


def test_same_input_gives_the_same_bytes(tiny: TinyCheckpoint) -> None:
    """A file can be made again, and compared by its hash."""
    files = [tiny.path.with_name(f"{index}.onnx") for index in range(2)]

    for file in files:
        exported(tiny, output=file)

    assert files[0].read_bytes() == files[1].read_bytes()


def test_dynamic_batch_does_not_mix_images(tiny: TinyCheckpoint) -> None:
    """One, two and three images at once give what each gives alone."""
    path = exported(tiny, batch=BatchRange(1, 2, 3)).artifact.path
    images = tensor(seeded_images(3, 64, 64))
    alone = [outputs_of(path, images[i : i + 1]) for i in range(3)]

    for batch in (1, 2, 3):
        together = outputs_of(path, images[:batch])

        for index in range(batch):
            one = {key: value[index : index + 1] for key, value in together.items()}
            assert_same_detections(one, alone[index])
    assert alone[0]["num_detections"].item() > 0
    assert not np.array_equal(alone[0]["boxes_xyxy"], alone[1]["boxes_xyxy"])


def test_static_batch_is_the_only_one(tiny: TinyCheckpoint) -> None:
    """A file for two images takes two, and was proven with two."""
    result = exported(tiny, batch=BatchRange(2, 2, 2))
    images = tensor(seeded_images(2, 64, 64))

    assert outputs_of(result.artifact.path, images)["scores"].shape == (2, 250)
    with pytest.raises(Exception, match="Got: 1 Expected: 2"):
        outputs_of(result.artifact.path, images[:1])
    stages = {parity.stage for parity in result.parities}
    assert {"ONNX, batch 2", "ONNX, batch 2, image 0", "ONNX, batch 2, image 1"} <= stages


@pytest.mark.parametrize(
    ("dtype", "layout"), [("uint8", "NCHW"), ("uint8", "NHWC"), ("float32", "NHWC")]
)
def test_other_inputs_give_the_same_detections(
    tiny: TinyCheckpoint, dtype: InputDtype, layout: InputLayout
) -> None:
    """Bytes and channels last of the same pixels are found the same things in."""
    pixels = seeded_images(2, 64, 96)
    sizes: dict[str, Any] = {"size": (64, 96), "batch": BatchRange(2, 2, 2)}
    plain = exported(tiny, output=tiny.path.with_name("plain.onnx"), **sizes)

    other = exported(tiny, dtype=dtype, layout=layout, **sizes)

    images = pixels if dtype == "uint8" else pixels.astype(np.float32) / np.float32(255)
    if layout == "NCHW":
        images = images.transpose(0, 3, 1, 2)
    found = outputs_of(other.artifact.path, np.ascontiguousarray(images))
    expected = outputs_of(plain.artifact.path, tensor(pixels))
    assert found["num_detections"].min() > 0
    assert_same_detections(found, expected)


def test_unfolded_file_computes_the_same_with_more_nodes(tiny: TinyCheckpoint) -> None:
    """Without folding the sums and products with implicit vectors stay; the result does too."""
    folded = exported(tiny, output_kind="raw", output=tiny.path.with_name("folded.onnx"))
    unfolded = exported(tiny, output_kind="raw", fold_implicit=False)
    images = tensor(seeded_images(1, 64, 64))

    first, second = (outputs_of(r.artifact.path, images) for r in (folded, unfolded))

    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, atol=1e-4)
    assert "Add" not in folded.nodes
    assert unfolded.nodes["Add"] == 2
    assert unfolded.nodes["Mul"] == folded.nodes["Mul"] + 2
    assert all(site.kept for site in unfolded.sites if site.kind == "implicit")


def test_post_processing_choices_are_in_the_file(tiny: TinyCheckpoint) -> None:
    """One class of a box and suppression across classes each find less than the default."""
    images = tensor(seeded_images(1, 64, 64))
    counts = {}
    for name, nms in {
        "default": LOW,
        "best": replace(LOW, multi_label=False),
        "agnostic": replace(LOW, class_agnostic=True),
        "few": replace(LOW, max_candidates=5),
        "rows": replace(LOW, max_detections=2),
    }.items():
        path = exported(tiny, nms=nms, output=tiny.path.with_name(f"{name}.onnx")).artifact.path

        counts[name] = outputs_of(path, images)["num_detections"].item()

    assert counts["rows"] == 2
    assert counts["few"] <= 5
    assert max(counts["best"], counts["agnostic"], counts["few"]) < counts["default"]


def reference(name: str, folder: Path) -> ExportConfig:
    """Return how a reference is exported."""
    cfg = REFERENCES / f"{name}.cfg"
    path = REFERENCES / f"{name}.pt"
    if name == "yolor_csp_weights":
        path = weights_with_implicit(folder)
    return ExportConfig(
        str(path), cfg=str(cfg) if cfg.exists() else None, output=folder / "out.onnx"
    )


@pytest.mark.parametrize(
    "name",
    [
        "implicit_zoo",
        "yolor-p6_nc1",
        "yolor_csp_cfg_fp16",
        "yolor_csp_weights",
        "yolov4-p7_mc_legacy",
    ],
)
def test_exported_reference_computes_what_the_authors_code_computed(
    name: str, tmp_path: Path
) -> None:
    """Raw maps within 1e-3 + 1e-4 of the value, predictions within 0.2 pixels + 1e-4."""
    truth = np.load(REFERENCES / f"{name}.npz")
    images = truth["image"]
    config = replace(
        reference(name, tmp_path), size=images.shape[2:], batch=BatchRange(*[len(images)] * 3)
    )

    raw = pipeline.export(replace(config, output_kind="raw"), note=silent).artifact.path
    for level, found in enumerate(outputs_of(raw, images).values()):
        expected = truth[f"raw{level}"]  # [n, anchors, h, w, 5 + classes]
        n, anchors, height, width, values = expected.shape
        cells = found.reshape(n, anchors, values, height, width).transpose(0, 1, 3, 4, 2)
        np.testing.assert_allclose(cells, expected, atol=1e-3, rtol=1e-4)
    if "pred" in truth:
        path = pipeline.export(replace(config, output_kind="predictions"), note=silent)
        found = outputs_of(path.artifact.path, images)["predictions"]
        np.testing.assert_allclose(found, truth["pred"], atol=0.2, rtol=1e-4)
        np.testing.assert_allclose(found[..., 4:], truth["pred"][..., 4:], atol=1e-3)


def test_weights_above_the_limit_go_beside_the_file(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that protobuf could not read gets its weights in a second one, and runs."""
    whole = exported(tiny, output=tiny.path.with_name("whole.onnx")).artifact.path
    monkeypatch.setattr(write, "LARGEST_FILE_BYTES", 1000)

    path = exported(tiny).artifact.path

    data = path.with_name(f"{path.name}.data")
    assert data.stat().st_size > 1000 > len(path.read_bytes()) - len(whole.read_bytes())
    onnx.checker.check_model(str(path), full_check=True)
    images = tensor(seeded_images(1, 64, 64))
    assert_same_detections(outputs_of(path, images), outputs_of(whole, images))
    assert Artifact.read(path).meta == Artifact.read(whole).meta


def test_weights_of_an_earlier_model_do_not_stay(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second export over the first leaves no file that belongs to nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(write, "LARGEST_FILE_BYTES", 1000)
        exported(tiny)
    assert "tiny.onnx.data" in names_in(tiny.path.parent)

    exported(tiny)

    assert names_in(tiny.path.parent) == ["tiny.cfg", "tiny.onnx", "tiny.pt"]


def test_output_needs_no_suffix(tiny: TinyCheckpoint) -> None:
    """The name is the user's: what a file is goes by its content."""
    path = tiny.path.with_name("model")

    exported(tiny, output=path)

    assert Artifact.read(path).meta.spec.num_classes == 3


def test_note_is_told_each_stage(tiny: TinyCheckpoint) -> None:
    """Whatever takes long is announced, and timed under a fixed name."""
    told: list[str] = []

    result = pipeline.export(ExportConfig(str(tiny.path), cfg=str(tiny.cfg)), note=told.append)

    assert told[0] == f"reading {tiny.path}"
    assert told[-1] == "running the file in ONNX Runtime, batch 1"
    assert list(result.seconds) == ["read", "run", "fold", "write", "prove"]


def test_wrong_names_inside_a_checkpoint_are_mended_by_a_file(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--names replaces names that do not fit, which are an error without it."""
    names = tiny.path.with_name("names.txt")
    names.write_text("a\nb\nc\n", encoding="utf-8")
    checkpoint = replace(source.load_checkpoint(str(tiny.path)), class_names=("one", "two"))
    checkpoint = replace(checkpoint, cfg=CfgText("tiny.cfg", tiny.cfg.read_text()))
    monkeypatch.setattr(pipeline, "load_checkpoint", lambda *_, **__: checkpoint)

    with pytest.raises(CheckpointError, match="2 class names for heads of 3 classes"):
        exported(tiny)
    result = exported(tiny, names=names)

    assert result.artifact.meta.spec.class_names == ("a", "b", "c")


def test_metadata_entry_is_the_only_one(tiny: TinyCheckpoint) -> None:
    """Everything that a later command must know is in one entry of the file."""
    model = onnx.load(exported(tiny).artifact.path)

    assert [entry.key for entry in model.metadata_props] == [METADATA_KEY]
    assert model.producer_name == "yolor-deploy"
