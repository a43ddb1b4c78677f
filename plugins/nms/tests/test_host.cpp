/// The C interface on the host: single behaviours, each with a shape of a few cells.

#include <cmath>
#include <cstdint>
#include <vector>

#include "expect.h"
#include "reference.h"
#include "shapes.h"
#include "yolor_nms/c_api.h"

namespace {

using namespace yolor_nms;

constexpr float kInfinity = HUGE_VALF;

/// One level of 1 x 4 cells with one anchor of 10 x 20 pixels, and nothing there yet.
struct Scene {
  explicit Scene(int num_classes = 2, int batch = 1) : shape(shape_of(batch, num_classes)) {
    add_level(shape, 1, 4, 1, 8);
    map.assign(static_cast<std::size_t>(batch * (5 + num_classes) * 4), -20.0F);
    for (int image = 0; image < batch; ++image) {
      for (int value = 0; value < 4; ++value) {
        for (int cell = 0; cell < 4; ++cell) { at(image, value, cell) = 0.0F; }
      }
    }
  }

  float& at(int image, int value, int cell) {
    return map[static_cast<std::size_t>((image * (5 + shape.num_classes) + value) * 4 + cell)];
  }

  /// An object; its score is the sigmoid of the logit, times nearly 1.
  void put(int cell, int class_id, float logit, int image = 0) {
    at(image, 4, cell) = 20.0F;
    at(image, 5 + class_id, cell) = logit;
  }

  std::int32_t run(Detections& found) {
    Inputs inputs{};
    inputs.heads[0] = map.data();
    inputs.score_threshold = &score_threshold;
    inputs.iou_threshold = &iou_threshold;
    inputs.class_mask = mask.empty() ? nullptr : mask.data();
    Outputs const outputs = found.outputs();
    std::vector<unsigned char> workspace(yolor_nms_workspace_bytes(&shape, &params, nullptr), 0xFF);
    return yolor_nms_run_host(&shape, &params, &inputs, &outputs, workspace.data(),
                              workspace.size());
  }

  Detections detections() {
    Detections found(shape, params);
    EXPECT(run(found) == 0);
    return found;
  }

  Shape shape;
  Params params{3, 100, 1, 0};
  std::vector<float> map;
  std::vector<std::uint8_t> mask;
  float score_threshold = 0.25F;
  float iou_threshold = 0.45F;
};

void an_image_without_objects_has_only_zeros() {
  Detections const found = Scene().detections();

  EXPECT(found.num_detections == std::vector<std::int32_t>{0});
  EXPECT(found.boxes_xyxy == std::vector<float>(12, 0.0F));
  EXPECT(found.scores == std::vector<float>(3, 0.0F));
  EXPECT(found.class_ids == std::vector<std::int32_t>(3, 0));
}

void one_object_is_one_box_in_pixels() {
  Scene scene;
  scene.put(2, 1, 20.0F);

  Detections const found = scene.detections();

  EXPECT(found.num_detections[0] == 1);
  EXPECT(found.boxes_xyxy[0] == 15.0F && found.boxes_xyxy[1] == -6.0F);
  EXPECT(found.boxes_xyxy[2] == 25.0F && found.boxes_xyxy[3] == 14.0F);
  EXPECT(found.class_ids[0] == 1 && found.scores[0] > 0.99F);
  EXPECT(found.scores[1] == 0.0F);
}

void the_better_of_overlapping_boxes_is_kept_within_a_class() {
  Scene scene;
  scene.iou_threshold = 0.1F;  // neighbours, 10 wide and 8 apart, share 2 of 18 pixels
  scene.put(0, 0, 1.0F);
  scene.put(1, 0, 2.0F);
  scene.put(2, 1, 1.5F);

  Detections const found = scene.detections();

  EXPECT(found.num_detections[0] == 2);
  EXPECT(found.class_ids[0] == 0 && found.scores[0] > found.scores[1]);
  EXPECT(found.class_ids[1] == 1);
}

void class_agnostic_boxes_suppress_those_of_other_classes() {
  Scene scene;
  scene.iou_threshold = 0.1F;
  scene.params.class_agnostic = 1;
  scene.put(1, 0, 2.0F);
  scene.put(2, 1, 1.5F);

  EXPECT(scene.detections().num_detections[0] == 1);
}

void equal_scores_keep_the_lower_index_first() {
  Scene scene;
  scene.put(3, 0, 1.0F);
  scene.put(1, 1, 1.0F);
  scene.put(1, 0, 1.0F);

  Detections const found = scene.detections();

  EXPECT(found.num_detections[0] == 3);
  EXPECT(found.class_ids[0] == 0 && found.boxes_xyxy[0] == 7.0F);
  EXPECT(found.class_ids[1] == 1 && found.boxes_xyxy[4] == 7.0F);
  EXPECT(found.class_ids[2] == 0 && found.boxes_xyxy[8] == 23.0F);
}

void without_multi_label_the_first_of_the_best_classes_counts() {
  Scene scene(3);
  scene.params.multi_label = 0;
  scene.put(1, 0, 1.0F);
  scene.put(1, 2, 2.0F);
  scene.put(1, 1, 2.0F);

  Detections const found = scene.detections();

  EXPECT(found.num_detections[0] == 1 && found.class_ids[0] == 1);
}

void a_score_at_the_threshold_is_no_candidate() {
  Scene scene;
  scene.put(1, 0, 0.0F);
  scene.at(0, 4, 1) = kInfinity;
  scene.score_threshold = 0.5F;
  std::int32_t const at = scene.detections().num_detections[0];
  scene.score_threshold = 0.49999997F;
  std::int32_t const below = scene.detections().num_detections[0];

  EXPECT(at == 0 && below == 1);
}

void nan_never_makes_a_detection() {
  for (int value = 0; value < 6; ++value) {
    Scene scene;
    scene.put(1, 0, 5.0F);
    scene.at(0, value, 1) = NAN;

    EXPECT(scene.detections().num_detections[0] == 0);
  }
}

void infinite_logits_are_certain() {
  Scene scene;
  scene.put(1, 0, kInfinity);
  scene.at(0, 4, 1) = kInfinity;
  scene.at(0, 2, 1) = -kInfinity;

  Detections const found = scene.detections();

  EXPECT(found.num_detections[0] == 1 && found.scores[0] == 1.0F);
  EXPECT(found.boxes_xyxy[0] == found.boxes_xyxy[2]);  // an empty box is a box
}

void only_the_best_candidates_go_on_exactly() {
  Scene scene;
  scene.params.max_candidates = 2;
  scene.put(0, 0, 1.0F);
  scene.put(1, 0, 1.0F);
  scene.put(2, 0, 1.0F);
  scene.put(3, 0, 3.0F);

  Detections const found = scene.detections();

  EXPECT(found.num_detections[0] == 2);
  EXPECT(found.boxes_xyxy[0] == 23.0F && found.boxes_xyxy[4] == -1.0F);
}

void a_masked_class_is_not_looked_at_in_its_image() {
  Scene scene(2, 2);
  scene.params.multi_label = 0;
  scene.mask = {0, 1, 1, 1};
  for (int image : {0, 1}) {
    scene.put(1, 0, 2.0F, image);
    scene.put(1, 1, 1.0F, image);
  }

  Detections const found = scene.detections();

  EXPECT(found.class_ids[0] == 1 && found.class_ids[3] == 0);
}

void an_image_does_not_influence_its_neighbours() {
  Scene pair(2, 2);
  pair.put(2, 1, 1.0F, 1);
  for (int cell = 0; cell < 4; ++cell) { pair.put(cell, 1, 3.0F, 0); }
  Scene alone(2, 1);
  alone.put(2, 1, 1.0F);

  Detections const both = pair.detections();
  Detections const one = alone.detections();

  EXPECT(both.num_detections[1] == 1 && one.num_detections[0] == 1);
  EXPECT(both.scores[3] == one.scores[0] && both.boxes_xyxy[12] == one.boxes_xyxy[0]);
}

void expect_refused(Error expected, Scene& scene) {
  Detections found(scene.shape, scene.params);
  EXPECT(scene.run(found) == static_cast<std::int32_t>(expected));
  EXPECT(found.num_detections[0] == -1);  // nothing was written
}

void bad_thresholds_are_refused() {
  for (float bad : {-0.1F, 1.1F, NAN}) {
    Scene scores;
    scores.score_threshold = bad;
    expect_refused(Error::kScoreThreshold, scores);
    Scene overlaps;
    overlaps.iou_threshold = bad;
    expect_refused(Error::kIouThreshold, overlaps);
  }
}

void bad_pointers_are_refused() {
  Scene scene;
  Detections found(scene.shape, scene.params);
  Inputs inputs{{scene.map.data()}, &scene.score_threshold, &scene.iou_threshold, nullptr};
  Outputs outputs = found.outputs();
  std::size_t const bytes = yolor_nms_workspace_bytes(&scene.shape, &scene.params, nullptr);
  std::vector<unsigned char> workspace(bytes + 1);
  auto const run = [&](void* memory, std::size_t size) {
    return Error{yolor_nms_run_host(&scene.shape, &scene.params, &inputs, &outputs, memory, size)};
  };

  EXPECT(run(workspace.data(), bytes) == Error::kNone);
  EXPECT(run(nullptr, bytes) == Error::kWorkspaceNull);
  EXPECT(run(workspace.data() + 1, bytes) == Error::kWorkspaceMisaligned);
  EXPECT(run(workspace.data(), bytes - 1) == Error::kWorkspaceTooSmall);
  inputs.heads[0] = reinterpret_cast<unsigned char*>(scene.map.data()) + 1;
  EXPECT(run(workspace.data(), bytes) == Error::kHeadMisaligned);
  inputs.heads[0] = nullptr;
  EXPECT(run(workspace.data(), bytes) == Error::kHeadNull);
  inputs.heads[0] = scene.map.data();
  inputs.iou_threshold = nullptr;
  EXPECT(run(workspace.data(), bytes) == Error::kIouThresholdNull);
  inputs.iou_threshold = &scene.iou_threshold;
  inputs.score_threshold =
      reinterpret_cast<float const*>(reinterpret_cast<unsigned char*>(scene.map.data()) + 1);
  EXPECT(run(workspace.data(), bytes) == Error::kThresholdMisaligned);
  inputs.score_threshold = &scene.score_threshold;
  outputs.scores = nullptr;
  EXPECT(run(workspace.data(), bytes) == Error::kOutputNull);
}

void without_cuda_a_run_on_a_gpu_says_so() {
  if (yolor_nms_cuda_architectures()[0] != '\0') { return; }  // it was built with it
  Scene scene;
  Inputs inputs{{scene.map.data()}, &scene.score_threshold, &scene.iou_threshold, nullptr};
  Detections found(scene.shape, scene.params);
  Outputs outputs = found.outputs();
  std::int32_t const code =
      yolor_nms_run(&scene.shape, &scene.params, &inputs, &outputs, nullptr, 0, nullptr);
  EXPECT(Error{code} == Error::kNoCuda);
}

void a_bad_shape_needs_no_workspace_and_says_why() {
  Scene scene;
  scene.shape.levels[0].channels = 6;
  std::int32_t error = 0;

  EXPECT(yolor_nms_workspace_bytes(&scene.shape, &scene.params, &error) == 0);
  EXPECT(Error{error} == Error::kChannels);
  EXPECT(yolor_nms_workspace_bytes(nullptr, &scene.params, nullptr) == 0);
}

void the_workspace_follows_the_candidates_not_the_scores() {
  Shape shape = shape_of(1, 80);  // YOLOR-P7 at 1536: 196 416 anchors
  for (int i = 0; i < 5; ++i) { add_level(shape, 192 >> i, 192 >> i, 4, 8 << i); }
  Params const params{300, 30000, 1, 0};

  EXPECT(yolor_nms_workspace_bytes(&shape, &params, nullptr) < 5U << 19U);
}

}  // namespace

int main() {
  an_image_without_objects_has_only_zeros();
  one_object_is_one_box_in_pixels();
  the_better_of_overlapping_boxes_is_kept_within_a_class();
  class_agnostic_boxes_suppress_those_of_other_classes();
  equal_scores_keep_the_lower_index_first();
  without_multi_label_the_first_of_the_best_classes_counts();
  a_score_at_the_threshold_is_no_candidate();
  nan_never_makes_a_detection();
  infinite_logits_are_certain();
  only_the_best_candidates_go_on_exactly();
  a_masked_class_is_not_looked_at_in_its_image();
  an_image_does_not_influence_its_neighbours();
  bad_thresholds_are_refused();
  bad_pointers_are_refused();
  a_bad_shape_needs_no_workspace_and_says_why();
  without_cuda_a_run_on_a_gpu_says_so();
  the_workspace_follows_the_candidates_not_the_scores();
  EXPECT(yolor_nms_version() == YOLOR_NMS_VERSION);
}
