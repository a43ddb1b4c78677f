/// A plugin library used as TensorRT 10 and 11 use it: `IPluginV3`.
#pragma once

#include <dlfcn.h>

#include <cstring>
#include <memory>

#include "expect.h"
#include "stand_in.h"

namespace yolor_nms {

using Descriptions = std::vector<nvinfer1::PluginTensorDesc>;  // inputs, then outputs

class PluginLibrary {
 public:
  explicit PluginLibrary(char const* path) : handle_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) { std::fprintf(stderr, "%s\n", dlerror()); }
    EXPECT(handle_ != nullptr);
    auto const get = reinterpret_cast<nvinfer1::IPluginCreatorInterface* const* (*)(std::int32_t&)>(
        dlsym(handle_, "getCreators"));
    EXPECT(get != nullptr);
    std::int32_t count = 0;
    auto* const* const creators = get(count);
    EXPECT(count == 1);
    EXPECT(std::strcmp(creators[0]->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") == 0);
    creator_ = static_cast<nvinfer1::IPluginCreatorV3One*>(creators[0]);
  }
  void set_logger_finder(nvinfer1::ILoggerFinder* finder) {
    reinterpret_cast<void (*)(nvinfer1::ILoggerFinder*)>(dlsym(handle_, "setLoggerFinder"))(finder);
  }
  nvinfer1::IPluginCreatorV3One& creator() const { return *creator_; }

 private:
  void* handle_;
  nvinfer1::IPluginCreatorV3One* creator_;
};

/// The largest inputs and outputs; no other end of a profile matters.
inline std::vector<nvinfer1::DynamicPluginTensorDesc> largest(Descriptions const& all) {
  std::vector<nvinfer1::DynamicPluginTensorDesc> dynamic(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    dynamic[i].desc = all[i];
    dynamic[i].max = all[i].dims;
    for (int d = 2; d < all[i].dims.nbDims; ++d) { dynamic[i].desc.dims.d[d] = -1; }
  }
  return dynamic;
}

class DrivenPlugin {
 public:
  explicit DrivenPlugin(nvinfer1::IPluginV3* plugin) : plugin_(plugin) {}

  /// Nothing if the creator refuses.
  static std::optional<DrivenPlugin> made(PluginLibrary const& library,
                                          std::vector<Field> const& fields) {
    auto const all = plugin_fields(fields);
    nvinfer1::PluginFieldCollection const collection{Attributes::count_of(all), all.data()};
    auto* const plugin =
        library.creator().createPlugin("name", &collection, nvinfer1::TensorRTPhase::kBUILD);
    return plugin == nullptr ? std::nullopt : std::optional<DrivenPlugin>(plugin);
  }
  DrivenPlugin copy() const { return DrivenPlugin(plugin_->clone()); }
  DrivenPlugin in_context() const { return DrivenPlugin(runtime().attachToContext(nullptr)); }
  /// Through what a plan holds, which is unaligned here.
  DrivenPlugin read_back(PluginLibrary const& library) const {
    auto const* const held = runtime().getFieldsToSerialize();
    std::deque<std::vector<char>> copies;
    std::vector<nvinfer1::PluginField> fields(held->fields, held->fields + held->nbFields);
    for (auto& field : fields) {
      auto const* const data = static_cast<char const*>(field.data);
      copies.emplace_back(1);
      copies.back().insert(copies.back().end(), data, data + field.length * 4);
      field.data = copies.back().data() + 1;
    }
    nvinfer1::PluginFieldCollection const collection{held->nbFields, fields.data()};
    return DrivenPlugin(
        library.creator().createPlugin("name", &collection, nvinfer1::TensorRTPhase::kRUNTIME));
  }

  std::string name() const { return core().getPluginName(); }
  std::string version() const { return core().getPluginVersion(); }
  std::string name_space() const { return core().getPluginNamespace(); }

  std::vector<nvinfer1::DataType> output_types(int num_inputs) const {
    std::vector<nvinfer1::DataType> const inputs(static_cast<std::size_t>(num_inputs));
    std::vector<nvinfer1::DataType> types(static_cast<std::size_t>(build().getNbOutputs()));
    EXPECT(build().getOutputDataTypes(types.data(), Attributes::count_of(types), inputs.data(),
                                      num_inputs) == 0);
    return types;
  }
  /// Nothing if the inputs are refused.
  std::vector<nvinfer1::DimsExprs> output_shapes(std::vector<nvinfer1::DimsExprs> const& inputs,
                                                 nvinfer1::IExprBuilder& builder) const {
    std::vector<nvinfer1::DimsExprs> shapes(4);
    auto const code = build().getOutputShapes(inputs.data(), Attributes::count_of(inputs), nullptr,
                                              0, shapes.data(), 4, builder);
    return code == 0 ? shapes : std::vector<nvinfer1::DimsExprs>();
  }
  bool supports(int position, Descriptions const& all) const {
    auto const dynamic = largest(all);
    return build().supportsFormatCombination(position, dynamic.data(), inputs_of(all), 4);
  }
  void configure(Descriptions const& all, bool is_good) const {
    auto const dynamic = largest(all);
    auto const* const outputs = dynamic.data() + inputs_of(all);
    auto const code = build().configurePlugin(dynamic.data(), inputs_of(all), outputs, 4);
    EXPECT((code == 0) == is_good);
  }
  std::size_t workspace_bytes(Descriptions const& all) const {
    auto const dynamic = largest(all);
    auto const* const outputs = dynamic.data() + inputs_of(all);
    return build().getWorkspaceSize(dynamic.data(), inputs_of(all), outputs, 4);
  }
  std::int32_t enqueue(Descriptions const& all, void const* const* inputs, void* const* outputs,
                       void* workspace, cudaStream_t stream) const {
    auto const* const descriptions = all.data();
    auto const* const described_outputs = descriptions + inputs_of(all);
    EXPECT(runtime().onShapeChange(descriptions, inputs_of(all), described_outputs, 4) == 0);
    return runtime().enqueue(descriptions, described_outputs, inputs, outputs, workspace, stream);
  }

 private:
  static std::int32_t inputs_of(Descriptions const& all) { return Attributes::count_of(all) - 4; }

  template <class Capability>
  Capability& capability(nvinfer1::PluginCapabilityType type, char const* kind) const {
    auto* const found = plugin_->getCapabilityInterface(type);
    EXPECT(found != nullptr && std::strcmp(found->getInterfaceInfo().kind, kind) == 0);
    return *static_cast<Capability*>(found);
  }
  nvinfer1::IPluginV3OneCore& core() const {
    return capability<nvinfer1::IPluginV3OneCore>(nvinfer1::PluginCapabilityType::kCORE,
                                                  "PLUGIN_V3ONE_CORE");
  }
  nvinfer1::IPluginV3OneBuild& build() const {
    return capability<nvinfer1::IPluginV3OneBuild>(nvinfer1::PluginCapabilityType::kBUILD,
                                                   "PLUGIN_V3ONE_BUILD");
  }
  nvinfer1::IPluginV3OneRuntime& runtime() const {
    return capability<nvinfer1::IPluginV3OneRuntime>(nvinfer1::PluginCapabilityType::kRUNTIME,
                                                     "PLUGIN_V3ONE_RUNTIME");
  }

  std::unique_ptr<nvinfer1::IPluginV3> plugin_;
};

/// What only this interface has.
inline void expect_interface(PluginLibrary const& library, RecordingLogger&) {
  DrivenPlugin const plugin = *DrivenPlugin::made(library, Attributes().fields());
  EXPECT(plugin.name_space().empty());
  EXPECT(std::string(library.creator().getPluginNamespace()).empty());
}

}  // namespace yolor_nms
