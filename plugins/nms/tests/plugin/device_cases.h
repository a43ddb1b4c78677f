/// Runs of a plugin on a GPU, compared with the host bit by bit.
#pragma once

#include "driver.h"
#include "gpu/device_run.h"
#include "scene.h"

namespace yolor_nms {

inline constexpr Params kDeviceParams{300, 30000, 1, 0};

/// A run of the plugin on what a `DeviceRun` has loaded.
class PluginRun {
 public:
  PluginRun(DrivenPlugin const& plugin, Scene const& scene, float score_threshold)
      : plugin_(plugin), descriptions_(descriptions_of(scene.shape(), kDeviceParams)) {
    run_.load(scene.shape(), kDeviceParams, scene.inputs(&score_threshold, &kIouThreshold), 0);
  }

  std::int32_t enqueue() {
    auto const problem = run_.problem<float>();
    int const levels = problem.plan.shape.num_levels;
    void const* inputs[kMaxLevels + 2];
    std::copy(problem.inputs.heads, problem.inputs.heads + levels, inputs);
    inputs[levels] = problem.inputs.score_threshold;
    inputs[levels + 1] = problem.inputs.iou_threshold;
    void* const outputs[] = {problem.outputs.num_detections, problem.outputs.boxes_xyxy,
                             problem.outputs.scores, problem.outputs.class_ids};
    return plugin_.enqueue(descriptions_, inputs, outputs, problem.workspace, run_.stream());
  }
  DeviceRun& on_device() { return run_; }

  static constexpr float kIouThreshold = 0.45F;

 private:
  DrivenPlugin const& plugin_;
  Descriptions descriptions_;
  DeviceRun run_;
};

inline Detections on_host(Scene const& scene, float score_threshold) {
  Detections expected(scene.shape(), kDeviceParams);
  Inputs const inputs = scene.inputs(&score_threshold, &PluginRun::kIouThreshold);
  Outputs const outputs = expected.outputs();
  std::vector<unsigned char> workspace(
      yolor_nms_workspace_bytes(&scene.shape(), &kDeviceParams, nullptr));
  EXPECT(yolor_nms_run_host(&scene.shape(), &kDeviceParams, &inputs, &outputs, workspace.data(),
                            workspace.size()) == 0);
  return expected;
}

inline void a_run_has_the_rows_of_the_host(PluginLibrary const& library,
                                           SceneConfig const& config) {
  Scene const scene(config);
  Attributes const attributes = attributes_of(scene.shape(), kDeviceParams);
  DrivenPlugin const plugin = DrivenPlugin::made(library, attributes.fields())->in_context();
  PluginRun run(plugin, scene, config.score_threshold);
  EXPECT(plugin.workspace_bytes(descriptions_of(scene.shape(), kDeviceParams)) ==
         run.on_device().workspace_bytes());
  Detections const expected = on_host(scene, config.score_threshold);
  EXPECT(expected.num_detections[0] > 0);

  EXPECT(run.enqueue() == 0);
  EXPECT(same_bits(run.on_device().detections(), expected));

  // Captured: nothing in it may allocate or wait.
  cudaStream_t const stream = run.on_device().stream();
  Graph const graph(stream, [&] { return run.enqueue(); });
  float* const scores = run.on_device().outputs().scores;
  CHECK_CUDA(cudaMemsetAsync(scores, 0xFF, expected.scores.size() * sizeof(float), stream));
  graph.launch(stream);
  EXPECT(same_bits(run.on_device().detections(), expected));
}

/// One scene in the three formats, and one of several images.
inline void runs_have_the_rows_of_the_host(PluginLibrary const& library) {
  SceneConfig config;
  for (int batch : {1, 3}) {
    config.batch = batch;
    config.is_half = false;
    config.layout = YOLOR_NMS_NCHW;
    a_run_has_the_rows_of_the_host(library, config);
    config.is_half = true;
    a_run_has_the_rows_of_the_host(library, config);
    config.layout = YOLOR_NMS_HWC8;
    a_run_has_the_rows_of_the_host(library, config);
  }
}

}  // namespace yolor_nms
