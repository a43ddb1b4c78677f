/// The first phases: find the candidates of an image.
#pragma once

#include "yolor_nms/problem.h"

namespace yolor_nms {

inline constexpr int kChunk = 1536;     // anchors that a block looks at together
inline constexpr int kStage = 512;      // keys that it stores together
inline constexpr int kNeighbours = 32;  // anchors side by side that stay with one block

/// An anchor that may have candidates.
struct Survivor {
  std::int32_t box;
  std::int32_t level;
  std::uint32_t first_value;
  float objectness;
  float least_logit;  // of a class that makes a candidate of it
};

struct SelectShared {
  Survivor survivors[kChunk];
  std::uint64_t keys[kStage];
  std::uint32_t num_survivors;
  std::uint32_t num_keys;
  std::uint32_t first_slot;
};

/// Key of a pair, or 0 if it is no candidate.
template <class Element>
YN_PHASE std::uint64_t key_of_pair(Problem<Element> const& problem, int image,
                                   Survivor const& survivor, int class_id, float logit,
                                   float threshold) {
  if (!(logit > survivor.least_logit)) { return 0; }
  float const score = score_of(survivor.objectness, sigmoid(logit));
  if (!(score > threshold) || !problem.is_wanted(image, class_id)) { return 0; }
  int const pair = survivor.box * problem.plan.shape.num_classes + class_id;
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

/// List the anchors of a chunk that may have candidates, in any order.
///
/// The objectness decides alone on most anchors: a score is never above it.
template <class Block, class Element>
YN_PHASE void list_survivors(Block& block, SelectShared& shared, Problem<Element> const& problem,
                             int image, int first_slot) {
  Plan const& plan = problem.plan;
  Deal const deal{block.index(), block.count(), plan.num_boxes};
  block.for_each(1, [&](int) { shared.num_survivors = 0; });
  float const threshold = problem.score_threshold();
  float const least = least_logit(threshold);
  block.for_each_loaded(
      smaller_of(kChunk, deal.num_slots() - first_slot),
      [&](int i) {
        int const box = deal.box_of_slot(first_slot + i);
        if (box >= plan.num_boxes) { return -float_from_bits(0x7F800000U); }  // objectness 0
        Site const site = site_of(plan, box);
        return problem.logit(image, site.level, site.first_value, 4);
      },
      [&](int i, float logit) {
        if (!(logit > least)) { return; }
        float const objectness = sigmoid(logit);
        if (!(objectness > threshold)) { return; }
        int const box = deal.box_of_slot(first_slot + i);
        Site const site = site_of(plan, box);
        if (!is_sound(problem.box_logits(image, site))) { return; }
        std::uint32_t const slot = block.take_slot(shared.num_survivors);
        shared.survivors[slot] = {box, site.level, site.first_value, objectness,
                                  least_logit(threshold / objectness)};
      });
}

/// Call visit(key) once for each candidate of the anchors that are listed.
template <class Block, class Element, class Visit>
YN_PHASE void expand_survivors(Block& block, SelectShared& shared, Problem<Element> const& problem,
                               int image, Visit const& visit) {
  Plan const& plan = problem.plan;
  int const num_classes = plan.shape.num_classes;
  int const num_survivors = static_cast<int>(shared.num_survivors);
  if (num_survivors == 0) { return; }
  float const threshold = problem.score_threshold();
  auto const logit_of = [&](int slot, int class_id) {
    Survivor const& survivor = shared.survivors[slot];
    return problem.logit(image, survivor.level, survivor.first_value, 5 + class_id);
  };
  if (plan.params.multi_label != 0) {
    // Threads side by side read values side by side: of one plane, or of one anchor.
    bool const is_planar = plan.shape.layout == YOLOR_NMS_NCHW;
    int const width = is_planar ? num_survivors : num_classes;
    block.for_each_loaded(
        num_survivors * num_classes,
        [&](int i) {
          int const high = i / width;
          int const low = i - high * width;
          return is_planar ? logit_of(low, high) : logit_of(high, low);
        },
        [&](int i, float logit) {
          int const high = i / width;
          int const low = i - high * width;
          Survivor const& survivor = shared.survivors[is_planar ? low : high];
          std::uint64_t const key =
              key_of_pair(problem, image, survivor, is_planar ? high : low, logit, threshold);
          if (key != 0) { visit(key); }
        });
    return;
  }
  block.for_each_warp(num_survivors, [&](auto& warp, int slot) {
    std::uint64_t const best = warp.max([&](int lane) {  // the first of equals has the higher key
      std::uint64_t highest = 0;
      for (int class_id = lane; class_id < num_classes; class_id += kWordBits) {
        std::uint64_t const key = key_of_pair(problem, image, shared.survivors[slot], class_id,
                                              logit_of(slot, class_id), threshold);
        if (key > highest) { highest = key; }
      }
      return highest;
    });
    if (best != 0) {
      warp.once([&] { visit(best); });
    }
  });
}

/// Call body() for each chunk of this block, its survivors listed.
///
/// @param is_listed  whether those of the first chunk are listed already
template <class Block, class Element, class Body>
YN_PHASE void for_each_chunk(Block& block, SelectShared& shared, Problem<Element> const& problem,
                             int image, bool is_listed, Body const& body) {
  Deal const deal{block.index(), block.count(), problem.plan.num_boxes};
  for (int first = 0; first < deal.num_slots(); first += kChunk) {
    if (first > 0 || !is_listed) { list_survivors(block, shared, problem, image, first); }
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

/// Phase 1: count the candidates, decode them, and list them as long as there is room.
template <class Block, class Element>
YN_PHASE void select(Block& block, SelectShared& shared, Problem<Element> const& problem, int image,
                     bool is_listed) {
  ImageState& state = problem.state(image);
  Found* const list = problem.list(image, 0);
  auto const capacity = static_cast<std::uint32_t>(problem.plan.capacity);
  for_each_chunk(block, shared, problem, image, is_listed, [&] {
    block.for_each(1, [&](int) { shared.num_keys = 0; });
    expand_survivors(block, shared, problem, image, [&](std::uint64_t key) {
      std::uint32_t const staged = block.take_slot(shared.num_keys);
      if (staged < kStage) {
        shared.keys[staged] = key;
        return;
      }
      std::uint32_t const slot = block.take_slot(state.num_found);
      if (slot < capacity) { list[slot] = problem.found_from_key(image, key); }
    });
    int const num_staged = smaller_of(static_cast<int>(shared.num_keys), kStage);
    if (num_staged == 0) { return; }
    typename Block::template PerThread<Found> found;
    block.each_thread(1, [&](int) {
      shared.first_slot = block.add(state.num_found, static_cast<std::uint32_t>(num_staged));
    });
    block.each_thread(num_staged, [&](int i) {  // while the counter's answer is on its way
      found[i] = problem.found_from_key(image, shared.keys[i]);
    });
    block.sync();
    block.each_thread(num_staged, [&](int i) {
      std::uint32_t const slot = shared.first_slot + static_cast<std::uint32_t>(i);
      if (slot < capacity) { list[slot] = found[i]; }
    });
  });
}

}  // namespace yolor_nms
