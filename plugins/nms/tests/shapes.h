/// Shapes for tests.
#pragma once

#include "yolor_nms/params.h"

namespace yolor_nms {

/// One level more of a shape; its anchors are 10 x 20, 20 x 30, ... pixels.
inline void add_level(Shape& shape, int height, int width, int num_anchors, int stride) {
  HeadLevel& level = shape.levels[shape.num_levels++];
  level.height = height;
  level.width = width;
  level.channels = num_anchors * (5 + shape.num_classes);
  level.stride = stride;
  level.num_anchors = num_anchors;
  for (int side = 0; side < 2 * num_anchors && side < 2 * kMaxAnchors; ++side) {
    level.anchors_px[side] = 10.0F * static_cast<float>(1 + side / 2 + side % 2);
  }
}

/// float32, NCHW, no level yet.
inline Shape shape_of(int batch, int num_classes) {
  Shape shape{};
  shape.batch = batch;
  shape.num_classes = num_classes;
  return shape;
}

}  // namespace yolor_nms
