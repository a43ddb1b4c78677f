/// The plugin for TensorRT 8.5 and 8.6: `IPluginV2DynamicExt` and its creator.

#include <cstring>

#include "plugin_tensorrt.h"

namespace yolor_nms {
namespace {

using namespace nvinfer1;

/// Holds nothing of a context: a copy is a new one.
class Plugin final : public IPluginV2DynamicExt {
 public:
  Plugin(PluginConfig const& config, std::string const& plugin_namespace)
      : config_(config), bytes_(bytes_from_config(config)), namespace_(plugin_namespace) {}

  AsciiChar const* getPluginType() const noexcept override { return kPluginName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kPluginVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
  void setPluginNamespace(AsciiChar const* plugin_namespace) noexcept override {
    guarded("setPluginNamespace", false, [&] {
      namespace_ = plugin_namespace == nullptr ? "" : plugin_namespace;
      return true;
    });
  }

  std::int32_t initialize() noexcept override { return 0; }
  void terminate() noexcept override {}
  void destroy() noexcept override { delete this; }
  IPluginV2DynamicExt* clone() const noexcept override {
    return guarded<IPluginV2DynamicExt*>("clone", nullptr,
                                         [&] { return new Plugin(config_, namespace_); });
  }

  std::size_t getSerializationSize() const noexcept override { return bytes_.size(); }
  void serialize(void* buffer) const noexcept override {
    std::memcpy(buffer, bytes_.data(), bytes_.size());
  }

  std::int32_t getNbOutputs() const noexcept override { return kNumOutputs; }
  DataType getOutputDataType(std::int32_t output, DataType const*,
                             std::int32_t) const noexcept override {
    return output_data_type(output);
  }

  /// There is no way to fail but sizes that cannot be.
  DimsExprs getOutputDimensions(std::int32_t output, DimsExprs const* inputs,
                                std::int32_t num_inputs, IExprBuilder& builder) noexcept override {
    return guarded("getOutputDimensions", DimsExprs{-1, {}}, [&] {
      DimsExprs all[kNumOutputs] = {};
      bool const is_done = output >= 0 && output < kNumOutputs &&
                           set_output_shapes(config_, inputs, num_inputs, all, builder);
      return is_done ? all[output] : DimsExprs{-1, {}};
    });
  }

  bool supportsFormatCombination(std::int32_t position, PluginTensorDesc const* tensors,
                                 std::int32_t, std::int32_t) noexcept override {
    return guarded("supportsFormatCombination", false,
                   [&] { return supports(config_, position, tensors[0], tensors[position]); });
  }

  /// Logs here what `enqueue` will refuse: it cannot fail.
  void configurePlugin(DynamicPluginTensorDesc const* inputs, std::int32_t num_inputs,
                       DynamicPluginTensorDesc const*, std::int32_t) noexcept override {
    guarded("configurePlugin", false, [&] {
      return bool{InputTensors("configurePlugin", inputs, num_inputs).shape(config_)};
    });
  }

  std::size_t getWorkspaceSize(PluginTensorDesc const* inputs, std::int32_t num_inputs,
                               PluginTensorDesc const*, std::int32_t) const noexcept override {
    return guarded("getWorkspaceSize", std::size_t{0}, [&] {
      return InputTensors("getWorkspaceSize", inputs, num_inputs).workspace_bytes(config_);
    });
  }

  std::int32_t enqueue(PluginTensorDesc const* descriptions, PluginTensorDesc const*,
                       void const* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override {
    return guarded("enqueue", 1, [&] {
      return yolor_nms::enqueue(config_, descriptions, inputs, outputs, workspace, stream);
    });
  }

 private:
  PluginConfig config_;
  std::vector<unsigned char> bytes_;
  std::string namespace_;
};

class Creator final : public IPluginCreator {
 public:
  AsciiChar const* getPluginName() const noexcept override { return kPluginName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kPluginVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
  void setPluginNamespace(AsciiChar const* plugin_namespace) noexcept override {
    guarded("setPluginNamespace", false, [&] {
      namespace_ = plugin_namespace == nullptr ? "" : plugin_namespace;
      return true;
    });
  }
  PluginFieldCollection const* getFieldNames() noexcept override { return field_names(); }

  IPluginV2DynamicExt* createPlugin(AsciiChar const*,
                                    PluginFieldCollection const* attributes) noexcept override {
    return guarded<IPluginV2DynamicExt*>("createPlugin", nullptr,
                                         [&] { return plugin_of(config_from(attributes)); });
  }

  IPluginV2DynamicExt* deserializePlugin(AsciiChar const*, void const* bytes,
                                         std::size_t size) noexcept override {
    return guarded<IPluginV2DynamicExt*>("deserializePlugin", nullptr, [&] {
      std::string problem;
      auto const config = config_from_bytes(bytes, size, problem);
      if (!config) { log_error("deserializePlugin", problem); }
      return plugin_of(config);
    });
  }

 private:
  Plugin* plugin_of(std::optional<PluginConfig> const& config) const {
    return config ? new Plugin(*config, namespace_) : nullptr;
  }

  std::string namespace_ = kPluginNamespace;
};

Creator& creator() {
  static Creator one;
  return one;
}

/// Whether the loaded TensorRT is one of these headers. If not, a message says so: what is called
/// through another layout crashes.
bool is_of_this_major() {
  if (!is_of_another_major()) { return true; }
  log_error("load", "the library was built for TensorRT " + std::to_string(NV_TENSORRT_MAJOR) +
                        ", but getInferLibVersion is " + std::to_string(loaded_version()) +
                        "; build it with the headers of the TensorRT that loads it");
  return false;
}

}  // namespace
}  // namespace yolor_nms

#if YOLOR_NMS_HAS_LOGGER_FINDER
// What `IPluginRegistry::loadLibrary` of 8.6 looks for.

extern "C" YOLOR_NMS_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  yolor_nms::set_logger_finder(finder);
}

extern "C" YOLOR_NMS_EXPORT nvinfer1::IPluginCreator* const* getPluginCreators(
    std::int32_t& count) {
  static nvinfer1::IPluginCreator* const creators[] = {&yolor_nms::creator()};
  count = yolor_nms::guarded("load", false, yolor_nms::is_of_this_major) ? 1 : 0;
  return creators;
}
#endif

/// Register with the TensorRT that the process has loaded: 8.5 has no `loadLibrary`. The library
/// must stay loaded. Returns 0, or 1 and says why.
extern "C" YOLOR_NMS_EXPORT std::int32_t yolor_nms_register_plugin(void) {
  using yolor_nms::log_error;
  return yolor_nms::guarded("yolor_nms_register_plugin", 1, [] {
    void* const function = yolor_nms::tensorrt_function("getPluginRegistry");
    if (function == nullptr) {
      log_error("yolor_nms_register_plugin", "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR) +
                                                 " is not loaded; load TensorRT first");
      return 1;
    }
    if (!yolor_nms::is_of_this_major()) { return 1; }
    auto* const registry = reinterpret_cast<nvinfer1::IPluginRegistry* (*)()>(function)();
    if (registry != nullptr && registry->registerCreator(yolor_nms::creator(), "")) { return 0; }
    log_error("yolor_nms_register_plugin", "the registry has refused YolorNMS version 1");
    return 1;
  });
}
