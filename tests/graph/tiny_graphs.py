"""Models of a few nodes that end in raw head maps, for tests of heads and of backends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from yolor_deploy.core.artifact import METADATA_KEY, Artifact, ArtifactMeta
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import (
    BatchRange,
    DetectorSpec,
    HeadLevel,
    InputSpec,
    NmsConfig,
    OutputKind,
)
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions

FloatArray = npt.NDArray[np.float32]

ANCHORS_PX = (
    ((10.0, 14.0), (23.0, 27.0)),
    ((37.0, 58.0),),
    ((81.0, 82.0), (60.0, 40.5)),
    ((90.0, 150.0),),
)
STRIDES = (8, 16, 32, 64)


def tiny_spec(
    *,
    num_classes: int = 3,
    levels: int = 2,
    size: tuple[int, int] = (32, 64),
    batch: BatchRange | None = None,
) -> DetectorSpec:
    """Return a detector of up to four levels with different numbers of anchors."""
    return DetectorSpec(
        family="test",
        variant="custom",
        class_names=tuple(f"class {index}" for index in range(num_classes)),
        levels=tuple(
            HeadLevel(stride, anchors)
            for stride, anchors in zip(STRIDES[:levels], ANCHORS_PX[:levels], strict=True)
        ),
        input=InputSpec(*size, batch=batch or BatchRange(1, 1, 8)),
    )


def raw_passthrough(spec: DetectorSpec) -> ir.Model:
    """Return a network whose outputs ``raw_0 ..`` are its inputs ``map_0 ..``, of any batch."""
    shapes: list[list[str | int | None]] = [
        ["batch", *spec.head_shape(level)] for level in spec.levels
    ]
    inputs, outputs = (
        [
            helper.make_tensor_value_info(f"{name}_{i}", TensorProto.FLOAT, shape)
            for i, shape in enumerate(shapes)
        ]
        for name in ("map", "raw")
    )
    nodes = [
        helper.make_node("Identity", [f"map_{i}"], [f"raw_{i}"], name=f"/head/{i}")
        for i in range(len(shapes))
    ]
    return _model(helper.make_graph(nodes, "maps", inputs, outputs))


def convolution_net(spec: DetectorSpec, *, seed: int = 0) -> ir.Model:
    """Return a network of one strided convolution a level, from ``images`` to ``raw_0 ..``."""
    rng = np.random.default_rng(seed)
    batch: int | str = spec.input.batch.maximum if spec.input.batch.is_static else "batch"
    images = helper.make_tensor_value_info(
        "images", TensorProto.FLOAT, [batch, *spec.input.shape(1)[1:]]
    )
    nodes, weights, outputs = [], [], []
    for i, level in enumerate(spec.levels):
        channels, height, width = spec.head_shape(level)
        kernel = rng.normal(0, 0.3, (channels, 3, level.stride, level.stride)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"weight_{i}"))
        nodes.append(
            helper.make_node(
                "Conv",
                ["images", f"weight_{i}"],
                [f"raw_{i}"],
                name=f"/head/{i}/Conv",
                strides=[level.stride] * 2,
            )
        )
        outputs.append(
            helper.make_tensor_value_info(
                f"raw_{i}", TensorProto.FLOAT, [batch, channels, height, width]
            )
        )
    return _model(helper.make_graph(nodes, "net", [images], outputs, weights))


def written_artifact(
    path: Path, spec: DetectorSpec, *, output: OutputKind = "detections"
) -> Artifact:
    """Write ``convolution_net`` with the head of that output and our metadata, and read it."""
    model = convolution_net(spec)
    nms = NmsConfig(score_threshold=0.25, iou_threshold=0.45, max_detections=20)
    if output == "detections":
        attach_nms(model, spec, nms)
    elif output == "predictions":
        attach_predictions(model, spec)
    meta = ArtifactMeta(
        kind="model",
        spec=spec,
        precision="fp32",
        output=output,
        nms=nms if output == "detections" else None,
        target=None,
        history=(),
    )
    model.metadata_props[METADATA_KEY] = meta.to_json()
    onnx.save(ir.to_proto(model), path)
    return Artifact.read(path)


def random_maps(
    spec: DetectorSpec, *, batch: int, rng: np.random.Generator, spread: float = 2.0
) -> list[FloatArray]:
    """Return logits for every level, float32, normally distributed."""
    return [
        (rng.standard_normal((batch, *spec.head_shape(level))) * spread).astype(np.float32)
        for level in spec.levels
    ]


def map_feed(maps: Sequence[Array]) -> dict[str, Array]:
    """Return the inputs of ``raw_passthrough`` by name."""
    return {f"map_{i}": raw for i, raw in enumerate(maps)}


def _model(graph: onnx.GraphProto) -> ir.Model:
    opset = helper.make_operatorsetid("", 17)
    return ir.from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=8))
