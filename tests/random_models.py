"""Artifacts of one convolution a level whose weights count as random, for tests of planting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from tests.graph.tiny_graphs import convolution_net, tiny_spec
from yolor_deploy.core.artifact import METADATA_KEY, Artifact, ArtifactMeta
from yolor_deploy.core.spec import BatchRange, DetectorSpec, NmsConfig, OutputKind
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions
from yolor_deploy.graph.write import write_model

NMS = NmsConfig(max_detections=50)


def random_spec(*, batch: BatchRange | None = None, num_classes: int = 8) -> DetectorSpec:
    """Return a detector of 1152 anchors on two levels."""
    spec = tiny_spec(size=(128, 256), batch=batch, num_classes=num_classes)
    return replace(spec, random_weights=True)


def biased_net(spec: DetectorSpec, *, seed: int = 0) -> ir.Model:
    """Return ``convolution_net`` with a bias in each convolution, and weights nearly without one.

    As in a network of random weights, all anchors say nearly the same.
    """
    model = convolution_net(spec, seed=seed)
    rng = np.random.default_rng(seed)
    for number, node in enumerate(list(model.graph)):
        weight = node.inputs[1]
        assert weight is not None
        assert weight.const_value is not None
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(0.01))
        values = rng.normal(-4, 1, weight.const_value.shape.numpy()[:1]).astype(np.float32)
        bias = ir.Value(name=f"bias_{number}", const_value=ir.tensor(values))
        bias.type, bias.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(values.shape)
        model.graph.register_initializer(bias)
        node.resize_inputs(3)
        node.replace_input_with(2, bias)
    return model


def random_artifact(
    path: Path,
    *,
    spec: DetectorSpec | None = None,
    output: OutputKind = "detections",
    nms: NmsConfig = NMS,
) -> Artifact:
    """Write ``biased_net`` with the head of that output and our metadata."""
    spec = spec or random_spec()
    model = biased_net(spec)
    if output == "detections":
        attach_nms(model, spec, nms)
    elif output == "predictions":
        attach_predictions(model, spec)
    detects = output == "detections"
    meta = ArtifactMeta("model", spec, "fp32", output, nms if detects else None, None, ())
    model.metadata_props[METADATA_KEY] = meta.to_json()
    write_model(model, path)
    return Artifact.read(path)
