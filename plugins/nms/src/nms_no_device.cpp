/// The library without CUDA: its interface is the same.

#include "nms_device.h"

namespace yolor_nms {

std::int32_t run_on_device(Shape const* /*shape*/, Params const* /*params*/,
                           Inputs const* /*inputs*/, Outputs const* /*outputs*/,
                           void* /*workspace*/, std::size_t /*workspace_bytes*/, void* /*stream*/,
                           DeviceSchedule const& /*schedule*/) noexcept {
  return static_cast<std::int32_t>(Error::kNoCuda);
}

char const* device_error_text(std::int32_t /*code*/) noexcept { return "unknown error code"; }

}  // namespace yolor_nms
