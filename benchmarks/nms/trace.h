/// Where the time inside the kernel goes: clock readings of every block at every phase.
#pragma once

#include <string>

#include "gpu/device_run.h"
#include "scene.h"

namespace yolor_nms {

/// Phases of one run, as a JSON list: of each the work of the slowest block, of the middle one and
/// of the first, and how long the first then waited, in cycles of a multiprocessor.
std::string trace_as_json(Scene const& scene, Params const& params, float score_threshold,
                          float iou_threshold);

}  // namespace yolor_nms
