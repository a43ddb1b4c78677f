/// The built plugin library, driven through the interface of the headers as TensorRT drives it.
///
///     test_plugin LIBRARY
///
/// Runs on a GPU only if there is one.

#include "device_cases.h"

#if NV_TENSORRT_MAJOR < 10
extern "C" nvinfer1::IPluginRegistry* getPluginRegistry() noexcept {
  return &yolor_nms::global_registry;
}
#endif

namespace {

yolor_nms::RecordingLogger logger;
yolor_nms::RecordingLogger first_logger;
nvinfer1::ILogger* current_logger = &first_logger;
std::int32_t told_version = NV_TENSORRT_VERSION;

}  // namespace

// This program plays the TensorRT that the plugin looks for.
extern "C" std::int32_t getInferLibVersion() noexcept { return told_version; }
extern "C" nvinfer1::ILogger* getLogger() noexcept { return current_logger; }

namespace {

using namespace yolor_nms;
using nvinfer1::DataType;

DrivenPlugin plugin_of(PluginLibrary const& library, Attributes const& attributes = {}) {
  return *DrivenPlugin::made(library, attributes.fields());
}

/// Two images for the attributes of `Attributes()`.
Shape good_shape() {
  Shape shape = config_of(Attributes()).shape;
  shape.batch = 2;
  shape.levels[0].height = 40;
  shape.levels[0].width = 60;
  shape.levels[1].height = 20;
  shape.levels[1].width = 30;
  return shape;
}

Descriptions good_descriptions() {
  return descriptions_of(good_shape(), config_of(Attributes()).params);
}

void the_creator_tells_name_and_fields(PluginLibrary const& library) {
  EXPECT(std::string(library.creator().getPluginName()) == "YolorNMS");
  EXPECT(std::string(library.creator().getPluginVersion()) == "1");
  auto const* const names = library.creator().getFieldNames();
  Attributes const attributes;
  auto const fields = attributes.fields();
  EXPECT(names->nbFields == Attributes::count_of(fields));
  for (std::size_t i = 0; i < fields.size(); ++i) {
    EXPECT(std::string(names->fields[i].name) == fields[i].name);
    EXPECT(names->fields[i].type == plugin_fields(fields)[i].type);
  }
}

void bad_fields_make_no_plugin_but_a_message(PluginLibrary const& library) {
  Attributes attributes;
  attributes.strides[1] = 0;
  EXPECT(!DrivenPlugin::made(library, attributes.fields()));
  EXPECT(logger.took_one_with("YolorNMS: createPlugin: attribute strides: value 0 at index 1"));
  EXPECT(!DrivenPlugin::made(library, {}));
  EXPECT(logger.took_one_with("YolorNMS: createPlugin: attribute anchors is missing"));
  Attributes const good;
  auto fields = good.fields();
  fields[1].type = FieldType::kOther;
  EXPECT(!DrivenPlugin::made(library, fields));
  EXPECT(logger.took_one_with("attribute num_anchors is neither int32 nor int64"));
}

void outputs_have_their_types_and_sizes(DrivenPlugin const& plugin) {
  EXPECT(plugin.name() == "YolorNMS" && plugin.version() == "1");
  EXPECT((plugin.output_types(4) ==
          std::vector{DataType::kINT32, DataType::kFLOAT, DataType::kFLOAT, DataType::kINT32}));

  SizeBuilder builder;
  std::vector<nvinfer1::DimsExprs> inputs(4);
  inputs[0] = inputs[1] = {4, {builder.later(), builder.later(), builder.later(), builder.later()}};
  inputs[2] = inputs[3] = {1, {builder.constant(1)}};
  auto const shapes = plugin.output_shapes(inputs, builder);

  std::vector<std::vector<SizeValue>> const rest{{1}, {300, 4}, {300}, {300}};
  EXPECT(shapes.size() == rest.size());
  for (std::size_t i = 0; i < rest.size(); ++i) {
    EXPECT(shapes[i].nbDims == Attributes::count_of(rest[i]) + 1);
    EXPECT(shapes[i].d[0] == inputs[0].d[0]);
    for (std::size_t d = 0; d < rest[i].size(); ++d) {
      auto const* const size = shapes[i].d[1 + d];
      EXPECT(size->isConstant() && size->getConstantValue() == rest[i][d]);
    }
  }
  inputs.pop_back();
  EXPECT(plugin.output_shapes(inputs, builder).empty());
  EXPECT(logger.took_one_with("3 inputs, expected 4"));
}

/// Go through all combinations as TensorRT does, one tensor after the other.
void count_formats(DrivenPlugin const& plugin, Descriptions& all, std::size_t position,
                   std::vector<Descriptions>& found) {
  if (position == all.size()) {
    found.push_back(all);
    return;
  }
  for (int type = 0; type < nvinfer1::EnumMax<DataType>(); ++type) {
    for (int format = 0; format < nvinfer1::EnumMax<nvinfer1::TensorFormat>(); ++format) {
      all[position].type = static_cast<DataType>(type);
      all[position].format = static_cast<nvinfer1::TensorFormat>(format);
      bool const is_supported = plugin.supports(static_cast<int>(position), all);
      if (is_supported) { count_formats(plugin, all, position + 1, found); }
    }
  }
}

void three_combinations_of_formats_are_supported(DrivenPlugin const& plugin) {
  Descriptions all = good_descriptions();
  std::vector<Descriptions> found;
  count_formats(plugin, all, 0, found);

  using nvinfer1::TensorFormat;
  EXPECT(found.size() == 3);
  EXPECT(found[0][0].type == DataType::kFLOAT && found[0][0].format == TensorFormat::kLINEAR);
  EXPECT(found[1][0].type == DataType::kHALF && found[1][0].format == TensorFormat::kLINEAR);
  EXPECT(found[2][0].type == DataType::kHALF && found[2][0].format == TensorFormat::kHWC8);
  for (Descriptions const& one : found) {
    EXPECT(one[1].type == one[0].type && one[1].format == one[0].format);
    for (std::size_t i = 2; i < one.size(); ++i) {
      bool const is_int = i == 4 || i == 7;
      EXPECT(one[i].type == (is_int ? DataType::kINT32 : DataType::kFLOAT));
      EXPECT(one[i].format == TensorFormat::kLINEAR);
    }
  }
}

void the_workspace_is_what_the_library_tells(DrivenPlugin const& plugin) {
  Descriptions const all = good_descriptions();
  Params const params = config_of(Attributes()).params;
  Shape const shape = good_shape();

  plugin.configure(all, true);
  EXPECT(plugin.workspace_bytes(all) == yolor_nms_workspace_bytes(&shape, &params, nullptr));
  EXPECT(logger.took_none());
}

void bad_inputs_are_refused_and_named(DrivenPlugin const& plugin) {
  Descriptions all = good_descriptions();
  all[1].dims.d[1] = 255;
  std::string const problem =
      ": input raw_1 is float32 [2, 255, 20, 30], expected float32 [2, 36, any, any]";
  plugin.configure(all, false);
  EXPECT(logger.took_one_with("configurePlugin" + problem));
  EXPECT(plugin.workspace_bytes(all) == 0);
  EXPECT(logger.took_one_with("getWorkspaceSize" + problem));
  void const* inputs[4] = {};
  void* outputs[4] = {};
  EXPECT(plugin.enqueue(all, inputs, outputs, nullptr, nullptr) != 0);
  EXPECT(logger.took_one_with("enqueue" + problem));

  EXPECT(plugin.enqueue(good_descriptions(), inputs, outputs, nullptr, nullptr) != 0);
  EXPECT(logger.took_one_with(
      "enqueue: inputs.heads: a map is a null pointer; inputs are raw_0 float32 [2, 24, 40, 60], "
      "raw_1 float32 [2, 36, 20, 30]"));
}

void every_copy_is_the_same_plugin(PluginLibrary const& library) {
  std::optional<DrivenPlugin> original = plugin_of(library);
  DrivenPlugin const copy = original->copy();
  DrivenPlugin const attached = copy.in_context();
  DrivenPlugin const read = copy.read_back(library);
  DrivenPlugin const read_again = read.copy().read_back(library);
  std::size_t const bytes = original->workspace_bytes(good_descriptions());
  original.reset();
  for (DrivenPlugin const* same : {&copy, &attached, &read, &read_again}) {
    outputs_have_their_types_and_sizes(*same);
    EXPECT(same->workspace_bytes(good_descriptions()) == bytes);
  }
}

void messages_go_to_the_logger_that_there_is([[maybe_unused]] PluginLibrary& library) {
#if YOLOR_NMS_HAS_LOGGER_FINDER
  LoggerFinder finds_none(nullptr);
  library.set_logger_finder(&finds_none);
#endif
  EXPECT(!DrivenPlugin::made(library, {}));
  EXPECT(first_logger.took_one_with("attribute anchors is missing") && logger.took_none());
  current_logger = &logger;
#if YOLOR_NMS_HAS_LOGGER_FINDER
  LoggerFinder finder(&logger);
  library.set_logger_finder(&finder);
  told_version = 7000;  // whose objects may have another layout: not called, standard error instead
  EXPECT(!DrivenPlugin::made(library, {}));
  EXPECT(first_logger.took_none() && logger.took_none());
#if NV_TENSORRT_MAJOR < 10
  EXPECT(library.creators() == nullptr && library.register_plugin() == 1);
#endif
  told_version = NV_TENSORRT_VERSION;
  library.set_logger_finder(nullptr);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  EXPECT(argc == 2);
  PluginLibrary library(argv[1]);
  messages_go_to_the_logger_that_there_is(library);
#if YOLOR_NMS_HAS_LOGGER_FINDER
  LoggerFinder finder(&logger);
  library.set_logger_finder(&finder);
#endif
  the_creator_tells_name_and_fields(library);
  bad_fields_make_no_plugin_but_a_message(library);
  DrivenPlugin const plugin = plugin_of(library);
  outputs_have_their_types_and_sizes(plugin);
  three_combinations_of_formats_are_supported(plugin);
  the_workspace_is_what_the_library_tells(plugin);
  bad_inputs_are_refused_and_named(plugin);
  every_copy_is_the_same_plugin(library);
  expect_interface(library, logger);
  int num_devices = 0;
  if (cudaGetDeviceCount(&num_devices) == cudaSuccess && num_devices > 0) {
    runs_have_the_rows_of_the_host(library);
    EXPECT(logger.took_none());
    std::printf("runs on the GPU have the rows of the host\n");
  } else {
    std::printf("no GPU: no run was tried\n");
  }
}
