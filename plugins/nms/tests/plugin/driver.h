/// The driver for the interface of the headers.
#pragma once

#include <NvInferVersion.h>

#if NV_TENSORRT_MAJOR >= 10
#include "driver_v3.h"
#else
#include "driver_v2.h"
#endif

namespace yolor_nms {

/// What a plugin is told of the tensors of a run, inputs and then outputs.
inline Descriptions descriptions_of(Shape const& shape, Params const& params) {
  using nvinfer1::DataType;
  using nvinfer1::Dims;
  using nvinfer1::TensorFormat;
  bool const is_half = shape.data_type == YOLOR_NMS_FLOAT16;
  bool const is_hwc8 = shape.layout == YOLOR_NMS_HWC8;
  Descriptions all;
  auto const add = [&](Dims const& dims, DataType type) {
    all.push_back({dims, type, TensorFormat::kLINEAR, 0.0F});
  };
  for (int i = 0; i < shape.num_levels; ++i) {
    HeadLevel const& level = shape.levels[i];
    add({4, {shape.batch, level.channels, level.height, level.width}},
        is_half ? DataType::kHALF : DataType::kFLOAT);
    if (is_hwc8) { all.back().format = TensorFormat::kHWC8; }
  }
  add({1, {1}}, DataType::kFLOAT);
  add({1, {1}}, DataType::kFLOAT);
  add({2, {shape.batch, 1}}, DataType::kINT32);
  add({3, {shape.batch, params.max_detections, 4}}, DataType::kFLOAT);
  add({2, {shape.batch, params.max_detections}}, DataType::kFLOAT);
  add({2, {shape.batch, params.max_detections}}, DataType::kINT32);
  return all;
}

}  // namespace yolor_nms
