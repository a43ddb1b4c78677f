/// The first phases: find the candidates of an image, and exactly the best of them if there are
/// too many.
///
/// A phase is a function of a *block*: some threads with shared memory, one of `block.count()` that
/// work on the same image. `block.for_each(n, f)` calls f(0) to f(n - 1), in any order or at once,
/// and all have ended when it returns; `block.sync()` is that barrier alone. Between phases every
/// block has ended. `block.add`, `block.raise` and `block.set_bits` are atomic; what a phase does
/// must not depend on the order in which they happen.
#pragma once

#include "yolor_nms/problem.h"

namespace yolor_nms {

inline constexpr int kTile = 256;  // anchors, or candidates, that a block looks at together

/// An anchor that may have candidates.
struct Survivor {
  Site site;
  std::int32_t box;
  float objectness;
};

struct SelectShared {
  Survivor survivors[kTile];
  std::uint64_t best_keys[kTile];
  std::uint32_t num_survivors;
};

struct CountShared {
  SelectShared select;
  std::uint32_t bins[kNumBins];
};

/// Key of a pair, or 0 if it is no candidate.
template <class Element>
YN_HD std::uint64_t key_of_pair(Problem<Element> const& problem, int image,
                                Survivor const& survivor, int class_id) {
  if (!problem.is_wanted(image, class_id)) { return 0; }
  float const class_score = sigmoid(problem.logit(survivor.site, 5 + class_id));
  float const score = score_of(survivor.objectness, class_score);
  if (!(score > *problem.inputs.score_threshold)) { return 0; }
  int const pair = survivor.box * problem.plan.shape.num_classes + class_id;
  return key_of({score, static_cast<std::uint32_t>(pair)});
}

/// List the anchors of a tile that may have candidates, in any order.
///
/// The objectness decides alone on most anchors: a score is never above it. Its sigmoid is taken of
/// every anchor, which keeps this exact; a bound on the logit would save less than a load costs.
template <class Block, class Element>
YN_HD void list_survivors(Block& block, SelectShared& shared, Problem<Element> const& problem,
                          int image, int first) {
  block.for_each(1, [&](int) { shared.num_survivors = 0; });
  block.for_each(smaller_of(kTile, problem.plan.num_boxes - first), [&](int i) {
    Site const site = site_of(problem.plan, image, first + i);
    float const objectness = sigmoid(problem.logit(site, 4));
    if (!(objectness > *problem.inputs.score_threshold)) { return; }
    if (!is_sound(problem.box_logits(site))) { return; }
    std::uint32_t const slot = block.add(shared.num_survivors, 1U);
    shared.survivors[slot] = {site, first + i, objectness};
    shared.best_keys[slot] = 0;
  });
}

/// Call visit(key) once for each candidate of the image, all blocks together.
template <class Block, class Element, class Visit>
YN_HD void visit_candidates(Block& block, SelectShared& shared, Problem<Element> const& problem,
                            int image, Visit const& visit) {
  for (int first = block.index() * kTile; first < problem.plan.num_boxes;
       first += block.count() * kTile) {
    list_survivors(block, shared, problem, image, first);
    int const num_survivors = static_cast<int>(shared.num_survivors);
    bool const is_multi_label = problem.plan.params.multi_label != 0;
    // Neighbours share a class: their logits lie in one plane.
    block.for_each(num_survivors * problem.plan.shape.num_classes, [&](int i) {
      int const slot = i % num_survivors;
      int const class_id = i / num_survivors;
      std::uint64_t const key = key_of_pair(problem, image, shared.survivors[slot], class_id);
      if (key == 0) { return; }
      if (is_multi_label) {
        visit(key);
      } else {
        block.raise(shared.best_keys[slot], key);  // the first of equals has the higher key
      }
    });
    if (is_multi_label) { continue; }
    block.for_each(num_survivors, [&](int slot) {
      if (shared.best_keys[slot] != 0) { visit(shared.best_keys[slot]); }
    });
  }
}

/// Phase 0, one block an image. A run does not rely on what the workspace held before.
template <class Block, class Element>
YN_HD void reset(Block& block, Problem<Element> const& problem, int image) {
  ImageState& state = problem.state(image);
  block.for_each(kNumBins, [&](int bin) { state.bins[bin] = 0; });
  block.for_each(1, [&](int) {
    state.lowest_key = 0;
    state.num_found = 0;
    state.num_stored = 0;
    state.num_wanted = static_cast<std::uint32_t>(problem.plan.capacity);
    state.is_narrowed = 0;
  });
}

/// Phase 1: count the candidates, and store their keys as long as there is room.
template <class Block, class Element>
YN_HD void select(Block& block, SelectShared& shared, Problem<Element> const& problem, int image) {
  ImageState& state = problem.state(image);
  std::uint64_t* const keys = problem.keys(image);
  auto const capacity = static_cast<std::uint32_t>(problem.plan.capacity);
  visit_candidates(block, shared, problem, image, [&](std::uint64_t key) {
    std::uint32_t const slot = block.add(state.num_found, 1U);
    if (slot < capacity) { keys[slot] = key; }
  });
}

/// Whether the exact selection of the best has still something to find.
template <class Element>
YN_HD bool is_overfull(Problem<Element> const& problem, ImageState const& state) {
  return state.num_found > static_cast<std::uint32_t>(problem.plan.capacity);
}

/// Lowest bit of a digit of a key; the last digit is the shorter one.
YN_HD constexpr int shift_of_digit(int digit) {
  int const shift = 2 * 31 - (digit + 1) * kDigitBits;
  return shift > 0 ? shift : 0;
}

/// The bits of a key above a digit.
YN_HD constexpr std::uint64_t known_bits(std::uint64_t key, int digit) {
  return digit == 0 ? 0 : key >> static_cast<unsigned>(shift_of_digit(digit - 1));
}

YN_HD constexpr int digit_of_key(std::uint64_t key, int digit) {
  int const width = digit == 0 ? kDigitBits : shift_of_digit(digit - 1) - shift_of_digit(digit);
  std::uint64_t const mask = (std::uint64_t{1} << static_cast<unsigned>(width)) - 1;
  return static_cast<int>((key >> static_cast<unsigned>(shift_of_digit(digit))) & mask);
}

/// Phase 2, for digits 0 to kNumDigits - 1 and in turn with `narrow`: count the keys by digit,
/// those whose higher digits are the ones found so far. Nothing to do if all keys had room.
template <class Block, class Element>
YN_HD void count_digits(Block& block, CountShared& shared, Problem<Element> const& problem,
                        int image, int digit) {
  ImageState& state = problem.state(image);
  if (!is_overfull(problem, state) || state.is_narrowed != 0) { return; }
  std::uint64_t const known = known_bits(state.lowest_key, digit);
  block.for_each(kNumBins, [&](int bin) { shared.bins[bin] = 0; });
  visit_candidates(block, shared.select, problem, image, [&](std::uint64_t key) {
    if (known_bits(key, digit) == known) { block.add(shared.bins[digit_of_key(key, digit)], 1U); }
  });
  block.for_each(kNumBins, [&](int bin) {
    if (shared.bins[bin] != 0) { block.add(state.bins[bin], shared.bins[bin]); }
  });
}

/// Phase 3, one block an image: find the next digit of the lowest key that goes on. The image is
/// done when all keys of that digit go on; at the last digit that is one key, because keys differ.
template <class Block, class Element>
YN_HD void narrow(Block& block, Problem<Element> const& problem, int image, int digit) {
  ImageState& state = problem.state(image);
  if (!is_overfull(problem, state) || state.is_narrowed != 0) { return; }
  block.sync();  // all threads have read `is_narrowed`
  block.for_each(1, [&](int) {
    int bin = kNumBins - 1;
    while (state.bins[bin] < state.num_wanted) { state.num_wanted -= state.bins[bin--]; }
    state.lowest_key |= static_cast<std::uint64_t>(bin)
                        << static_cast<unsigned>(shift_of_digit(digit));
    state.is_narrowed = state.bins[bin] == state.num_wanted ? 1U : 0U;
  });
  block.for_each(kNumBins, [&](int bin) { state.bins[bin] = 0; });
}

/// Phase 4: store the best keys again, if there were too many.
template <class Block, class Element>
YN_HD void gather(Block& block, SelectShared& shared, Problem<Element> const& problem, int image) {
  ImageState& state = problem.state(image);
  if (!is_overfull(problem, state)) {
    if (block.index() == 0) { block.for_each(1, [&](int) { state.num_stored = state.num_found; }); }
    return;
  }
  std::uint64_t* const keys = problem.keys(image);
  visit_candidates(block, shared, problem, image, [&](std::uint64_t key) {
    if (key >= state.lowest_key) { keys[block.add(state.num_stored, 1U)] = key; }
  });
}

}  // namespace yolor_nms
