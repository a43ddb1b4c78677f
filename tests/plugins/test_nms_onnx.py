"""The plugin against the meaning that is in the file: the ONNX function, run by ONNX Runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from benchmarks.shapes.generate import scene
from tests.exports import silent, stock_session
from tests.graph.tiny_graphs import map_feed, raw_passthrough, tiny_spec
from tests.plugins.test_nms_host import drawn_maps
from tests.rows import assert_same_rows
from yolor_deploy import pipeline
from yolor_deploy.backends import open_for_accuracy
from yolor_deploy.core.image import letterbox, tensor_from_images
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.graph.nms_head import attach_nms
from yolor_deploy.pipeline import ExportConfig

pytestmark = pytest.mark.nms_build

CONFIG = NmsConfig(score_threshold=0.1, max_detections=60)
SHAPES = Path(__file__).parents[2] / "examples" / "shapes"


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(CONFIG, id="default"),
        pytest.param(dataclasses.replace(CONFIG, multi_label=False), id="best-class"),
        pytest.param(dataclasses.replace(CONFIG, class_agnostic=True), id="class-agnostic"),
        pytest.param(dataclasses.replace(CONFIG, max_candidates=50), id="overfull"),
    ],
)
def test_host_build_has_the_rows_of_the_onnx_function(
    host_library_path: Path, tmp_path: Path, config: NmsConfig
) -> None:
    """What TensorRT runs by the plugin, any other runtime runs by the function: the same rows."""
    library = NmsLibrary(host_library_path)
    spec = tiny_spec(levels=3, size=(128, 192))
    model = raw_passthrough(spec)
    attach_nms(model, spec, config)
    path = tmp_path / "head.onnx"
    onnx.save(ir.to_proto(model), path)
    session = stock_session(path)
    names = [value.name for value in session.get_outputs()]
    total = 0
    for seed in range(8):
        maps = drawn_maps(spec, seed)

        found = library.detect(maps, spec, config)

        expected = dict(zip(names, session.run(None, map_feed(maps)), strict=True))
        total += assert_same_rows(found, expected, config)
    assert total > 200


def test_host_build_has_the_rows_of_an_exported_detector(
    host_library_path: Path, tmp_path: Path
) -> None:
    """On pictures of a trained detector the plugin finds what the exported file finds."""
    library = NmsLibrary(host_library_path)
    artifact = pipeline.export(
        ExportConfig(
            str(SHAPES / "shapes.pt"),
            cfg=str(SHAPES / "shapes.cfg"),
            output=tmp_path / "shapes.onnx",
            nms=NmsConfig(score_threshold=0.05),
        ),
        note=silent,
    ).artifact
    spec, nms = artifact.meta.spec, artifact.meta.nms
    assert nms is not None
    size = (spec.input.height, spec.input.width)
    session = open_for_accuracy(artifact, with_raw=True)
    total = 0
    for index in range(12):
        picture, _ = letterbox(scene("val", index).picture, *size, rule=spec.letterbox)

        expected = session.run(tensor_from_images([picture], spec.input))

        raw = [expected[f"raw_{level}"] for level in range(len(spec.levels))]
        total += assert_same_rows(library.detect(raw, spec, nms), expected, nms)
    assert total > 30
