/// What a run must return, as plain as it can be said: all pairs, a sort, two loops.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "yolor_nms/params.h"

namespace yolor_nms {

/// Outputs with memory of their own.
struct Detections {
  Detections(Shape const& shape, Params const& params)
      : num_detections(static_cast<std::size_t>(shape.batch), -1),
        scores(num_detections.size() * static_cast<std::size_t>(params.max_detections), -1.0F),
        boxes_xyxy(4 * scores.size(), -1.0F),
        class_ids(scores.size(), -1) {}

  Outputs outputs() {
    return {num_detections.data(), boxes_xyxy.data(), scores.data(), class_ids.data()};
  }

  std::vector<std::int32_t> num_detections;
  std::vector<float> scores;
  std::vector<float> boxes_xyxy;
  std::vector<std::int32_t> class_ids;
};

/// Whether every bit of every output is equal.
inline bool same_bits(Detections const& a, Detections const& b) {
  auto const same = [](auto const& x, auto const& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(x[0])) == 0;
  };
  return same(a.num_detections, b.num_detections) && same(a.class_ids, b.class_ids) &&
         same(a.scores, b.scores) && same(a.boxes_xyxy, b.boxes_xyxy);
}

/// A candidate with its box.
struct ReferenceCandidate {
  Candidate candidate;
  Box box;
  int class_id;
};

/// Logits as float32, one vector a level, NCHW.
using Maps = std::vector<std::vector<float>>;

/// All candidates of one anchor, appended.
inline void append_candidates(std::vector<ReferenceCandidate>& all,
                              std::vector<float> const& values, Anchor const& anchor,
                              std::uint32_t box_id, std::uint8_t const* mask, Params const& params,
                              float score_threshold) {
  std::size_t const before = all.size();
  BoxValues const logits{values[0], values[1], values[2], values[3]};
  auto const num_classes = static_cast<int>(values.size()) - 5;
  float const objectness = sigmoid(values[4]);
  for (int class_id = 0; class_id < num_classes; ++class_id) {
    float const score = objectness * sigmoid(values[static_cast<std::size_t>(5 + class_id)]);
    bool const is_masked = mask != nullptr && mask[class_id] == 0;
    if (is_masked || !(score > score_threshold) || !is_sound(logits)) { continue; }
    auto const index =
        box_id * static_cast<std::uint32_t>(num_classes) + static_cast<std::uint32_t>(class_id);
    ReferenceCandidate const next{{score, index}, box_of(sigmoids_of(logits), anchor), class_id};
    if (params.multi_label != 0 || all.size() == before) {
      all.push_back(next);
    } else if (score > all.back().candidate.score) {
      all.back() = next;
    }
  }
}

/// All candidates of one image, in the order of boxes.
inline std::vector<ReferenceCandidate> candidates_of(Shape const& shape, Params const& params,
                                                     Maps const& maps, int image,
                                                     std::uint8_t const* mask,
                                                     float score_threshold) {
  std::vector<ReferenceCandidate> all;
  std::uint32_t box_id = 0;
  for (int i = 0; i < shape.num_levels; ++i) {
    HeadLevel const& level = shape.levels[i];
    int const num_values = 5 + shape.num_classes;
    for (int a = 0; a < level.num_anchors; ++a) {
      for (int row = 0; row < level.height; ++row) {
        for (int column = 0; column < level.width; ++column) {
          std::vector<float> values;
          for (int value = 0; value < num_values; ++value) {
            int const channel = a * num_values + value;
            int const plane = image * level.channels + channel;
            int const at = (plane * level.height + row) * level.width + column;
            values.push_back(maps[static_cast<std::size_t>(i)][static_cast<std::size_t>(at)]);
          }
          Anchor const anchor{column, row, level.stride, level.anchors_px[2 * a],
                              level.anchors_px[2 * a + 1]};
          append_candidates(all, values, anchor, box_id++, mask, params, score_threshold);
        }
      }
    }
  }
  return all;
}

/// Sort, cut, and keep what no kept one suppresses.
inline std::vector<ReferenceCandidate> kept_of(std::vector<ReferenceCandidate> all,
                                               Params const& params, float iou_threshold) {
  std::sort(all.begin(), all.end(), [](ReferenceCandidate const& a, ReferenceCandidate const& b) {
    return precedes(a.candidate, b.candidate);
  });
  if (all.size() > static_cast<std::size_t>(params.max_candidates)) {
    all.erase(all.begin() + params.max_candidates, all.end());
  }
  std::vector<ReferenceCandidate> kept;
  for (ReferenceCandidate const& next : all) {
    if (kept.size() == static_cast<std::size_t>(params.max_detections)) { break; }
    bool const is_suppressed =
        std::any_of(kept.begin(), kept.end(), [&](ReferenceCandidate const& better) {
          bool const is_rival = params.class_agnostic != 0 || better.class_id == next.class_id;
          return is_rival && iou(better.box, next.box) > iou_threshold;
        });
    if (!is_suppressed) { kept.push_back(next); }
  }
  return kept;
}

/// Detections of all images.
///
/// @param num_candidates  if not null: those above the threshold are appended, of each image
inline Detections reference(Shape const& shape, Params const& params, Maps const& maps,
                            std::uint8_t const* class_mask, float score_threshold,
                            float iou_threshold, std::vector<long>* num_candidates = nullptr) {
  Detections found(shape, params);
  std::fill(found.boxes_xyxy.begin(), found.boxes_xyxy.end(), 0.0F);
  std::fill(found.scores.begin(), found.scores.end(), 0.0F);
  std::fill(found.class_ids.begin(), found.class_ids.end(), 0);
  for (int image = 0; image < shape.batch; ++image) {
    auto const* mask = class_mask == nullptr ? nullptr : class_mask + image * shape.num_classes;
    auto const all = candidates_of(shape, params, maps, image, mask, score_threshold);
    if (num_candidates != nullptr) { num_candidates->push_back(static_cast<long>(all.size())); }
    auto const kept = kept_of(all, params, iou_threshold);
    found.num_detections[static_cast<std::size_t>(image)] = static_cast<int>(kept.size());
    auto at = static_cast<std::size_t>(image) * static_cast<std::size_t>(params.max_detections);
    for (ReferenceCandidate const& one : kept) {
      float const corners[] = {one.box.x1, one.box.y1, one.box.x2, one.box.y2};
      std::copy(corners, corners + 4, &found.boxes_xyxy[4 * at]);
      found.scores[at] = one.candidate.score;
      found.class_ids[at++] = one.class_id;
    }
  }
  return found;
}

}  // namespace yolor_nms
