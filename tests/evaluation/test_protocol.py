"""The authors' AP test, as far as a square artifact can follow it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.coco import Box, planting, session_of, write_coco
from tests.sessions import artifact
from yolor_deploy.core.artifact import ArtifactMeta
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.resize_area import resize_area
from yolor_deploy.core.spec import HeadLevel, InputSpec, NmsConfig
from yolor_deploy.evaluation.protocol import Protocol, resize_long_side, yolor_protocol
from yolor_deploy.evaluation.run import EvalConfig, evaluate

NMS = NmsConfig(max_detections=300)


def meta_of(
    size: int,
    *,
    stride: int = 64,
    family: str = "yaml",
    variant: str = "custom",
    classes: int = 80,
    width: int | None = None,
    nms: NmsConfig = NMS,
) -> ArtifactMeta:
    """Return metadata of a detector of that input size and largest stride."""
    meta = artifact().meta
    spec = replace(
        meta.spec,
        family=family,
        variant=variant,
        class_names=tuple(f"class {k}" for k in range(classes)),
        levels=(HeadLevel(8, ((9.0, 9.0),)), HeadLevel(stride, ((90.0, 90.0),))),
        input=InputSpec(height=size, width=width or size),
    )
    return replace(meta, spec=spec, nms=nms)


@pytest.mark.parametrize(
    ("meta", "nominal"),
    [
        pytest.param(meta_of(1344, variant="yolor-p6"), 1280, id="yolor-p6"),
        pytest.param(meta_of(1664, stride=128, variant="yolov4-p7"), 1536, id="yolov4-p7"),
        pytest.param(meta_of(928, stride=32, variant="yolov4-p5"), 896, id="yolov4-p5"),
        pytest.param(
            meta_of(704, stride=32, family="darknet", variant="yolor_csp"), 640, id="yolor_csp"
        ),
        pytest.param(meta_of(320, stride=32, classes=3), 288, id="custom"),
        pytest.param(
            meta_of(384, stride=32, family="darknet", variant="yolor_csp", classes=3),
            320,
            id="published-structure-of-other-classes",
        ),
    ],
)
def test_yolor_protocol_has_the_sizes_of_the_authors(meta: ArtifactMeta, nominal: int) -> None:
    """The nominal size is a step less than the input: of the stride, or of 64 for a cfg."""
    protocol = yolor_protocol(meta, where="model.onnx")

    assert protocol.nominal_size == nominal
    assert protocol.input_height == protocol.input_width == meta.spec.input.height
    assert (protocol.scale_up, protocol.pad_value) == (False, 114)
    assert "rectangular batches" in protocol.notes[0]


@pytest.mark.parametrize(
    ("meta", "problem", "hint"),
    [
        pytest.param(
            meta_of(1280, variant="yolor-p6"), "yolor-p6 at 1344x1344", "--size 1344", id="native"
        ),
        pytest.param(
            meta_of(1408, variant="yolor-p6"), "yolor-p6 at 1344x1344", "--size 1344", id="other"
        ),
        pytest.param(meta_of(1280), "a nominal size", "--size 1344", id="custom-1280"),
        pytest.param(meta_of(1536, stride=128), "nominal size", "--size 1664", id="custom-1536"),
        pytest.param(meta_of(896, stride=32), "nominal size", "--size 928", id="custom-896"),
        pytest.param(
            meta_of(640, stride=32, family="darknet"), "nominal", "--size 704", id="custom-640"
        ),
        pytest.param(
            meta_of(672, stride=32, family="darknet"), "multiple of 64", "--size 640", id="odd"
        ),
        pytest.param(meta_of(64), "from 128 on", "--size 128", id="nothing-left"),
        pytest.param(meta_of(768, width=1344), "768x1344", "one number", id="not-square"),
        pytest.param(
            meta_of(1344, nms=NmsConfig(max_detections=100)),
            "max_detections is 100, expected 300",
            "--max-detections 300",
            id="detections",
        ),
        pytest.param(
            meta_of(1344, nms=NmsConfig(max_candidates=5000)),
            "max_candidates is 5000",
            "--max-candidates 30000",
            id="candidates",
        ),
        pytest.param(
            meta_of(1344, nms=NmsConfig(multi_label=False)),
            "multi_label is False",
            "--multi-label",
            id="best-class",
        ),
        pytest.param(
            meta_of(1344, nms=NmsConfig(class_agnostic=True)),
            "class_agnostic is True",
            "--protocol letterbox",
            id="agnostic",
        ),
    ],
)
def test_yolor_protocol_refuses_what_the_authors_do_not_test(
    meta: ArtifactMeta, problem: str, hint: str
) -> None:
    """Another size or another suppression is refused, with the option that mends it."""
    with pytest.raises(EvaluationError, match=problem) as caught:
        yolor_protocol(meta, where="model.onnx")

    assert hint in caught.value.hint
    assert caught.value.where == "model.onnx"


def test_eval_config_refuses_other_thresholds_with_the_yolor_protocol() -> None:
    """The authors' test has thresholds of its own."""
    with pytest.raises(EvaluationError, match=r"thresholds are 0\.25 .* expected 0\.001"):
        EvalConfig(Path("a.json"), Path("images"), score_threshold=0.25, protocol="yolor")


def test_resize_long_side_takes_means_when_shrinking() -> None:
    """Sides are cut to whole pixels: 33 rows by 96 / 200 are 15, not 16."""
    image = np.random.default_rng(0).integers(0, 256, (33, 200, 3), dtype=np.uint8)

    result = resize_long_side(image, 96)

    assert result.shape == (15, 96, 3)
    assert np.array_equal(result, resize_area(image, 15, 96))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((31, 50), (59, 96), id="enlarged"),
        pytest.param((96, 40), (96, 40), id="as-it-is"),
        pytest.param((1, 4000), (1, 96), id="a-row-is-kept"),
        pytest.param((50, 5000), (1, 95), id="cut-after-rounding"),  # 5000 * (96 / 5000) < 96
    ],
)
def test_resize_long_side_of_other_sizes(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    """Small images are enlarged, and nothing vanishes."""
    assert resize_long_side(np.zeros((*shape, 3), np.uint8), 96).shape == (*expected, 3)


def test_yolor_placement_has_a_border_on_every_side() -> None:
    """The image is as large as its nominal size, in the middle of a larger grey square."""
    protocol = yolor_protocol(meta_of(128, stride=32), where="model.onnx")  # nominal 96

    placed, _ = protocol.placement()(np.full((20, 40, 3), 200, np.uint8))

    assert placed.shape == (128, 128, 3)
    assert (placed[40:88, 16:112] == 200).all()
    assert (placed == 114).sum() == (128 * 128 - 48 * 96) * 3


@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_yolor_placement_maps_the_image_to_itself(height: int, width: int) -> None:
    """The corners of the placed image go back to those of the file exactly, on both axes."""
    protocol = Protocol("yolor", 128, 128, nominal_size=96, scale_up=False, pad_value=114)
    resized = resize_long_side(np.zeros((height, width, 3), np.uint8), 96).shape

    _, transform = protocol.placement()(np.zeros((height, width, 3), np.uint8))

    left, top = (128 - resized[1]) / 2, (128 - resized[0]) / 2
    corners = np.array([[left, top, left + resized[1], top + resized[0]]], np.float32)
    np.testing.assert_allclose(transform.to_original(corners), [[0, 0, width, height]], atol=1e-4)


def test_evaluate_by_the_yolor_protocol(tmp_path: Path) -> None:
    """Boxes come back from an input that was resized twice, and the report says by what."""
    box: Box = (20, 10, 60, 30)
    data = write_coco(tmp_path / "data", [[(box, 0)]], names=["class 0"], size=(40, 80))
    like = replace(artifact(), meta=meta_of(128, stride=32, classes=1))
    # gain 1.2 to 96 x 48, then borders of 16 and 40
    found: Box = (20 * 1.2 + 16, 10 * 1.2 + 40, 60 * 1.2 + 16, 30 * 1.2 + 40)
    session = session_of(planting({0: [(found, 0.9, 0)]}), like)

    result = evaluate(
        session, EvalConfig(data.annotations, data.images, protocol="yolor", bootstrap=0)
    )

    assert result.rows[0]["bbox"] == pytest.approx([20, 10, 40, 20], abs=1e-4)
    assert result.accuracy.ap == pytest.approx(1)
    assert result.protocol.nominal_size == 96
