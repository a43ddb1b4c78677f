#include "nms_host.h"

#include <cstring>

#include "host_block.h"
#include "yolor_nms/suppress.h"

namespace yolor_nms {
namespace {

/// Shared memory of the block that runs. It holds nonsense at the start of every block, as it does
/// on a GPU, so that a phase that forgets to initialise it is found.
union SharedMemory {
  SelectShared select;
  CountShared count;
  RankShared rank;
  ResolveShared resolve;
  SharedMemory() {}  // NOLINT: left as it is on purpose
};

template <class Element>
class HostRun {
 public:
  HostRun(Problem<Element> const& problem, HostSchedule const& schedule)
      : problem_(problem), schedule_(schedule) {}

  void run() {
    auto const& problem = problem_;
    each(1, [&](HostBlock& block, int image) { reset(block, problem, image); });
    each(schedule_.num_blocks, [&](HostBlock& block, int image) {
      select(block, shared_.select, problem, image);
    });
    for (int digit = 0; digit < kNumDigits; ++digit) {
      each(schedule_.num_blocks, [&](HostBlock& block, int image) {
        count_digits(block, shared_.count, problem, image, digit);
      });
      each(1, [&](HostBlock& block, int image) { narrow(block, problem, image, digit); });
    }
    each(schedule_.num_blocks, [&](HostBlock& block, int image) {
      gather(block, shared_.select, problem, image);
    });
    each(schedule_.num_blocks,
         [&](HostBlock& block, int image) { rank(block, shared_.rank, problem, image); });
    each(schedule_.num_blocks,
         [&](HostBlock& block, int image) { overlap(block, problem, image); });
    each(1, [&](HostBlock& block, int image) { resolve(block, shared_.resolve, problem, image); });
  }

 private:
  /// Run a phase: every block of every image.
  template <class Phase>
  void each(int num_blocks, Phase const& phase) {
    int const total = num_blocks * problem_.plan.shape.batch;
    Order const order(total, schedule_.shuffle);
    for (int i = 0; i < total; ++i) {
      int const at = order.at(i);
      if (schedule_.shuffle != 0) {
        std::memset(static_cast<void*>(&shared_), 0xA5, sizeof(shared_));
      }
      HostBlock block(at % num_blocks, num_blocks, schedule_.shuffle);
      phase(block, at / num_blocks);
    }
  }

  Problem<Element> problem_;
  HostSchedule schedule_;
  SharedMemory shared_;
};

bool is_aligned(void const* pointer, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

Error first_error(Shape const& shape, Inputs const& inputs) {
  std::size_t const size = shape.data_type == YOLOR_NMS_FLOAT16 ? sizeof(Half) : sizeof(float);
  for (int level = 0; level < shape.num_levels; ++level) {
    if (inputs.heads[level] == nullptr) { return Error::kHeadNull; }
    if (!is_aligned(inputs.heads[level], size)) { return Error::kHeadMisaligned; }
  }
  if (inputs.score_threshold == nullptr) { return Error::kScoreThresholdNull; }
  if (inputs.iou_threshold == nullptr) { return Error::kIouThresholdNull; }
  if (!is_threshold(*inputs.score_threshold)) { return Error::kScoreThreshold; }
  if (!is_threshold(*inputs.iou_threshold)) { return Error::kIouThreshold; }
  return Error::kNone;
}

Error first_error(Outputs const& outputs) {
  void const* const all[] = {outputs.num_detections, outputs.boxes_xyxy, outputs.scores,
                             outputs.class_ids};
  for (void const* pointer : all) {
    if (pointer == nullptr) { return Error::kOutputNull; }
    if (!is_aligned(pointer, sizeof(float))) { return Error::kOutputMisaligned; }
  }
  return Error::kNone;
}

Error first_error(Shape const* shape, Params const* params, Inputs const* inputs,
                  Outputs const* outputs) {
  if (shape == nullptr) { return Error::kShapeNull; }
  if (params == nullptr) { return Error::kParamsNull; }
  if (inputs == nullptr) { return Error::kInputsNull; }
  if (outputs == nullptr) { return Error::kOutputsNull; }
  Error error = yolor_nms::first_error(*shape);
  if (error == Error::kNone) { error = yolor_nms::first_error(*params); }
  if (error == Error::kNone) { error = first_error(*shape, *inputs); }
  if (error == Error::kNone) { error = first_error(*outputs); }
  return error;
}

template <class Element>
void run_plan(Plan const& plan, Inputs const& inputs, Outputs const& outputs, void* workspace,
              HostSchedule const& schedule) {
  Problem<Element> const problem{plan, inputs, outputs, static_cast<unsigned char*>(workspace)};
  HostRun<Element>(problem, schedule).run();
}

}  // namespace

Error run_on_host(Shape const* shape, Params const* params, Inputs const* inputs,
                  Outputs const* outputs, void* workspace, std::size_t workspace_bytes,
                  HostSchedule const& schedule) noexcept {
  Error const error = first_error(shape, params, inputs, outputs);
  if (error != Error::kNone) { return error; }
  if (workspace == nullptr) { return Error::kWorkspaceNull; }
  if (!is_aligned(workspace, kAlignment)) { return Error::kWorkspaceMisaligned; }
  Plan const plan =
      plan_of(*shape, *params, schedule.window == 0 ? kDefaultWindow : schedule.window);
  auto const batch = static_cast<std::size_t>(shape->batch);
  if (workspace_bytes / batch < plan.bytes_per_image) { return Error::kWorkspaceTooSmall; }
  if (shape->data_type == YOLOR_NMS_FLOAT16) {
    run_plan<Half>(plan, *inputs, *outputs, workspace, schedule);
  } else {
    run_plan<float>(plan, *inputs, *outputs, workspace, schedule);
  }
  return Error::kNone;
}

}  // namespace yolor_nms
