"""Attach post-processing to a detector that ends in raw head maps, and detach it again.

The passes between see a plain convolution net; the head comes last and goes first.
"""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir

from yolor_deploy.core.artifact import output_names
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.graph import head_function
from yolor_deploy.graph.raise_opset import OPSETS, raise_opset

logger = logging.getLogger(__name__)

_DOMAIN_VERSION = 1
_FIRST_IR_WITH_FUNCTIONS = 8
_NMS_OUTPUTS = output_names("detections", num_levels=0)
_NMS_NODE = "/yolor_nms/YolorNMS"
_PREDICTIONS_PREFIX = "/yolor_predictions/"


def attach_nms(model: ir.Model, spec: DetectorSpec, nms: NmsConfig) -> None:
    """End the graph in one ``yolor_deploy::YolorNMS`` node instead of the raw maps.

    The model gets the node's meaning as a function of standard operators, so that a runtime which
    does not know the node runs it all the same, and the inputs ``score_threshold`` and
    ``iou_threshold`` (float32 [1]), whose defaults are initializers of the same names.

    Args:
        model: Opset 17, 19 or 22, IR 8 or later. Its outputs are ``raw_0 ..``, float
            [batch, anchors * (5 + classes), h, w], one per level of ``spec``. Changed in place.
        spec: The detector; its anchors, strides and class count become attributes of the node.
        nms: Limits become attributes, thresholds become defaults of the inputs.

    Raises:
        PassError: The outputs are not those maps, or opset or IR are others. Nothing was changed.
    """
    raw_maps = _require_raw_maps(model, spec)
    graph = model.graph
    thresholds = [_threshold_input(name, default=getattr(nms, name)) for name in THRESHOLD_INPUTS]
    node = ir.Node(
        head_function.DOMAIN,
        head_function.NMS_OP,
        [*raw_maps, *thresholds],
        head_function.nms_attributes(spec, nms),
        num_outputs=len(_NMS_OUTPUTS),
        name=_NMS_NODE,
    )
    _declare_nms_outputs(node, batch=_batch_of(raw_maps[0]), max_detections=nms.max_detections)
    function = head_function.nms_function(
        len(raw_maps), multi_label=nms.multi_label, class_agnostic=nms.class_agnostic
    )
    model.functions[function.identifier()] = function
    model.opset_imports[head_function.DOMAIN] = _DOMAIN_VERSION
    graph.append(node)
    for value in thresholds:
        graph.inputs.append(value)
        graph.register_initializer(value)
    graph.outputs[:] = node.outputs
    raise_opset(model, model.opset_imports[""])  # the function's, to that of the graph
    logger.info("attach_nms: %d maps, %d boxes", len(raw_maps), spec.num_boxes)


def attach_predictions(model: ir.Model, spec: DetectorSpec) -> None:
    """End the graph in ``predictions`` [batch, boxes, 5 + classes], in standard operators.

    The arithmetic is that of ``attach_nms``, and the values are those of
    ``core.decode.predictions_from_raw`` within rounding.

    Args:
        model: As for ``attach_nms``. Changed in place.
        spec: The detector.

    Raises:
        PassError: As for ``attach_nms``.
    """
    raw_maps = _require_raw_maps(model, spec)
    graph = model.graph
    function = head_function.predictions_function(len(raw_maps))
    attributes = {attr.name: attr for attr in head_function.decode_attributes(spec)}
    for parameter, raw in zip(function.inputs, raw_maps, strict=True):
        parameter.replace_all_uses_with(raw)
    (predictions,) = function.outputs
    function.outputs.clear()
    nodes = list(function)
    for node in nodes:
        _bind_attributes(node, attributes)
        node.name = f"{_PREDICTIONS_PREFIX}{node.name}"
        for value in node.outputs:
            if value is not predictions:
                value.name = f"{_PREDICTIONS_PREFIX}{value.name}"
    function.remove(nodes)
    graph.extend(nodes)
    predictions.shape = ir.Shape([_batch_of(raw_maps[0]), spec.num_boxes, 5 + spec.num_classes])
    predictions.type = ir.TensorType(ir.DataType.FLOAT)
    graph.outputs[:] = [predictions]
    raise_opset(model, model.opset_imports[""])  # of the nodes just added
    logger.info("attach_predictions: %d maps, %d boxes", len(raw_maps), spec.num_boxes)


def detach_head(model: ir.Model) -> NmsConfig | None:
    """Undo ``attach_nms`` or ``attach_predictions``: the outputs are the raw maps again.

    Args:
        model: Changed in place; a model that already ends in raw maps is left as it is.

    Returns:
        What the ``YolorNMS`` node was attached with; None if there was none.

    Raises:
        PassError: A threshold has no default, or the model ends in something else entirely.
    """
    graph = model.graph
    head = [node for node in graph if _is_of_head(node)]
    if not head:
        _require_raw_names(model, num_levels=len(graph.outputs))
        return None
    nms = _config_of_node(head[0]) if head[0].op_type == head_function.NMS_OP else None
    graph.outputs[:] = _raw_maps_of_head(head)
    graph.remove(head, safe=True)
    for name in THRESHOLD_INPUTS if nms else ():
        graph.inputs.remove(graph.initializers.pop(name))
    if nms:
        model.functions.pop((head_function.DOMAIN, head_function.NMS_OP, ""))
        model.opset_imports.pop(head_function.DOMAIN)
    return nms


def raw_maps_of(model: ir.Model) -> list[ir.Value]:
    """Return the raw maps of a model, finest stride first, whatever it ends in.

    Raises:
        PassError: The model ends in something that is not of this project.
    """
    head = [node for node in model.graph if _is_of_head(node)]
    if head:
        return _raw_maps_of_head(head)
    _require_raw_names(model, num_levels=len(model.graph.outputs))
    return list(model.graph.outputs)


def _require_raw_maps(model: ir.Model, spec: DetectorSpec) -> list[ir.Value]:
    """Return the outputs of a model whose head can be attached."""
    opset = model.opset_imports.get("") or 0
    if opset not in OPSETS or model.ir_version < _FIRST_IR_WITH_FUNCTIONS:
        raise PassError(
            f"model has opset {opset} and IR version {model.ir_version}, expected opset "
            f"{', '.join(map(str, OPSETS))} and IR version {_FIRST_IR_WITH_FUNCTIONS} or later",
            where=_name_of(model),
            hint="convert it first, such as with onnx.version_converter",
        )
    _require_raw_names(model, num_levels=len(spec.levels))
    for value, level in zip(model.graph.outputs, spec.levels, strict=True):
        expected = spec.head_shape(level)
        if value.shape is None or tuple(value.shape)[1:] != expected:
            raise PassError(
                f"output has shape {value.shape}, expected [batch, {', '.join(map(str, expected))}]"
                f" of {level.num_anchors} anchors and {spec.num_classes} classes",
                where=str(value.name),
                hint="the number of classes, the anchors or the input size differ from the model's",
            )
    return list(model.graph.outputs)


def _require_raw_names(model: ir.Model, *, num_levels: int) -> None:
    names = tuple(value.name for value in model.graph.outputs)
    expected = output_names("raw", num_levels=num_levels)
    if names != expected:
        raise PassError(
            f"model has outputs {names}, expected {expected}",
            where=_name_of(model),
            hint="give a model that ends in raw head maps, one per level, finest stride first",
        )


def _name_of(model: ir.Model) -> str:
    return f"graph {model.graph.name!r}"


def _batch_of(raw_map: ir.Value) -> int | ir.SymbolicDim:
    assert raw_map.shape is not None, "checked by _require_raw_maps"
    return raw_map.shape[0]


def _threshold_input(name: str, *, default: float) -> ir.Value:
    return ir.Value(
        name=name,
        shape=ir.Shape([1]),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=ir.tensor(np.array([default], np.float32), name=name),
    )


def _declare_nms_outputs(
    node: ir.Node, *, batch: int | ir.SymbolicDim, max_detections: int
) -> None:
    """Give the outputs names, types and shapes: nobody can infer them through the node."""
    declarations = (
        (ir.DataType.INT32, [batch, 1]),
        (ir.DataType.FLOAT, [batch, max_detections, 4]),
        (ir.DataType.FLOAT, [batch, max_detections]),
        (ir.DataType.INT32, [batch, max_detections]),
    )
    for value, name, (dtype, shape) in zip(node.outputs, _NMS_OUTPUTS, declarations, strict=True):
        value.name = name
        value.type = ir.TensorType(dtype)
        value.shape = ir.Shape(shape)


def _bind_attributes(node: ir.Node, values: dict[str, ir.Attr]) -> None:
    """Replace references to attributes of a function by their values."""
    for attr in list(node.attributes.values()):
        if attr.is_ref():
            assert attr.ref_attr_name is not None, "is_ref says so"
            node.attributes[attr.name] = ir.Attr(
                attr.name, attr.type, values[attr.ref_attr_name].value
            )


def _is_of_head(node: ir.Node) -> bool:
    is_nms = (node.domain, node.op_type) == (head_function.DOMAIN, head_function.NMS_OP)
    return is_nms or (node.name or "").startswith(_PREDICTIONS_PREFIX)


def _raw_maps_of_head(head: list[ir.Node]) -> list[ir.Value]:
    """Return what enters the head from the network, in the order of use, which is by level."""
    inside = set(head)
    entering = (value for node in head for value in node.inputs if value is not None)
    return list(
        dict.fromkeys(
            value
            for value in entering
            if value.producer() not in inside and value.name not in THRESHOLD_INPUTS
        )
    )


def _config_of_node(node: ir.Node) -> NmsConfig:
    attributes = node.attributes
    score_threshold, iou_threshold = (_default_of(value) for value in node.inputs[-2:])
    return NmsConfig(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=attributes["max_detections"].as_int(),
        max_candidates=attributes["max_candidates"].as_int(),
        multi_label=bool(attributes["multi_label"].as_int()),
        class_agnostic=bool(attributes["class_agnostic"].as_int()),
    )


def _default_of(threshold: ir.Value | None) -> float:
    if threshold is None or threshold.const_value is None:
        raise PassError(
            "threshold of YolorNMS has no default",
            where=str(threshold.name if threshold else _NMS_NODE),
            hint="give a model that `yolor-deploy export` wrote",
        )
    # The shortest decimal that is this float32: 0.25, 0.45 and 0.001 come back as they were given.
    return float(str(threshold.const_value.numpy()[0]))
