/// One run as the phases see it: the plan, typed pointers, and the parts of the workspace.
#pragma once

#include "yolor_nms/machine.h"
#include "yolor_nms/plan.h"

namespace yolor_nms {

/// IEEE half precision as it lies in memory.
struct Half {
  std::uint16_t bits;
};

YN_HD constexpr float as_float(float value) { return value; }
YN_HD inline float as_float(Half value) {
#if defined(__CUDA_ARCH__)
  float wide = 0.0F;  // the instruction that float_from_half says in words
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  return float_from_half(value.bits);
#endif
}

/// @tparam Element  float or Half
template <class Element>
struct Problem {
  Plan plan;
  Inputs inputs;
  Outputs outputs;
  unsigned char* workspace;

  YN_PHASE unsigned char* part(int image, std::size_t at) const {
    return workspace + static_cast<std::size_t>(image) * plan.bytes_per_image + at;
  }
  YN_PHASE ImageState& state(int image) const {
    return *reinterpret_cast<ImageState*>(part(image, 0));
  }
  /// The candidates that are left, in no order; a round reads one list and fills the other.
  YN_PHASE Found* list(int image, int round) const {
    auto* const lists = reinterpret_cast<Found*>(part(image, plan.lists_at));
    return lists + static_cast<std::size_t>(round & 1) * static_cast<std::size_t>(plan.capacity);
  }
  /// The candidates that a round takes where there are more.
  YN_PHASE Found* cut_window(int image) const {
    return reinterpret_cast<Found*>(part(image, plan.window_at));
  }
  /// The candidates that a round takes, in no order.
  YN_PHASE Found const* window(int image, int round) const {
    return is_beyond_window(image, round) ? cut_window(image) : list(image, round);
  }
  /// How many of the window are better than each.
  YN_PHASE std::uint32_t* ranks(int image) const {
    return reinterpret_cast<std::uint32_t*>(part(image, plan.ranks_at));
  }
  /// Bit w of each of the window: whether `overlaps(w)` says anything of it.
  YN_PHASE std::uint32_t* rivals(int image) const {
    return reinterpret_cast<std::uint32_t*>(part(image, plan.rivals_at));
  }
  /// Which of 32 candidates suppress each of the window if they are kept: bit b of [word][i] says
  /// it of candidate `32 word + b` and candidate i, which is of lower rank. Where no bit is set,
  /// nothing is written.
  YN_PHASE std::uint32_t* overlaps(int image, int word) const {
    auto* const words = reinterpret_cast<std::uint32_t*>(part(image, plan.overlaps_at));
    return words + word * plan.window;
  }
  /// Index of the first row of an image in the outputs.
  YN_PHASE std::size_t first_row(int image) const {
    return static_cast<std::size_t>(image) * static_cast<std::size_t>(plan.params.max_detections);
  }

  /// The values of a level of an image.
  YN_PHASE Element const* values(int image, int level) const {
    return static_cast<Element const*>(inputs.heads[level]) + image * plan.levels[level].image_step;
  }
  YN_PHASE float logit(int image, int level, std::uint32_t first_value, int value) const {
    auto const step = static_cast<std::uint32_t>(value) * plan.levels[level].value_step;
    return as_float(values(image, level)[first_value + step]);
  }
  YN_PHASE BoxValues box_logits(int image, Site const& site) const {
    return {logit(image, site.level, site.first_value, 0),
            logit(image, site.level, site.first_value, 1),
            logit(image, site.level, site.first_value, 2),
            logit(image, site.level, site.first_value, 3)};
  }

  /// The score threshold; if it or the other is none, one that no score is above.
  YN_PHASE float score_threshold() const {
    float const threshold = *inputs.score_threshold;
    bool const are_thresholds = is_threshold(threshold) && is_threshold(*inputs.iou_threshold);
    return are_thresholds ? threshold : float_from_bits(0x7F800000U);
  }
  YN_PHASE bool is_wanted(int image, int class_id) const {
    if (inputs.class_mask == nullptr) { return true; }
    return inputs.class_mask[std::int64_t{image} * plan.shape.num_classes + class_id] != 0;
  }
  /// Whether a candidate removes one of lower rank if it is kept itself.
  YN_PHASE bool suppresses(Box const& better, int better_class, Box const& other, int other_class,
                           float iou_threshold) const {
    bool const may = plan.params.class_agnostic != 0 || better_class == other_class;
    return may && iou(better, other) > iou_threshold;
  }
  /// Decode a candidate.
  YN_PHASE Found found_from_key(int image, std::uint64_t key) const {
    Site const site = site_of(plan, box_of_key(plan, key));
    return {box_of(sigmoids_of(box_logits(image, site)), anchor_of(plan, site)), key,
            class_of_key(plan, key), 0};
  }

  YN_PHASE bool is_overfull(int image) const {
    return state(image).num_found > static_cast<std::uint32_t>(plan.capacity);
  }
  /// Candidates that a round begins with.
  YN_PHASE int num_listed(int image, int round) const {
    ImageState const& now = state(image);
    if (now.is_done != 0) { return 0; }
    if (round > 0) { return static_cast<int>(now.num_listed[round & 1]); }
    return is_overfull(image) ? plan.capacity : static_cast<int>(now.num_found);
  }
  /// Whether a round begins with more candidates than it can take.
  YN_PHASE bool is_beyond_window(int image, int round) const {
    return num_listed(image, round) > plan.window;
  }
  /// Candidates that a round takes.
  YN_PHASE int num_in_window(int image, int round) const {
    int const listed = num_listed(image, round);
    return listed > plan.window ? static_cast<int>(state(image).num_chosen) : listed;
  }
};

}  // namespace yolor_nms
