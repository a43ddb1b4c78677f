/// Where everything is: anchors in the head maps, and the parts of the workspace.
#pragma once

#include "yolor_nms/params.h"

namespace yolor_nms {

inline constexpr int kLaneBits = 5;
inline constexpr int kWordBits = 1 << kLaneBits;  // candidates that a word of overlaps is about
inline constexpr int kMaxWindow = 1024;           // candidates that are suppressed at once
inline constexpr int kMaxWords = kMaxWindow / kWordBits;
inline constexpr int kDigitBits = 11;  // of a key, a pass of exact selection
inline constexpr int kNumDigits = 6;   // 6 * 11 bits hold a key, whose highest two bits are 0
inline constexpr int kNumBins = 1 << kDigitBits;
inline constexpr std::int32_t kNoBox = 0x7FFFFFFF;  // above every box

/// What the phases tell each other about an image; at the start of its part of the workspace.
struct ImageState {
  std::uint64_t lowest_key;     // of those that a cut chose
  std::uint32_t num_found;      // candidates, whether there was room for them or not
  std::uint32_t num_listed[2];  // in the two lists, of which a round reads one and fills the other
  std::uint32_t num_gathered;   // that a cut has put where they go
  std::uint32_t num_wanted;     // a cut may still choose this many
  std::uint32_t num_chosen;     // a cut has chosen this many
  std::uint32_t is_cut;         // `lowest_key` is final
  std::uint32_t num_kept;       // detections
  std::uint32_t num_kept_before;  // the round that ran last
  std::uint32_t is_done;          // nothing is left, or the outputs are full
  std::uint32_t bins[kNumBins];   // keys by their next digit
};

/// A candidate, decoded.
struct alignas(32) Found {
  Box box;
  std::uint64_t key;
  std::int32_t class_id;
  std::int32_t padding;  // 0, so that a copy copies nothing that was never written
};

/// A divisor of numbers below 2^31, as a multiplication: GPUs have no instruction for division.
///
/// With l the bits of divisor - 1 and m = ceil(2^(31 + l) / divisor), n / divisor is
/// n m >> (31 + l): m is too large by less than 2^l parts of 2^(31 + l), which n < 2^31 cannot lift
/// to the next quotient. m is below 2^32.
struct Divisor {
  std::uint32_t multiplier;
  std::uint32_t shift;
  std::int32_t value;
};

constexpr Divisor divisor_of(int value) {
  std::uint32_t bits = 0;
  while ((std::int64_t{1} << bits) < value) { ++bits; }
  auto const unsigned_value = static_cast<std::uint64_t>(value);
  std::uint64_t const scaled = (std::uint64_t{1} << (31U + bits)) + unsigned_value - 1;
  return {static_cast<std::uint32_t>(scaled / unsigned_value), 31U + bits, value};
}

YN_HD constexpr int operator/(int dividend, Divisor const& divisor) {
  std::uint64_t const product =
      std::uint64_t{static_cast<std::uint32_t>(dividend)} * divisor.multiplier;
  return static_cast<int>(product >> divisor.shift);
}

/// Where the values of a level are, in elements; `first_box` of a level that is not there is
/// kNoBox.
struct LevelPlan {
  std::int32_t first_box;
  Divisor num_cells;
  Divisor width;
  std::uint32_t value_step;   // from one value of an anchor to the next
  std::uint32_t anchor_step;  // from one anchor of a cell to the next
  std::uint32_t cell_step;    // from one cell to the next
  std::int64_t image_step;    // from one image to the next
};

/// A shape with what follows from it.
struct Plan {
  Shape shape;
  Params params;
  LevelPlan levels[kMaxLevels];
  Divisor num_classes;
  Divisor strips;          // that a row has, see Strips in select.h
  std::int32_t num_boxes;  // of an image
  std::int32_t capacity;   // candidates of an image that can go on
  std::int32_t window;     // a multiple of kWordBits, at most kMaxWindow
  std::size_t lists_at, window_at, ranks_at, rivals_at, overlaps_at;  // bytes, in an image's part
  std::size_t bytes_per_image;
};

/// An anchor, found in the maps.
struct Site {
  std::int32_t level;
  std::int32_t anchor;
  std::int32_t cell;
  std::uint32_t first_value;  // index of its x logit among the values of its image and level
};

YN_HD constexpr int smaller_of(int a, int b) { return b < a ? b : a; }
YN_HD constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

constexpr std::size_t aligned(std::size_t bytes) {
  constexpr std::size_t kLine = 128;
  return (bytes + kLine - 1) / kLine * kLine;
}

constexpr LevelPlan plan_of_level(HeadLevel const& level, int num_classes, int layout,
                                  int first_box) {
  auto const cells = static_cast<std::uint32_t>(level.height * level.width);
  auto const channels = static_cast<std::uint32_t>(padded_channels(level.channels, layout));
  auto const num_values = static_cast<std::uint32_t>(5 + num_classes);
  LevelPlan plan{};
  plan.first_box = first_box;
  plan.num_cells = divisor_of(static_cast<int>(cells));
  plan.width = divisor_of(level.width);
  plan.value_step = layout == YOLOR_NMS_HWC8 ? 1U : cells;
  plan.anchor_step = plan.value_step * num_values;
  plan.cell_step = layout == YOLOR_NMS_HWC8 ? channels : 1U;
  plan.image_step = std::int64_t{cells} * channels;
  return plan;
}

/// Lay out a run. The shape and the limits are free of errors.
///
/// @param window  candidates that are suppressed at once, at most kMaxWindow; cut to what can occur
constexpr Plan plan_of(Shape const& shape, Params const& params, int window = kMaxWindow) {
  Plan plan{};
  plan.shape = shape;
  plan.params = params;
  plan.num_classes = divisor_of(shape.num_classes);
  bool const is_planar = shape.layout == YOLOR_NMS_NCHW;
  plan.strips = divisor_of(is_planar ? shape.num_classes : ceil_div(shape.num_classes, kWordBits));
  for (LevelPlan& level : plan.levels) { level.first_box = kNoBox; }
  for (int i = 0; i < shape.num_levels; ++i) {
    HeadLevel const& level = shape.levels[i];
    plan.levels[i] = plan_of_level(level, shape.num_classes, shape.layout, plan.num_boxes);
    plan.num_boxes += level.num_anchors * plan.levels[i].num_cells.value;
  }
  int const per_box = params.multi_label != 0 ? shape.num_classes : 1;
  plan.capacity = smaller_of(params.max_candidates, plan.num_boxes * per_box);
  plan.window =
      smaller_of(ceil_div(window, kWordBits), ceil_div(plan.capacity, kWordBits)) * kWordBits;

  auto const capacity = static_cast<std::size_t>(plan.capacity);
  auto const rows = static_cast<std::size_t>(plan.window);
  plan.lists_at = aligned(sizeof(ImageState));
  plan.window_at = plan.lists_at + aligned(2 * capacity * sizeof(Found));
  plan.ranks_at = plan.window_at + aligned(rows * sizeof(Found));
  plan.rivals_at = plan.ranks_at + aligned(rows * sizeof(std::uint32_t));
  plan.overlaps_at = plan.rivals_at + aligned(rows * sizeof(std::uint32_t));
  plan.bytes_per_image =
      plan.overlaps_at + aligned(rows * rows / kWordBits * sizeof(std::uint32_t));
  return plan;
}

/// Which anchor, and which class, a candidate is of.
YN_HD constexpr int box_of_key(Plan const& plan, std::uint64_t key) {
  return static_cast<int>(candidate_from_key(key).index) / plan.num_classes;
}
YN_HD constexpr int class_of_key(Plan const& plan, std::uint64_t key) {
  return static_cast<int>(candidate_from_key(key).index) -
         box_of_key(plan, key) * plan.num_classes.value;
}

/// Find an anchor. Boxes are ordered by level, then anchor, then row, then column.
YN_HD constexpr Site site_of(Plan const& plan, int box) {
  int i = 0;
  for (int coarser = 1; coarser < kMaxLevels; ++coarser) {
    i += box >= plan.levels[coarser].first_box ? 1 : 0;
  }
  LevelPlan const& level = plan.levels[i];
  int const anchor = (box - level.first_box) / level.num_cells;
  int const cell = (box - level.first_box) - anchor * level.num_cells.value;
  return {i, anchor, cell,
          static_cast<std::uint32_t>(anchor) * level.anchor_step +
              static_cast<std::uint32_t>(cell) * level.cell_step};
}

YN_HD constexpr Anchor anchor_of(Plan const& plan, Site const& site) {
  HeadLevel const& level = plan.shape.levels[site.level];
  int const row = site.cell / plan.levels[site.level].width;
  return {site.cell - row * level.width, row, level.stride, level.anchors_px[2 * site.anchor],
          level.anchors_px[2 * site.anchor + 1]};
}

}  // namespace yolor_nms
