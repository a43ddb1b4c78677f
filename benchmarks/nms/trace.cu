#include "trace.h"

#include "device_machine.cuh"

namespace yolor_nms {
namespace {

constexpr int kMaxSteps = 128;

struct Step {
  long long begin, end;
};

/// A grid that notes when a block begins and ends a phase.
class TracedGrid {
 public:
  __device__ TracedGrid(DeviceGrid& grid, Step* steps) : grid_(grid), steps_(steps) {}

  __device__ SharedMemory& shared() { return grid_.shared(); }
  template <class Phase>
  __device__ void phase(Phase const& phase, bool is_alone = false) {
    grid_.phase(
        [&](DeviceBlock& block, int image) {
          begin();
          phase(block, image);
          end();
        },
        is_alone);
    ++step_;
  }
  template <class Phase>
  __device__ void led_phase(Phase const& phase) {
    grid_.led_phase([&](DeviceBlock& block, int image, auto const& wait) {
      begin();
      phase(block, image, [&] {
        end();
        ++step_;
        wait();
        begin();
      });
      end();
    });
    ++step_;
  }
  template <class Function>
  __device__ int most(int limit, Function const& function) {
    return grid_.most(limit, function);
  }

 private:
  __device__ Step& own() {
    int const block = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
    return steps_[block * kMaxSteps + (step_ < kMaxSteps ? step_ : kMaxSteps - 1)];
  }
  __device__ void begin() {
    if (threadIdx.x == 0) { own().begin = clock64(); }
  }
  __device__ void end() {
    __syncthreads();
    if (threadIdx.x == 0) { own().end = clock64(); }
  }

  DeviceGrid& grid_;
  Step* steps_;
  int step_ = 0;
};

__global__ void __launch_bounds__(kThreads, 1)
    traced_kernel(__grid_constant__ Problem<Half> const problem, Step* steps) {
  __shared__ SharedMemory shared;
  fetch_parameters(problem, shared);
  DeviceGrid grid(shared, problem.plan.shape.batch);
  TracedGrid traced(grid, steps);
  detect(traced, problem);
}

std::string json_of_step(std::vector<Step> const& steps, int step, int num_blocks) {
  std::vector<long long> work;
  for (int block = 0; block < num_blocks; ++block) {
    Step const& one = steps[static_cast<std::size_t>(block * kMaxSteps + step)];
    work.push_back(one.end - one.begin);
  }
  long long const first = work[0];
  std::sort(work.begin(), work.end());
  Step const* const own = &steps[static_cast<std::size_t>(step)];
  long long const waited = step + 1 < kMaxSteps && own[1].begin > 0 ? own[1].begin - own->end : 0;
  return "{\"slowest\": " + std::to_string(work.back()) +
         ", \"middle\": " + std::to_string(work[work.size() / 2]) +
         ", \"first\": " + std::to_string(first) + ", \"first_waits\": " + std::to_string(waited) +
         "}";
}

}  // namespace

std::string trace_as_json(Scene const& scene, Params const& params, float score_threshold,
                          float iou_threshold) {
  DeviceRun run;
  run.load(scene.shape(), params, scene.inputs(&score_threshold, &iou_threshold), 0);
  int device = 0;
  int num_blocks = 0;
  CHECK_CUDA(cudaGetDevice(&device));
  CHECK_CUDA(cudaDeviceGetAttribute(&num_blocks, cudaDevAttrMultiProcessorCount, device));
  dim3 const grid = grid_of(num_blocks, scene.shape().batch);
  num_blocks = static_cast<int>(grid.x * grid.y);
  std::vector<Step> steps(static_cast<std::size_t>(num_blocks * kMaxSteps));
  DeviceBuffer buffer(steps.size() * sizeof(Step));
  Problem<Half> const problem = run.problem<Half>();
  Step* const device_steps = buffer.as<Step>();
  void* arguments[] = {const_cast<Problem<Half>*>(&problem), const_cast<Step**>(&device_steps)};
  for (int repeat = 0; repeat < 3; ++repeat) {  // the last one is warm
    buffer.fill(steps.size() * sizeof(Step), 0, run.stream());
    CHECK_CUDA(cudaLaunchCooperativeKernel(traced_kernel, grid, dim3(kThreads), arguments, 0,
                                           run.stream()));
  }
  buffer.get(steps, run.stream());
  CHECK_CUDA(cudaStreamSynchronize(run.stream()));
  std::string json = "[";
  for (int step = 0; step < kMaxSteps && steps[static_cast<std::size_t>(step)].begin > 0; ++step) {
    json += (step > 0 ? ", " : "") + json_of_step(steps, step, num_blocks);
  }
  return json + "]";
}

}  // namespace yolor_nms
