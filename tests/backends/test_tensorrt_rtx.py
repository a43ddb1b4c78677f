"""TensorRT-RTX reads and builds whatever `build` writes, without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import onnx
import pytest

from tests.backends.rtx_models import EXPORTS, PRECISIONS, TARGETS, built
from tests.calibration_sets import folder_of
from yolor_deploy.backends.tensorrt.targets import supports
from yolor_deploy.backends.tensorrt_rtx.build import build_plan, build_with_report
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.precision import Precision

TYPES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "FLOAT"}  # bfloat16 is cast for the NMS kernels
SCALES_ARE_FLOAT = {
    "(foreignNode) Converting conv activation scales to fp32.",
    "(foreignNode) Converting conv weight scales to fp32.",
}
"""Logged for every convolution in int8 whose scales have 16 bits, as those of its network have."""
CASES = [
    (name, kind)
    for name in EXPORTS
    for kind in PRECISIONS
    if name == "shapes" or "+bf16" not in kind
]
"""Everything on the shapes detector; 8 bits in bfloat16, which few want, on no other."""

Export = Callable[[str], Artifact]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures to calibrate by."""
    return folder_of(tmp_path_factory.mktemp("images"), 2)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exports by name, each made once."""
    return cache(lambda name: EXPORTS[name](tmp_path_factory.mktemp(name)))


def targets_of(precision: Precision) -> list[str]:
    """Return the targets that have the types of a precision."""
    return [capability for capability in TARGETS if supports(precision, capability)]


@pytest.mark.tensorrt_rtx
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_precision_builds_for_all_targets(
    export: Export, images: Path, name: str, kind: str
) -> None:
    """One plan serves all targets that have the types; it ends in the raw maps of the network."""
    precision = PRECISIONS[kind]
    artifact = built(export(name), precision, images)

    result = build_with_report(artifact, compute_capabilities=targets_of(precision), timeout_s=60)

    levels = len(artifact.meta.spec.levels)
    base = "fp32" if artifact.meta.output == "raw" else precision.base
    assert {name: kind for name, (kind, _) in result.report.outputs.items()} == {
        f"raw_{level}": TYPES[base] for level in range(levels)
    }
    assert result.report.layers >= convolutions_of(artifact)
    assert len(result.plan) > weights_of(artifact)
    has_half_scales = precision.quantised == "int8" and precision.base != "fp32"
    assert set(result.report.warnings) == (SCALES_ARE_FLOAT if has_half_scales else set())


@pytest.mark.tensorrt_rtx
@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_every_type_builds_for_each_target_alone(export: Export, images: Path, name: str) -> None:
    """No target hides behind another."""
    precision = PRECISIONS[name]
    artifact = built(export("darknet-silu-detections"), precision, images)

    sizes = [
        len(build_plan(artifact, compute_capabilities=[target], timeout_s=60))
        for target in targets_of(precision)
    ]

    assert len(sizes) == (2 if precision.quantised == "fp8" else 4)
    assert min(sizes) > weights_of(artifact)


@pytest.mark.tensorrt_rtx
def test_export_builds_as_it_is(export: Export) -> None:
    """What `export` wrote needs no `build` first, and stays as it is."""
    artifact = export("darknet-silu-detections")
    before = artifact.path.read_bytes()

    plan = build_plan(artifact, compute_capabilities=TARGETS, timeout_s=60)

    assert len(plan) > weights_of(artifact)
    assert artifact.path.read_bytes() == before


def convolutions_of(artifact: Artifact) -> int:
    """Return how many convolutions a file has."""
    return sum(node.op_type == "Conv" for node in onnx.load(artifact.path).graph.node)


def weights_of(artifact: Artifact) -> int:
    """Return the bytes of the largest weight of a file: a plan without it is none."""
    return max(len(tensor.raw_data) for tensor in onnx.load(artifact.path).graph.initializer)
