"""Networks of a few layers as artifacts on disk, with heads and of any precision."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from tests.graph.tiny_graphs import tiny_spec
from tests.graph.tiny_nets import TinyNet
from yolor_deploy.core.artifact import METADATA_KEY, Artifact, ArtifactMeta
from yolor_deploy.core.spec import BatchRange, DetectorSpec, InputSpec, NmsConfig, OutputKind
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions
from yolor_deploy.graph.write import write_model

NMS = NmsConfig(score_threshold=0.2, iou_threshold=0.45, max_detections=20)


def spec_of(*, uint8: bool = False, batch: BatchRange | None = None) -> DetectorSpec:
    """Return a detector of two levels, strides 8 and 16, for images of 32 by 32."""
    image = InputSpec(
        32, 32, batch=batch or BatchRange(1, 1, 8), dtype="uint8" if uint8 else "float32"
    )
    spec = tiny_spec(num_classes=3, levels=2, size=(32, 32))
    return DetectorSpec(spec.family, spec.variant, spec.class_names, spec.levels, image)


def network_of(spec: DetectorSpec) -> ir.Model:
    """Return a network of SiLU, a residual and Mish, that ends in the raw maps of a detector."""
    batch: int | str = spec.input.batch.maximum if spec.input.batch.is_static else "batch"
    net = TinyNet(size=32, uint8=spec.input.dtype == "uint8", batch=batch)
    x = net.block(net.x, "stem", stride=2)
    x = net.block(x, "down", stride=2)
    x = net.op("Add", [x, net.block(x, "inner")], "residual")
    fine = net.block(x, "fine", stride=2)
    deep = net.block(fine, "deep", kind="mish", stride=2)
    maps = zip((fine, deep), spec.levels, strict=True)
    return net.model(
        [
            net.conv(x, f"detect_{i}", outputs=spec.head_shape(level)[0])
            for i, (x, level) in enumerate(maps)
        ]
    )


def written(
    path: Path,
    model: ir.Model,
    spec: DetectorSpec,
    *,
    output: OutputKind = "detections",
    precision: str = "fp32",
    target: str | None = None,
) -> Artifact:
    """Attach a head to a network, write both with metadata, and read the artifact."""
    if output == "detections":
        attach_nms(model, spec, NMS)
    elif output == "predictions":
        attach_predictions(model, spec)
    nms = NMS if output == "detections" else None
    meta = ArtifactMeta("model", spec, precision, output, nms, target, history=())
    model.metadata_props[METADATA_KEY] = meta.to_json()
    write_model(model, path)
    return Artifact.read(path)
