/// Random runs, each made from its number alone, so that a mismatch can be repeated.
#pragma once

#include <cmath>
#include <random>

#include "half.h"
#include "nms_host.h"
#include "reference.h"
#include "shapes.h"

namespace yolor_nms {

/// A run: what it is told, and how the host goes about it.
struct RandomCase {
  Shape shape;
  Params params;
  Maps maps;                                      // what the logits are
  std::vector<std::uint16_t> halves[kMaxLevels];  // the same in the layout, where it is float16
  std::vector<std::uint8_t> class_mask;
  float score_threshold;
  float iou_threshold;
  HostSchedule schedule;

  Inputs inputs() const {
    Inputs inputs{};
    for (int i = 0; i < shape.num_levels; ++i) {
      bool const is_half = shape.data_type == YOLOR_NMS_FLOAT16;
      auto const* floats = maps[static_cast<std::size_t>(i)].data();
      inputs.heads[i] = is_half ? static_cast<void const*>(halves[i].data()) : floats;
    }
    inputs.score_threshold = &score_threshold;
    inputs.iou_threshold = &iou_threshold;
    inputs.class_mask = class_mask.empty() ? nullptr : class_mask.data();
    return inputs;
  }
};

/// Draws the parts of a case.
class CaseMaker {
 public:
  explicit CaseMaker(std::uint64_t number) : random_(number * 0x9E3779B97F4A7C15U + 1) {}

  RandomCase make() {
    RandomCase made{};
    made.shape = shape();
    made.params = {one_of({1, 3, 20, 300}), one_of({1, 2, 7, 40, 64, 65, 130, 500, 30000}),
                   below(3) != 0, below(3) == 0};
    made.score_threshold = one_of({0.0F, 0.001F, 0.1F, 0.25F, 0.25F, 0.5F, 0.9F, 1.0F});
    made.iou_threshold = one_of({0.0F, 0.2F, 0.45F, 0.45F, 0.65F, 0.9F, 1.0F});
    made.schedule = {1 + below(5), below(4) == 0 ? 0U : static_cast<std::uint32_t>(random_()),
                     one_of({32, 64, 128, 1024})};
    style_ = below(7);
    for (int i = 0; i < made.shape.num_levels; ++i) { fill_level(made, i); }
    if (below(4) == 0) {
      made.class_mask.resize(static_cast<std::size_t>(made.shape.batch * made.shape.num_classes));
      for (auto& value : made.class_mask) { value = below(3) == 0 ? 0 : 1; }
    }
    return made;
  }

 private:
  int below(int limit) { return static_cast<int>(random_() % static_cast<std::uint64_t>(limit)); }

  template <class Value>
  Value one_of(std::initializer_list<Value> values) {
    return values.begin()[below(static_cast<int>(values.size()))];
  }

  Shape shape() {
    Shape shape = shape_of(1, one_of({1, 1, 2, 3, 10, 20, 80, 365}));
    shape.batch = below(3) == 0 ? 1 + below(8) : 1;
    shape.data_type = below(2);
    shape.layout = shape.data_type == YOLOR_NMS_FLOAT16 ? below(2) : 0;
    int const num_levels = 1 + below(kMaxLevels);
    // Few values a case, so that a million cases take minutes; a case without room is one cell.
    int room = (below(100) == 0 ? 60000 : 2500) / shape.batch;
    for (int i = 0; i < num_levels; ++i) {
      int const num_anchors = 1 + below(below(4) == 0 ? kMaxAnchors : 3);
      int const per_cell = num_anchors * (5 + shape.num_classes);
      int const side = std::max(1, static_cast<int>(std::sqrt(room / per_cell)));
      int const height = 1 + below(std::min(side + 1, 24));
      int const width = std::max(1, std::min(1 + below(24), room / (per_cell * height)));
      add_level(shape, height, width, num_anchors, 8 << i);
      room = std::max(0, room - per_cell * height * width);
    }
    return shape;
  }

  float drawn_logit(int value) {
    float const spread = std::normal_distribution<float>(0.0F, 2.0F)(random_);
    switch (style_) {
      case 0:
        return std::nearbyint(spread);  // many equal scores
      case 1:                           // large boxes, sure objects: nearly all suppressed
        return value == 4 ? 4.0F + spread : (value < 4 && value > 1 ? 8.0F : 1.0F + 0.1F * spread);
      case 2:
        return value == 4 ? -12.0F + spread : spread;  // none, or nearly none
      case 3:
        return value > 1 && value < 4 && below(2) == 0 ? -HUGE_VALF : 1.0F + spread;  // empty
      case 4:
        return below(10) == 0
                   ? one_of({NAN, -NAN, HUGE_VALF, -HUGE_VALF, 3e38F, -3e38F, 88.8F, -103.5F})
                   : spread;
      case 5:
        return value < 4 ? spread : 2.0F;  // all scores equal
      default:
        return value == 4 ? spread : spread + 1.0F;
    }
  }

  void fill_level(RandomCase& made, int i) {
    HeadLevel const& level = made.shape.levels[i];
    int const cells = level.height * level.width;
    std::vector<float> map;
    std::vector<std::uint16_t> halves;
    for (int plane = 0; plane < made.shape.batch * level.channels; ++plane) {
      int const value = plane % level.channels % (5 + made.shape.num_classes);
      for (int cell = 0; cell < cells; ++cell) {
        float logit = drawn_logit(value);
        if (made.shape.data_type == YOLOR_NMS_FLOAT16) {
          halves.push_back(half_near(logit));
          logit = float_from_half(halves.back());
        }
        map.push_back(logit);
      }
    }
    bool const is_hwc8 = made.shape.layout == YOLOR_NMS_HWC8;
    made.halves[i] = is_hwc8 ? hwc8_from_nchw(halves, level, made.shape.batch) : halves;
    made.maps.push_back(std::move(map));
  }

  std::mt19937_64 random_;
  int style_ = 0;
};

}  // namespace yolor_nms
