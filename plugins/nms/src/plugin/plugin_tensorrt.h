/// What the interfaces of TensorRT 8 and of 10 have in common: the same steps on the same structs.
#pragma once

#include "plugin_log.h"
#include "plugin_tensors.h"

namespace yolor_nms {

/// The attributes that a creator asks for, without values.
nvinfer1::PluginFieldCollection const* field_names() noexcept;

/// The config that attributes tell; nothing, and a message, if they are bad.
std::optional<PluginConfig> config_from(nvinfer1::PluginFieldCollection const* attributes);

nvinfer1::DataType output_data_type(int output) noexcept;

/// Sizes of all outputs as expressions in those of the inputs. Returns whether the inputs can be.
bool set_output_shapes(PluginConfig const& config, nvinfer1::DimsExprs const* inputs,
                       int num_inputs, nvinfer1::DimsExprs* outputs,
                       nvinfer1::IExprBuilder& builder);

/// The inputs of a run, or of the largest that is possible.
class InputTensors {
 public:
  /// @param where  the method, for a message
  InputTensors(char const* where, nvinfer1::PluginTensorDesc const* inputs, int count);
  InputTensors(char const* where, nvinfer1::DynamicPluginTensorDesc const* largest, int count);

  /// The shape that they are of; nothing, and a message, if they are bad.
  std::optional<Shape> shape(PluginConfig const& config) const;
  /// What a run of them needs; 0, and a message, if they are bad.
  std::size_t workspace_bytes(PluginConfig const& config) const;
  Tensor const* all() const { return tensors_; }

 private:
  char const* where_;
  int count_;
  Tensor tensors_[kMaxInputs] = {};
};

bool supports(PluginConfig const& config, int position, nvinfer1::PluginTensorDesc const& first,
              nvinfer1::PluginTensorDesc const& asked);

/// Launch a run. Allocates nothing and waits for nothing. Returns 0, or 1 and logs why.
std::int32_t enqueue(PluginConfig const& config, nvinfer1::PluginTensorDesc const* descriptions,
                     void const* const* inputs, void* const* outputs, void* workspace,
                     cudaStream_t stream);

}  // namespace yolor_nms
