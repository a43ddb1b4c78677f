/// The rules on the host: the shared cases, and the exponential against double precision.
///
///     test_core [STEP]    every STEP-th float is tried; 1 is all of them, in two minutes

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "yolor_nms/cases.h"

namespace {

using yolor_nms::bits_from_float;
using yolor_nms::exponential;
using yolor_nms::float_from_bits;

/// Distance of a finite result from the exact value, in units of the last place of that value.
double error_in_ulp(float found, double exact) {
  int exponent = 0;
  std::frexp(exact, &exponent);
  int const lowest = -149;  // spacing of subnormals
  int const last_place = exponent - 24 > lowest ? exponent - 24 : lowest;
  return std::fabs(static_cast<double>(found) - exact) / std::ldexp(1.0, last_place);
}

/// Worst error of the exponential over floats of one sign.
double worst_error(std::uint32_t sign, std::uint32_t step) {
  double worst = 0.0;
  for (std::uint32_t bits = 0; bits <= 0x7F800000U; bits += step) {
    float const x = float_from_bits(sign | bits);
    float const found = exponential(x);
    double const exact = std::exp(static_cast<double>(x));
    if (static_cast<float>(exact) > 0x1.fffffep+127F || found > 0x1.fffffep+127F) {
      if (found != static_cast<float>(exact)) { return HUGE_VAL; }  // infinite for both or neither
      continue;
    }
    double const error = error_in_ulp(found, exact);
    worst = error > worst ? error : worst;
  }
  return worst;
}

bool is_nan_kept(std::uint32_t step) {
  for (std::uint32_t bits = 0x7F800001U; bits <= 0x7FFFFFFFU; bits += step) {
    if (!yolor_nms::is_nan(exponential(float_from_bits(bits)))) { return false; }
    if (!yolor_nms::is_nan(exponential(float_from_bits(0x80000000U | bits)))) { return false; }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  auto const step = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 257);
  int const number = yolor_nms::failing_case();
  double const positive = worst_error(0, step);
  double const negative = worst_error(0x80000000U, step);
  bool const nan = is_nan_kept(step);
  std::printf("case %d; worst error of exponential %.4f and %.4f ulp; NaN %s\n", number, positive,
              negative, nan ? "kept" : "lost");
  return number == 0 && positive <= 2.0 && negative <= 2.0 && nan ? EXIT_SUCCESS : EXIT_FAILURE;
}
