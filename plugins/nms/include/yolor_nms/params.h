/// What a run is told, its limits, and what is wrong with it if something is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "yolor_nms/c_api.h"
#include "yolor_nms/core.h"

namespace yolor_nms {

using HeadLevel = ::YolorNmsHeadLevel;
using Shape = ::YolorNmsShape;
using Params = ::YolorNmsParams;
using Inputs = ::YolorNmsInputs;
using Outputs = ::YolorNmsOutputs;

inline constexpr int kMaxLevels = YOLOR_NMS_MAX_LEVELS;
inline constexpr int kMaxAnchors = YOLOR_NMS_MAX_ANCHORS;
inline constexpr int kMaxClasses = 1 << 16;
inline constexpr int kMaxBatch = 1 << 16;   // of a grid dimension
inline constexpr int kMaxSide = 1 << 14;    // cells
inline constexpr int kMaxStride = 1 << 16;  // pixels; a coordinate stays finite
inline constexpr float kMaxAnchorPx = 0x1p+24F;
inline constexpr std::int64_t kMaxPairs = std::int64_t{1} << 30;   // of an image; int32 throughout
inline constexpr std::int64_t kMaxValues = std::int64_t{1} << 32;  // of a map of an image; uint32
inline constexpr std::size_t kAlignment = 16;                      // of the workspace, bytes

enum class Error : std::int32_t {
  kNone = 0,
  kShapeNull,
  kParamsNull,
  kInputsNull,
  kOutputsNull,
  kBatch,
  kNumClasses,
  kNumLevels,
  kDataType,
  kLayout,
  kMapSize,
  kStride,
  kNumAnchors,
  kAnchors,
  kChannels,
  kTooManyPairs,
  kTooManyValues,
  kMaxDetections,
  kMaxCandidates,
  kHeadNull,
  kHeadMisaligned,
  kScoreThresholdNull,
  kIouThresholdNull,
  kThresholdMisaligned,
  kScoreThreshold,
  kIouThreshold,
  kOutputNull,
  kOutputMisaligned,
  kWorkspaceNull,
  kWorkspaceMisaligned,
  kWorkspaceTooSmall,
  kNoCuda,
  kCount
};

/// What an error means, naming the argument; for `kCount` and above that it is unknown.
char const* error_text(Error error) noexcept;

constexpr Error first_error_of_level(HeadLevel const& level, int num_classes) noexcept {
  if (level.height < 1 || level.height > kMaxSide) { return Error::kMapSize; }
  if (level.width < 1 || level.width > kMaxSide) { return Error::kMapSize; }
  if (level.stride < 1 || level.stride > kMaxStride) { return Error::kStride; }
  if (level.num_anchors < 1 || level.num_anchors > kMaxAnchors) { return Error::kNumAnchors; }
  for (int side = 0; side < 2 * level.num_anchors; ++side) {
    float const length = level.anchors_px[side];
    if (!(length > 0.0F && length <= kMaxAnchorPx)) { return Error::kAnchors; }
  }
  if (level.channels != level.num_anchors * (5 + num_classes)) { return Error::kChannels; }
  return Error::kNone;
}

/// Channels as they lie in memory.
YN_HD constexpr int padded_channels(int channels, int layout) {
  return layout == YOLOR_NMS_HWC8 ? (channels + 7) / 8 * 8 : channels;
}

/// The first thing that is wrong with a shape, or `Error::kNone`.
constexpr Error first_error(Shape const& shape) noexcept {
  if (shape.batch < 1 || shape.batch > kMaxBatch) { return Error::kBatch; }
  if (shape.num_classes < 1 || shape.num_classes > kMaxClasses) { return Error::kNumClasses; }
  if (shape.num_levels < 1 || shape.num_levels > kMaxLevels) { return Error::kNumLevels; }
  if (shape.data_type != YOLOR_NMS_FLOAT32 && shape.data_type != YOLOR_NMS_FLOAT16) {
    return Error::kDataType;
  }
  bool const is_half = shape.data_type == YOLOR_NMS_FLOAT16;
  if (shape.layout != YOLOR_NMS_NCHW && !(shape.layout == YOLOR_NMS_HWC8 && is_half)) {
    return Error::kLayout;
  }
  std::int64_t pairs = 0;
  for (int i = 0; i < shape.num_levels; ++i) {
    HeadLevel const& level = shape.levels[i];
    Error const error = first_error_of_level(level, shape.num_classes);
    if (error != Error::kNone) { return error; }
    std::int64_t const cells = std::int64_t{level.height} * level.width;
    pairs += cells * level.num_anchors * shape.num_classes;
    if (pairs > kMaxPairs) { return Error::kTooManyPairs; }
    if (cells * padded_channels(level.channels, shape.layout) > kMaxValues) {
      return Error::kTooManyValues;
    }
  }
  return Error::kNone;
}

/// The first thing that is wrong with limits, or `Error::kNone`.
constexpr Error first_error(Params const& params) noexcept {
  if (params.max_detections < 1 || params.max_detections > kMaxPairs) {
    return Error::kMaxDetections;
  }
  if (params.max_candidates < 1 || params.max_candidates > kMaxPairs) {
    return Error::kMaxCandidates;
  }
  return Error::kNone;
}

/// Whether a threshold is one; NaN is not.
YN_HD constexpr bool is_threshold(float value) { return value >= 0.0F && value <= 1.0F; }

}  // namespace yolor_nms
