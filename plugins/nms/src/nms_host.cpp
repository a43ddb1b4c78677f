#include "nms_host.h"

#include "arguments.h"
#include "host_machine.h"

namespace yolor_nms {
namespace {

template <class Element>
void run_plan(Plan const& plan, Inputs const& inputs, Outputs const& outputs, void* workspace,
              HostSchedule const& schedule) {
  Problem<Element> const problem{plan, inputs, outputs, static_cast<unsigned char*>(workspace)};
  HostGrid grid(plan.shape.batch, schedule);
  detect(grid, problem);
}

}  // namespace

Error run_on_host(Shape const* shape, Params const* params, Inputs const* inputs,
                  Outputs const* outputs, void* workspace, std::size_t workspace_bytes,
                  HostSchedule const& schedule) noexcept {
  Error error = first_error(shape, params, inputs, outputs);
  if (error != Error::kNone) { return error; }
  if (!is_threshold(*inputs->score_threshold)) { return Error::kScoreThreshold; }
  if (!is_threshold(*inputs->iou_threshold)) { return Error::kIouThreshold; }
  Plan const plan = plan_of(*shape, *params, schedule.window == 0 ? kMaxWindow : schedule.window);
  error = first_error(plan, workspace, workspace_bytes);
  if (error != Error::kNone) { return error; }
  if (shape->data_type == YOLOR_NMS_FLOAT16) {
    run_plan<Half>(plan, *inputs, *outputs, workspace, schedule);
  } else {
    run_plan<float>(plan, *inputs, *outputs, workspace, schedule);
  }
  return Error::kNone;
}

}  // namespace yolor_nms
