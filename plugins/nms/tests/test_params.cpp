/// Bad arguments are refused, each by its own code.

#include <cmath>
#include <cstring>
#include <functional>

#include "expect.h"
#include "shapes.h"
#include "yolor_nms/plan.h"

namespace {

using namespace yolor_nms;

Shape good_shape() {
  Shape shape = shape_of(2, 3);
  add_level(shape, 4, 5, 3, 8);
  add_level(shape, 2, 3, 8, 16);
  return shape;
}

void expect_error(Error expected, std::function<void(Shape&)> const& damage) {
  Shape shape = good_shape();
  damage(shape);
  EXPECT(first_error(shape) == expected);
}

void a_good_shape_has_no_error() { EXPECT(first_error(good_shape()) == Error::kNone); }

void a_bad_shape_names_its_field() {
  expect_error(Error::kBatch, [](Shape& s) { s.batch = 0; });
  expect_error(Error::kBatch, [](Shape& s) { s.batch = kMaxBatch + 1; });
  expect_error(Error::kNumClasses, [](Shape& s) { s.num_classes = -1; });
  expect_error(Error::kNumLevels, [](Shape& s) { s.num_levels = 7; });
  expect_error(Error::kNumLevels, [](Shape& s) { s.num_levels = 0; });
  expect_error(Error::kDataType, [](Shape& s) { s.data_type = 2; });
  expect_error(Error::kLayout, [](Shape& s) { s.layout = 2; });
  expect_error(Error::kLayout, [](Shape& s) { s.layout = YOLOR_NMS_HWC8; });  // of float32
  expect_error(Error::kMapSize, [](Shape& s) { s.levels[1].height = 0; });
  expect_error(Error::kMapSize, [](Shape& s) { s.levels[1].width = kMaxSide + 1; });
  expect_error(Error::kStride, [](Shape& s) { s.levels[0].stride = 0; });
  expect_error(Error::kNumAnchors, [](Shape& s) { s.levels[0].num_anchors = 9; });
  expect_error(Error::kAnchors, [](Shape& s) { s.levels[1].anchors_px[15] = 0.0F; });
  expect_error(Error::kAnchors, [](Shape& s) { s.levels[0].anchors_px[0] = NAN; });
  expect_error(Error::kAnchors, [](Shape& s) { s.levels[0].anchors_px[0] = HUGE_VALF; });
  expect_error(Error::kChannels, [](Shape& s) { s.levels[1].channels -= 1; });
  expect_error(Error::kTooManyPairs, [](Shape& s) {
    s.num_classes = 365;
    s.levels[0].channels = 3 * 370;
    s.levels[0].height = s.levels[0].width = 4096;
  });
  expect_error(Error::kTooManyValues, [](Shape& s) {
    s.num_classes = 1;
    s.num_levels = 0;
    add_level(s, 10000, 10000, 8, 8);
  });
}

void hwc8_is_a_layout_of_half() {
  Shape shape = good_shape();
  shape.data_type = YOLOR_NMS_FLOAT16;
  shape.layout = YOLOR_NMS_HWC8;
  EXPECT(first_error(shape) == Error::kNone);
}

void divisors_divide() {
  for (int divisor :
       {1, 2, 3, 5, 7, 80, 85, 127, 128, 129, 160, 25600, 65537, (1 << 30) - 1, 1 << 30}) {
    Divisor const by = divisor_of(divisor);
    for (std::int64_t i = 0; i <= 2147483647; i += 1 + i / 1000) {
      auto const near = static_cast<int>(i - i % divisor);  // a quotient changes here
      for (int dividend : {static_cast<int>(i), near, near > 0 ? near - 1 : 0}) {
        EXPECT(dividend / by == dividend / divisor);
      }
    }
    EXPECT(2147483647 / by == 2147483647 / divisor);
  }
}

void bad_limits_name_their_field() {
  EXPECT(first_error(Params{300, 30000, 1, 0}) == Error::kNone);
  EXPECT(first_error(Params{0, 30000, 1, 0}) == Error::kMaxDetections);
  EXPECT(first_error(Params{300, -1, 1, 0}) == Error::kMaxCandidates);
}

void only_zero_to_one_is_a_threshold() {
  EXPECT(is_threshold(0.0F) && is_threshold(1.0F));
  EXPECT(!is_threshold(-0.1F) && !is_threshold(1.1F) && !is_threshold(NAN));
}

void every_code_has_a_text_of_its_own() {
  auto const count = static_cast<int>(Error::kCount);
  for (int a = 0; a < count; ++a) {
    for (int b = 0; b < a; ++b) {
      EXPECT(std::strcmp(error_text(Error{a}), error_text(Error{b})) != 0);
    }
  }
  EXPECT(std::strcmp(error_text(Error{-1}), "unknown error code") == 0);
  EXPECT(std::strcmp(error_text(Error::kCount), "unknown error code") == 0);
}

}  // namespace

int main() {
  a_good_shape_has_no_error();
  a_bad_shape_names_its_field();
  hwc8_is_a_layout_of_half();
  divisors_divide();
  bad_limits_name_their_field();
  only_zero_to_one_is_a_threshold();
  every_code_has_a_text_of_its_own();
}
