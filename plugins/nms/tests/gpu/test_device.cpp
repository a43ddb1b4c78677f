/// A run on a GPU: single behaviours, on scenes as large as those of real detectors.

#include "../expect.h"
#include "device_run.h"
#include "nms_host.h"
#include "scene.h"

#include <thread>

namespace {

using namespace yolor_nms;

constexpr float kIouThreshold = 0.45F;
constexpr Params kParams{300, 30000, 1, 0};

Scene scene_of(int candidates, float threshold, int batch = 1, int layout = YOLOR_NMS_NCHW) {
  SceneConfig config;
  config.num_candidates = candidates;
  config.score_threshold = threshold;
  config.batch = batch;
  config.layout = layout;
  return Scene(config);
}

Detections on_host(Scene const& scene, Params const& params, float threshold) {
  Detections expected(scene.shape(), params);
  Inputs const inputs = scene.inputs(&threshold, &kIouThreshold);
  Outputs const outputs = expected.outputs();
  std::vector<unsigned char> workspace(plan_of(scene.shape(), params).bytes_per_image *
                                       static_cast<std::size_t>(scene.shape().batch));
  EXPECT(run_on_host(&scene.shape(), &params, &inputs, &outputs, workspace.data(),
                     workspace.size()) == Error::kNone);
  return expected;
}

void load(DeviceRun& run, Scene const& scene, Params const& params, float threshold) {
  run.load(scene.shape(), params, scene.inputs(&threshold, &kIouThreshold), 0);
}

/// Run on the GPU and compare with the host.
void expect_rows_of_host(Scene const& scene, Params const& params, float threshold) {
  DeviceRun run;
  load(run, scene, params, threshold);
  EXPECT(run.launch() == 0);
  EXPECT(same_bits(run.detections(), on_host(scene, params, threshold)));
}

void large_scenes_have_the_rows_of_the_host() {
  for (int candidates : {0, 500, 4096, 30000}) {
    expect_rows_of_host(scene_of(candidates, 0.25F), kParams, 0.25F);
    expect_rows_of_host(scene_of(candidates, 0.001F), kParams, 0.001F);
  }
  expect_rows_of_host(scene_of(500, 0.25F, 3, YOLOR_NMS_HWC8), kParams, 0.25F);
  expect_rows_of_host(scene_of(3000, 0.001F, 12), kParams, 0.001F);
  expect_rows_of_host(scene_of(5000, 0.001F), Params{300, 3000, 1, 0}, 0.001F);  // overfull
  expect_rows_of_host(scene_of(5000, 0.001F), Params{1000, 30000, 0, 1}, 0.001F);
}

void a_thousand_replays_of_a_graph_give_the_same_bits() {
  Scene const scene = scene_of(4096, 0.001F, 2);
  DeviceRun run;
  load(run, scene, kParams, 0.001F);
  Graph const graph(run);
  Detections const expected = on_host(scene, kParams, 0.001F);
  for (int repeat = 0; repeat < 1000; ++repeat) {
    graph.launch(run.stream());
    EXPECT(same_bits(run.detections(), expected));
  }
}

void thresholds_change_between_replays() {
  Scene const scene = scene_of(500, 0.25F);
  DeviceRun run;
  load(run, scene, kParams, 0.25F);
  Graph const graph(run);
  for (float threshold : {0.25F, 0.6F, 0.8F, 0.3F}) {
    CHECK_CUDA(cudaMemcpy(run.thresholds(), &threshold, sizeof(float), cudaMemcpyHostToDevice));
    graph.launch(run.stream());
    Detections const found = run.detections();
    EXPECT(same_bits(found, on_host(scene, kParams, threshold)));
    EXPECT(found.num_detections[0] > 0);
  }
}

void a_threshold_that_is_none_gives_no_detections() {
  Scene const scene = scene_of(500, 0.25F);
  DeviceRun run;
  load(run, scene, kParams, 0.25F);
  for (float bad : {-0.1F, 1.5F, NAN}) {
    for (int which : {0, 1}) {
      float thresholds[] = {0.25F, 0.45F};
      thresholds[which] = bad;
      CHECK_CUDA(
          cudaMemcpy(run.thresholds(), thresholds, sizeof(thresholds), cudaMemcpyHostToDevice));
      EXPECT(run.launch() == 0);
      EXPECT(run.detections().num_detections[0] == 0);
    }
  }
}

void an_image_has_the_rows_that_it_has_alone() {
  SceneConfig config;
  config.batch = 5;
  config.num_candidates = 2000;
  Scene const batch(config);
  DeviceRun run;
  load(run, batch, kParams, 0.25F);
  EXPECT(run.launch() == 0);
  Detections const together = run.detections();
  Shape one = batch.shape();
  one.batch = 1;
  for (int image = 0; image < config.batch; ++image) {
    Inputs inputs{};
    float const threshold = 0.25F;
    inputs.score_threshold = &threshold;
    inputs.iou_threshold = &kIouThreshold;
    for (int i = 0; i < one.num_levels; ++i) {
      std::size_t const size = batch.bytes(i).size() / static_cast<std::size_t>(config.batch);
      inputs.heads[i] = batch.bytes(i).data() + static_cast<std::size_t>(image) * size;
    }
    DeviceRun single;
    single.load(one, kParams, inputs, 0);
    EXPECT(single.launch() == 0);
    Detections const alone = single.detections();
    std::size_t const first = static_cast<std::size_t>(image) * alone.scores.size();
    EXPECT(alone.num_detections[0] == together.num_detections[static_cast<std::size_t>(image)]);
    EXPECT(std::equal(alone.scores.begin(), alone.scores.end(), &together.scores[first]));
    EXPECT(std::equal(alone.boxes_xyxy.begin(), alone.boxes_xyxy.end(),
                      &together.boxes_xyxy[4 * first]));
  }
}

void two_streams_do_not_disturb_each_other() {
  auto const work = [](int candidates, float threshold) {
    Scene const scene = scene_of(candidates, threshold);
    Detections const expected = on_host(scene, kParams, threshold);
    DeviceRun run;
    load(run, scene, kParams, threshold);
    for (int repeat = 0; repeat < 300; ++repeat) {
      EXPECT(run.launch() == 0);
      EXPECT(same_bits(run.detections(), expected));
    }
  };
  std::thread other(work, 4096, 0.001F);
  work(500, 0.25F);
  other.join();
}

void bad_arguments_launch_nothing() {
  Scene const scene = scene_of(0, 0.25F);
  Shape bad = scene.shape();
  bad.levels[0].channels -= 1;
  Inputs inputs{};
  Outputs outputs{};
  auto const run = [&](Shape const& shape) {
    return Error{run_on_device(&shape, &kParams, &inputs, &outputs, nullptr, 0, nullptr)};
  };
  EXPECT(run(bad) == Error::kChannels);
  EXPECT(run(scene.shape()) == Error::kHeadNull);
  EXPECT(cudaGetLastError() == cudaSuccess);
}

}  // namespace

int main() {
  bad_arguments_launch_nothing();
  large_scenes_have_the_rows_of_the_host();
  thresholds_change_between_replays();
  a_threshold_that_is_none_gives_no_detections();
  an_image_has_the_rows_that_it_has_alone();
  two_streams_do_not_disturb_each_other();
  a_thousand_replays_of_a_graph_give_the_same_bits();
  std::printf("all behaviours hold\n");
}
