/// The first phases: find the candidates of an image.
#pragma once

#include "yolor_nms/problem.h"

namespace yolor_nms {

inline constexpr int kChunk = 1536;     // survivors that a block expands together
inline constexpr int kStride = 4096;    // anchors that it looks at together
inline constexpr int kStage = 256;      // candidates that it stores together
inline constexpr int kNeighbours = 32;  // anchors side by side that stay with one block

/// Anchors that may have candidates, a field an array.
struct Survivors {
  void const* class_logits[kChunk];   // the first of them
  std::uint32_t value_steps[kChunk];  // elements from one to the next
  std::int32_t boxes[kChunk];
  float objectnesses[kChunk];
  float least_logits[kChunk];  // of a class that makes a candidate of it
  std::uint32_t count;
};

/// Candidates on their way to the list: their keys, and the sigmoids that their boxes are made of.
struct Stage {
  std::uint64_t keys[kStage];
  float sigmoids[kStage][4];
  std::uint32_t count;
  std::uint32_t first_slot;
};

struct SelectShared {
  Survivors survivors;
  Stage stage;
};

/// Logit of a class of a survivor.
template <class Element>
YN_PHASE float class_logit(Survivors const& survivors, int slot, int class_id) {
  auto const* const first = static_cast<Element const*>(survivors.class_logits[slot]);
  return as_float(first[static_cast<std::uint32_t>(class_id) * survivors.value_steps[slot]]);
}

/// Key of a pair, or 0 if it is no candidate.
template <class Element>
YN_PHASE std::uint64_t key_of_pair(Problem<Element> const& problem, int image,
                                   Survivors const& survivors, int slot, int class_id,
                                   float threshold) {
  float const logit = class_logit<Element>(survivors, slot, class_id);
  if (!(logit > survivors.least_logits[slot])) { return 0; }
  float const score = score_of(survivors.objectnesses[slot], sigmoid(logit));
  if (!(score > threshold) || !problem.is_wanted(image, class_id)) { return 0; }
  int const pair = survivors.boxes[slot] * problem.plan.num_classes.value + class_id;
  return key_of({score, static_cast<std::uint32_t>(pair)});
}

/// The anchors of an image are dealt to its blocks in packs of neighbours, because objects are
/// where they are: one block would have all of one.
struct Deal {
  int index, count, num_boxes;

  /// Slots of a block, some of the last pack beyond the last anchor.
  YN_PHASE int num_slots() const {
    int const packs = ceil_div(num_boxes, kNeighbours);
    return packs > index ? ceil_div(packs - index, count) * kNeighbours : 0;
  }
  YN_PHASE int box_of_slot(int slot) const {
    return (slot / kNeighbours * count + index) * kNeighbours + slot % kNeighbours;
  }
};

/// Append the anchors of some slots that may have candidates, in any order. All are counted; those
/// for which there is no room are not listed.
///
/// The objectness decides alone on most anchors: a score is never above it.
template <class Block, class Element>
YN_PHASE void list_survivors(Block& block, Survivors& survivors, Problem<Element> const& problem,
                             int image, int first_slot, int num_slots) {
  Plan const& plan = problem.plan;
  Deal const deal{block.index(), block.count(), plan.num_boxes};
  float const threshold = problem.score_threshold();
  float const least = least_logit(threshold);
  auto const objectness_logit = [&](int i) {
    int const box = deal.box_of_slot(first_slot + i);
    if (box >= plan.num_boxes) { return -float_from_bits(0x7F800000U); }  // objectness 0
    Site const site = site_of(plan, box);
    return problem.logit(image, site.level, site.first_value, 4);
  };
  block.for_each_of(
      num_slots, [&](int i) { return objectness_logit(i) > least; },
      [&](int i) {
        float const objectness = sigmoid(objectness_logit(i));
        if (!(objectness > threshold)) { return; }
        int const box = deal.box_of_slot(first_slot + i);
        Site const site = site_of(plan, box);
        if (!is_sound(problem.box_logits(image, site))) { return; }
        std::uint32_t const slot = block.take_slot(survivors.count);
        if (slot >= kChunk) { return; }
        std::uint32_t const step = plan.levels[site.level].value_step;
        survivors.class_logits[slot] =
            problem.values(image, site.level) + (site.first_value + 5 * step);
        survivors.value_steps[slot] = step;
        survivors.boxes[slot] = box;
        survivors.objectnesses[slot] = objectness;
        survivors.least_logits[slot] = least_logit(threshold / objectness);
      });
}

/// Which survivor, and which class, a lane of a strip is about. Lanes side by side read values side
/// by side: a strip is 32 survivors in one plane, or 32 classes of one survivor. Where there are
/// fewer survivors, a strip is of several planes.
struct Strips {
  Divisor const& per_row;  // plan.strips
  int num_survivors;
  bool is_planar;
  int width_bits;  // of the survivors in a strip

  YN_PHASE Strips(Plan const& plan, int survivors)
      : per_row(plan.strips),
        num_survivors(survivors),
        is_planar(plan.shape.layout == YOLOR_NMS_NCHW),
        width_bits(0) {
    while (width_bits < kLaneBits && (1 << width_bits) < survivors) { ++width_bits; }
  }

  YN_PHASE bool is_one_row() const { return is_planar && num_survivors <= kWordBits; }
  YN_PHASE int count() const {
    if (is_one_row()) {
      return (per_row.value + (kWordBits >> width_bits) - 1) >> (kLaneBits - width_bits);
    }
    return per_row.value * (is_planar ? ceil_div(num_survivors, kWordBits) : num_survivors);
  }
  YN_PHASE int row(int strip) const { return is_one_row() ? 0 : strip / per_row; }
  YN_PHASE int slot(int strip, int lane) const {
    return is_planar ? row(strip) * kWordBits + (lane & ((1 << width_bits) - 1)) : row(strip);
  }
  YN_PHASE int class_id(int strip, int lane) const {
    int const rest = strip - row(strip) * per_row.value;
    return is_planar ? (rest << (kLaneBits - width_bits)) + (lane >> width_bits)
                     : rest * kWordBits + lane;
  }
};

/// Call visit(key) once for each candidate of the anchors that are listed.
template <class Block, class Element, class Visit>
YN_PHASE void expand_survivors(Block& block, Survivors const& survivors,
                               Problem<Element> const& problem, int image, Visit const& visit) {
  Plan const& plan = problem.plan;
  int const num_classes = plan.num_classes.value;
  int const num_survivors = static_cast<int>(survivors.count);
  if (num_survivors == 0) { return; }
  float const threshold = problem.score_threshold();
  if (plan.params.multi_label != 0) {
    Strips const strips(plan, num_survivors);
    block.for_each_pair_of(
        strips.count(),
        [&](int strip, int lane) {
          int const slot = strips.slot(strip, lane);
          int const class_id = strips.class_id(strip, lane);
          return slot < num_survivors && class_id < num_classes &&
                 class_logit<Element>(survivors, slot, class_id) > survivors.least_logits[slot];
        },
        [&](int strip, int lane) {
          std::uint64_t const key = key_of_pair(problem, image, survivors, strips.slot(strip, lane),
                                                strips.class_id(strip, lane), threshold);
          if (key != 0) { visit(key); }
        });
    return;
  }
  block.for_each_warp(num_survivors, [&](auto& warp, int slot) {
    std::uint64_t const best = warp.max([&](int lane) {  // the first of equals has the higher key
      std::uint64_t highest = 0;
      for (int class_id = lane; class_id < num_classes; class_id += kWordBits) {
        std::uint64_t const key = key_of_pair(problem, image, survivors, slot, class_id, threshold);
        if (key > highest) { highest = key; }
      }
      return highest;
    });
    if (best != 0) {
      warp.once([&] { visit(best); });
    }
  });
}

/// List survivors from a slot on, as many as there is room for.
///
/// Survivors are few, mostly: strides are long, and one that does not fit is looked at again, alone
/// and shorter if need be.
///
/// @return the slot to go on from
template <class Block, class Element>
YN_PHASE int fill_survivors(Block& block, Survivors& survivors, Problem<Element> const& problem,
                            int image, int first_slot, int end_slot) {
  block.for_each(1, [&](int) { survivors.count = 0; });
  int listed = 0;
  int stride = kStride;
  while (first_slot < end_slot) {
    int const num_slots = smaller_of(stride, end_slot - first_slot);
    list_survivors(block, survivors, problem, image, first_slot, num_slots);
    auto const count = static_cast<int>(survivors.count);
    block.sync();  // all threads have read it
    if (count <= kChunk) {
      listed = count;
      first_slot += num_slots;
      continue;
    }
    block.for_each(1, [&](int) { survivors.count = static_cast<std::uint32_t>(listed); });
    if (listed > 0) { break; }
    stride = kChunk;
  }
  return first_slot;
}

/// Call body() for each chunk of this block, its survivors listed.
///
/// @param wait  called once the first chunk is listed, before its body
template <class Block, class Element, class Wait, class Body>
YN_PHASE void for_each_chunk(Block& block, Survivors& survivors, Problem<Element> const& problem,
                             int image, Wait const& wait, Body const& body) {
  int const end = Deal{block.index(), block.count(), problem.plan.num_boxes}.num_slots();
  for (int first = 0; first < end;) {
    first = fill_survivors(block, survivors, problem, image, first, end);
    wait();
    body();
    block.sync();
  }
}

/// Phase 0. A run relies neither on what the workspace held before nor on the outputs.
template <class Block, class Element>
YN_PHASE void reset(Block& block, Problem<Element> const& problem, int image) {
  if (block.index() == 0) {
    ImageState& state = problem.state(image);
    block.for_each(kNumBins, [&](int bin) { state.bins[bin] = 0; });
    block.for_each(1, [&](int) {
      state.num_found = 0;
      state.num_kept = 0;
      state.is_done = 0;
      problem.outputs.num_detections[image] = 0;
    });
  }
  int const rows = ceil_div(problem.plan.params.max_detections, block.count());
  int const first = block.index() * rows;
  std::size_t const first_row = problem.first_row(image);
  Outputs const& outputs = problem.outputs;
  block.for_each(smaller_of(rows, problem.plan.params.max_detections - first), [&](int i) {
    std::size_t const row = first_row + static_cast<std::size_t>(first + i);
    for (int corner = 0; corner < 4; ++corner) { outputs.boxes_xyxy[4 * row + corner] = 0.0F; }
    outputs.scores[row] = 0.0F;
    outputs.class_ids[row] = 0;
  });
}

/// Decode a candidate and list it, by one thread: those for which the stage has no room.
template <class Block, class Element>
YN_PHASE void add_found(Block& block, Problem<Element> const& problem, int image,
                        std::uint64_t key) {
  std::uint32_t const slot = block.take_slot(problem.state(image).num_found);
  if (slot < static_cast<std::uint32_t>(problem.plan.capacity)) {
    problem.list(image, 0)[slot] = problem.found_from_key(image, key);
  }
}

/// Decode the candidates of the stage, and list them as long as there is room. Four threads share
/// one, since a sigmoid is long.
template <class Block, class Element>
YN_PHASE void flush(Block& block, Stage& stage, Problem<Element> const& problem, int image) {
  Plan const& plan = problem.plan;
  ImageState& state = problem.state(image);
  Found* const list = problem.list(image, 0);
  int const count = smaller_of(static_cast<int>(stage.count), kStage);
  if (count == 0) { return; }
  block.each_thread(1, [&](int) {
    stage.first_slot = block.add(state.num_found, static_cast<std::uint32_t>(count));
  });
  block.for_each(4 * count, [&](int i) {  // while the counter's answer is on its way
    Site const site = site_of(plan, box_of_key(plan, stage.keys[i / 4]));
    stage.sigmoids[i / 4][i % 4] =
        sigmoid(problem.logit(image, site.level, site.first_value, i % 4));
  });
  block.for_each(count, [&](int i) {
    std::uint32_t const slot = stage.first_slot + static_cast<std::uint32_t>(i);
    if (slot >= static_cast<std::uint32_t>(plan.capacity)) { return; }
    std::uint64_t const key = stage.keys[i];
    int const box = box_of_key(plan, key);
    float const* const s = stage.sigmoids[i];
    list[slot] = {box_of({s[0], s[1], s[2], s[3]}, anchor_of(plan, site_of(plan, box))), key,
                  class_of_key(plan, key), 0};
  });
}

/// Phase 1: count the candidates, decode them, and list them as long as there is room.
///
/// @param wait  returns when the image is reset
template <class Block, class Element, class Wait>
YN_PHASE void select(Block& block, SelectShared& shared, Problem<Element> const& problem, int image,
                     Wait const& wait) {
  Survivors& survivors = shared.survivors;
  Stage& stage = shared.stage;
  for_each_chunk(block, survivors, problem, image, wait, [&] {
    block.for_each(1, [&](int) { stage.count = 0; });
    expand_survivors(block, survivors, problem, image, [&](std::uint64_t key) {
      std::uint32_t const staged = block.take_slot(stage.count);
      if (staged < kStage) {
        stage.keys[staged] = key;
      } else {
        add_found(block, problem, image, key);
      }
    });
    flush(block, stage, problem, image);
  });
}

}  // namespace yolor_nms
