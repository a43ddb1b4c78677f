/// The whole of YolorNMS: which phase follows which, on every machine.
#pragma once

#include "yolor_nms/suppress.h"

namespace yolor_nms {

/// Shared memory of a block; a phase finds nonsense in it, whatever an earlier phase left.
union SharedMemory {
  SelectShared select;
  CutShared cut;
  FindDigitShared find_digit;
  RelateShared relate;
  ResolveShared resolve;
  RemoveShared remove;
  YN_PHASE SharedMemory() {}  // NOLINT: left as it is on purpose
};
static_assert(sizeof(SharedMemory) <= 48 * 1024, "what every GPU has without being asked");

/// Choose the best keys of the images that have too many.
template <class Grid, class Element>
YN_PHASE void cut_down(Grid& grid, Problem<Element> const& problem, Cut const& cut) {
  YN_ROLLED
  for (int digit = 0; digit < kNumDigits; ++digit) {
    grid.phase([&](auto& block, int image) {
      count_digits(block, grid.shared().cut, problem, image, cut, digit);
    });
    grid.phase([&](auto& block, int image) {
      find_digit(block, grid.shared().find_digit, problem, image, cut, digit);
    });
    if (grid.most(1, [&](int image) { return cut.is_open(problem, image) ? 1 : 0; }) == 0) {
      break;
    }
  }
  grid.phase([&](auto& block, int image) {
    gather(block, grid.shared().cut.survivors, problem, image, cut);
  });
}

/// How much a round begins with.
enum Load : int { kNone, kFew, kMany, kBeyondWindow, kOverfull, kNumLoads };

inline constexpr int kFewCandidates = 128;  // one block does these sooner than it waits for others

template <class Element>
YN_PHASE Load load_of(Problem<Element> const& problem, int image, int round) {
  if (round == 0 && problem.is_overfull(image)) { return kOverfull; }
  int const count = problem.num_listed(image, round);
  if (count > problem.plan.window) { return kBeyondWindow; }
  return count > kFewCandidates ? kMany : (count > 0 ? kFew : kNone);
}

/// Decode, select and suppress.
///
/// A round takes the best candidates that are left, at most a window, and keeps what is to be kept
/// of them; then it removes what they suppress from the rest. Most images have one round. Where
/// there are many candidates of few objects, the second round finds hardly any left.
template <class Grid, class Element>
YN_PHASE void detect(Grid& grid, Problem<Element> const& problem) {
  grid.phase([&](auto& block, int image) { reset(block, problem, image); });
  grid.led_phase([&](auto& block, int image, auto const& wait) {
    select(block, grid.shared().select, problem, image, wait);
  });
  YN_ROLLED
  for (int round = 0;; ++round) {
    int load = grid.most(kNumLoads - 1, [&](int image) { return load_of(problem, image, round); });
    if (load == kNone) { return; }
    if (load == kOverfull) {
      cut_down(grid, problem, {false, 0});
      load = problem.plan.capacity > problem.plan.window ? kBeyondWindow : kMany;
    }
    if (load == kBeyondWindow) { cut_down(grid, problem, {true, round}); }
    bool const is_alone = load == kFew;
    bool const is_final = load < kBeyondWindow;
    grid.phase([&](auto& block, int image) {
      Share const share = is_alone ? Share{block.index(), 1} : Share{block.index(), block.count()};
      relate(block, grid.shared().relate, problem, image, round, share);
    });
    grid.phase(
        [&](auto& block, int image) {
          resolve(block, grid.shared().resolve, problem, image, round, is_final);
        },
        is_alone);
    if (is_final) { return; }
    grid.phase([&](auto& block, int image) {
      remove_suppressed(block, grid.shared().remove, problem, image, round);
    });
  }
}

}  // namespace yolor_nms
