/// The phases on a GPU, in one kernel.
#pragma once

#include "yolor_nms/params.h"

namespace yolor_nms {

/// How a GPU goes about a run. No schedule changes a result; tests try many.
struct DeviceSchedule {
  int num_blocks = 0;  // not 0: no more than these, all images together
  int window = 0;      // not 0: instead of kMaxWindow, and not above it
};

/// As `yolor_nms_run`: an `Error`, or a negated cudaError_t.
std::int32_t run_on_device(Shape const* shape, Params const* params, Inputs const* inputs,
                           Outputs const* outputs, void* workspace, std::size_t workspace_bytes,
                           void* stream, DeviceSchedule const& schedule = {}) noexcept;

/// What a negated cudaError_t means.
char const* device_error_text(std::int32_t code) noexcept;

}  // namespace yolor_nms
