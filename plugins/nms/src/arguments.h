/// The checks that a run on any machine begins with.
#pragma once

#include "yolor_nms/plan.h"

namespace yolor_nms {

/// The first thing that is wrong with what a run is told, or `Error::kNone`. Nothing is read
/// through pointers but the four structs.
Error first_error(Shape const* shape, Params const* params) noexcept;
Error first_error(Shape const* shape, Params const* params, Inputs const* inputs,
                  Outputs const* outputs) noexcept;
Error first_error(Plan const& plan, void const* workspace, std::size_t workspace_bytes) noexcept;

}  // namespace yolor_nms
