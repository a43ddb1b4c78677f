/// The rules of YolorNMS, once, for g++ and nvcc: what `yolor_deploy.core.nms` states, in C++.
///
/// Everything is float32 in one order of operations. Compile without contraction
/// (`-ffp-contract=off`, `-fmad=false`): a fused multiply-add moves a box across a threshold.
/// Comparisons with NaN are written so that they are false.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define YN_HD __host__ __device__
#else
#define YN_HD
#endif

namespace yolor_nms {

/// Corners in input pixels.
struct alignas(16) Box {
  float x1, y1, x2, y2;
};

/// A pair (box, class); its index is `box * num_classes + class`.
struct Candidate {
  float score;
  std::uint32_t index;
};

/// What the head says of the place and size of one anchor: logits, or their sigmoids.
struct BoxValues {
  float x, y, w, h;
};

/// The anchor itself, and the cell that it belongs to.
struct Anchor {
  int column, row, stride;
  float width_px, height_px;
};

YN_HD constexpr std::uint32_t bits_from_float(float value) {
  return __builtin_bit_cast(std::uint32_t, value);
}

YN_HD constexpr float float_from_bits(std::uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}

YN_HD constexpr bool is_nan(float value) { return value != value; }

YN_HD constexpr float lesser(float a, float b) { return b < a ? b : a; }
YN_HD constexpr float greater(float a, float b) { return a < b ? b : a; }

/// IEEE half precision to float32, exactly; infinities and NaN too.
YN_HD constexpr float float_from_half(std::uint16_t half) {
  std::uint32_t const sign = (half & 0x8000U) << 16U;
  std::uint32_t const exponent = (half >> 10U) & 0x1FU;
  std::uint32_t const mantissa = half & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-24
    float const magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return float_from_bits(sign | bits_from_float(magnitude));
  }
  std::uint32_t const wide_exponent = exponent == 31 ? 255U : exponent + 112U;
  return float_from_bits(sign | (wide_exponent << 23U) | (mantissa << 13U));
}

/// 2^exponent for -126 <= exponent <= 127.
YN_HD constexpr float power_of_two(int exponent) {
  return float_from_bits(static_cast<std::uint32_t>(exponent + 127) << 23U);
}

/// e^x within 1.03 units in the last place (every float was tried: `test_core 1`), with the same
/// bits on every machine, which no `expf` has.
///
/// x = k ln 2 + r with |r| <= ln 2 / 2; e^r is its Taylor polynomial of degree 7, whose error is
/// below 6e-9 there. ln 2 is split in two, so that k times its first part (9 bits) is exact. 2^k is
/// applied in two steps, because k may be beyond the exponents of float32 while the result is not.
YN_HD constexpr float exponential(float x) {
  if (is_nan(x)) { return x; }
  if (x > 0x1.62e430p+6F) { return float_from_bits(0x7F800000U); }  // above ln(largest)
  if (x < -104.0F) { return 0.0F; }  // below half the least subnormal

  float const rounder = 0x1.8p+23F;  // adding it rounds to an integer, half to even
  float const k = (x * 0x1.715476p+0F + rounder) - rounder;
  float const r = (x - k * 0x1.63p-1F) - k * -0x1.bd0106p-13F;
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * (r * r) + r;

  int const exponent = static_cast<int>(k);
  int const first = exponent / 2;
  return (p + 1.0F) * power_of_two(first) * power_of_two(exponent - first);
}

/// 1 / (1 + e^-x): 0 and 1 for infinities, NaN for NaN, never above 1.
YN_HD constexpr float sigmoid(float x) { return 1.0F / (1.0F + exponential(-x)); }

/// A logit that every x with sigmoid(x) > probability is above, to be compared before any sigmoid
/// is taken. It is lower than need be, by more than all roundings: what it lets through is decided
/// by the sigmoid, so that its own bits do not matter and may differ between machines.
YN_HD inline float least_logit(float probability) {
  float const p = probability * 0.99999F;
  if (!(p < 0.9999F)) { return 8.0F; }  // whose sigmoid is 0.9997
#if defined(__CUDA_ARCH__)
  return __logf(p / (1.0F - p)) - 0.01F;
#else
  return std::log(p / (1.0F - p)) - 0.01F;
#endif
}

/// Score of a pair. Never above the objectness: an anchor whose objectness is not above a
/// threshold has no candidate.
YN_HD constexpr float score_of(float objectness, float class_score) {
  return objectness * class_score;
}

/// Box of an anchor from the sigmoids s of its logits: `xy = (2 s - 0.5 + cell) stride`,
/// `wh = (2 s)^2 anchor`.
///
/// Source: `YOLOLayer`, `Detect` and `IDetect` of the authors' repositories, which agree.
YN_HD constexpr Box box_of(BoxValues const& sigmoids, Anchor const& anchor) {
  auto const stride = static_cast<float>(anchor.stride);
  float const x = (sigmoids.x * 2.0F - 0.5F + static_cast<float>(anchor.column)) * stride;
  float const y = (sigmoids.y * 2.0F - 0.5F + static_cast<float>(anchor.row)) * stride;
  float const w = sigmoids.w * 2.0F;
  float const h = sigmoids.h * 2.0F;
  float const half_width = w * w * anchor.width_px * 0.5F;
  float const half_height = h * h * anchor.height_px * 0.5F;
  return {x - half_width, y - half_height, x + half_width, y + half_height};
}

YN_HD constexpr BoxValues sigmoids_of(BoxValues const& logits) {
  return {sigmoid(logits.x), sigmoid(logits.y), sigmoid(logits.w), sigmoid(logits.h)};
}

/// Whether an anchor can have a candidate at all, its scores apart.
YN_HD constexpr bool is_sound(BoxValues const& logits) {
  return !is_nan(logits.x) && !is_nan(logits.y) && !is_nan(logits.w) && !is_nan(logits.h);
}

YN_HD constexpr float area_of(Box const& box) { return (box.x2 - box.x1) * (box.y2 - box.y1); }

/// Intersection over union in [0, 1]; 0 where the boxes share no area, both empty included.
YN_HD constexpr float iou(Box const& a, Box const& b) {
  float const width = lesser(a.x2, b.x2) - greater(a.x1, b.x1);
  float const height = lesser(a.y2, b.y2) - greater(a.y1, b.y1);
  float const intersection = greater(width, 0.0F) * greater(height, 0.0F);
  if (!(intersection > 0.0F)) { return 0.0F; }
  return intersection / (area_of(a) + area_of(b) - intersection);
}

/// The one total order: higher score first, then lower index, so that equal scores give the same
/// survivors on every machine and on every run.
YN_HD constexpr bool precedes(Candidate const& a, Candidate const& b) {
  return a.score > b.score || (a.score == b.score && a.index < b.index);
}

/// The order as an integer: `precedes(a, b)` if and only if `key_of(a) > key_of(b)`. Scores of
/// candidates are positive, and the bits of positive floats are ordered as they are. Never 0.
YN_HD constexpr std::uint64_t key_of(Candidate const& candidate) {
  std::uint64_t const bits = bits_from_float(candidate.score);
  return (bits << 32U) | static_cast<std::uint32_t>(~candidate.index);
}

YN_HD constexpr Candidate candidate_from_key(std::uint64_t key) {
  return {float_from_bits(static_cast<std::uint32_t>(key >> 32U)),
          ~static_cast<std::uint32_t>(key)};
}

}  // namespace yolor_nms
