#include "plugin_tensorrt.h"

#include <algorithm>
#include <array>

namespace yolor_nms {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;

FieldType field_type_of(PluginFieldType type) {
  if (type == PluginFieldType::kFLOAT32) { return FieldType::kFloat32; }
  if (type == PluginFieldType::kINT32) { return FieldType::kInt32; }
#if NV_TENSORRT_MAJOR >= 10
  if (type == PluginFieldType::kINT64) { return FieldType::kInt64; }
#endif
  return FieldType::kOther;
}

TensorType tensor_type_of(DataType type) {
  if (type == DataType::kFLOAT) { return TensorType::kFloat32; }
  if (type == DataType::kHALF) { return TensorType::kFloat16; }
  return type == DataType::kINT32 ? TensorType::kInt32 : TensorType::kOther;
}

TensorFormat tensor_format_of(nvinfer1::TensorFormat format) {
  if (format == nvinfer1::TensorFormat::kLINEAR) { return TensorFormat::kLinear; }
  return format == nvinfer1::TensorFormat::kHWC8 ? TensorFormat::kHwc8 : TensorFormat::kOther;
}

Tensor tensor_of(PluginTensorDesc const& description, Dims const& dims) {
  Tensor tensor{tensor_type_of(description.type), tensor_format_of(description.format), 0, {}};
  tensor.rank = std::min<std::int32_t>(dims.nbDims, Tensor::kMaxRank);
  for (int i = 0; i < tensor.rank; ++i) { tensor.dims[i] = dims.d[i]; }
  return tensor;
}

std::array<PluginField, kNumFields> names_of_fields() {
  std::array<PluginField, kNumFields> fields;
  fields[0] = {kAnchorsName, nullptr, PluginFieldType::kFLOAT32, 0};
  for (int i = 0; i < kNumIntFields; ++i) {
    std::int32_t const length = kIntRules[i].most_values == 1 ? 1 : 0;
    fields[static_cast<std::size_t>(1 + i)] = {kIntRules[i].name, nullptr, PluginFieldType::kINT32,
                                               length};
  }
  return fields;
}

/// What went wrong in a launch.
std::string text_of_failure(PluginConfig const& config, std::int32_t code, Tensor const* tensors) {
  std::string text = yolor_nms_error_text(code);
  if (code < 0) {
    text += " (the library has machine code for compute capability ";
    text += std::string(yolor_nms_cuda_architectures()) + ")";
  }
  return text + "; inputs are " + text_of_heads(config, tensors);
}

}  // namespace

PluginFieldCollection const* field_names() noexcept {
  static std::array<PluginField, kNumFields> const fields = names_of_fields();
  static PluginFieldCollection const collection{kNumFields, fields.data()};
  return &collection;
}

std::optional<PluginConfig> config_from(PluginFieldCollection const* attributes) {
  std::vector<Field> fields;
  bool const has_some = attributes != nullptr && attributes->fields != nullptr;
  for (std::int32_t i = 0; has_some && i < attributes->nbFields; ++i) {
    PluginField const& field = attributes->fields[i];
    fields.push_back({field.name, field_type_of(field.type), field.data, field.length});
  }
  std::string problem;
  auto config =
      config_from_fields(fields.data(), static_cast<std::int32_t>(fields.size()), problem);
  if (!config) { log_error("createPlugin", problem); }
  return config;
}

DataType output_data_type(int output) noexcept {
  return output_type(output) == TensorType::kInt32 ? DataType::kINT32 : DataType::kFLOAT;
}

bool set_output_shapes(PluginConfig const& config, DimsExprs const* inputs, int num_inputs,
                       DimsExprs* outputs, nvinfer1::IExprBuilder& builder) {
  if (num_inputs != yolor_nms::num_inputs(config) || inputs[0].nbDims != 4) {
    log_error("output shapes",
              std::to_string(num_inputs) + " inputs, expected " +
                  std::to_string(yolor_nms::num_inputs(config)) +
                  ": head maps of 4 dimensions, score_threshold and iou_threshold");
    return false;
  }
  nvinfer1::IDimensionExpr const* const batch = inputs[0].d[0];
  auto const* const rows = builder.constant(config.params.max_detections);
  outputs[0] = {2, {batch, builder.constant(1)}};
  outputs[1] = {3, {batch, rows, builder.constant(4)}};
  outputs[2] = outputs[3] = {2, {batch, rows}};
  return true;
}

InputTensors::InputTensors(char const* where, PluginTensorDesc const* inputs, int count)
    : where_(where), count_(count) {
  for (int i = 0; i < std::min(count, kMaxInputs); ++i) {
    tensors_[i] = tensor_of(inputs[i], inputs[i].dims);
  }
}

InputTensors::InputTensors(char const* where, DynamicPluginTensorDesc const* largest, int count)
    : where_(where), count_(count) {
  for (int i = 0; i < std::min(count, kMaxInputs); ++i) {
    tensors_[i] = tensor_of(largest[i].desc, largest[i].max);
  }
}

std::optional<Shape> InputTensors::shape(PluginConfig const& config) const {
  if (count_ != num_inputs(config)) {
    log_error(where_,
              std::to_string(count_) + " inputs, expected " + std::to_string(num_inputs(config)));
    return std::nullopt;
  }
  std::string problem;
  auto const shape = shape_from_tensors(config, tensors_, problem);
  if (!shape) { log_error(where_, problem); }
  return shape;
}

std::size_t InputTensors::workspace_bytes(PluginConfig const& config) const {
  auto const shape = this->shape(config);
  return shape ? yolor_nms_workspace_bytes(&*shape, &config.params, nullptr) : 0;
}

bool supports(PluginConfig const& config, int position, PluginTensorDesc const& first,
              PluginTensorDesc const& asked) {
  return supports_format(config, position, tensor_of(first, {}), tensor_of(asked, {}));
}

std::int32_t enqueue(PluginConfig const& config, PluginTensorDesc const* descriptions,
                     void const* const* inputs, void* const* outputs, void* workspace,
                     cudaStream_t stream) {
  InputTensors const tensors("enqueue", descriptions, num_inputs(config));
  auto const shape = tensors.shape(config);
  if (!shape) { return 1; }
  int const num_levels = config.shape.num_levels;
  Inputs in{};
  std::copy(inputs, inputs + num_levels, in.heads);
  in.score_threshold = static_cast<float const*>(inputs[num_levels]);
  in.iou_threshold = static_cast<float const*>(inputs[num_levels + 1]);
  Outputs const out{static_cast<std::int32_t*>(outputs[0]), static_cast<float*>(outputs[1]),
                    static_cast<float*>(outputs[2]), static_cast<std::int32_t*>(outputs[3])};
  // TensorRT gives what the largest run needs, which no smaller one exceeds.
  std::size_t const bytes = yolor_nms_workspace_bytes(&*shape, &config.params, nullptr);
  std::int32_t const code =
      yolor_nms_run(&*shape, &config.params, &in, &out, workspace, bytes, stream);
  if (code != 0) { log_error("enqueue", text_of_failure(config, code, tensors.all())); }
  return code == 0 ? 0 : 1;
}

}  // namespace yolor_nms
