/// One list of cases, run in three places: by the compiler, by a test on the host, in a kernel.
#pragma once

#include "yolor_nms/core.h"

namespace yolor_nms {

YN_HD constexpr int failing_case_of_exponential() {
  float const infinity = float_from_bits(0x7F800000U);
  float const nan = float_from_bits(0x7FC00000U);
  if (exponential(0.0F) != 1.0F) { return 100; }
  if (exponential(-0.0F) != 1.0F) { return 101; }
  if (exponential(1.0F) != 0x1.5bf0a8p+1F) { return 102; }
  if (exponential(infinity) != infinity) { return 103; }
  if (exponential(-infinity) != 0.0F) { return 104; }
  if (!is_nan(exponential(nan))) { return 105; }
  if (exponential(88.73F) != infinity) { return 106; }
  if (exponential(88.72F) == infinity) { return 107; }
  if (exponential(-103.0F) == 0.0F) { return 108; }  // subnormal, not flushed
  if (exponential(-105.0F) != 0.0F) { return 109; }
  if (sigmoid(0.0F) != 0.5F) { return 120; }
  if (sigmoid(infinity) != 1.0F || sigmoid(-infinity) != 0.0F) { return 121; }
  if (sigmoid(100.0F) != 1.0F || sigmoid(-100.0F) != 0.0F) { return 122; }
  if (!is_nan(sigmoid(nan))) { return 123; }
  return 0;
}

YN_HD constexpr int failing_case_of_half() {
  if (float_from_half(0x3C00U) != 1.0F) { return 200; }
  if (float_from_half(0xC000U) != -2.0F) { return 201; }
  if (float_from_half(0x7BFFU) != 65504.0F) { return 202; }
  if (float_from_half(0x0001U) != 0x1p-24F) { return 203; }  // least subnormal
  if (float_from_half(0x83FFU) != -0x1.ff8p-15F) { return 204; }
  if (bits_from_float(float_from_half(0x8000U)) != 0x80000000U) { return 205; }
  if (bits_from_float(float_from_half(0xFC00U)) != 0xFF800000U) { return 206; }
  if (!is_nan(float_from_half(0x7E00U))) { return 207; }
  return 0;
}

YN_HD constexpr int failing_case_of_boxes() {
  if (iou({0, 0, 2, 2}, {1, 1, 3, 3}) != 1.0F / 7.0F) { return 1; }
  if (iou({5, 5, 5, 5}, {5, 5, 5, 5}) != 0.0F) { return 2; }  // empty boxes: no 0/0
  if (iou({0, 0, 4, 4}, {2, 2, 2, 2}) != 0.0F) { return 3; }  // an empty box inside
  if (iou({0, 0, 1, 1}, {1, 0, 2, 1}) != 0.0F) { return 4; }  // a common edge
  if (iou({-1, -1, 1, 1}, {-1, -1, 1, 1}) != 1.0F) { return 5; }
  if (iou({0, 0, 2, 2}, {3, 3, 4, 4}) != 0.0F) { return 6; }  // apart in both axes

  Box const box = box_of(sigmoids_of({0, 0, 0, 0}), {2, 1, 8, 10.0F, 20.0F});
  if (box.x1 != 15.0F || box.y1 != 2.0F || box.x2 != 25.0F || box.y2 != 22.0F) { return 7; }
  float const infinity = float_from_bits(0x7F800000U);
  Box const low = box_of(sigmoids_of({-infinity, 0, -infinity, 0}), {0, 0, 8, 10.0F, 20.0F});
  if (low.x1 != -4.0F || low.x2 != -4.0F) { return 8; }  // empty, but a box
  float const nan = float_from_bits(0x7FC00000U);
  if (is_sound({nan, 0, 0, 0}) || is_sound({0, nan, 0, 0})) { return 9; }
  if (is_sound({0, 0, nan, 0}) || is_sound({0, 0, 0, nan})) { return 10; }
  if (!is_sound({infinity, -infinity, 0, 0})) { return 11; }
  return 0;
}

YN_HD constexpr int failing_case_of_order() {
  if (!precedes({0.5F, 3}, {0.5F, 7})) { return 300; }  // tie: lower index first
  if (precedes({0.5F, 7}, {0.5F, 3})) { return 301; }
  if (precedes({0.5F, 3}, {0.5F, 3})) { return 302; }
  if (!precedes({0.75F, 9}, {0.5F, 1})) { return 303; }
  Candidate const ordered[] = {
      {1.0F, 0}, {1.0F, 5}, {0.5F, 4294967294U}, {0.25F, 0}, {0x1p-149F, 1}};
  for (int a = 0; a < 5; ++a) {
    for (int b = 0; b < 5; ++b) {
      bool const keys = key_of(ordered[a]) > key_of(ordered[b]);
      if (keys != (a < b) || precedes(ordered[a], ordered[b]) != (a < b)) { return 310; }
    }
    Candidate const again = candidate_from_key(key_of(ordered[a]));
    if (again.score != ordered[a].score || again.index != ordered[a].index) { return 311; }
  }
  return 0;
}

/// The number of the first case that does not hold; 0 if every case holds.
YN_HD constexpr int failing_case() {
  if (int const number = failing_case_of_exponential()) { return number; }
  if (int const number = failing_case_of_half()) { return number; }
  if (int const number = failing_case_of_boxes()) { return number; }
  return failing_case_of_order();
}

static_assert(failing_case_of_exponential() == 0);
static_assert(failing_case_of_half() == 0);
static_assert(failing_case_of_boxes() == 0);
static_assert(failing_case_of_order() == 0);

}  // namespace yolor_nms
