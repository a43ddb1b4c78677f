#include "plugin_tensors.h"

namespace yolor_nms {
namespace {

bool is_float32(Tensor const& tensor) {
  return tensor.type == TensorType::kFloat32 && tensor.format == TensorFormat::kLinear;
}

bool is_head(Tensor const& tensor) {
  bool const is_half = tensor.type == TensorType::kFloat16;
  return is_float32(tensor) || (is_half && tensor.format != TensorFormat::kOther);
}

std::string name_of_input(PluginConfig const& config, int input) {
  int const level = input - config.shape.num_levels;
  if (level < 0) { return "raw_" + std::to_string(input); }
  return level == 0 ? "score_threshold" : "iou_threshold";
}

/// How a head map ought to be; -1 is any size.
Tensor expected_head(PluginConfig const& config, int level, Tensor const& first) {
  std::int64_t const batch = first.rank == 4 ? first.dims[0] : -1;
  return {first.type, first.format, 4, {batch, config.shape.levels[level].channels, -1, -1}};
}

bool is_like(Tensor const& tensor, Tensor const& expected) {
  if (tensor.type != expected.type || tensor.format != expected.format) { return false; }
  if (tensor.rank != expected.rank) { return false; }
  for (int i = 0; i < tensor.rank; ++i) {
    if (expected.dims[i] >= 0 && tensor.dims[i] != expected.dims[i]) { return false; }
  }
  return true;
}

bool is_one_value(Tensor const& tensor) {
  bool is_one = is_float32(tensor) && tensor.rank >= 0;
  for (int i = 0; i < tensor.rank; ++i) { is_one = is_one && tensor.dims[i] == 1; }
  return is_one;
}

/// A size as the library takes it: what does not fit is refused there, as 0 is.
std::int32_t size_of(std::int64_t dim) {
  return dim < 0 || dim > INT32_MAX ? 0 : static_cast<std::int32_t>(dim);
}

std::string problem_of_input(PluginConfig const& config, int input, Tensor const* inputs) {
  Tensor const& tensor = inputs[input];
  std::string expected;
  if (input >= config.shape.num_levels) {
    if (is_one_value(tensor)) { return ""; }
    expected = "float32 [1]";
  } else {
    Tensor const head = expected_head(config, input, inputs[0]);
    if (is_head(tensor) && is_like(tensor, head)) { return ""; }
    expected = is_head(head) ? text_of(head) : "float32, float16 or float16 hwc8";
  }
  return "input " + name_of_input(config, input) + " is " + text_of(tensor) + ", expected " +
         expected;
}

}  // namespace

bool supports_format(PluginConfig const& config, int position, Tensor const& first,
                     Tensor const& asked) {
  int const output = position - num_inputs(config);
  if (position < 0 || output >= kNumOutputs) { return false; }
  if (position < config.shape.num_levels) {
    return is_head(asked) && asked.type == first.type && asked.format == first.format;
  }
  if (output < 0) { return is_float32(asked); }
  return asked.format == TensorFormat::kLinear && asked.type == output_type(output);
}

std::optional<Shape> shape_from_tensors(PluginConfig const& config, Tensor const* inputs,
                                        std::string& problem) {
  for (int i = 0; i < num_inputs(config); ++i) {
    problem = problem_of_input(config, i, inputs);
    if (!problem.empty()) { return std::nullopt; }
  }
  Shape shape = config.shape;
  Tensor const& first = inputs[0];
  shape.batch = size_of(first.dims[0]);
  shape.data_type = first.type == TensorType::kFloat16 ? YOLOR_NMS_FLOAT16 : YOLOR_NMS_FLOAT32;
  shape.layout = first.format == TensorFormat::kHwc8 ? YOLOR_NMS_HWC8 : YOLOR_NMS_NCHW;
  for (int i = 0; i < shape.num_levels; ++i) {
    shape.levels[i].height = size_of(inputs[i].dims[2]);
    shape.levels[i].width = size_of(inputs[i].dims[3]);
  }
  Error const error = first_error(shape);
  if (error == Error::kNone) { return shape; }
  problem = std::string(error_text(error)) + "; inputs are " + text_of_heads(config, inputs);
  return std::nullopt;
}

std::string text_of(Tensor const& tensor) {
  char const* const types[] = {"float32", "float16", "int32", "another type"};
  char const* const formats[] = {"", " hwc8", " in another format"};
  std::string text = types[static_cast<int>(tensor.type)];
  text += formats[static_cast<int>(tensor.format)];
  text += " [";
  for (int i = 0; i < tensor.rank; ++i) {
    text += (i == 0 ? "" : ", ") + (tensor.dims[i] < 0 ? "any" : std::to_string(tensor.dims[i]));
  }
  return text + "]";
}

std::string text_of_heads(PluginConfig const& config, Tensor const* inputs) {
  std::string text;
  for (int i = 0; i < config.shape.num_levels; ++i) {
    text += (i == 0 ? "" : ", ") + name_of_input(config, i) + " " + text_of(inputs[i]);
  }
  return text;
}

}  // namespace yolor_nms
