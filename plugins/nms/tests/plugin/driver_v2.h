/// A plugin library used as TensorRT 8.5 and 8.6 use it: `IPluginV2DynamicExt`.
#pragma once

#include <dlfcn.h>

#include <cstring>
#include <memory>

#include "expect.h"
#include "stand_in.h"

namespace yolor_nms {

using Descriptions = std::vector<nvinfer1::PluginTensorDesc>;  // inputs, then outputs

/// The registry of a TensorRT, as far as registering goes.
class Registry final : public nvinfer1::IPluginRegistry {
 public:
  bool registerCreator(nvinfer1::IPluginCreator& creator,
                       nvinfer1::AsciiChar const* plugin_namespace) noexcept override {
    if (creator_ != nullptr) { return false; }
    creator.setPluginNamespace(plugin_namespace);
    creator_ = &creator;
    return true;
  }
  nvinfer1::IPluginCreator* const* getPluginCreatorList(
      std::int32_t* count) const noexcept override {
    *count = creator_ == nullptr ? 0 : 1;
    return &creator_;
  }
  nvinfer1::IPluginCreator* getPluginCreator(nvinfer1::AsciiChar const*, nvinfer1::AsciiChar const*,
                                             nvinfer1::AsciiChar const*) noexcept override {
    return creator_;
  }
  void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept override {}
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
  bool deregisterCreator(nvinfer1::IPluginCreator const&) noexcept override { return false; }
#if YOLOR_NMS_HAS_LOGGER_FINDER
  bool isParentSearchEnabled() const override { return false; }
  void setParentSearchEnabled(bool) override {}
  PluginLibraryHandle loadLibrary(nvinfer1::AsciiChar const*) noexcept override { return nullptr; }
  void deregisterLibrary(PluginLibraryHandle) noexcept override {}
#endif

 private:
  nvinfer1::IPluginCreator* creator_ = nullptr;
};

inline Registry global_registry;  // `getPluginRegistry` of this program

class PluginLibrary {
 public:
  explicit PluginLibrary(char const* path) : handle_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) { std::fprintf(stderr, "%s\n", dlerror()); }
    EXPECT(handle_ != nullptr);
    EXPECT(register_plugin() == 0);
    creator_ = global_registry.getPluginCreator("", "", "");
#if YOLOR_NMS_HAS_LOGGER_FINDER
    EXPECT(creators() == creator_);
#endif
  }
  std::int32_t register_plugin() const {
    auto const function = dlsym(handle_, "yolor_nms_register_plugin");
    EXPECT(function != nullptr);
    return reinterpret_cast<std::int32_t (*)()>(function)();
  }
#if YOLOR_NMS_HAS_LOGGER_FINDER
  void set_logger_finder(nvinfer1::ILoggerFinder* finder) {
    reinterpret_cast<void (*)(nvinfer1::ILoggerFinder*)>(dlsym(handle_, "setLoggerFinder"))(finder);
  }
  /// The only creator that a registry is told of; none for a TensorRT of another version.
  nvinfer1::IPluginCreator* creators() const {
    auto const get = reinterpret_cast<nvinfer1::IPluginCreator* const* (*)(std::int32_t&)>(
        dlsym(handle_, "getPluginCreators"));
    std::int32_t count = -1;
    auto* const* const all = get(count);
    EXPECT(count == 0 || count == 1);
    return count == 0 ? nullptr : all[0];
  }
#endif
  nvinfer1::IPluginCreator& creator() const { return *creator_; }

 private:
  void* handle_;
  nvinfer1::IPluginCreator* creator_;
};

class DrivenPlugin {
 public:
  using Interface = nvinfer1::IPluginV2DynamicExt;
  explicit DrivenPlugin(Interface* plugin) : plugin_(plugin) {}

  /// Nothing if the creator refuses.
  static std::optional<DrivenPlugin> made(PluginLibrary const& library,
                                          std::vector<Field> const& fields) {
    auto const all = plugin_fields(fields);
    nvinfer1::PluginFieldCollection const collection{Attributes::count_of(all), all.data()};
    return of(library.creator().createPlugin("name", &collection));
  }
  static std::optional<DrivenPlugin> read(PluginLibrary const& library,
                                          std::vector<unsigned char> const& bytes) {
    return of(library.creator().deserializePlugin("name", bytes.data(), bytes.size()));
  }
  std::vector<unsigned char> bytes() const {
    std::vector<unsigned char> bytes(plugin_->getSerializationSize());
    plugin_->serialize(bytes.data());
    return bytes;
  }
  DrivenPlugin copy() const { return DrivenPlugin(plugin_->clone()); }
  DrivenPlugin in_context() const {
    DrivenPlugin attached = copy();
    EXPECT(attached.plugin_->initialize() == 0);
    attached.plugin_->attachToContext(nullptr, nullptr, nullptr);
    return attached;
  }
  DrivenPlugin read_back(PluginLibrary const& library) const { return *read(library, bytes()); }

  std::string name() const { return plugin_->getPluginType(); }
  std::string version() const { return plugin_->getPluginVersion(); }
  std::string name_space() const { return plugin_->getPluginNamespace(); }
  void set_name_space(char const* name_space) { plugin_->setPluginNamespace(name_space); }

  std::vector<nvinfer1::DataType> output_types(int num_inputs) const {
    std::vector<nvinfer1::DataType> const inputs(static_cast<std::size_t>(num_inputs));
    std::vector<nvinfer1::DataType> types;
    for (std::int32_t i = 0; i < plugin_->getNbOutputs(); ++i) {
      types.push_back(plugin_->getOutputDataType(i, inputs.data(), num_inputs));
    }
    return types;
  }
  /// Nothing if the inputs are refused.
  std::vector<nvinfer1::DimsExprs> output_shapes(std::vector<nvinfer1::DimsExprs> const& inputs,
                                                 nvinfer1::IExprBuilder& builder) const {
    std::vector<nvinfer1::DimsExprs> shapes;
    for (std::int32_t i = 0; i < plugin_->getNbOutputs(); ++i) {
      shapes.push_back(
          plugin_->getOutputDimensions(i, inputs.data(), Attributes::count_of(inputs), builder));
      if (shapes.back().nbDims < 0) { return {}; }
    }
    return shapes;
  }
  bool supports(int position, Descriptions const& all) const {
    return plugin_->supportsFormatCombination(position, all.data(), inputs_of(all), 4);
  }
  void configure(Descriptions const& all, bool) const {
    std::vector<nvinfer1::DynamicPluginTensorDesc> dynamic(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      dynamic[i].desc = all[i];
      dynamic[i].max = all[i].dims;
    }
    plugin_->configurePlugin(dynamic.data(), inputs_of(all), dynamic.data() + inputs_of(all), 4);
  }
  std::size_t workspace_bytes(Descriptions const& all) const {
    auto const* const outputs = all.data() + inputs_of(all);
    return plugin_->getWorkspaceSize(all.data(), inputs_of(all), outputs, 4);
  }
  std::int32_t enqueue(Descriptions const& all, void const* const* inputs, void* const* outputs,
                       void* workspace, cudaStream_t stream) const {
    return plugin_->enqueue(all.data(), all.data() + inputs_of(all), inputs, outputs, workspace,
                            stream);
  }

 private:
  struct Destroy {
    void operator()(Interface* plugin) const {
      plugin->detachFromContext();
      plugin->terminate();
      plugin->destroy();
    }
  };
  template <class Created>
  static std::optional<DrivenPlugin> of(Created* plugin) {
    if (plugin == nullptr) { return std::nullopt; }
    return DrivenPlugin(static_cast<Interface*>(plugin));
  }
  static std::int32_t inputs_of(Descriptions const& all) { return Attributes::count_of(all) - 4; }

  std::unique_ptr<Interface, Destroy> plugin_;
};

/// What only this interface has.
inline void expect_interface(PluginLibrary const& library, RecordingLogger& logger) {
  DrivenPlugin plugin = *DrivenPlugin::made(library, Attributes().fields());
  plugin.set_name_space("elsewhere");
  EXPECT(plugin.copy().name_space() == "elsewhere");
  library.creator().setPluginNamespace("there");
  EXPECT(DrivenPlugin::made(library, Attributes().fields())->name_space() == "there");
  library.creator().setPluginNamespace("");
  EXPECT(logger.took_none());

  auto bytes = plugin.bytes();
  EXPECT(bytes == bytes_from_config(config_of(Attributes())));
  bytes[0] = 0;
  EXPECT(!DrivenPlugin::read(library, bytes));
  EXPECT(logger.took_one_with("deserializePlugin: the serialized plugin is not one of YolorNMS"));
  EXPECT(!DrivenPlugin::read(library, {}));
  EXPECT(logger.took_one_with("deserializePlugin: "));

  EXPECT(library.register_plugin() == 1);
  EXPECT(logger.took_one_with("the registry has refused YolorNMS version 1"));
}

}  // namespace yolor_nms
