/// The tensors of a YolorNMS plugin: which formats it takes, and what a run is. Nothing here is of
/// TensorRT.
///
/// Inputs are the head maps, finest stride first, then `score_threshold` and `iou_threshold`;
/// outputs are `num_detections`, `boxes_xyxy`, `scores` and `class_ids`.
#pragma once

#include "plugin_config.h"

namespace yolor_nms {

inline constexpr int kNumThresholds = 2;
inline constexpr int kNumOutputs = 4;
inline constexpr int kMaxInputs = kMaxLevels + kNumThresholds;

enum class TensorType { kFloat32, kFloat16, kInt32, kOther };
enum class TensorFormat { kLinear, kHwc8, kOther };

struct Tensor {
  static constexpr int kMaxRank = 8;
  TensorType type;
  TensorFormat format;
  std::int32_t rank;
  std::int64_t dims[kMaxRank];  // without the padding of a format
};

constexpr int num_inputs(PluginConfig const& config) {
  return config.shape.num_levels + kNumThresholds;
}

constexpr TensorType output_type(int output) {
  return output == 0 || output == 3 ? TensorType::kInt32 : TensorType::kFloat32;
}

/// Whether an input, or behind the inputs an output, may have the type and the format asked for,
/// where `raw_0` has those of `first`: the head maps have one and the same.
bool supports_format(PluginConfig const& config, int position, Tensor const& first,
                     Tensor const& asked);

/// The shape of a run.
///
/// @param inputs  as many as `num_inputs` tells
/// @param problem  set, and naming the tensor, where nothing is returned
std::optional<Shape> shape_from_tensors(PluginConfig const& config, Tensor const* inputs,
                                        std::string& problem);

/// Such as `float16 hwc8 [1, 255, 80, 80]`.
std::string text_of(Tensor const& tensor);

/// The head maps of a run, such as `raw_0 float32 [1, 255, 80, 80], raw_1 ...`.
std::string text_of_heads(PluginConfig const& config, Tensor const* inputs);

}  // namespace yolor_nms
