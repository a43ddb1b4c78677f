#include "arguments.h"

namespace yolor_nms {
namespace {

bool is_aligned(void const* pointer, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

Error error_of_threshold(float const* threshold, Error null) {
  if (threshold == nullptr) { return null; }
  return is_aligned(threshold, sizeof(float)) ? Error::kNone : Error::kThresholdMisaligned;
}

Error error_of(Shape const& shape, Inputs const& inputs) {
  std::size_t const size =
      shape.data_type == YOLOR_NMS_FLOAT16 ? sizeof(std::uint16_t) : sizeof(float);
  for (int level = 0; level < shape.num_levels; ++level) {
    if (inputs.heads[level] == nullptr) { return Error::kHeadNull; }
    if (!is_aligned(inputs.heads[level], size)) { return Error::kHeadMisaligned; }
  }
  Error const error = error_of_threshold(inputs.score_threshold, Error::kScoreThresholdNull);
  if (error != Error::kNone) { return error; }
  return error_of_threshold(inputs.iou_threshold, Error::kIouThresholdNull);
}

Error error_of(Outputs const& outputs) {
  void const* const all[] = {outputs.num_detections, outputs.boxes_xyxy, outputs.scores,
                             outputs.class_ids};
  for (void const* pointer : all) {
    if (pointer == nullptr) { return Error::kOutputNull; }
    if (!is_aligned(pointer, sizeof(float))) { return Error::kOutputMisaligned; }
  }
  return Error::kNone;
}

}  // namespace

Error first_error(Shape const* shape, Params const* params) noexcept {
  if (shape == nullptr) { return Error::kShapeNull; }
  if (params == nullptr) { return Error::kParamsNull; }
  Error const error = first_error(*shape);
  return error != Error::kNone ? error : first_error(*params);
}

Error first_error(Shape const* shape, Params const* params, Inputs const* inputs,
                  Outputs const* outputs) noexcept {
  Error error = first_error(shape, params);
  if (error != Error::kNone) { return error; }
  if (inputs == nullptr) { return Error::kInputsNull; }
  if (outputs == nullptr) { return Error::kOutputsNull; }
  error = error_of(*shape, *inputs);
  return error != Error::kNone ? error : error_of(*outputs);
}

Error first_error(Plan const& plan, void const* workspace, std::size_t workspace_bytes) noexcept {
  if (workspace == nullptr) { return Error::kWorkspaceNull; }
  if (!is_aligned(workspace, kAlignment)) { return Error::kWorkspaceMisaligned; }
  auto const batch = static_cast<std::size_t>(plan.shape.batch);
  return workspace_bytes / batch < plan.bytes_per_image ? Error::kWorkspaceTooSmall : Error::kNone;
}

}  // namespace yolor_nms
