/// Tensors of a plugin: the formats that it takes, and the shape that a run has.

#include <functional>

#include "attributes.h"
#include "expect.h"
#include "plugin/plugin_tensors.h"

namespace {

using namespace yolor_nms;

constexpr Tensor kThreshold{TensorType::kFloat32, TensorFormat::kLinear, 1, {1}};

/// Inputs of two images, with the attributes of `Attributes()`.
std::vector<Tensor> good_inputs(TensorType type = TensorType::kFloat32,
                                TensorFormat format = TensorFormat::kLinear) {
  return {{type, format, 4, {2, 24, 40, 60}},
          {type, format, 4, {2, 36, 20, 30}},
          kThreshold,
          kThreshold};
}

void expect_problem(std::string const& expected,
                    std::function<void(std::vector<Tensor>&)> const& spoil) {
  auto inputs = good_inputs();
  spoil(inputs);
  std::string problem;
  EXPECT(!shape_from_tensors(config_of(Attributes()), inputs.data(), problem));
  if (problem != expected) { std::fprintf(stderr, "problem is: %s\n", problem.c_str()); }
  EXPECT(problem == expected);
}

void a_shape_is_that_of_the_maps() {
  std::string problem;
  auto const inputs = good_inputs(TensorType::kFloat16, TensorFormat::kHwc8);

  auto const shape = shape_from_tensors(config_of(Attributes()), inputs.data(), problem);

  EXPECT(shape && problem.empty() && first_error(*shape) == Error::kNone);
  EXPECT(shape->batch == 2 && shape->num_classes == 7 && shape->num_levels == 2);
  EXPECT(shape->data_type == YOLOR_NMS_FLOAT16 && shape->layout == YOLOR_NMS_HWC8);
  EXPECT(shape->levels[0].height == 40 && shape->levels[0].width == 60);
  EXPECT(shape->levels[1].height == 20 && shape->levels[1].width == 30);
  EXPECT(shape->levels[1].stride == 16 && shape->levels[1].anchors_px[5] == 100.0F);
}

void a_threshold_may_have_any_rank() {
  auto inputs = good_inputs();
  inputs[2].rank = 0;
  inputs[3] = {TensorType::kFloat32, TensorFormat::kLinear, 2, {1, 1}};
  std::string problem;
  EXPECT(shape_from_tensors(config_of(Attributes()), inputs.data(), problem));
}

void a_bad_input_is_named_with_what_was_expected() {
  expect_problem("input raw_1 is float32 [2, 255, 20, 30], expected float32 [2, 36, any, any]",
                 [](std::vector<Tensor>& t) { t[1].dims[1] = 255; });
  expect_problem("input raw_1 is float32 [1, 36, 20, 30], expected float32 [2, 36, any, any]",
                 [](std::vector<Tensor>& t) { t[1].dims[0] = 1; });
  expect_problem("input raw_0 is float32 [2, 24, 40], expected float32 [any, 24, any, any]",
                 [](std::vector<Tensor>& t) { t[0].rank = 3; });
  expect_problem("input raw_1 is float16 [2, 36, 20, 30], expected float32 [2, 36, any, any]",
                 [](std::vector<Tensor>& t) { t[1].type = TensorType::kFloat16; });
  expect_problem("input raw_0 is int32 [2, 24, 40, 60], expected float32, float16 or float16 hwc8",
                 [](std::vector<Tensor>& t) { t[0].type = TensorType::kInt32; });
  expect_problem("input score_threshold is float32 [2], expected float32 [1]",
                 [](std::vector<Tensor>& t) { t[2].dims[0] = 2; });
  expect_problem("input iou_threshold is float16 [1], expected float32 [1]",
                 [](std::vector<Tensor>& t) { t[3].type = TensorType::kFloat16; });
}

void a_size_that_no_run_can_have_is_told_with_all_maps() {
  expect_problem(
      "shape.levels: height or width is not 1 to 16384; inputs are raw_0 float32 "
      "[2, 24, any, 60], raw_1 float32 [2, 36, 20, 30]",
      [](std::vector<Tensor>& t) { t[0].dims[2] = -1; });
  expect_problem(
      "shape.batch is not 1 to 65536; inputs are raw_0 float32 [8589934592, 24, 40, 60],"
      " raw_1 float32 [8589934592, 36, 20, 30]",
      [](std::vector<Tensor>& t) { t[0].dims[0] = t[1].dims[0] = std::int64_t{1} << 33; });
}

void three_formats_are_supported_and_no_other() {
  PluginConfig const config = config_of(Attributes());
  Tensor const first = good_inputs(TensorType::kFloat16, TensorFormat::kHwc8)[0];
  Tensor const linear{TensorType::kFloat16, TensorFormat::kLinear, 0, {}};
  Tensor const float_hwc8{TensorType::kFloat32, TensorFormat::kHwc8, 0, {}};
  Tensor const other{TensorType::kFloat16, TensorFormat::kOther, 0, {}};
  EXPECT(supports_format(config, 0, first, first) && supports_format(config, 1, first, first));
  EXPECT(supports_format(config, 0, linear, linear) && !supports_format(config, 1, first, linear));
  EXPECT(!supports_format(config, 0, float_hwc8, float_hwc8));
  EXPECT(!supports_format(config, 0, other, other));
  EXPECT(supports_format(config, 2, first, kThreshold));
  EXPECT(supports_format(config, 3, first, kThreshold) &&
         !supports_format(config, 3, first, first));
  Tensor const int32{TensorType::kInt32, TensorFormat::kLinear, 0, {}};
  for (int output = 0; output < kNumOutputs; ++output) {
    bool const is_int = output == 0 || output == 3;
    EXPECT(supports_format(config, 4 + output, first, int32) == is_int);
    EXPECT(supports_format(config, 4 + output, first, kThreshold) == !is_int);
  }
  EXPECT(!supports_format(config, 8, first, kThreshold));
  EXPECT(!supports_format(config, -1, first, first));
}

void no_run_needs_more_workspace_than_the_largest() {
  PluginConfig const config = config_of(Attributes());
  auto const bytes = [&](std::int64_t batch, std::int64_t height, std::int64_t width) {
    auto inputs = good_inputs();
    for (int i : {0, 1}) {
      Tensor& head = inputs[static_cast<std::size_t>(i)];
      head.dims[0] = batch;
      head.dims[2] = height;
      head.dims[3] = width;
    }
    std::string problem;
    auto const shape = shape_from_tensors(config, inputs.data(), problem);
    return yolor_nms_workspace_bytes(&shape.value(), &config.params, nullptr);
  };
  for (int batch = 1; batch <= 5; ++batch) {
    for (int side = 1; side <= 80; ++side) {
      std::size_t const here = bytes(batch, side, side + 3);
      EXPECT(here > 0 && here <= bytes(batch + 1, side, side + 3));
      EXPECT(here <= bytes(batch, side + 1, side + 3) && here <= bytes(batch, side, side + 4));
    }
  }
}

}  // namespace

int main() {
  a_shape_is_that_of_the_maps();
  a_threshold_may_have_any_rank();
  a_bad_input_is_named_with_what_was_expected();
  a_size_that_no_run_can_have_is_told_with_all_maps();
  three_formats_are_supported_and_no_other();
  no_run_needs_more_workspace_than_the_largest();
}
