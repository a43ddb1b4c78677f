"""The head in ONNX Runtime, against the NumPy reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph.tiny_graphs import map_feed, random_maps, raw_passthrough, tiny_spec
from yolor_deploy.core.artifact import output_names
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, HeadLevel, NmsConfig
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions

FloatArray = npt.NDArray[np.float32]
Maps = list[FloatArray]
f32 = np.float32

NAMES = output_names("detections", num_levels=0)
MAX_SCORE_ERROR = 1e-6
MAX_BOX_ERROR_PX = 1e-3

CONFIGS = st.builds(
    NmsConfig,
    score_threshold=st.sampled_from([0.003, 0.1, 0.25, 0.6]),
    iou_threshold=st.sampled_from([0.0, 0.2, 0.45, 0.65, 1.0]),
    max_detections=st.sampled_from([1, 10, 100, 700]),
    max_candidates=st.sampled_from([1, 7, 40, 30_000]),
    multi_label=st.booleans(),
    class_agnostic=st.booleans(),
)
SPECS = st.builds(
    tiny_spec,
    num_classes=st.sampled_from([1, 2, 3, 7, 20]),
    levels=st.sampled_from([1, 2, 3, 4]),
    size=st.sampled_from([(64, 64), (64, 128)]),
)


def inference_session(
    model: ir.Model, *, optimise: bool = True
) -> Callable[[dict[str, Array]], RawOutput]:
    """Return a function that runs the model on inputs by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    names = [value.name for value in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def detect(maps: Maps, spec: DetectorSpec, nms: NmsConfig) -> RawOutput:
    """Return the outputs of a graph that consists of the head."""
    model = raw_passthrough(spec)
    attach_nms(model, spec, nms)
    return inference_session(model)(map_feed(maps))


def predict(maps: Maps, spec: DetectorSpec) -> FloatArray:
    """Return ``predictions`` of a graph that consists of the decoding."""
    model = raw_passthrough(spec)
    attach_predictions(model, spec)
    return np.asarray(inference_session(model)(map_feed(maps))["predictions"])


def coarse_maps(spec: DetectorSpec, *, batch: int, seed: int, damage: float) -> Maps:
    """Return logits of few values, so that equal scores are frequent, some NaN or infinite."""
    rng = np.random.default_rng(seed)
    maps = random_maps(spec, batch=batch, rng=rng)
    for raw in maps:
        np.copyto(raw, np.round(raw * 2) / 2)
        is_damaged = rng.random(raw.shape) < damage
        raw[is_damaged] = rng.choice([np.nan, np.inf, -np.inf], is_damaged.sum())
    return maps


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    spec=SPECS,
    nms=CONFIGS,
    batch=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    damage=st.sampled_from([0.0, 0.02]),
)
def test_suppression_is_that_of_the_reference_to_the_bit(
    spec: DetectorSpec, nms: NmsConfig, batch: int, seed: int, damage: float
) -> None:
    """Given what ONNX Runtime decoded, the reference selects the very rows that the graph does."""
    maps = coarse_maps(spec, batch=batch, seed=seed, damage=damage)

    outputs = detect(maps, spec, nms)

    expected = non_max_suppression(predict(maps, spec), nms)
    for name in NAMES:
        assert outputs[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(outputs[name], expected[name], err_msg=name)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(spec=SPECS, batch=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_decoding_is_that_of_the_reference(spec: DetectorSpec, batch: int, seed: int) -> None:
    """Decoded values agree within rounding, and are NaN in the same places."""
    maps = coarse_maps(spec, batch=batch, seed=seed, damage=0.02)

    predictions = predict(maps, spec)

    expected = predictions_from_raw(maps, spec)
    np.testing.assert_allclose(predictions[..., 4:], expected[..., 4:], atol=MAX_SCORE_ERROR)
    np.testing.assert_allclose(predictions[..., :4], expected[..., :4], atol=MAX_BOX_ERROR_PX)


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("class_agnostic", [True, False])
@pytest.mark.parametrize(
    ("num_classes", "score_threshold"), [(1, 0.1), (4, 0.3), (20, 0.75)], ids=str
)
def test_detections_are_those_of_the_reference(
    num_classes: int, score_threshold: float, class_agnostic: bool, multi_label: bool
) -> None:
    """From raw maps on, every row of every image agrees, but for images with a close call."""
    spec = tiny_spec(num_classes=num_classes, levels=3)
    nms = NmsConfig(score_threshold, 0.45, 60, 80, multi_label, class_agnostic)
    rng = np.random.default_rng(num_classes)
    maps = random_maps(spec, batch=40, rng=rng)

    outputs = detect(maps, spec, nms)

    exact = predictions_from_raw([raw.astype(np.float64) for raw in maps], spec)
    is_clear = np.array([not has_close_call(image, nms) for image in exact])
    expected = non_max_suppression(predictions_from_raw(maps, spec), nms)
    assert is_clear.mean() > 0.6, "too few images are left to say anything"
    assert expected["num_detections"][is_clear].min() > 0
    for name in ("num_detections", "class_ids"):
        np.testing.assert_array_equal(outputs[name][is_clear], expected[name][is_clear])
    for name, error in (("scores", MAX_SCORE_ERROR), ("boxes_xyxy", MAX_BOX_ERROR_PX)):
        np.testing.assert_allclose(
            outputs[name][is_clear], expected[name][is_clear], rtol=0, atol=error
        )


@pytest.mark.parametrize("class_agnostic", [True, False])
def test_images_of_a_batch_do_not_influence_each_other(class_agnostic: bool) -> None:
    """A permuted batch gives the permuted results, and a single image its own."""
    spec = tiny_spec(num_classes=3, levels=2)
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig(class_agnostic=class_agnostic))
    run = inference_session(model)
    maps = random_maps(spec, batch=4, rng=np.random.default_rng(0))
    order = [2, 0, 3, 1]

    together = run(map_feed(maps))
    permuted = run(map_feed([raw[order] for raw in maps]))
    alone = [run(map_feed([raw[i : i + 1] for raw in maps])) for i in range(4)]

    assert len(set(together["num_detections"].ravel())) > 1
    for name in NAMES:
        np.testing.assert_array_equal(permuted[name], together[name][order])
        np.testing.assert_array_equal(np.concatenate([o[name] for o in alone]), together[name])


def test_thresholds_change_at_run_time() -> None:
    """Each threshold given to a run replaces the default for that run only."""
    spec = tiny_spec(num_classes=2, levels=2)
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig(score_threshold=0.5, iou_threshold=0.5))
    run = inference_session(model)
    feed = map_feed(random_maps(spec, batch=2, rng=np.random.default_rng(0)))
    predictions = predict(list(feed.values()), spec)

    for score, iou in ((0.5, 0.5), (0.0, 1.0), (0.05, 0.1), (1.0, 0.5), (0.5, 0.5)):
        thresholds = {
            "score_threshold": np.array([score], f32),
            "iou_threshold": np.array([iou], f32),
        }
        outputs = run({**feed, **thresholds})

        expected = non_max_suppression(predictions, NmsConfig(score, iou))
        for name in NAMES:
            np.testing.assert_array_equal(outputs[name], expected[name])
    default = run(feed)
    np.testing.assert_array_equal(default["scores"], outputs["scores"])


@pytest.mark.parametrize(
    ("score_threshold", "num_kept"),
    [
        pytest.param(0.5, 0, id="equal-is-dropped"),
        pytest.param(np.nextafter(f32(0.5), f32(0)), 2, id="just-above-is-kept"),
    ],
)
def test_score_equal_to_the_threshold_is_dropped(score_threshold: float, num_kept: int) -> None:
    """The score, here exactly one half, must be greater than the threshold."""
    spec, maps = overlapping_pair()
    nms = NmsConfig(score_threshold=float(score_threshold), iou_threshold=1.0)

    outputs = detect(maps, spec, nms)

    np.testing.assert_array_equal(outputs["num_detections"], [[num_kept]])
    assert (outputs["scores"][0, :num_kept] == 0.5).all()


@pytest.mark.parametrize(
    ("iou_threshold", "num_kept"),
    [
        pytest.param(0.5, 2, id="equal-is-kept"),
        pytest.param(np.nextafter(f32(0.5), f32(0)), 1, id="just-above-is-suppressed"),
    ],
)
def test_overlap_equal_to_the_threshold_is_kept(iou_threshold: float, num_kept: int) -> None:
    """The IoU, here exactly one half, must be greater than the threshold to suppress."""
    spec, maps = overlapping_pair()

    outputs = detect(maps, spec, NmsConfig(iou_threshold=float(iou_threshold)))

    np.testing.assert_array_equal(outputs["num_detections"], [[num_kept]])
    np.testing.assert_array_equal(outputs["boxes_xyxy"][0, 0], [-8, 0, 16, 8])


def test_boxes_without_area_are_all_kept() -> None:
    """Boxes of width zero overlap nothing, though they lie on each other."""
    spec, maps = overlapping_pair()
    maps[0][:, 2] = -np.inf

    outputs = detect(maps, spec, NmsConfig(iou_threshold=0.0))

    np.testing.assert_array_equal(outputs["num_detections"], [[2]])


def test_no_candidate_gives_zeros() -> None:
    """An image without candidates has no detections, beside one that has some."""
    spec = tiny_spec(num_classes=3, levels=2)
    maps = random_maps(spec, batch=2, rng=np.random.default_rng(0))
    for raw in maps:
        raw[1] = -30

    outputs = detect(maps, spec, NmsConfig())

    assert outputs["num_detections"][0, 0] > 0
    assert not any(outputs[name][1].any() for name in NAMES)


def test_nan_everywhere_gives_zeros() -> None:
    """A network that computes NaN detects nothing."""
    spec = tiny_spec(num_classes=3, levels=2)
    maps = [np.full_like(raw, np.nan) for raw in random_maps(spec, batch=1, rng=_rng())]

    outputs = detect(maps, spec, NmsConfig(score_threshold=0.0))

    assert not any(outputs[name].any() for name in NAMES)


def test_one_spot_leaves_one_box() -> None:
    """Where all boxes are the same, all but the first of the best are suppressed."""
    spec, maps = overlapping_pair()
    spec = replace(spec, levels=(HeadLevel(8, ((24.0, 8.0),) * 5),))
    maps = [np.tile(maps[0][:, :, :, :1], (1, 5, 1, 1))]
    spec = replace(spec, input=replace(spec.input, width=8))

    outputs = detect(maps, spec, NmsConfig())

    np.testing.assert_array_equal(outputs["num_detections"], [[1]])


@pytest.mark.parametrize("num_classes", [1, 3])
def test_fewer_pairs_than_slots_are_padded(num_classes: int) -> None:
    """A grid with fewer pairs than ``max_detections`` still gives that many slots."""
    spec = tiny_spec(num_classes=num_classes, levels=1, size=(8, 16))
    maps = random_maps(spec, batch=2, rng=_rng())
    nms = NmsConfig(score_threshold=0.0, max_detections=300)

    outputs = detect(maps, spec, nms)

    assert outputs["boxes_xyxy"].shape == (2, 300, 4)
    expected = non_max_suppression(predict(maps, spec), nms)
    for name in NAMES:
        np.testing.assert_array_equal(outputs[name], expected[name])


def test_half_precision_maps_are_decoded_in_float32() -> None:
    """Maps of a float16 network give boxes that float16 could not hold."""
    spec = tiny_spec(num_classes=2, levels=2)
    maps = [raw.astype(np.float16) for raw in random_maps(spec, batch=1, rng=_rng())]
    model = raw_passthrough(spec)
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.dtype = ir.DataType.FLOAT16
    attach_nms(model, spec, NmsConfig())

    outputs = inference_session(model)(map_feed(maps))

    expected = detect([raw.astype(f32) for raw in maps], spec, NmsConfig())
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for name in NAMES:
        np.testing.assert_array_equal(outputs[name], expected[name])


@pytest.mark.parametrize("size", [20, 3000, 200_000])
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_topk_of_the_runtime_ranks_equal_scores_by_index(size: int, share: float) -> None:
    """The order that the head relies on holds for each algorithm that the runtime may choose."""
    run = _topk()
    scores = np.random.default_rng(size).integers(0, 5, (2, size)).astype(f32)
    k = max(1, int(size * share))

    outputs = run({"scores": scores, "k": np.array([k], np.int64)})

    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(outputs["index"], expected)


def test_function_means_the_same_without_optimisation() -> None:
    """Rewrites of the runtime do not carry the result."""
    spec = tiny_spec(num_classes=3, levels=2)
    model = raw_passthrough(spec)
    attach_nms(model, spec, NmsConfig())
    feed = map_feed(random_maps(spec, batch=2, rng=_rng()))

    plain = inference_session(model, optimise=False)(feed)

    optimised = inference_session(model)(feed)
    for name in NAMES:
        np.testing.assert_array_equal(plain[name], optimised[name])


def has_close_call(predictions: npt.NDArray[np.float64], nms: NmsConfig) -> bool:
    """Whether rounding in float32 may change what is kept of one image.

    So it is if, in float64, a score is within twice the permitted error of the threshold or of a
    score that is not equal to it, or an overlap that matters within 1e-5 of its threshold.
    """
    scores = (predictions[:, 4:5] * predictions[:, 5:]).ravel()
    margin = 2 * MAX_SCORE_ERROR
    if (np.abs(scores - nms.score_threshold) < margin).any():
        return True
    ids = np.flatnonzero(scores > nms.score_threshold)
    gaps = np.diff(np.sort(scores[ids]))
    if ((gaps > 0) & (gaps < margin)).any():
        return True
    box_ids, class_ids = np.divmod(ids, predictions.shape[1] - 5)
    centre, half = predictions[box_ids, :2], predictions[box_ids, 2:4] / 2
    low = np.maximum((centre - half)[:, None], (centre - half)[None])
    high = np.minimum((centre + half)[:, None], (centre + half)[None])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    area = np.prod(half * 2, axis=-1)
    iou = intersection / (area[:, None] + area[None] - intersection)
    matters = nms.class_agnostic | (class_ids[:, None] == class_ids[None])
    return bool(((np.abs(iou - nms.iou_threshold) < 1e-5) & matters).any())


def overlapping_pair() -> tuple[DetectorSpec, Maps]:
    """Return two boxes of 24 x 8 px, 8 px apart: an IoU of one half, scores of one half."""
    spec = tiny_spec(num_classes=1, levels=1, size=(8, 16))
    spec = replace(spec, levels=(HeadLevel(8, ((24.0, 8.0),)),))
    raw = np.zeros((1, 6, 1, 2), f32)
    raw[:, 4] = np.inf
    return spec, [raw]


@lru_cache
def _topk() -> Callable[[dict[str, Array]], RawOutput]:
    text = """<ir_version: 8, opset_import: ["": 17]>
    topk (float[n, size] scores, int64[1] k) => (float[n, m] value, int64[n, m] index) {
      value, index = TopK<axis: int = 1>(scores, k)
    }"""
    return inference_session(ir.from_proto(onnx.parser.parse_model(text)))


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)
