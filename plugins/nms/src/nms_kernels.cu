/// The kernel and its launch.

#include <cuda_runtime_api.h>

#include <atomic>

#include "arguments.h"
#include "device_machine.cuh"
#include "nms_device.h"

namespace yolor_nms {
namespace {

template <class Element>
__global__ void __launch_bounds__(kThreads, 1)
    yolor_nms_kernel(__grid_constant__ Problem<Element> const problem) {
  __shared__ SharedMemory shared;
  fetch_parameters(problem, shared);
  DeviceGrid grid(shared, problem.plan.shape.batch);
  detect(grid, problem);
}

/// Blocks that the current device runs at once; 0 where the question failed, with the error in
/// `*error`. Asked once a device: the answer does not change.
template <class Element>
int resident_blocks(cudaError_t* error) {
  constexpr int kMaxDevices = 64;
  static std::atomic<int> known[kMaxDevices];
  int device = 0;
  *error = cudaGetDevice(&device);
  if (*error != cudaSuccess) { return 0; }
  bool const is_kept = device < kMaxDevices;
  if (is_kept && known[device].load(std::memory_order_relaxed) > 0) {
    return known[device].load(std::memory_order_relaxed);
  }
  int per_processor = 0;
  int processors = 0;
  *error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, yolor_nms_kernel<Element>,
                                                         kThreads, 0);
  if (*error != cudaSuccess) { return 0; }
  *error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (*error != cudaSuccess) { return 0; }
  int const blocks = per_processor * processors;
  if (is_kept) { known[device].store(blocks, std::memory_order_relaxed); }
  return blocks;
}

template <class Element>
cudaError_t launch(Problem<Element> const& problem, cudaStream_t stream, int most_blocks) {
  cudaError_t error = cudaSuccess;
  int blocks = resident_blocks<Element>(&error);
  if (error != cudaSuccess) { return error; }
  if (most_blocks > 0) { blocks = smaller_of(blocks, most_blocks); }
  void* arguments[] = {const_cast<Problem<Element>*>(&problem)};
  // Where a part of the GPU is set aside (MPS, green contexts) fewer fit than it has.
  for (; blocks > 0; blocks /= 2) {
    error = cudaLaunchCooperativeKernel(yolor_nms_kernel<Element>,
                                        grid_of(blocks, problem.plan.shape.batch), dim3(kThreads),
                                        arguments, 0, stream);
    if (error != cudaErrorCooperativeLaunchTooLarge) { break; }
    cudaGetLastError();  // forget it
  }
  return error;
}

template <class Element>
std::int32_t run_plan(Plan const& plan, Inputs const& inputs, Outputs const& outputs,
                      void* workspace, void* stream, int most_blocks) {
  Problem<Element> const problem{plan, inputs, outputs, static_cast<unsigned char*>(workspace)};
  return -static_cast<std::int32_t>(
      launch(problem, static_cast<cudaStream_t>(stream), most_blocks));
}

}  // namespace

std::int32_t run_on_device(Shape const* shape, Params const* params, Inputs const* inputs,
                           Outputs const* outputs, void* workspace, std::size_t workspace_bytes,
                           void* stream, DeviceSchedule const& schedule) noexcept {
  Error error = first_error(shape, params, inputs, outputs);
  if (error != Error::kNone) { return static_cast<std::int32_t>(error); }
  Plan const plan = plan_of(*shape, *params, schedule.window == 0 ? kMaxWindow : schedule.window);
  error = first_error(plan, workspace, workspace_bytes);
  if (error != Error::kNone) { return static_cast<std::int32_t>(error); }
  return shape->data_type == YOLOR_NMS_FLOAT16
             ? run_plan<Half>(plan, *inputs, *outputs, workspace, stream, schedule.num_blocks)
             : run_plan<float>(plan, *inputs, *outputs, workspace, stream, schedule.num_blocks);
}

char const* device_error_text(std::int32_t code) noexcept {
  return cudaGetErrorString(static_cast<cudaError_t>(-code));
}

}  // namespace yolor_nms
