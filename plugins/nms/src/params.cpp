#include "yolor_nms/params.h"

namespace yolor_nms {
namespace {

constexpr char const* kTexts[] = {
    "no error",
    "shape is a null pointer",
    "params is a null pointer",
    "inputs is a null pointer",
    "outputs is a null pointer",
    "shape.batch is not 1 to 65536",
    "shape.num_classes is not 1 to 65536",
    "shape.num_levels is not 1 to 6",
    "shape.data_type is neither float32 (0) nor float16 (1)",
    "shape.layout is neither NCHW (0) nor, for float16, HWC8 (1)",
    "shape.levels: height or width is not 1 to 16384",
    "shape.levels: stride is not 1 to 65536",
    "shape.levels: num_anchors is not 1 to 8",
    "shape.levels: anchors_px has a side that is not above 0 and at most 2^24",
    "shape.levels: channels is not num_anchors * (5 + num_classes)",
    "shape.levels: more than 2^30 pairs of anchor and class in an image",
    "shape.levels: more than 2^32 values in a map of an image",
    "params.max_detections is not 1 to 2^30",
    "params.max_candidates is not 1 to 2^30",
    "inputs.heads: a map is a null pointer",
    "inputs.heads: a map is not aligned to its type",
    "inputs.score_threshold is a null pointer",
    "inputs.iou_threshold is a null pointer",
    "inputs: score_threshold or iou_threshold is not aligned to its type",
    "inputs.score_threshold is not 0 to 1",
    "inputs.iou_threshold is not 0 to 1",
    "outputs: num_detections, boxes_xyxy, scores or class_ids is a null pointer",
    "outputs: num_detections, boxes_xyxy, scores or class_ids is not aligned to its type",
    "workspace is a null pointer",
    "workspace is not aligned to 16 bytes",
    "workspace_bytes is less than yolor_nms_workspace_bytes tells",
    "this library was built without CUDA: only yolor_nms_run_host works",
};
static_assert(sizeof(kTexts) / sizeof(kTexts[0]) == static_cast<std::size_t>(Error::kCount));

}  // namespace

char const* error_text(Error error) noexcept {
  auto const code = static_cast<std::int32_t>(error);
  if (code < 0 || code >= static_cast<std::int32_t>(Error::kCount)) { return "unknown error code"; }
  return kTexts[code];
}

}  // namespace yolor_nms
