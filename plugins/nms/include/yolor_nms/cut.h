/// Exact selection of the best keys where there are too many: a cut.
///
/// A cut finds a key such that the keys from it upwards are as many as wanted, digit by digit from
/// the highest: all blocks count the keys by their next digit, one block finds the digit. There are
/// two: *of capacity*, if an image has more candidates than may go on (their keys are found again
/// in the maps, not stored), and *of a window*, if a round begins with more than it can take.
#pragma once

#include "yolor_nms/select.h"

namespace yolor_nms {

/// Which cut, of which round.
struct Cut {
  bool is_of_window;
  int round;

  template <class Element>
  YN_PHASE bool applies(Problem<Element> const& problem, int image) const {
    return is_of_window ? problem.is_beyond_window(image, round) : problem.is_overfull(image);
  }
  template <class Element>
  YN_PHASE bool is_open(Problem<Element> const& problem, int image) const {
    return applies(problem, image) && problem.state(image).is_cut == 0;
  }
  template <class Element>
  YN_PHASE int most(Problem<Element> const& problem) const {
    return is_of_window ? problem.plan.window : problem.plan.capacity;
  }
  /// Fewer need another digit: a window may be half empty, because others follow.
  template <class Element>
  YN_PHASE int least(Problem<Element> const& problem) const {
    return is_of_window ? problem.plan.window / 2 : problem.plan.capacity;
  }
};

struct CutShared {
  Survivors survivors;
  std::uint32_t bins[kNumBins];
};

struct FindDigitShared {
  std::uint32_t sums[kNumBins / kWordBits];
};

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

/// Call visit(key) for each key that a cut is made of, all blocks together.
template <class Block, class Element, class Visit>
YN_PHASE void visit_keys(Block& block, Survivors& survivors, Problem<Element> const& problem,
                         int image, Cut const& cut, Visit const& visit) {
  if (!cut.is_of_window) {
    for_each_chunk(
        block, survivors, problem, image, [] {},
        [&] { expand_survivors(block, survivors, problem, image, visit); });
    return;
  }
  Found const* const list = problem.list(image, cut.round);
  int const count = problem.num_listed(image, cut.round);
  int const share = ceil_div(count, block.count());
  int const first = block.index() * share;
  block.for_each(smaller_of(share, count - first), [&](int i) { visit(list[first + i].key); });
}

/// Count the keys by a digit, those whose higher digits are the ones found so far.
template <class Block, class Element>
YN_PHASE void count_digits(Block& block, CutShared& shared, Problem<Element> const& problem,
                           int image, Cut const& cut, int digit) {
  ImageState& state = problem.state(image);
  if (!cut.applies(problem, image) || (digit > 0 && state.is_cut != 0)) { return; }
  std::uint64_t const known = digit == 0 ? 0 : known_bits(state.lowest_key, digit);
  block.for_each(kNumBins, [&](int bin) { shared.bins[bin] = 0; });
  visit_keys(block, shared.survivors, problem, image, cut, [&](std::uint64_t key) {
    if (known_bits(key, digit) == known) { block.add(shared.bins[digit_of_key(key, digit)], 1U); }
  });
  block.for_each(kNumBins, [&](int bin) {
    if (shared.bins[bin] != 0) { block.add(state.bins[bin], shared.bins[bin]); }
  });
}

/// The last step of `find_digit`, by one thread: walk down the bins as long as all keys of the next
/// one may be chosen too.
YN_PHASE void choose_bins(ImageState& state, std::uint32_t const* sums, int least, int digit) {
  int bin = kNumBins;
  while (bin >= kWordBits && sums[bin / kWordBits - 1] <= state.num_wanted) {
    bin -= kWordBits;
    state.num_wanted -= sums[bin / kWordBits];
    state.num_chosen += sums[bin / kWordBits];
  }
  while (bin > 0 && state.bins[bin - 1] <= state.num_wanted) {
    --bin;
    state.num_wanted -= state.bins[bin];
    state.num_chosen += state.bins[bin];
  }
  // The keys of `bin` and above are chosen; those of the next one are too many.
  bool const is_cut = state.num_chosen >= static_cast<std::uint32_t>(least);
  std::uint64_t const found = static_cast<std::uint64_t>(is_cut ? bin : bin - 1);
  state.lowest_key += found << static_cast<unsigned>(shift_of_digit(digit));
  state.is_cut = is_cut ? 1U : 0U;
}

/// One block an image: find the next digit of the lowest key that is chosen. At the last digit a
/// bin is one key, because keys differ, so that it always ends.
template <class Block, class Element>
YN_PHASE void find_digit(Block& block, FindDigitShared& shared, Problem<Element> const& problem,
                         int image, Cut const& cut, int digit) {
  ImageState& state = problem.state(image);
  bool const is_mine = block.index() == 0 && cut.applies(problem, image);
  if (!is_mine || (digit > 0 && state.is_cut != 0)) { return; }
  block.sync();  // all threads have read `is_cut`
  block.for_each_warp(kNumBins / kWordBits, [&](auto& warp, int group) {
    std::uint32_t const sum =
        warp.sum([&](int lane) { return state.bins[group * kWordBits + lane]; });
    warp.once([&] { shared.sums[group] = sum; });
  });
  block.for_each(1, [&](int) {
    if (digit == 0) {
      state.lowest_key = 0;
      state.num_gathered = 0;
      state.num_chosen = 0;
      state.num_wanted = static_cast<std::uint32_t>(cut.most(problem));
    }
    choose_bins(state, shared.sums, cut.least(problem), digit);
  });
  block.for_each(kNumBins, [&](int bin) { state.bins[bin] = 0; });
}

/// Put the chosen candidates where they go.
template <class Block, class Element>
YN_PHASE void gather(Block& block, Survivors& survivors, Problem<Element> const& problem, int image,
                     Cut const& cut) {
  if (!cut.applies(problem, image)) { return; }
  ImageState& state = problem.state(image);
  std::uint64_t const lowest = state.lowest_key;
  Found* const chosen = cut.is_of_window ? problem.cut_window(image) : problem.list(image, 0);
  visit_keys(block, survivors, problem, image, cut, [&](std::uint64_t key) {
    if (key < lowest) { return; }
    chosen[block.take_slot(state.num_gathered)] = problem.found_from_key(image, key);
  });
}

}  // namespace yolor_nms
