/// Head maps in half precision, for tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "yolor_nms/params.h"

namespace yolor_nms {

/// A half close to a value; the value itself does not matter, only that it is a half.
inline std::uint16_t half_near(float value) {
  std::uint32_t const bits = bits_from_float(value);
  auto const sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
  if (is_nan(value)) { return static_cast<std::uint16_t>(sign | 0x7E00U); }
  float const magnitude = std::fabs(value);
  if (magnitude >= 65504.0F) {
    return static_cast<std::uint16_t>(sign | (std::isinf(value) ? 0x7C00U : 0x7BFFU));
  }
  if (magnitude < 0x1p-14F) {
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(magnitude * 0x1p+24F));
  }
  std::uint32_t const exponent = (bits >> 23U & 0xFFU) - 112U;
  return static_cast<std::uint16_t>(sign | exponent << 10U | (bits >> 13U & 0x3FFU));
}

/// The other layout; padding is NaN, so that reading it is found.
inline std::vector<std::uint16_t> hwc8_from_nchw(std::vector<std::uint16_t> const& planes,
                                                 HeadLevel const& level, int batch) {
  auto const cells = static_cast<std::size_t>(level.height) * static_cast<std::size_t>(level.width);
  auto const channels = static_cast<std::size_t>(level.channels);
  auto const padded = static_cast<std::size_t>(padded_channels(level.channels, YOLOR_NMS_HWC8));
  std::vector<std::uint16_t> pixels(static_cast<std::size_t>(batch) * cells * padded, 0x7E00U);
  for (std::size_t i = 0; i < planes.size(); ++i) {
    std::size_t const plane = i / cells;
    std::size_t const pixel = plane / channels * cells + i % cells;
    pixels[pixel * padded + plane % channels] = planes[i];
  }
  return pixels;
}

}  // namespace yolor_nms
