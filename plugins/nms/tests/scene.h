/// Head maps of a network that sees planted objects: as many candidates and objects as wanted.
///
/// An object is a box of one class. Its candidates are anchors that decode to nearly that box,
/// taken wherever an anchor can; where they do not suffice, the same anchors get further classes.
/// All else is background: objectness far below every threshold. As many further anchors are sure
/// that there is something, but of no class: a selection has to look at them.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "half.h"
#include "yolor_nms/plan.h"

namespace yolor_nms {

/// A detector as far as its head is concerned.
struct Detector {
  char const* name;
  int side_px;
  int num_levels;
  int num_anchors;                   // of a level
  float anchors_px[kMaxLevels * 8];  // width, height; of all levels, finest first
};

/// Source: the anchors of the authors' yolor-p6.yaml and yolov4-p7.yaml; strides 8, 16, 32, ...
inline constexpr Detector kYolorP6 = {
    "yolor-p6", 1280, 4, 3, {19,  27,  44,  40,  38,  94,  96,  68,  86,  152, 180, 137,
                             140, 301, 303, 264, 238, 542, 436, 615, 739, 380, 925, 792}};
inline constexpr Detector kYolov4P7 = {
    "yolov4-p7", 1536, 5, 4, {13,  17,  22,  25,  27,  66,  55,   41,  57,   88,
                              112, 69,  69,  177, 136, 138, 136,  138, 287,  114,
                              134, 275, 268, 248, 268, 248, 232,  504, 445,  416,
                              640, 640, 812, 393, 477, 808, 1070, 908, 1408, 1408}};

struct SceneConfig {
  Detector const* detector = &kYolorP6;
  int num_classes = 80;
  int batch = 1;
  int num_objects = 100;
  int num_candidates = 500;  // of an image
  float score_threshold = 0.25F;
  float overlap = 0.8F;   // about the IoU of a candidate with its object
  bool is_chain = false;  // instead of objects: rows of boxes, each of which overlaps the next
  bool is_half = true;
  int layout = YOLOR_NMS_NCHW;
  std::uint64_t seed = 1;
};

inline Shape shape_of_scene(SceneConfig const& config) {
  Detector const& detector = *config.detector;
  Shape shape{};
  shape.batch = config.batch;
  shape.num_classes = config.num_classes;
  shape.data_type = config.is_half ? YOLOR_NMS_FLOAT16 : YOLOR_NMS_FLOAT32;
  shape.layout = config.layout;
  shape.num_levels = detector.num_levels;
  for (int i = 0; i < detector.num_levels; ++i) {
    HeadLevel& level = shape.levels[i];
    level.stride = 8 << i;
    level.height = level.width = detector.side_px / level.stride;
    level.num_anchors = detector.num_anchors;
    level.channels = detector.num_anchors * (5 + config.num_classes);
    int const sides = 2 * detector.num_anchors;
    std::copy_n(detector.anchors_px + i * sides, sides, level.anchors_px);
  }
  return shape;
}

class Scene {
 public:
  explicit Scene(SceneConfig const& config) : config_(config), shape_(shape_of_scene(config)) {
    random_.seed(config.seed);
    background();
    for (int image = 0; image < config.batch; ++image) { plant(image); }
    finish();
  }

  Shape const& shape() const { return shape_; }
  /// Values of a level as they lie in memory.
  std::vector<unsigned char> const& bytes(int level) const { return bytes_[level]; }
  Inputs inputs(float const* score_threshold, float const* iou_threshold) const {
    Inputs inputs{};
    for (int i = 0; i < shape_.num_levels; ++i) { inputs.heads[i] = bytes_[i].data(); }
    inputs.score_threshold = score_threshold;
    inputs.iou_threshold = iou_threshold;
    return inputs;
  }

 private:
  struct Object {
    float x, y, w, h;
    int class_id;
  };
  struct Place {
    int level, anchor, cell;
    BoxValues logits;
    float distance;
  };

  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random_);
  }
  static float logit_of(float probability) {
    return std::log(probability) - std::log1p(-probability);
  }

  /// One image of background, the same in the whole batch.
  void background() {
    int const num_values = 5 + shape_.num_classes;
    std::vector<float> noise(4096);
    for (float& value : noise) { value = std::normal_distribution<float>(0.0F, 1.0F)(random_); }
    for (int i = 0; i < shape_.num_levels; ++i) {
      HeadLevel const& level = shape_.levels[i];
      std::size_t const cells = std::size_t(level.height) * std::size_t(level.width);
      std::vector<float> image(std::size_t(level.channels) * cells);
      for (std::size_t at = 0; at < image.size(); ++at) {
        float const drawn = noise[random_() >> 52U];
        int const value = static_cast<int>(at / cells) % num_values;
        image[at] =
            value < 4 ? drawn : (value == 4 ? std::min(drawn - 10.0F, -7.5F) : drawn - 6.0F);
      }
      for (int b = 0; b < shape_.batch; ++b) {
        maps_[i].insert(maps_[i].end(), image.begin(), image.end());
      }
      is_taken_[i].assign(std::size_t(shape_.batch) * std::size_t(level.num_anchors) * cells,
                          false);
    }
  }

  float& value(int image, Place const& place, int number) {
    HeadLevel const& level = shape_.levels[place.level];
    int const channel = place.anchor * (5 + shape_.num_classes) + number;
    std::size_t const plane = std::size_t(image * level.channels + channel);
    std::size_t const cells = std::size_t(level.height) * std::size_t(level.width);
    return maps_[place.level][plane * cells + std::size_t(place.cell)];
  }
  std::vector<bool>::reference is_taken(int image, Place const& place) {
    HeadLevel const& level = shape_.levels[place.level];
    int const anchor = image * level.num_anchors + place.anchor;
    std::size_t const cells = std::size_t(level.height) * std::size_t(level.width);
    return is_taken_[place.level][std::size_t(anchor) * cells + std::size_t(place.cell)];
  }

  Object object() {
    auto const side = static_cast<float>(config_.detector->side_px);
    float const size = std::exp(uniform(std::log(24.0F), std::log(0.3F * side)));
    float const aspect = std::exp(uniform(-0.5F, 0.5F));
    return {uniform(0.05F, 0.95F) * side, uniform(0.05F, 0.95F) * side, size * aspect,
            size / aspect, static_cast<int>(random_() % std::uint64_t(config_.num_classes))};
  }

  /// Where an anchor can be nearly the object, best places first.
  std::vector<Place> places(int image, Object const& object) {
    std::vector<Place> all;
    float const slack = 0.5F * (1.0F - config_.overlap);  // of a side: shifted so, it overlaps so
    for (int i = 0; i < shape_.num_levels; ++i) {
      HeadLevel const& level = shape_.levels[i];
      auto const stride = static_cast<float>(level.stride);
      for (int a = 0; a < level.num_anchors; ++a) {
        float const w = std::sqrt(object.w / level.anchors_px[2 * a]) / 2.0F;
        float const h = std::sqrt(object.h / level.anchors_px[2 * a + 1]) / 2.0F;
        if (w < 0.05F || w > 0.95F || h < 0.05F || h > 0.95F) { continue; }
        int const reach_x = 1 + static_cast<int>(slack * object.w / stride);
        int const reach_y = 1 + static_cast<int>(slack * object.h / stride);
        int const column = static_cast<int>(object.x / stride);
        int const row = static_cast<int>(object.y / stride);
        for (int r = row - reach_y; r <= row + reach_y; ++r) {
          for (int c = column - reach_x; c <= column + reach_x; ++c) {
            if (r < 0 || c < 0 || r >= level.height || c >= level.width) { continue; }
            Place place{i, a, r * level.width + c, {}, 0.0F};
            float const x = (object.x / stride - static_cast<float>(c) + 0.5F) / 2.0F;
            float const y = (object.y / stride - static_cast<float>(r) + 0.5F) / 2.0F;
            float const near_x = std::clamp(x, 0.05F, 0.95F);
            float const near_y = std::clamp(y, 0.05F, 0.95F);
            place.distance = std::hypot(x - near_x, y - near_y) * 2.0F * stride / object.w +
                             uniform(0.0F, 0.05F);
            float const shake = uniform(-slack, slack) / 2.0F;
            place.logits = {logit_of(near_x), logit_of(near_y), logit_of(w) + shake,
                            logit_of(h) - shake};
            if (!is_taken(image, place)) { all.push_back(place); }
          }
        }
      }
    }
    std::sort(all.begin(), all.end(),
              [](Place const& a, Place const& b) { return a.distance < b.distance; });
    return all;
  }

  /// Give an anchor a box, an objectness, and classes far below the threshold.
  void claim(int image, Place const& place, float objectness) {
    is_taken(image, place) = true;
    float const logits[] = {place.logits.x, place.logits.y, place.logits.w, place.logits.h};
    for (int i = 0; i < 4; ++i) { value(image, place, i) = logits[i]; }
    value(image, place, 4) = logit_of(objectness);
    for (int c = 0; c < shape_.num_classes; ++c) {
      value(image, place, 5 + c) = std::min(value(image, place, 5 + c), -7.5F) - 1.0F;
    }
  }

  /// @return how many of the candidates found a place
  int plant_object(int image, Object const& object, int wanted) {
    std::vector<Place> const free = places(image, object);
    if (free.empty()) { return 0; }
    int const most_labels = std::min(6, shape_.num_classes);
    int const labels = std::min(most_labels, ceil_div(wanted, static_cast<int>(free.size())));
    int planted = 0;
    for (Place const& place : free) {
      if (planted == wanted) { break; }
      float const low = std::log(1.3F * config_.score_threshold);
      float const best = std::exp(uniform(low, std::log(0.9F)));
      float const objectness = std::sqrt(best);
      claim(image, place, objectness);
      for (int label = 0; label < labels && planted < wanted; ++label, ++planted) {
        float const score = label == 0 ? best : std::exp(uniform(low, std::log(best)));
        int const class_id = (object.class_id + label) % shape_.num_classes;
        value(image, place, 5 + class_id) = logit_of(score / objectness);
      }
    }
    return planted;
  }

  /// Rows of boxes 8 pixels apart and 40 wide, of falling scores: neighbours overlap by 0.67, the
  /// next but one by 0.43. Whether one is kept depends on all before it.
  void plant_chain(int image) {
    HeadLevel const& level = shape_.levels[0];
    constexpr int kRowsApart = 6;
    for (int i = 0; i < config_.num_candidates; ++i) {
      int const column = i % level.width;
      Place place{0, 1, i / level.width * kRowsApart * level.width + column, {}, 0.0F};
      place.logits = {0.0F, 0.0F, logit_of(std::sqrt(40.0F / level.anchors_px[2]) / 2.0F),
                      logit_of(std::sqrt(40.0F / level.anchors_px[3]) / 2.0F)};
      claim(image, place, 0.95F);
      float const place_in_row = static_cast<float>(column) / static_cast<float>(level.width);
      value(image, place, 5) = logit_of(0.9F - 0.5F * place_in_row);
    }
  }

  void plant(int image) {
    if (config_.is_chain) {
      plant_chain(image);
      return;
    }
    int left = config_.num_candidates;
    for (int o = 0; left > 0; ++o) {
      // Beyond the wanted number of objects: those that found too few places are made up for.
      int const objects_left = std::max(1, config_.num_objects - o);
      left -= plant_object(image, object(), ceil_div(left, objects_left));
    }
    for (int i = 0; i < config_.num_candidates;) {  // sure of something, but of no class
      Object const nothing = object();
      for (Place const& place : places(image, nothing)) {
        if (i == config_.num_candidates) { break; }
        claim(image, place, 0.9F);
        ++i;
      }
    }
  }

  void finish() {
    for (int i = 0; i < shape_.num_levels; ++i) {
      if (!config_.is_half) {
        auto const* first = reinterpret_cast<unsigned char const*>(maps_[i].data());
        bytes_[i].assign(first, first + maps_[i].size() * sizeof(float));
      } else {
        std::vector<std::uint16_t> halves(maps_[i].size());
        std::transform(maps_[i].begin(), maps_[i].end(), halves.begin(), half_near);
        if (shape_.layout == YOLOR_NMS_HWC8) {
          halves = hwc8_from_nchw(halves, shape_.levels[i], shape_.batch);
        }
        auto const* first = reinterpret_cast<unsigned char const*>(halves.data());
        bytes_[i].assign(first, first + halves.size() * 2);
      }
      maps_[i] = {};
    }
  }

  SceneConfig config_;
  Shape shape_;
  std::mt19937_64 random_;
  std::vector<float> maps_[kMaxLevels];
  std::vector<bool> is_taken_[kMaxLevels];
  std::vector<unsigned char> bytes_[kMaxLevels];
};

}  // namespace yolor_nms
