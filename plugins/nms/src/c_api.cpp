#include "yolor_nms/c_api.h"

#include "arguments.h"
#include "nms_device.h"
#include "nms_host.h"

using yolor_nms::Error;

int32_t yolor_nms_version(void) { return YOLOR_NMS_VERSION; }

char const* yolor_nms_cuda_architectures(void) { return YOLOR_NMS_CUDA_ARCHITECTURES; }

char const* yolor_nms_error_text(int32_t code) {
  return code < 0 ? yolor_nms::device_error_text(code) : yolor_nms::error_text(Error{code});
}

size_t yolor_nms_workspace_bytes(YolorNmsShape const* shape, YolorNmsParams const* params,
                                 int32_t* error) {
  Error const found = yolor_nms::first_error(shape, params);
  if (error != nullptr) { *error = static_cast<int32_t>(found); }
  if (found != Error::kNone) { return 0; }
  return static_cast<size_t>(shape->batch) * yolor_nms::plan_of(*shape, *params).bytes_per_image;
}

int32_t yolor_nms_run(YolorNmsShape const* shape, YolorNmsParams const* params,
                      YolorNmsInputs const* inputs, YolorNmsOutputs const* outputs, void* workspace,
                      size_t workspace_bytes, void* stream) {
  return yolor_nms::run_on_device(shape, params, inputs, outputs, workspace, workspace_bytes,
                                  stream);
}

int32_t yolor_nms_run_host(YolorNmsShape const* shape, YolorNmsParams const* params,
                           YolorNmsInputs const* inputs, YolorNmsOutputs const* outputs,
                           void* workspace, size_t workspace_bytes) {
  return static_cast<int32_t>(
      yolor_nms::run_on_host(shape, params, inputs, outputs, workspace, workspace_bytes));
}
