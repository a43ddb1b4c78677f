/// One run as the phases see it: the plan, typed pointers, and the parts of the workspace.
#pragma once

#include "yolor_nms/plan.h"

namespace yolor_nms {

/// IEEE half precision as it lies in memory.
struct Half {
  std::uint16_t bits;
};

YN_HD constexpr float as_float(float value) { return value; }
YN_HD constexpr float as_float(Half value) { return float_from_half(value.bits); }

/// @tparam Element  float or Half
template <class Element>
struct Problem {
  Plan plan;
  Inputs inputs;
  Outputs outputs;
  unsigned char* workspace;

  YN_HD unsigned char* part(int image, std::size_t at) const {
    return workspace + static_cast<std::size_t>(image) * plan.bytes_per_image + at;
  }
  YN_HD ImageState& state(int image) const {
    return *reinterpret_cast<ImageState*>(part(image, 0));
  }
  YN_HD std::uint64_t* keys(int image) const {
    return reinterpret_cast<std::uint64_t*>(part(image, plan.keys_at));
  }
  YN_HD Ranked* ranked(int image) const {
    return reinterpret_cast<Ranked*>(part(image, plan.ranked_at));
  }
  /// Row by row of the window, bit j of row i: the first suppresses the second.
  YN_HD std::uint64_t* bits(int image) const {
    return reinterpret_cast<std::uint64_t*>(part(image, plan.bits_at));
  }
  /// Index of the first row of an image in the outputs.
  YN_HD std::size_t first_row(int image) const {
    return static_cast<std::size_t>(image) *
           static_cast<std::size_t>(plan.params.max_detections);
  }
  YN_HD int words_per_row() const { return plan.window / kWordBits; }

  YN_HD float logit(Site const& site, int value) const {
    auto const* map = static_cast<Element const*>(inputs.heads[site.level]);
    return as_float(map[site.first_value + value * site.value_step]);
  }
  YN_HD BoxLogits box_logits(Site const& site) const {
    return {logit(site, 0), logit(site, 1), logit(site, 2), logit(site, 3)};
  }
  YN_HD bool is_wanted(int image, int class_id) const {
    if (inputs.class_mask == nullptr) { return true; }
    return inputs.class_mask[std::int64_t{image} * plan.shape.num_classes + class_id] != 0;
  }
  /// Whether the first of two ranked candidates removes the second if it is kept itself.
  YN_HD bool suppresses(Ranked const& better, Ranked const& other) const {
    bool const may = plan.params.class_agnostic != 0 || better.class_id == other.class_id;
    return may && iou(better.box, other.box) > *inputs.iou_threshold;
  }
  YN_HD int num_ranked(int image) const { return static_cast<int>(state(image).num_stored); }
};

}  // namespace yolor_nms
