"""The head as TensorRT is to have it: a node for its plugin, or standard operators.

Both forms have ``score_threshold`` and ``iou_threshold`` as inputs without a default: TensorRT
takes an initializer for a constant, even where an input has its name.
"""

from __future__ import annotations

import logging

import onnx_ir as ir
import onnx_ir.passes.common as passes

from yolor_deploy.core.errors import BuildError, PassError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.graph import head_function
from yolor_deploy.graph.nms_head import raw_maps_of
from yolor_deploy.graph.raise_opset import raise_opset

logger = logging.getLogger(__name__)

MOST_RANKED = 3840
"""The largest k of a TopK layer. Source: TensorRT, the documentation of ``ITopKLayer``."""


def leave_head_to_plugin(model: ir.Model) -> None:
    """Remove the function that explains the ``YolorNMS`` node, and the defaults of its thresholds.

    A parser that knows the function may take it instead of the plugin: those of TensorRT 10.0 to
    10.6 do.

    Args:
        model: What ``attach_nms`` gave. Changed in place.

    Raises:
        PassError: It has no such node. Nothing was changed.
    """
    _require_node(model)
    model.functions.clear()
    _make_thresholds_inputs(model)
    logger.info("leave_head_to_plugin: %d nodes", len(model.graph))


def inline_head(model: ir.Model, spec: DetectorSpec, nms: NmsConfig) -> None:
    """Put standard operators in place of the ``YolorNMS`` node.

    They rank as many pairs in every image, up to ``max_candidates``. The function in the file ranks
    as many as are above the threshold: that is data, which the k of TensorRT must not depend on.

    Args:
        model: What ``attach_nms`` gave. Changed in place.
        spec: What it was given.
        nms: What it was given.

    Raises:
        BuildError: More candidates than a TopK of TensorRT ranks. Nothing was changed.
        PassError: It has no such node. Nothing was changed.
    """
    node = _require_node(model)
    num_pairs = spec.num_boxes * (spec.num_classes if nms.multi_label else 1)
    num_ranked = min(nms.max_candidates, num_pairs)
    if num_ranked > MOST_RANKED:
        raise BuildError(
            f"the model ranks {num_ranked} candidates, a TopK of TensorRT {MOST_RANKED}",
            where="--nms ops",
            hint=f"export it with --max-candidates {MOST_RANKED}, or build with --nms plugin",
        )
    function = head_function.nms_function(
        len(node.inputs) - len(THRESHOLD_INPUTS),
        multi_label=nms.multi_label,
        class_agnostic=nms.class_agnostic,
        ranks_all=True,
    )
    model.functions[function.identifier()] = function
    node.attributes["max_candidates"] = ir.AttrInt64("max_candidates", num_ranked)
    raise_opset(model, model.opset_imports[""])
    _make_thresholds_inputs(model)
    passes.InlinePass()(model)
    logger.info("inline_head: %d nodes", len(model.graph))


def widen_maps(model: ir.Model) -> int:
    """Cast raw maps to float32 where post-processing could not read them all: nothing is lost.

    It reads maps of one type, half or single. A network of bfloat16 has others, and one of half
    precision has two types if a head's convolution stays in single.

    Args:
        model: Whatever it ends in. Changed in place.

    Returns:
        The number of casts.
    """
    maps = raw_maps_of(model)
    dtypes = {value.dtype for value in maps}
    if len(dtypes) == 1 and dtypes <= {ir.DataType.FLOAT, ir.DataType.FLOAT16}:
        return 0
    narrow = [value for value in maps if value.dtype != ir.DataType.FLOAT]
    for value in narrow:
        _widen(model.graph, value)
    return len(narrow)


def _widen(graph: ir.Graph, value: ir.Value) -> None:
    producer, name = value.producer(), str(value.name)
    assert producer is not None
    value.name = f"{name}.narrow"
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value}, name=f"{name}.widened")
    wide = cast.outputs[0]
    wide.name, wide.shape, wide.type = name, value.shape, ir.TensorType(ir.DataType.FLOAT)
    graph.insert_after(producer, cast)
    for use in value.uses():
        if use.node is not cast:
            use.node.replace_input_with(use.idx, wide)
    graph.outputs[:] = [wide if output is value else output for output in graph.outputs]


def _require_node(model: ir.Model) -> ir.Node:
    last = model.graph.outputs[0].producer() if model.graph.outputs else None
    if last is None or (last.domain, last.op_type) != (head_function.DOMAIN, head_function.NMS_OP):
        raise PassError(
            f"the model ends in {last.op_type if last else 'nothing'}, expected YolorNMS",
            where=f"graph {model.graph.name!r}",
            hint="export it with --output detections, or build it with --nms kernels",
        )
    return last


def _make_thresholds_inputs(model: ir.Model) -> None:
    for name in THRESHOLD_INPUTS:
        value = model.graph.initializers.pop(name, None)
        if value is not None:
            value.const_value = None
