"""The head in standard ONNX operators, as text: what the attributes of the head node mean.

The text depends only on the number of levels and on the two choices that change its structure;
every number comes from the attributes, so that the node and its meaning cannot differ.

Shapes in comments: n images, c classes, b boxes of all levels, k ranked candidates, d detections.
The large tensors keep the boxes in the last axis ("planes"), which is nearly how the maps arrive.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from yolor_deploy.core.artifact import output_names
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

DOMAIN = "yolor_deploy"
OPSET = 17
NMS_OP = "YolorNMS"

_CONSTANTS = """
  zero = Constant<value_ints: ints = [0]>()
  one = Constant<value_ints: ints = [1]>()
  two = Constant<value_ints: ints = [2]>()
  four = Constant<value_ints: ints = [4]>()
  rest = Constant<value_ints: ints = [-1]>()
  zero_scalar = Constant<value_int: int = 0>()
  one_scalar = Constant<value_int: int = 1>()
  half = Constant<value_float: float = 0.5>()
  two_float = Constant<value_float: float = 2.0>()
  num_classes = Constant<value_int: int = @num_classes>()
  num_classes_1d = Reshape(num_classes, one)
"""

_DECODE_BEGIN = """
  # One anchor and stride tensor a level; the parts of a cell's values: xy, wh, confidences.
  anchor_list = Constant<value_floats: floats = @anchors>()
  anchor_shape = Constant<value_ints: ints = [1, -1, 2, 1]>()
  anchor_rows = Reshape(anchor_list, anchor_shape)
  anchor_wh = Transpose<perm: ints = [0, 2, 1, 3]>(anchor_rows)
  num_anchors = Constant<value_ints: ints = @num_anchors>()
  stride_ints = Constant<value_ints: ints = @strides>()
  strides = Cast<to: int = 1>(stride_ints)
  {anchor_wh} = Split<axis: int = 2>(anchor_wh, num_anchors)
  {stride} = Split<axis: int = 0>(strides)
  {num_anchors} = Split<axis: int = 0>(num_anchors)
  num_confidences = Add(num_classes_1d, one)
  value_parts = Concat<axis: int = 0>(two, two, num_confidences)
  planes_shape = Constant<value_ints: ints = [0, 0, -1]>()
  cell_shape = Constant<value_ints: ints = [1, 2, 1, -1]>()
"""

_DECODE_LEVEL = """
  # Level {i}: values [n, 5 + c, anchors, h * w], half precision or not computed in float32.
  map_{i} = Cast<to: int = 1>(raw_{i})
  map_shape_{i} = Shape(map_{i})
  size_{i} = Slice(map_shape_{i}, two, four, zero)
  num_values_{i} = Add(num_confidences, four)
  grouped_shape_{i} = Concat<axis: int = 0>(zero, num_anchors_{i}, num_values_{i}, rest)
  grouped_{i} = Reshape(map_{i}, grouped_shape_{i})
  logits_{i} = Transpose<perm: ints = [0, 2, 1, 3]>(grouped_{i})
  values_{i} = Sigmoid(logits_{i})
  xy_{i}, wh_{i}, confidences_{i} = Split<axis: int = 1>(values_{i}, value_parts)

  # Column and row of every cell, [1, 2, 1, h * w].
  height_1d_{i}, width_1d_{i} = Split<axis: int = 0>(size_{i})
  height_{i} = Squeeze(height_1d_{i}, zero)
  width_{i} = Squeeze(width_1d_{i}, zero)
  columns_{i} = Range(zero_scalar, width_{i}, one_scalar)
  rows_{i} = Range(zero_scalar, height_{i}, one_scalar)
  rows_2d_{i} = Unsqueeze(rows_{i}, one)
  column_of_cell_{i} = Expand(columns_{i}, size_{i})
  row_of_cell_{i} = Expand(rows_2d_{i}, size_{i})
  cell_ints_{i} = Concat<axis: int = 0>(column_of_cell_{i}, row_of_cell_{i})
  cell_planes_{i} = Reshape(cell_ints_{i}, cell_shape)
  cell_{i} = Cast<to: int = 1>(cell_planes_{i})

  # xy = (2 t - 0.5 + cell) stride; wh = (2 t)^2 anchor.
  xy_doubled_{i} = Mul(xy_{i}, two_float)
  xy_centred_{i} = Sub(xy_doubled_{i}, half)
  xy_cells_{i} = Add(xy_centred_{i}, cell_{i})
  xy_px_{i} = Mul(xy_cells_{i}, stride_{i})
  wh_doubled_{i} = Mul(wh_{i}, two_float)
  wh_squared_{i} = Mul(wh_doubled_{i}, wh_doubled_{i})
  wh_px_{i} = Mul(wh_squared_{i}, anchor_wh_{i})
  box_values_{i} = Concat<axis: int = 1>(xy_px_{i}, wh_px_{i})
  boxes_{i} = Reshape(box_values_{i}, planes_shape)
  confidence_planes_{i} = Reshape(confidences_{i}, planes_shape)
"""

_DECODE_END = """
  boxes_cxcywh = Concat<axis: int = 2>({boxes})  # [n, 4, b]
  confidences = Concat<axis: int = 2>({confidence_planes})  # [n, 1 + c, b]
"""

_PREDICTIONS = """
  value_planes = Concat<axis: int = 1>(boxes_cxcywh, confidences)
  predictions = Transpose<perm: ints = [0, 2, 1]>(value_planes)
"""

_CANDIDATES = """
  # Scores of candidates, 0 for all other pairs; comparisons with NaN are false.
  no_score = Constant<value_float: float = 0.0>()
  confidence_parts = Concat<axis: int = 0>(one, num_classes_1d)
  objectness, class_scores = Split<axis: int = 1>(confidences, confidence_parts)
  pair_scores = Mul(class_scores, objectness)  # [n, c, b]
  is_above = Greater(pair_scores, score_threshold)
  coordinate_sum = ReduceSum(boxes_cxcywh, one)  # NaN if one is; finite otherwise, [n, 1, b]
  is_damaged = IsNaN(coordinate_sum)
  is_sound = Not(is_damaged)
  is_candidate = And(is_above, is_sound)
  candidate_scores = Where(is_candidate, pair_scores, no_score)
  rows_shape = Constant<value_ints: ints = [0, -1]>()
"""

_MULTI_LABEL = """
  # Every class of a box may be a candidate: pair index = box * classes + class.
  scores_of_box = Transpose<perm: ints = [0, 2, 1]>(candidate_scores)
  rankable_scores = Reshape(scores_of_box, rows_shape)  # [n, b * c]
"""

_MULTI_LABEL_RANKED = """
  ranked_box_ids = Div(ranked_ids, num_classes)
  ranked_class_ids = Mod(ranked_ids, num_classes)
"""

_BEST_CLASS = """
  # Only the best class of a box may be a candidate, the first of equals.
  rankable_scores = ReduceMax<axes: ints = [1], keepdims: int = 0>(candidate_scores)  # [n, b]
  best_class_ids = ArgMax<axis: int = 1, keepdims: int = 0>(candidate_scores)
"""

_BEST_CLASS_RANKED = """
  ranked_box_ids = Identity(ranked_ids)
  ranked_class_ids = GatherElements<axis: int = 1>(best_class_ids, ranked_ids)
"""

_RANK = """
  # TopK puts the lower index first among equals: this is the one order of candidates. No more are
  # ranked than the image with the most candidates has: usually some hundred, and all that follows
  # is as small.
  max_candidates_0d = Constant<value_int: int = @max_candidates>()
  max_candidates = Reshape(max_candidates_0d, one)
  is_rankable = Greater(rankable_scores, no_score)
  rankable_ones = Cast<to: int = 7>(is_rankable)
  num_candidates = ReduceSum<keepdims: int = 0>(rankable_ones, one)  # [n]
  most_candidates = ReduceMax<keepdims: int = 0>(num_candidates)
  most_candidates_1d = Reshape(most_candidates, one)
  rankable_shape = Shape(rankable_scores)
  num_rankable = Slice(rankable_shape, one, two)
  num_ranked_or_none = Min(num_rankable, max_candidates, most_candidates_1d)
  num_ranked = Max(num_ranked_or_none, one)  # TopK needs one
  ranked_scores, ranked_ids = TopK<axis: int = 1>(rankable_scores, num_ranked)  # [n, k]
"""

_RANK_ALL = """
  # As many in every image: k does not depend on what the network computes.
  max_candidates_0d = Constant<value_int: int = @max_candidates>()
  num_ranked = Reshape(max_candidates_0d, one)
  ranked_scores, ranked_ids = TopK<axis: int = 1>(rankable_scores, num_ranked)  # [n, k]
"""

_BOXES = """
  box_rows = Transpose<perm: ints = [0, 2, 1]>(boxes_cxcywh)
  ranked_box_index = Unsqueeze(ranked_box_ids, two)
  ranked_cxcywh = GatherND<batch_dims: int = 1>(box_rows, ranked_box_index)
  centre, extent = Split<axis: int = 2>(ranked_cxcywh)
  half_extent = Mul(extent, half)
  corner_low = Sub(centre, half_extent)
  corner_high = Add(centre, half_extent)
  ranked_boxes = Concat<axis: int = 2>(corner_low, corner_high)  # [n, k, 4]
  ranked_score_plane = Unsqueeze(ranked_scores, one)  # [n, 1, k]
"""

_CLASS_AGNOSTIC = """
  suppression_scores = Identity(ranked_score_plane)
"""

_CLASS_AWARE = """
  # One plane a class, 0 where the candidate is of another class: [n, c, k].
  ranked_class_plane = Unsqueeze(ranked_class_ids, one)
  class_range = Range(zero_scalar, num_classes, one_scalar)
  class_column_shape = Constant<value_ints: ints = [1, -1, 1]>()
  class_column = Reshape(class_range, class_column_shape)
  is_of_class = Equal(ranked_class_plane, class_column)
  suppression_scores = Where(is_of_class, ranked_score_plane, no_score)
"""

_SUPPRESS = """
  # Of one class, never more than max_detections can be among the first max_detections of all.
  max_detections_0d = Constant<value_int: int = @max_detections>()
  max_detections = Reshape(max_detections_0d, one)
  selected = NonMaxSuppression(
    ranked_boxes, suppression_scores, max_detections, iou_threshold, no_score)
  image_and_rank = Constant<value_ints: ints = [0, 2]>()
  kept_index = Gather<axis: int = 1>(selected, image_and_rank)
  kept_values = GatherND(ranked_scores, kept_index)
  ranked_size = Shape(ranked_scores)
  none_kept = ConstantOfShape(ranked_size)
  kept_scores = ScatterND(none_kept, kept_index, kept_values)  # 0 where suppressed, [n, k]
"""

_OUTPUT = """
  # The first max_detections kept, still by rank; the rest of the slots is 0.
  num_slots = Min(num_ranked, max_detections)
  num_missing = Sub(max_detections, num_slots)
  slot_scores, slot_ranks = TopK<axis: int = 1>(kept_scores, num_slots)
  slot_index = Unsqueeze(slot_ranks, two)
  slot_boxes = GatherND<batch_dims: int = 1>(ranked_boxes, slot_index)
  slot_class_ids = GatherElements<axis: int = 1>(ranked_class_ids, slot_ranks)
  is_used = Greater(slot_scores, no_score)
  is_used_column = Unsqueeze(is_used, two)
  used_boxes = Where(is_used_column, slot_boxes, no_score)
  used_class_ids = Where(is_used, slot_class_ids, zero_scalar)
  used_class_ids_int32 = Cast<to: int = 6>(used_class_ids)
  used_ones = Cast<to: int = 6>(is_used)

  row_padding = Concat<axis: int = 0>(zero, zero, zero, num_missing)
  box_padding = Concat<axis: int = 0>(zero, zero, zero, zero, num_missing, zero)
  num_detections = ReduceSum<keepdims: int = 1>(used_ones, one)
  boxes_xyxy = Pad(used_boxes, box_padding)
  scores = Pad(slot_scores, row_padding)
  class_ids = Pad(used_class_ids_int32, row_padding)
"""


def decode_attributes(spec: DetectorSpec) -> list[ir.Attr]:
    """Return what decoding must know of a detector.

    ``anchors`` floats (w, h of each, input pixels, by level), ``num_anchors`` and ``strides`` ints
    (one a level), ``num_classes`` int.
    """
    anchors = [
        side for level in spec.levels for anchor in level.anchors_px for side in map(float, anchor)
    ]
    return [
        ir.AttrFloat32s("anchors", anchors),
        ir.AttrInt64s("num_anchors", [level.num_anchors for level in spec.levels]),
        ir.AttrInt64s("strides", [level.stride for level in spec.levels]),
        ir.AttrInt64("num_classes", spec.num_classes),
    ]


def nms_attributes(spec: DetectorSpec, nms: NmsConfig) -> list[ir.Attr]:
    """Return the attributes of a ``YolorNMS`` node: those of decoding, and limits and choices."""
    return [
        *decode_attributes(spec),
        ir.AttrInt64("max_detections", nms.max_detections),
        ir.AttrInt64("max_candidates", nms.max_candidates),
        ir.AttrInt64("multi_label", int(nms.multi_label)),
        ir.AttrInt64("class_agnostic", int(nms.class_agnostic)),
    ]


def predictions_function(num_levels: int) -> ir.Function:
    """Return decoding as a function: ``raw_0 ..`` to ``predictions`` [n, b, 5 + c]."""
    return _function(
        "YolorPredictions",
        _decode_text(num_levels) + _PREDICTIONS,
        inputs=list(output_names("raw", num_levels=num_levels)),
        outputs=["predictions"],
        attributes=["anchors", "num_anchors", "strides", "num_classes"],
    )


def nms_function(
    num_levels: int, *, multi_label: bool, class_agnostic: bool, ranks_all: bool = False
) -> ir.Function:
    """Return the meaning of a ``YolorNMS`` node, the same as ``core.nms`` states.

    Inputs are ``raw_0 ..`` and float32 [1] ``score_threshold`` and ``iou_threshold``; outputs are
    those of ``core.nms``. The choices change the body; all numbers are attributes of the node.

    Args:
        num_levels: Raw maps.
        multi_label: As in ``NmsConfig``.
        class_agnostic: As in ``NmsConfig``.
        ranks_all: Whether ``max_candidates`` pairs are ranked in every image, for runtimes whose
            shapes must not depend on data; an image must have as many pairs. Else as many as there
            are above the threshold. The rows are the same.
    """
    body = (
        _decode_text(num_levels)
        + _CANDIDATES
        + (_MULTI_LABEL if multi_label else _BEST_CLASS)
        + (_RANK_ALL if ranks_all else _RANK)
        + (_MULTI_LABEL_RANKED if multi_label else _BEST_CLASS_RANKED)
        + _BOXES
        + (_CLASS_AGNOSTIC if class_agnostic else _CLASS_AWARE)
        + _SUPPRESS
        + _OUTPUT
    )
    decode = ["anchors", "num_anchors", "strides", "num_classes"]
    limits = ["max_detections", "max_candidates", "multi_label", "class_agnostic"]
    return _function(
        NMS_OP,
        body,
        inputs=[*output_names("raw", num_levels=num_levels), *THRESHOLD_INPUTS],
        outputs=list(output_names("detections", num_levels=num_levels)),
        attributes=decode + limits,
    )


def _decode_text(num_levels: int) -> str:
    def names_of_levels(name: str) -> str:
        return ", ".join(f"{name}_{level}" for level in range(num_levels))

    begin = _DECODE_BEGIN.format(
        anchor_wh=names_of_levels("anchor_wh"),
        stride=names_of_levels("stride"),
        num_anchors=names_of_levels("num_anchors"),
    )
    levels = [_DECODE_LEVEL.format(i=level) for level in range(num_levels)]
    end = _DECODE_END.format(
        boxes=names_of_levels("boxes"), confidence_planes=names_of_levels("confidence_planes")
    )
    return "".join([_CONSTANTS, begin, *levels, end])


def _function(
    name: str, body: str, *, inputs: list[str], outputs: list[str], attributes: list[str]
) -> ir.Function:
    text = (
        f'<opset_import: ["": {OPSET}], domain: "{DOMAIN}">\n'
        f"{name} <{', '.join(attributes)}> ({', '.join(inputs)}) => ({', '.join(outputs)})\n"
        f"{{{body}}}"
    )
    proto = onnx.parser.parse_function(text)
    for node in proto.node:
        node.name = node.output[0]
    return ir.serde.deserialize_function(proto)
