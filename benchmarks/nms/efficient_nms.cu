/// EfficientNMS_TRT beside YolorNMS, on the same scenes, in one process.
///
///     efficient_nms LIBNVINFER_PLUGIN [--quick]
///
/// The plugin library of TensorRT 8.6 is loaded by its path; no engine is built, its plugin is
/// called as an engine would. It asks its process for a registry and a logger, which are here; what
/// else it names must be found, such as empty stand-ins for libnvinfer, cuBLAS and cuDNN, which
/// this plugin does not call. It wants boxes that are decoded and scores that are multiplied: that
/// is done ahead, outside the clock. Prints JSON.

#include <NvInfer.h>
#include <dlfcn.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "gpu/device_run.h"
#include "scene.h"
#include "timing.h"

namespace {

using namespace yolor_nms;

class Registry final : public nvinfer1::IPluginRegistry {
 public:
  bool registerCreator(nvinfer1::IPluginCreator& creator, char const* /*space*/) noexcept override {
    creators_[creator.getPluginName()] = &creator;
    return true;
  }
  nvinfer1::IPluginCreator* const* getPluginCreatorList(int32_t* count) const noexcept override {
    *count = 0;
    return nullptr;
  }
  nvinfer1::IPluginCreator* getPluginCreator(char const* name, char const* /*version*/,
                                             char const* /*space*/) noexcept override {
    auto const found = creators_.find(name);
    return found == creators_.end() ? nullptr : found->second;
  }
  void setErrorRecorder(nvinfer1::IErrorRecorder* /*recorder*/) noexcept override {}
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
  bool deregisterCreator(nvinfer1::IPluginCreator const& /*creator*/) noexcept override {
    return false;
  }
  bool isParentSearchEnabled() const override { return false; }
  void setParentSearchEnabled(bool /*enabled*/) override {}
  void* loadLibrary(char const* /*path*/) noexcept override { return nullptr; }
  void deregisterLibrary(void* /*handle*/) noexcept override {}
  virtual ~Registry() = default;

 private:
  std::map<std::string, nvinfer1::IPluginCreator*> creators_;
};

class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, char const* text) noexcept override {
    if (severity <= Severity::kWARNING) { std::fprintf(stderr, "TensorRT: %s\n", text); }
  }
};

Registry registry;
Logger logger;

}  // namespace

// What the plugin library expects of libnvinfer.
extern "C" {
__attribute__((visibility("default"))) nvinfer1::IPluginRegistry* getPluginRegistry() noexcept {
  return &registry;
}
__attribute__((visibility("default"))) nvinfer1::ILogger* getLogger() noexcept { return &logger; }
}

namespace {

struct Decoded {
  std::vector<float> boxes, scores;
};

/// Every box and every score of one image, as a graph in front of EfficientNMS would compute them.
Decoded decoded(Scene const& scene, int num_classes) {
  Decoded all;
  Shape const& shape = scene.shape();
  Params const params{1, 1, 1, 0};
  Plan const plan = plan_of(shape, params);
  for (int box = 0; box < plan.num_boxes; ++box) {
    Site const site = site_of(plan, box);
    auto const* const halves =
        reinterpret_cast<std::uint16_t const*>(scene.bytes(site.level).data());
    auto const value = [&](int i) {
      auto const step = static_cast<std::uint32_t>(i) * plan.levels[site.level].value_step;
      return sigmoid(float_from_half(halves[site.first_value + step]));
    };
    Box const corners = box_of({value(0), value(1), value(2), value(3)}, anchor_of(plan, site));
    all.boxes.insert(all.boxes.end(), {corners.x1, corners.y1, corners.x2, corners.y2});
    for (int class_id = 0; class_id < num_classes; ++class_id) {
      all.scores.push_back(value(4) * value(5 + class_id));
    }
  }
  return all;
}

std::vector<std::uint16_t> halves_of(std::vector<float> const& values) {
  std::vector<std::uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), half_near);
  return halves;
}

nvinfer1::PluginTensorDesc desc_of(std::initializer_list<int> dims, nvinfer1::DataType type) {
  nvinfer1::PluginTensorDesc desc{};
  desc.dims.nbDims = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), desc.dims.d);
  desc.type = type;
  desc.format = nvinfer1::TensorFormat::kLINEAR;
  desc.scale = 1.0F;
  return desc;
}

nvinfer1::IPluginV2DynamicExt* made(SceneConfig const& config, float iou_threshold, int rows) {
  nvinfer1::IPluginCreator* const creator = registry.getPluginCreator("EfficientNMS_TRT", "1", "");
  if (creator == nullptr) {
    std::fprintf(stderr, "the library has no EfficientNMS_TRT\n");
    std::exit(EXIT_FAILURE);
  }
  int const background = -1;
  int const zero = 0;
  using Type = nvinfer1::PluginFieldType;
  nvinfer1::PluginField const fields[] = {
      {"score_threshold", &config.score_threshold, Type::kFLOAT32, 1},
      {"iou_threshold", &iou_threshold, Type::kFLOAT32, 1},
      {"max_output_boxes", &rows, Type::kINT32, 1},
      {"background_class", &background, Type::kINT32, 1},
      {"score_activation", &zero, Type::kINT32, 1},
      {"class_agnostic", &zero, Type::kINT32, 1},
      {"box_coding", &zero, Type::kINT32, 1},
  };
  nvinfer1::PluginFieldCollection const collection{7, fields};
  return static_cast<nvinfer1::IPluginV2DynamicExt*>(
      creator->createPlugin("efficient_nms", &collection));
}

/// One plugin, its tensors and its memory.
class Rival {
 public:
  Rival(SceneConfig const& config, Decoded const& all, bool is_half, cudaStream_t stream)
      : stream_(stream), plugin_(made(config, 0.45F, kRows)) {
    auto const boxes = static_cast<int>(all.boxes.size() / 4);
    auto const type = is_half ? nvinfer1::DataType::kHALF : nvinfer1::DataType::kFLOAT;
    inputs_[0] = desc_of({1, boxes, 4}, type);
    inputs_[1] = desc_of({1, boxes, config.num_classes}, type);
    outputs_[0] = desc_of({1, 1}, nvinfer1::DataType::kINT32);
    outputs_[1] = desc_of({1, kRows, 4}, type);
    outputs_[2] = desc_of({1, kRows}, type);
    outputs_[3] = desc_of({1, kRows}, nvinfer1::DataType::kINT32);
    put(boxes_, all.boxes, is_half);
    put(scores_, all.scores, is_half);
    for (DeviceBuffer& buffer : results_) { buffer.reserve(kRows * 16); }
    nvinfer1::DynamicPluginTensorDesc in[2]{};
    nvinfer1::DynamicPluginTensorDesc out[4]{};
    for (int i = 0; i < 2; ++i) { in[i] = {inputs_[i], inputs_[i].dims, inputs_[i].dims}; }
    for (int i = 0; i < 4; ++i) { out[i] = {outputs_[i], outputs_[i].dims, outputs_[i].dims}; }
    plugin_->configurePlugin(in, 2, out, 4);
    plugin_->initialize();
    workspace_bytes = plugin_->getWorkspaceSize(inputs_, 2, outputs_, 4);
    workspace_.reserve(workspace_bytes);
  }
  ~Rival() { plugin_->destroy(); }
  Rival(Rival const&) = delete;
  Rival& operator=(Rival const&) = delete;

  void enqueue() {
    void const* const in[] = {boxes_.data(), scores_.data()};
    void* const out[] = {results_[0].data(), results_[1].data(), results_[2].data(),
                         results_[3].data()};
    if (plugin_->enqueue(inputs_, outputs_, in, out, workspace_.data(), stream_) != 0) {
      std::fprintf(stderr, "EfficientNMS_TRT failed\n");
      std::exit(EXIT_FAILURE);
    }
  }
  int num_detections() {
    std::vector<int> count(1);
    results_[0].get(count, stream_);
    CHECK_CUDA(cudaStreamSynchronize(stream_));
    return count[0];
  }

  std::size_t workspace_bytes = 0;

 private:
  static constexpr int kRows = 300;

  void put(DeviceBuffer& buffer, std::vector<float> const& values, bool is_half) {
    if (is_half) {
      std::vector<std::uint16_t> const halves = halves_of(values);
      buffer.put(halves.data(), halves.size(), stream_);
    } else {
      buffer.put(values.data(), values.size(), stream_);
    }
    CHECK_CUDA(cudaStreamSynchronize(stream_));
  }

  cudaStream_t stream_;
  nvinfer1::IPluginV2DynamicExt* plugin_;
  nvinfer1::PluginTensorDesc inputs_[2]{};
  nvinfer1::PluginTensorDesc outputs_[4]{};
  DeviceBuffer boxes_, scores_, workspace_, results_[4];
};

std::string json_of(Samples const& samples) {
  char text[160];
  std::snprintf(text, sizeof(text),
                "{\"count\": %zu, \"min\": %.2f, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f}",
                samples.us.size(), samples.quantile(0.0), samples.quantile(0.5),
                samples.quantile(0.9), samples.quantile(0.99));
  return text;
}

/// A few samples each, in turn, so that both meet the same clocks.
std::string compare(SceneConfig const& config, char const* name, int rounds) {
  constexpr int kSamples = 10;
  Stream stream;
  Timer timer(stream);
  Scene const scene(config);
  Params const params{300, 30000, 1, 0};
  float const iou_threshold = 0.45F;
  DeviceRun run;
  run.load(scene.shape(), params, scene.inputs(&config.score_threshold, &iou_threshold), 0);
  Graph const graph(run);
  Decoded const all = decoded(scene, config.num_classes);
  Rival half(config, all, true, stream);
  Rival single(config, all, false, stream);
  Samples ours, of_half, of_single;
  auto const append = [](Samples& to, Samples const& from) {
    to.us.insert(to.us.end(), from.us.begin(), from.us.end());
  };
  for (int round = -1; round < rounds; ++round) {
    Samples const a = timer.each(kSamples, [&] { graph.launch(stream); });
    Samples const b = timer.each(kSamples, [&] { half.enqueue(); });
    Samples const c = timer.each(kSamples, [&] { single.enqueue(); });
    if (round < 0) { continue; }  // warm-up
    append(ours, a);
    append(of_half, b);
    append(of_single, c);
  }
  return std::string("{\"name\": \"") + name +
         "\", \"yolor_nms_from_raw_maps_us\": " + json_of(ours) +
         ", \"efficient_nms_float16_us\": " + json_of(of_half) +
         ", \"efficient_nms_float32_us\": " + json_of(of_single) +
         ", \"detections\": " + std::to_string(run.detections().num_detections[0]) +
         ", \"efficient_nms_detections\": " + std::to_string(single.num_detections()) +
         ", \"workspace_bytes\": " + std::to_string(run.workspace_bytes()) +
         ", \"efficient_nms_workspace_bytes\": {\"float16\": " +
         std::to_string(half.workspace_bytes) +
         ", \"float32\": " + std::to_string(single.workspace_bytes) + "}}";
}

void load_plugins(char const* path) {
  void* const library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(EXIT_FAILURE);
  }
  using Initialise = bool (*)(void*, char const*);
  auto const initialise = reinterpret_cast<Initialise>(dlsym(library, "initLibNvInferPlugins"));
  if (initialise == nullptr || !initialise(&logger, "")) {
    std::fprintf(stderr, "%s: initLibNvInferPlugins failed\n", path);
    std::exit(EXIT_FAILURE);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: efficient_nms LIBNVINFER_PLUGIN [--quick]\n");
    return EXIT_FAILURE;
  }
  load_plugins(argv[1]);
  int const rounds = argc > 2 && std::strcmp(argv[2], "--quick") == 0 ? 1 : 5;
  SceneConfig p6;
  SceneConfig p6_low;
  p6_low.score_threshold = 0.001F;
  p6_low.num_candidates = 4096;
  SceneConfig p7 = p6;
  p7.detector = &kYolov4P7;
  SceneConfig p7_low = p7;
  p7_low.score_threshold = 0.001F;
  p7_low.num_candidates = 30000;
  struct Named {
    char const* name;
    SceneConfig const& scene;
  };
  char const* separator = "[";
  for (Named const& one :
       {Named{"p6", p6}, Named{"p6-4096", p6_low}, Named{"p7", p7}, Named{"p7-30000", p7_low}}) {
    std::printf("%s%s", separator, compare(one.scene, one.name, rounds).c_str());
    std::fflush(stdout);
    separator = ",\n ";
  }
  std::printf("]\n");
}
