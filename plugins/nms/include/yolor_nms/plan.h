/// Where everything is: anchors in the head maps, and the parts of the workspace.
#pragma once

#include "yolor_nms/params.h"

namespace yolor_nms {

inline constexpr int kDigitBits = 11;  // of a key, a pass of exact selection
inline constexpr int kNumDigits = 6;   // 6 * 11 bits hold a key, whose highest two bits are 0
inline constexpr int kNumBins = 1 << kDigitBits;
inline constexpr int kWordBits = 64;
inline constexpr int kDefaultWindow = 1024;  // candidates whose overlaps are computed at once

/// What the phases tell each other about an image; at the start of its part of the workspace.
struct ImageState {
  std::uint64_t lowest_key;     // of the keys that go on, once there are too many
  std::uint32_t num_found;      // candidates, stored or not
  std::uint32_t num_stored;     // keys
  std::uint32_t num_wanted;     // of those that share the digits of `lowest_key` known so far
  std::uint32_t is_narrowed;    // `lowest_key` is final
  std::uint32_t bins[kNumBins]; // keys by their next digit
};

/// A candidate at its rank.
struct Ranked {
  Box box;
  float score;
  std::int32_t class_id;
};

/// A shape with what follows from it.
struct Plan {
  Shape shape;
  Params params;
  std::int32_t num_boxes;                  // of an image
  std::int32_t first_box[kMaxLevels];      // of each level
  std::int32_t capacity;                   // keys of an image that can go on
  std::int32_t window;                     // a multiple of kWordBits
  std::size_t keys_at, ranked_at, bits_at; // bytes from the start of an image's part
  std::size_t bytes_per_image;
};

/// Where an anchor's logits are, and what it is.
struct Site {
  std::int64_t first_value;  // element index of its x logit
  std::int64_t value_step;   // elements from one of its values to the next
  std::int32_t level;
  Anchor anchor;
};

YN_HD constexpr int smaller_of(int a, int b) { return b < a ? b : a; }
YN_HD constexpr int words_for(int count) { return (count + kWordBits - 1) / kWordBits; }

constexpr std::size_t aligned(std::size_t bytes) {
  constexpr std::size_t kLine = 128;
  return (bytes + kLine - 1) / kLine * kLine;
}

/// Lay out a run. The shape and the limits are free of errors.
///
/// @param window  candidates whose overlaps are computed at once; it is cut to what can occur
constexpr Plan plan_of(Shape const& shape, Params const& params, int window = kDefaultWindow) {
  Plan plan{};
  plan.shape = shape;
  plan.params = params;
  for (int i = 0; i < shape.num_levels; ++i) {
    HeadLevel const& level = shape.levels[i];
    plan.first_box[i] = plan.num_boxes;
    plan.num_boxes += level.num_anchors * level.height * level.width;
  }
  int const per_box = params.multi_label != 0 ? shape.num_classes : 1;
  plan.capacity = smaller_of(params.max_candidates, plan.num_boxes * per_box);
  plan.window = smaller_of(words_for(window), words_for(plan.capacity)) * kWordBits;

  auto const capacity = static_cast<std::size_t>(plan.capacity);
  auto const rows = static_cast<std::size_t>(plan.window);
  plan.keys_at = aligned(sizeof(ImageState));
  plan.ranked_at = plan.keys_at + aligned(capacity * sizeof(std::uint64_t));
  plan.bits_at = plan.ranked_at + aligned(capacity * sizeof(Ranked));
  plan.bytes_per_image = plan.bits_at + aligned(rows * rows / 8);
  return plan;
}

/// Find an anchor of an image. Boxes are ordered by level, then anchor, then row, then column.
YN_HD constexpr Site site_of(Plan const& plan, int image, int box) {
  int i = plan.shape.num_levels - 1;
  while (box < plan.first_box[i]) { --i; }
  HeadLevel const& level = plan.shape.levels[i];
  int const cells = level.height * level.width;
  int const anchor = (box - plan.first_box[i]) / cells;
  int const cell = (box - plan.first_box[i]) % cells;
  int const num_values = 5 + plan.shape.num_classes;
  std::int64_t const channel = std::int64_t{image} * level.channels + anchor * num_values;
  return {channel * cells + cell,
          cells,
          i,
          {cell % level.width, cell / level.width, level.stride, level.anchors_px[2 * anchor],
           level.anchors_px[2 * anchor + 1]}};
}

}  // namespace yolor_nms
