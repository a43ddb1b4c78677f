/// Random runs of the phases against the plain reference: every bit of every output is equal.
///
///     fuzz [COUNT [FIRST]]    cases FIRST to FIRST + COUNT - 1; a case is made from its number

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "random_case.h"
#include "yolor_nms/plan.h"

namespace {

using namespace yolor_nms;

/// How often what must be met was met.
struct Tally {
  long detections = 0, empty = 0, suppressed = 0, overfull = 0, windows = 0, full = 0, half = 0,
       masked = 0;

  bool is_complete() const {
    return detections > 0 && empty > 0 && suppressed > 0 && overfull > 0 && windows > 0 &&
           full > 0 && half > 0 && masked > 0;
  }
};

bool same_bits(Detections const& a, Detections const& b) {
  return a.num_detections == b.num_detections && a.class_ids == b.class_ids &&
         std::memcmp(a.scores.data(), b.scores.data(), a.scores.size() * sizeof(float)) == 0 &&
         std::memcmp(a.boxes_xyxy.data(), b.boxes_xyxy.data(),
                     a.boxes_xyxy.size() * sizeof(float)) == 0;
}

void count(Tally& tally, RandomCase const& made, Detections const& expected,
           std::vector<long> const& num_candidates) {
  tally.half += made.shape.data_type == YOLOR_NMS_FLOAT16;
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

/// @return whether the phases agree with the reference on a case
bool holds(std::uint64_t number, Tally& tally) {
  RandomCase const made = CaseMaker(number).make();
  Inputs const inputs = made.inputs();
  Detections found(made.shape, made.params);
  Outputs const outputs = found.outputs();
  std::size_t const bytes = plan_of(made.shape, made.params, made.schedule.window).bytes_per_image *
                            static_cast<std::size_t>(made.shape.batch);
  std::vector<unsigned char> workspace(bytes, 0xA5);

  Error const error = run_on_host(&made.shape, &made.params, &inputs, &outputs, workspace.data(),
                                  bytes, made.schedule);

  std::vector<long> num_candidates;
  Detections const expected =
      reference(made.shape, made.params, made.maps, inputs.class_mask, made.score_threshold,
                made.iou_threshold, &num_candidates);
  count(tally, made, expected, num_candidates);
  return error == Error::kNone && same_bits(found, expected);
}

}  // namespace

int main(int argc, char** argv) {
  long const count = argc > 1 ? std::atol(argv[1]) : 1000;
  long const first = argc > 2 ? std::atol(argv[2]) : 0;
  Tally tally;
  long mismatches = 0;
  for (long number = first; number < first + count; ++number) {
    if (holds(static_cast<std::uint64_t>(number), tally)) { continue; }
    if (++mismatches <= 10) { std::fprintf(stderr, "case %ld differs\n", number); }
  }
  std::printf("%ld cases, %ld differ; %ld detections; images: %ld empty, %ld with suppressed, "
              "%ld overfull, %ld of more than a window, %ld full; cases: %ld half, %ld masked\n",
              count, mismatches, tally.detections, tally.empty, tally.suppressed, tally.overfull,
              tally.windows, tally.full, tally.half, tally.masked);
  return mismatches == 0 && tally.is_complete() ? EXIT_SUCCESS : EXIT_FAILURE;
}
