"""The steps of a proof: what each comparison catches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.exports import LOW, exported, names_in, silent
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.spec import BatchRange, NmsConfig, OutputKind
from yolor_deploy.families import family_of
from yolor_deploy.proof import (
    RawMaps,
    busy_nms,
    prove_artifact,
    raw_from_network,
    seeded_images,
    tensor_from_pixels,
)
from yolor_deploy.source import load_checkpoint

IMAGES = seeded_images(2, 64, 64)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


@pytest.fixture
def expected(tiny: TinyCheckpoint) -> RawMaps:
    """What the checkpoint's own network makes of the images."""
    checkpoint = load_checkpoint(str(tiny.path), cfg=str(tiny.cfg))
    return raw_from_network(family_of(checkpoint).module(checkpoint), IMAGES)


def differences(artifact: Artifact, expected: RawMaps) -> set[tuple[str, str]]:
    """Return stage and output of every comparison that failed."""
    results = prove_artifact(artifact, IMAGES, expected, note=silent)
    return {(result.stage, result.output) for result in results if not result.passed}


def test_seeded_images_repeat_and_differ() -> None:
    """The same seed draws the same images; another seed, and the next image, are others."""
    again = seeded_images(2, 64, 64)
    other = seeded_images(2, 64, 64, seed=1)

    assert again.dtype == np.uint8
    assert again.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(again, IMAGES)
    assert not np.array_equal(other, IMAGES)
    assert not np.array_equal(IMAGES[0], IMAGES[1])


@pytest.mark.parametrize("kind", ["raw", "predictions", "detections"])
def test_sound_artifact_passes_every_comparison(
    tiny: TinyCheckpoint, expected: RawMaps, kind: OutputKind
) -> None:
    """Raw maps of every kind are looked at, and the head where there is one."""
    artifact = exported(tiny, output_kind=kind).artifact

    results = prove_artifact(artifact, IMAGES, expected, note=silent)

    outputs = [result.output for result in results]
    head = {"raw": [], "predictions": ["boxes", "scores"], "detections": ["detections"]}[kind]
    assert outputs == ["raw_0", "raw_1", *head]
    assert all(result.passed for result in results)
    assert all(result.values > 0 for result in results)


def test_dynamic_batch_is_proven_at_two_sizes(tiny: TinyCheckpoint, expected: RawMaps) -> None:
    """One image and two: a result in another image's place would be seen."""
    artifact = exported(tiny, batch=BatchRange(1, 4, 8)).artifact

    results = prove_artifact(artifact, IMAGES, expected, note=silent)
    swapped = [maps[::-1] for maps in expected]

    assert {"ONNX, batch 1", "ONNX, batch 2"} <= {result.stage for result in results}
    assert ("ONNX, batch 2", "raw_0") in differences(artifact, swapped)


def test_changed_weight_is_caught_where_it_acts(tiny: TinyCheckpoint, expected: RawMaps) -> None:
    """A weight of one level's head spoils that level's map, and no other."""
    artifact = exported(tiny).artifact
    model = onnx.load(artifact.path)
    weight = next(w for w in model.graph.initializer if w.name == "module_list.15.Conv2d.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] += 0.05
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, artifact.path)

    assert differences(artifact, expected) == {("ONNX, batch 1", "raw_1")}


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("anchors", [12.0, 16.0, 40.5, 30.0]),
        ("strides", [8, 32]),
        ("max_detections", 5),
        ("max_detections", 1000),
        ("max_candidates", 7),
    ],
)
def test_changed_attribute_of_the_head_is_caught_at_the_head(
    tiny: TinyCheckpoint, expected: RawMaps, attribute: str, values: list[float] | int
) -> None:
    """The maps are right, so only the comparison of the head can see it, and does."""
    artifact = exported(tiny).artifact
    model = onnx.load(artifact.path)
    node = next(node for node in model.graph.node if node.op_type == "YolorNMS")
    position = next(i for i, a in enumerate(node.attribute) if a.name == attribute)
    changed = onnx.helper.make_attribute(attribute, values)
    node.attribute[position].CopyFrom(changed)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(model, artifact.path)

    assert differences(artifact, expected) == {("ONNX, batch 1, image 0", "detections")}


def test_changed_arithmetic_of_predictions_is_caught(
    tiny: TinyCheckpoint, expected: RawMaps
) -> None:
    """A wrong constant in decoding moves boxes and leaves scores."""
    artifact = exported(tiny, output_kind="predictions").artifact
    model = onnx.load(artifact.path)
    anchors = next(
        attribute
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if list(attribute.floats) == [12.0, 16.0, 40.0, 30.0]
    )
    anchors.floats[0] = 13.0
    onnx.save(model, artifact.path)

    assert differences(artifact, expected) == {("ONNX, batch 1", "boxes")}


def test_busy_threshold_lets_some_hundred_candidates_pass(
    tiny: TinyCheckpoint, expected: RawMaps
) -> None:
    """Of a large map five hundred scores are above it; of a small one all are."""
    artifact = exported(tiny).artifact
    spec = replace(
        artifact.meta.spec, input=replace(artifact.meta.spec.input, height=256, width=256)
    )
    large = replace(artifact, meta=replace(artifact.meta, spec=spec))
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.01, (2, *spec.head_shape(level))) for level in spec.levels]
    maps: RawMaps = [
        (np.tile(m, (1, 1, 4, 4)) + extra).astype(np.float32)
        for m, extra in zip(expected, noise, strict=True)
    ]

    few = busy_nms(artifact, expected)
    some = busy_nms(large, maps)

    predictions = predictions_from_raw([m[:1] for m in maps], spec)
    scores = predictions[..., 4:5] * predictions[..., 5:]
    assert few == replace(LOW, score_threshold=0.0)
    assert 400 < (scores > some.score_threshold).sum() <= 500
    assert replace(some, score_threshold=LOW.score_threshold) == LOW


def test_busy_threshold_of_an_artifact_without_post_processing_is_the_default(
    tiny: TinyCheckpoint, expected: RawMaps
) -> None:
    """Raw maps are compared with the library's own limits."""
    artifact = exported(tiny, output_kind="raw").artifact

    assert busy_nms(artifact, expected) == NmsConfig(score_threshold=0.0)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_tensor_from_pixels_is_what_the_artifact_takes(
    tiny: TinyCheckpoint, dtype: str, layout: str
) -> None:
    """Type, order of axes and range are those that the spec tells."""
    spec = exported(tiny).artifact.meta.spec
    spec = replace(spec, input=replace(spec.input, dtype=dtype, layout=layout))  # type: ignore[arg-type]

    tensor = tensor_from_pixels(IMAGES, spec)

    assert tensor.dtype == dtype
    assert tensor.shape == spec.input.shape(2)
    assert tensor.flags.c_contiguous
    last = tensor if layout == "NHWC" else tensor.transpose(0, 2, 3, 1)
    scale = 1 if dtype == "uint8" else 255
    np.testing.assert_allclose(last * float(scale), IMAGES, atol=1e-4)


def test_proof_leaves_no_file_beside_the_artifact(tiny: TinyCheckpoint, expected: RawMaps) -> None:
    """The copy that is looked into is gone afterwards."""
    artifact = exported(tiny).artifact
    before = names_in(tiny.path.parent)

    prove_artifact(artifact, IMAGES, expected, note=silent)

    assert names_in(tiny.path.parent) == before
