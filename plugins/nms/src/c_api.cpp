#include "yolor_nms/c_api.h"

#include "nms_host.h"
#include "yolor_nms/plan.h"

namespace {

using yolor_nms::Error;

Error first_error(YolorNmsShape const* shape, YolorNmsParams const* params) {
  if (shape == nullptr) { return Error::kShapeNull; }
  if (params == nullptr) { return Error::kParamsNull; }
  Error const error = yolor_nms::first_error(*shape);
  return error != Error::kNone ? error : yolor_nms::first_error(*params);
}

}  // namespace

int32_t yolor_nms_version(void) { return YOLOR_NMS_VERSION; }

char const* yolor_nms_error_text(int32_t code) { return yolor_nms::error_text(Error{code}); }

size_t yolor_nms_workspace_bytes(YolorNmsShape const* shape, YolorNmsParams const* params,
                                 int32_t* error) {
  Error const found = first_error(shape, params);
  if (error != nullptr) { *error = static_cast<int32_t>(found); }
  if (found != Error::kNone) { return 0; }
  return static_cast<size_t>(shape->batch) * yolor_nms::plan_of(*shape, *params).bytes_per_image;
}

int32_t yolor_nms_run_host(YolorNmsShape const* shape, YolorNmsParams const* params,
                           YolorNmsInputs const* inputs, YolorNmsOutputs const* outputs,
                           void* workspace, size_t workspace_bytes) {
  return static_cast<int32_t>(
      yolor_nms::run_on_host(shape, params, inputs, outputs, workspace, workspace_bytes));
}
