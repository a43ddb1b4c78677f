/// The phases on the host, block after block.
#pragma once

#include "yolor_nms/params.h"

namespace yolor_nms {

/// How the host runs what a GPU runs at once. No schedule changes a result; tests try many.
struct HostSchedule {
  int num_blocks = 1;         // an image, in phases that share the work
  std::uint32_t shuffle = 0;  // not 0: blocks, and threads of a block, in another order
  int window = 0;             // not 0: instead of kMaxWindow, and not above it
};

/// As `yolor_nms_run_host`.
Error run_on_host(Shape const* shape, Params const* params, Inputs const* inputs,
                  Outputs const* outputs, void* workspace, std::size_t workspace_bytes,
                  HostSchedule const& schedule = {}) noexcept;

}  // namespace yolor_nms
