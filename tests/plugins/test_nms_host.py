"""The host build of the plugin, against what YolorNMS means."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.graph.tiny_graphs import tiny_spec
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.errors import RunError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.structs import INTERFACE_VERSION, MapFormat
from yolor_deploy.measure.matching import compare_rows, rows_of_image
from yolor_deploy.measure.parity import Tolerance

pytestmark = pytest.mark.nms_build

CONFIG = NmsConfig(score_threshold=0.1, max_detections=40)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 88.75, -88.75, 104.5, -104.5, 3e38], np.float32)


@pytest.fixture(scope="module")
def library(host_library_path: Path) -> NmsLibrary:
    """Return the library, built here."""
    return NmsLibrary(host_library_path)


def drawn_maps(spec: DetectorSpec, seed: int, *, batch: int = 2, kind: str = "any") -> list[Array]:
    """Return random logits: of any value, of few values, or with infinities and NaN."""
    rng = np.random.default_rng(seed)
    maps: list[Array] = []
    for level in spec.levels:
        raw = rng.normal(0, 2, (batch, *spec.head_shape(level))).astype(np.float32)
        if kind == "ties":
            raw = np.rint(raw)
        if kind == "special":
            raw = np.where(rng.random(raw.shape) < 0.05, rng.choice(SPECIAL, raw.shape), raw)
        maps.append(raw)
    return maps


def assert_same_bits(found: RawOutput, expected: RawOutput) -> None:
    """Fail unless every bit of every output is equal."""
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("kind", ["any", "ties", "special"])
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(CONFIG, id="default"),
        pytest.param(dataclasses.replace(CONFIG, multi_label=False), id="best-class"),
        pytest.param(dataclasses.replace(CONFIG, class_agnostic=True), id="class-agnostic"),
        pytest.param(dataclasses.replace(CONFIG, max_candidates=9), id="overfull"),
        pytest.param(dataclasses.replace(CONFIG, score_threshold=1.0), id="nothing"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_host_build_returns_the_bits_of_the_reference(
    library: NmsLibrary, kind: str, config: NmsConfig, dtype: type[np.floating]
) -> None:
    """The plugin and the NumPy reference agree in every bit of every output."""
    for seed in range(10):
        spec = tiny_spec(num_classes=(1, 3, 20)[seed % 3], levels=1 + seed % 4, size=(64, 128))
        with np.errstate(over="ignore"):
            maps = [raw.astype(dtype) for raw in drawn_maps(spec, seed, kind=kind)]

        found = library.detect(maps, spec, config)

        assert_same_bits(found, exact_detections(maps, spec, config))


def test_host_build_decodes_every_anchor_to_the_bit(library: NmsLibrary) -> None:
    """Where every pair is kept, all of 17 000 boxes and scores are those of the reference."""
    spec = tiny_spec(num_classes=2, levels=4, size=(448, 512))
    config = NmsConfig(0.0, 1.0, max_detections=30_000, max_candidates=30_000)
    maps = [raw * np.float32(3.0) for raw in drawn_maps(spec, 5, batch=1)]

    found = library.detect(maps, spec, config)

    assert found["num_detections"].item() == 2 * spec.num_boxes
    assert_same_bits(found, exact_detections(maps, spec, config))


@pytest.mark.parametrize("multi_label", [True, False])
def test_host_build_is_close_to_ordinary_decoding(library: NmsLibrary, multi_label: bool) -> None:
    """Rows equal those with NumPy's own exp within 1e-6 in score and 1e-3 pixels."""
    config = dataclasses.replace(CONFIG, multi_label=multi_label)
    spec = tiny_spec(levels=3, size=(128, 192))
    for seed in range(10):
        maps = drawn_maps(spec, seed)

        found = library.detect(maps, spec, config)

        expected = non_max_suppression(predictions_from_raw(maps, spec), config)
        for image in range(2):
            parity = compare_rows(
                "nms",
                rows_of_image(found, image),
                rows_of_image(expected, image),
                nms=config,
                boxes_px=Tolerance(1e-3, 0.0),
                scores=Tolerance(1e-6, 0.0),
            )
            assert parity.values > 0
            assert parity.passed, parity.note


def test_host_build_names_the_bad_argument(library: NmsLibrary) -> None:
    """A map with other channels than the detector has is refused."""
    spec = tiny_spec()
    maps = [raw[:, 1:] for raw in drawn_maps(spec, 0)]

    with pytest.raises(RunError, match=r"channels is not num_anchors \* \(5 \+ num_classes\)"):
        library.detect(maps, spec, CONFIG)


def test_host_build_reads_channel_last_maps(library: NmsLibrary) -> None:
    """HWC8 maps give the rows of the same maps as NCHW, whatever is in their padding."""
    spec = tiny_spec(levels=3, size=(64, 128))
    with np.errstate(over="ignore"):
        planar = [raw.astype(np.float16) for raw in drawn_maps(spec, 4, kind="special")]
    pixels = []
    for raw in planar:
        padded = np.full((*raw[:, 0].shape, -(-raw.shape[1] // 8) * 8), np.nan, np.float16)
        padded[..., : raw.shape[1]] = raw.transpose(0, 2, 3, 1)
        pixels.append(padded)

    found = library.detect(pixels, spec, CONFIG, map_format=MapFormat("float16", "HWC8"))

    assert found["num_detections"].sum() > 0
    assert_same_bits(found, library.detect(planar, spec, CONFIG))


def test_host_build_ignores_masked_classes(library: NmsLibrary) -> None:
    """A class that is masked in one image is found in the other only."""
    spec = tiny_spec(num_classes=2)
    maps = drawn_maps(spec, 2)

    found = library.detect(maps, spec, CONFIG, class_mask=np.array([[0, 1], [1, 1]], np.uint8))

    first, second = (rows_of_image(found, image).class_ids.tolist() for image in range(2))
    assert set(first) == {1}
    assert set(second) == {0, 1}


def test_host_build_has_no_machine_code_for_a_gpu(library: NmsLibrary) -> None:
    """A library that was built without CUDA says so."""
    assert library.cuda_architectures == ()
    assert library.version == INTERFACE_VERSION
