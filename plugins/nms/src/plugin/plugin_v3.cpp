/// The plugin for TensorRT 10 and 11: `IPluginV3` and its creator.

#include "plugin_tensorrt.h"

namespace yolor_nms {
namespace {

using namespace nvinfer1;

constexpr std::int32_t kDone = 0;
constexpr std::int32_t kFailed = 1;

/// All three capabilities in one object, which holds nothing of a context: a copy is a new one.
class Plugin final : public IPluginV3,
                     public IPluginV3OneCore,
                     public IPluginV3OneBuild,
                     public IPluginV3OneRuntime {
 public:
  explicit Plugin(PluginConfig const& config) : config_(config), values_(config) {
    for (int i = 0; i < kNumFields; ++i) {
      Field const& field = values_[i];
      bool const is_float = field.type == FieldType::kFloat32;
      fields_[i] = {field.name, field.data,
                    is_float ? PluginFieldType::kFLOAT32 : PluginFieldType::kINT32, field.length};
    }
  }

  IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
    switch (type) {
      case PluginCapabilityType::kCORE:
        return static_cast<IPluginV3OneCore*>(this);
      case PluginCapabilityType::kBUILD:
        return static_cast<IPluginV3OneBuild*>(this);
      case PluginCapabilityType::kRUNTIME:
        return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  IPluginV3* clone() noexcept override {
    return guarded<IPluginV3*>("clone", nullptr, [&] { return new Plugin(config_); });
  }

  AsciiChar const* getPluginName() const noexcept override { return kPluginName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kPluginVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return kPluginNamespace; }

  std::int32_t getNbOutputs() const noexcept override { return kNumOutputs; }

  std::int32_t getOutputDataTypes(DataType* types, std::int32_t num_outputs, DataType const*,
                                  std::int32_t) const noexcept override {
    for (std::int32_t i = 0; i < num_outputs; ++i) { types[i] = output_data_type(i); }
    return num_outputs == kNumOutputs ? kDone : kFailed;
  }

  std::int32_t getOutputShapes(DimsExprs const* inputs, std::int32_t num_inputs, DimsExprs const*,
                               std::int32_t, DimsExprs* outputs, std::int32_t num_outputs,
                               IExprBuilder& builder) noexcept override {
    return guarded("getOutputShapes", kFailed, [&] {
      bool const is_done = num_outputs == kNumOutputs &&
                           set_output_shapes(config_, inputs, num_inputs, outputs, builder);
      return is_done ? kDone : kFailed;
    });
  }

  bool supportsFormatCombination(std::int32_t position, DynamicPluginTensorDesc const* tensors,
                                 std::int32_t, std::int32_t) noexcept override {
    return guarded("supportsFormatCombination", false, [&] {
      return supports(config_, position, tensors[0].desc, tensors[position].desc);
    });
  }

  /// Refuses here what `enqueue` would refuse: a build ends with a message instead of an engine.
  std::int32_t configurePlugin(DynamicPluginTensorDesc const* inputs, std::int32_t num_inputs,
                               DynamicPluginTensorDesc const*, std::int32_t) noexcept override {
    return guarded("configurePlugin", kFailed, [&] {
      bool const is_sound =
          bool{InputTensors("configurePlugin", inputs, num_inputs).shape(config_)};
      return is_sound ? kDone : kFailed;
    });
  }

  std::size_t getWorkspaceSize(DynamicPluginTensorDesc const* inputs, std::int32_t num_inputs,
                               DynamicPluginTensorDesc const*,
                               std::int32_t) const noexcept override {
    return guarded("getWorkspaceSize", std::size_t{0}, [&] {
      return InputTensors("getWorkspaceSize", inputs, num_inputs).workspace_bytes(config_);
    });
  }

  /// Nothing depends on the shape but the run itself, which is told it.
  std::int32_t onShapeChange(PluginTensorDesc const*, std::int32_t, PluginTensorDesc const*,
                             std::int32_t) noexcept override {
    return kDone;
  }

  std::int32_t enqueue(PluginTensorDesc const* descriptions, PluginTensorDesc const*,
                       void const* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override {
    return guarded("enqueue", kFailed, [&] {
      return yolor_nms::enqueue(config_, descriptions, inputs, outputs, workspace, stream);
    });
  }

  IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

  PluginFieldCollection const* getFieldsToSerialize() noexcept override { return &collection_; }

 private:
  PluginConfig config_;
  ConfigFields values_;
  PluginField fields_[kNumFields];
  PluginFieldCollection collection_{kNumFields, fields_};
};

class Creator final : public IPluginCreatorV3One {
 public:
  /// The attributes of a node and those that a plan holds are the same, and checked the same.
  IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const* attributes,
                          TensorRTPhase) noexcept override {
    return guarded<IPluginV3*>("createPlugin", nullptr, [&]() -> IPluginV3* {
      auto const config = config_from(attributes);
      return config ? new Plugin(*config) : nullptr;
    });
  }
  PluginFieldCollection const* getFieldNames() noexcept override { return field_names(); }
  AsciiChar const* getPluginName() const noexcept override { return kPluginName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kPluginVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return kPluginNamespace; }
};

}  // namespace
}  // namespace yolor_nms

// What `IPluginRegistry::loadLibrary` looks for.

extern "C" YOLOR_NMS_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  yolor_nms::set_logger_finder(finder);
}

extern "C" YOLOR_NMS_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(
    std::int32_t& count) {
  static yolor_nms::Creator creator;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&creator};
  count = 1;
  return creators;
}
