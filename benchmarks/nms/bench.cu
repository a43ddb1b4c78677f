/// Time of YolorNMS on the current GPU, as JSON on stdout.
///
///     nms_bench [--quick] [--only WORD]   cases whose names begin so
///     nms_bench --dump FOLDER     writes the head maps of the cases that other programs repeat
///     nms_bench --profile CASE    runs one a few times, for a profiler
///
/// Every case first has its rows compared with the host build.

#include <cooperative_groups.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "device_machine.cuh"
#include "nms_host.h"
#include "timing.h"
#include "trace.h"

namespace {

using namespace yolor_nms;

constexpr float kIouThreshold = 0.45F;

struct Case {
  std::string name;
  SceneConfig scene;
  Params params{300, 30000, 1, 0};
  bool is_traced = false;
};

Case case_of(std::string name, Detector const& detector, float threshold, int candidates,
             int objects, int batch = 1, int layout = YOLOR_NMS_NCHW, bool is_half = true) {
  Case made;
  made.name = std::move(name);
  made.scene.detector = &detector;
  made.scene.score_threshold = threshold;
  made.scene.num_candidates = candidates;
  made.scene.num_objects = objects;
  made.scene.batch = batch;
  made.scene.layout = layout;
  made.scene.is_half = is_half;
  return made;
}

/// What the issue of speed is about, and what another program measures too.
std::vector<Case> main_cases() {
  std::vector<Case> cases = {
      case_of("p6", kYolorP6, 0.25F, 500, 100),
      case_of("p6-hwc8", kYolorP6, 0.25F, 500, 100, 1, YOLOR_NMS_HWC8),
      case_of("p6-4096", kYolorP6, 0.001F, 4096, 100),
      case_of("p7-30000", kYolov4P7, 0.001F, 30000, 100),
      case_of("p7", kYolov4P7, 0.25F, 500, 100),
  };
  cases[2].params.max_candidates = 4096;
  for (Case& one : cases) { one.is_traced = true; }
  return cases;
}

std::vector<Case> further_cases() {
  std::vector<Case> cases = {
      case_of("p6-float32", kYolorP6, 0.25F, 500, 100, 1, YOLOR_NMS_NCHW, false),
      case_of("p7-hwc8", kYolov4P7, 0.25F, 500, 100, 1, YOLOR_NMS_HWC8),
      case_of("p7-overfull", kYolov4P7, 0.001F, 40000, 100),
  };
  for (int batch : {8, 32}) {
    std::string const suffix = "-batch-" + std::to_string(batch);
    cases.push_back(case_of("p6" + suffix, kYolorP6, 0.25F, 500, 100, batch));
    cases.back().is_traced = true;
    cases.push_back(case_of("p6-4096" + suffix, kYolorP6, 0.001F, 4096, 100, batch));
  }
  for (float threshold : {0.25F, 0.001F}) {
    for (int candidates : {0, 10, 30, 100, 300, 1000, 3000, 10000, 30000}) {
      std::string const name =
          "density-" + std::to_string(candidates) + "-at-" + (threshold > 0.1F ? "0.25" : "0.001");
      cases.push_back(case_of(name, kYolorP6, threshold, candidates, std::min(100, candidates)));
    }
  }
  for (float overlap : {0.6F, 0.9F}) {
    cases.push_back(
        case_of(overlap < 0.7F ? "overlap-0.6" : "overlap-0.9", kYolorP6, 0.25F, 1000, 100));
    cases.back().scene.overlap = overlap;
  }
  cases.push_back(case_of("chain", kYolorP6, 0.25F, 1000, 0));
  cases.back().scene.is_chain = true;
  return cases;
}

__global__ void nothing() {}

/// A cooperative kernel that only waits for itself: what no algorithm of as many steps is below.
__global__ void only_barriers(int count) {
  for (int i = 0; i < count; ++i) { cooperative_groups::this_grid().sync(); }
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

std::string json_of(Samples const& samples, bool with_samples) {
  std::string json = "{\"count\": " + std::to_string(samples.us.size());
  std::pair<char const*, double> const quantiles[] = {
      {"min", 0.0}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1.0}};
  for (auto const& [name, q] : quantiles) {
    json += std::string(", \"") + name + "\": " + number(samples.quantile(q));
  }
  if (with_samples) {
    json += ", \"samples\": [";
    for (std::size_t i = 0; i < samples.us.size(); ++i) {
      json += (i > 0 ? "," : "") + number(samples.us[i]);
    }
    json += "]";
  }
  return json + "}";
}

class Bench {
 public:
  explicit Bench(bool is_quick) : is_quick_(is_quick), timer_(stream_) {
    int device = 0;
    CHECK_CUDA(cudaGetDevice(&device));
    CHECK_CUDA(cudaGetDeviceProperties(&properties_, device));
    flushed_bytes_ = 4 * static_cast<std::size_t>(properties_.l2CacheSize);
    flushed_.reserve(flushed_bytes_);
  }

  std::string device_json() {
    return std::string("{\"name\": \"") + properties_.name +
           "\", \"multiprocessors\": " + std::to_string(properties_.multiProcessorCount) +
           ", \"l2_bytes\": " + std::to_string(properties_.l2CacheSize) +
           ", \"copy_gb_per_s\": " + number(copy_gb_per_s()) + ", \"self_test\": " + self_test() +
           ", \"floors_us\": " + floors() + "}";
  }

  std::string case_json(Case const& one) {
    Scene const scene(one.scene);
    DeviceRun run;
    float const threshold = one.scene.score_threshold;
    Inputs const inputs = scene.inputs(&threshold, &kIouThreshold);
    run.load(scene.shape(), one.params, inputs, 0);
    Graph const graph(run);
    graph.launch(run.stream());
    Detections const found = run.detections();
    bool const is_equal = same_bits(found, on_host(scene.shape(), one.params, inputs));
    std::vector<ImageState> state(1);
    CHECK_CUDA(cudaMemcpy(state.data(), run.problem<Half>().workspace, sizeof(ImageState),
                          cudaMemcpyDeviceToHost));

    auto const replay = [&] { graph.launch(stream_); };
    for (int i = 0; i < 200; ++i) { replay(); }  // clocks and caches
    Samples const warm = timer_.each(is_quick_ ? 400 : 2000, replay);
    float const in_a_row = timer_.in_a_row(500, replay);
    Samples const cold = timer_.each(is_quick_ ? 40 : 200, replay, [&] {
      CHECK_CUDA(cudaMemsetAsync(flushed_.data(), 1, flushed_bytes_, stream_));
    });
    std::string json =
        "{\"name\": \"" + one.name + "\", \"detector\": \"" + one.scene.detector->name +
        "\", \"batch\": " + std::to_string(one.scene.batch) + ", \"layout\": \"" +
        (one.scene.layout == YOLOR_NMS_HWC8 ? "HWC8" : "NCHW") + "\", \"dtype\": \"" +
        (one.scene.is_half ? "float16" : "float32") +
        "\", \"boxes\": " + std::to_string(plan_of(scene.shape(), one.params).num_boxes) +
        ", \"score_threshold\": " + number(threshold) +
        ", \"iou_threshold\": " + number(kIouThreshold) +
        ", \"max_candidates\": " + std::to_string(one.params.max_candidates) +
        ", \"max_detections\": " + std::to_string(one.params.max_detections) +
        ", \"candidates\": " + std::to_string(state[0].num_found) +
        ", \"detections\": " + std::to_string(found.num_detections[0]) +
        ", \"rows_equal_host\": " + (is_equal ? "true" : "false") +
        ", \"workspace_bytes_per_image\": " +
        std::to_string(run.workspace_bytes() / std::size_t(one.scene.batch)) +
        ", \"least_bytes\": " + std::to_string(least_bytes(scene.shape(), one)) +
        ", \"warm_us\": " + json_of(warm, one.is_traced) +
        ", \"in_a_row_us\": " + number(in_a_row) + ", \"cold_us\": " + json_of(cold, false);
    if (one.is_traced) {
      json += ", \"phases_cycles\": " + trace_as_json(scene, one.params, threshold, kIouThreshold);
    }
    return json + "}";
  }

 private:
  /// Every objectness once, all values of the anchors that are sure of something, the outputs.
  static std::size_t least_bytes(Shape const& shape, Case const& one) {
    std::size_t const size = one.scene.is_half ? 2 : 4;
    Plan const plan = plan_of(shape, one.params);
    auto const sure = 2 * static_cast<std::size_t>(one.scene.num_candidates);
    auto const values = static_cast<std::size_t>(5 + shape.num_classes);
    auto const rows = static_cast<std::size_t>(one.params.max_detections);
    return static_cast<std::size_t>(shape.batch) *
           (size * (static_cast<std::size_t>(plan.num_boxes) + sure * values) + rows * 24);
  }

  static Detections on_host(Shape const& shape, Params const& params, Inputs const& inputs) {
    Detections expected(shape, params);
    Outputs const outputs = expected.outputs();
    std::vector<unsigned char> workspace(yolor_nms_workspace_bytes(&shape, &params, nullptr));
    yolor_nms_run_host(&shape, &params, &inputs, &outputs, workspace.data(), workspace.size());
    return expected;
  }

  double copy_gb_per_s() {
    constexpr std::size_t kBytes = std::size_t{1} << 30U;
    DeviceBuffer from(kBytes);
    DeviceBuffer to(kBytes);
    from.fill(kBytes, 1, stream_);
    float const us = timer_.in_a_row(20, [&] {
      CHECK_CUDA(
          cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream_));
    });
    return 2.0 * kBytes / us / 1e3;
  }

  /// Work of known length must be seen, or no figure of this program means anything.
  std::string self_test() {
    DeviceBuffer seen(sizeof(long long));
    Samples const samples =
        timer_.each(20, [&] { spin<<<1, 1, 0, stream_>>>(100'000, seen.as<long long>()); });
    bool const is_seen = samples.quantile(0.0) >= 99.0F && samples.quantile(0.5) <= 115.0F;
    return "{\"expected_us\": 100, \"measured_us\": " + json_of(samples, false) +
           ", \"passed\": " + (is_seen ? "true" : "false") + "}";
  }

  std::string floors() {
    std::string json =
        "{\"empty_graph\": " +
        json_of(timed_graph([&](cudaStream_t stream) { nothing<<<1, 1, 0, stream>>>(); }), false);
    for (int barriers : {0, 1, 4}) {
      json +=
          ", \"barriers_" + std::to_string(barriers) + "\": " +
          json_of(timed_graph([&](cudaStream_t stream) {
                    int count = barriers;
                    void* arguments[] = {&count};
                    CHECK_CUDA(cudaLaunchCooperativeKernel(
                        only_barriers, dim3(static_cast<unsigned>(properties_.multiProcessorCount)),
                        dim3(kThreads), arguments, 0, stream));
                  }),
                  false);
    }
    return json + "}";
  }

  template <class Launch>
  Samples timed_graph(Launch const& launch) {
    cudaGraph_t graph{};
    cudaGraphExec_t executable{};
    CHECK_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    launch(static_cast<cudaStream_t>(stream_));
    CHECK_CUDA(cudaStreamEndCapture(stream_, &graph));
    CHECK_CUDA(cudaGraphInstantiate(&executable, graph, 0));
    for (int i = 0; i < 100; ++i) { CHECK_CUDA(cudaGraphLaunch(executable, stream_)); }
    Samples const samples =
        timer_.each(1000, [&] { CHECK_CUDA(cudaGraphLaunch(executable, stream_)); });
    CHECK_CUDA(cudaGraphExecDestroy(executable));
    CHECK_CUDA(cudaGraphDestroy(graph));
    return samples;
  }

  bool is_quick_;
  Stream stream_;
  Timer timer_;
  cudaDeviceProp properties_{};
  std::size_t flushed_bytes_ = 0;
  DeviceBuffer flushed_;
};

/// Head maps as raw values, and what they are in a JSON file.
void dump(Case const& one, std::string const& folder) {
  Scene const scene(one.scene);
  std::string json = "{\"name\": \"" + one.name +
                     "\", \"num_classes\": " + std::to_string(scene.shape().num_classes) +
                     ", \"score_threshold\": " + number(one.scene.score_threshold) +
                     ", \"iou_threshold\": " + number(kIouThreshold) +
                     ", \"max_candidates\": " + std::to_string(one.params.max_candidates) +
                     ", \"max_detections\": " + std::to_string(one.params.max_detections) +
                     ", \"levels\": [";
  for (int i = 0; i < scene.shape().num_levels; ++i) {
    HeadLevel const& level = scene.shape().levels[i];
    std::string const file = one.name + "." + std::to_string(i) + ".f16";
    std::vector<unsigned char> const& bytes = scene.bytes(i);
    std::ofstream(folder + "/" + file, std::ios::binary)
        .write(reinterpret_cast<char const*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    json += std::string(i > 0 ? ", " : "") + "{\"file\": \"" + file + "\", \"shape\": [" +
            std::to_string(scene.shape().batch) + ", " + std::to_string(level.channels) + ", " +
            std::to_string(level.height) + ", " + std::to_string(level.width) +
            "], \"stride\": " + std::to_string(level.stride) + ", \"anchors_px\": [";
    for (int side = 0; side < 2 * level.num_anchors; ++side) {
      json += (side > 0 ? ", " : "") + number(level.anchors_px[side]);
    }
    json += "]}";
  }
  std::ofstream(folder + "/" + one.name + ".json") << json << "]}\n";
}

/// Runs that a profiler looks at.
int profile(char const* name) {
  for (Case const& one : main_cases()) {
    if (one.name != name) { continue; }
    Scene const scene(one.scene);
    float const threshold = one.scene.score_threshold;
    DeviceRun run;
    run.load(scene.shape(), one.params, scene.inputs(&threshold, &kIouThreshold), 0);
    for (int i = 0; i < 4; ++i) {
      if (run.launch() != 0) { return EXIT_FAILURE; }
    }
    CHECK_CUDA(cudaDeviceSynchronize());
    return EXIT_SUCCESS;
  }
  std::fprintf(stderr, "no case %s\n", name);
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  bool is_quick = false;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) { is_quick = true; }
    if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) { only = argv[i + 1]; }
    if (std::strcmp(argv[i], "--profile") == 0 && i + 1 < argc) { return profile(argv[i + 1]); }
    if (std::strcmp(argv[i], "--dump") == 0 && i + 1 < argc) {
      for (Case const& one : main_cases()) {
        if (one.scene.layout == YOLOR_NMS_NCHW) { dump(one, argv[i + 1]); }
      }
      return 0;
    }
  }
  Bench bench(is_quick);
  std::printf("{\"device\": %s, \"cases\": [", bench.device_json().c_str());
  std::vector<Case> cases = main_cases();
  std::vector<Case> const further = further_cases();
  cases.insert(cases.end(), further.begin(), further.end());
  char const* separator = "";
  for (Case const& one : cases) {
    if (one.name.compare(0, only.size(), only) != 0) { continue; }
    std::printf("%s\n%s", separator, bench.case_json(one).c_str());
    std::fflush(stdout);
    separator = ",";
  }
  std::printf("\n]}\n");
}
