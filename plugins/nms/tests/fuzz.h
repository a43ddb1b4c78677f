/// Random runs against the plain reference, on any machine: every bit of every output is equal.
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "random_case.h"

namespace yolor_nms {

/// How often what must be met was met.
struct Tally {
  long cases = 0, mismatches = 0, detections = 0, empty = 0, suppressed = 0, overfull = 0,
       windows = 0, full = 0, half = 0, hwc8 = 0, masked = 0;

  bool is_complete() const {
    constexpr long kEnough = 1000;  // cases, to have met everything
    return cases < kEnough || (detections > 0 && empty > 0 && suppressed > 0 && overfull > 0 &&
                               windows > 0 && full > 0 && half > 0 && hwc8 > 0 && masked > 0);
  }
  void operator+=(Tally const& other) {
    cases += other.cases;
    mismatches += other.mismatches;
    detections += other.detections;
    empty += other.empty;
    suppressed += other.suppressed;
    overfull += other.overfull;
    windows += other.windows;
    full += other.full;
    half += other.half;
    hwc8 += other.hwc8;
    masked += other.masked;
  }
  void print_json() const {
    std::printf(
        "{\"cases\": %ld, \"mismatches\": %ld, \"detections\": %ld, \"empty_images\": %ld, "
        "\"images_with_suppressed\": %ld, \"overfull_images\": %ld, "
        "\"images_of_several_windows\": %ld, \"full_images\": %ld, \"half_cases\": %ld, "
        "\"hwc8_cases\": %ld, \"masked_cases\": %ld}\n",
        cases, mismatches, detections, empty, suppressed, overfull, windows, full, half, hwc8,
        masked);
  }
};

/// Count what a case met.
inline void count(Tally& tally, RandomCase const& made, Detections const& expected,
                  std::vector<long> const& num_candidates) {
  ++tally.cases;
  tally.half += made.shape.data_type == YOLOR_NMS_FLOAT16;
  tally.hwc8 += made.shape.layout == YOLOR_NMS_HWC8;
  tally.masked += !made.class_mask.empty();
  for (std::size_t image = 0; image < num_candidates.size(); ++image) {
    long const found = num_candidates[image];
    int const kept = expected.num_detections[image];
    long const ranked = std::min(found, static_cast<long>(made.params.max_candidates));
    tally.detections += kept;
    tally.empty += found == 0;
    tally.overfull += found > made.params.max_candidates;
    tally.suppressed += kept < ranked && kept < made.params.max_detections;
    tally.windows += ranked > made.schedule.window && kept < made.params.max_detections;
    tally.full += kept == made.params.max_detections && kept < ranked;
  }
}

/// Try a case; `run(made)` gives the detections of the machine that is tested.
template <class Run>
void try_case(std::uint64_t number, Tally& tally, Run& run) {
  RandomCase const made = CaseMaker(number).make();
  Detections const found = run(made);
  std::vector<long> num_candidates;
  Detections const expected =
      reference(made.shape, made.params, made.maps, made.inputs().class_mask, made.score_threshold,
                made.iou_threshold, &num_candidates);
  count(tally, made, expected, num_candidates);
  if (same_bits(found, expected)) { return; }
  if (++tally.mismatches <= 10) {
    std::fprintf(stderr, "case %llu differs\n", static_cast<unsigned long long>(number));
  }
}

/// Try cases FIRST to FIRST + COUNT - 1, as the arguments of the program say, and print the tally.
///
/// @tparam Run  made once a thread
template <class Run>
int fuzz(int argc, char** argv) {
  long const count = argc > 1 ? std::atol(argv[1]) : 1000;
  long const first = argc > 2 ? std::atol(argv[2]) : 0;
  int const num_threads = argc > 3 ? std::atoi(argv[3]) : 1;
  Tally total;
  std::mutex mutex;
  std::atomic<long> next{first};
  auto const work = [&] {
    Tally own;
    Run run;
    for (long number = next++; number < first + count; number = next++) {
      try_case(static_cast<std::uint64_t>(number), own, run);
    }
    std::lock_guard<std::mutex> const lock(mutex);
    total += own;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads; ++i) { threads.emplace_back(work); }
  for (std::thread& thread : threads) { thread.join(); }
  total.print_json();
  return total.mismatches == 0 && total.is_complete() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace yolor_nms
