/* The C interface of YolorNMS: raw head maps in, detections out. Readable by any C compiler. */
#ifndef YOLOR_NMS_C_API_H
#define YOLOR_NMS_C_API_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define YOLOR_NMS_EXPORT __attribute__((visibility("default")))
#else
#define YOLOR_NMS_EXPORT
#endif

#define YOLOR_NMS_VERSION 1 /* of this interface; raised when a struct or a meaning changes */
#define YOLOR_NMS_MAX_LEVELS 6
#define YOLOR_NMS_MAX_ANCHORS 8

#ifdef __cplusplus
extern "C" {
#endif

enum YolorNmsDataType { YOLOR_NMS_FLOAT32 = 0, YOLOR_NMS_FLOAT16 = 1 };

/* NCHW: [batch][channels][height][width]. HWC8, for float16: [batch][height][width][channels], the
 * channels padded to a multiple of 8 with anything; TensorRT's kHWC8. */
enum YolorNmsLayout { YOLOR_NMS_NCHW = 0, YOLOR_NMS_HWC8 = 1 };

/* One raw head map: the channels of an anchor together, x, y, w, h, objectness, class scores;
 * logits. */
typedef struct YolorNmsHeadLevel {
  int32_t height;
  int32_t width;
  int32_t channels; /* without padding; num_anchors * (5 + num_classes) is expected */
  int32_t stride;   /* input pixels per cell */
  int32_t num_anchors;
  float anchors_px[2 * YOLOR_NMS_MAX_ANCHORS]; /* width and height of each, input pixels */
} YolorNmsHeadLevel;

typedef struct YolorNmsShape {
  int32_t batch;
  int32_t num_classes;
  int32_t num_levels;
  int32_t data_type; /* YolorNmsDataType */
  int32_t layout;    /* YolorNmsLayout */
  YolorNmsHeadLevel levels[YOLOR_NMS_MAX_LEVELS];
} YolorNmsShape;

typedef struct YolorNmsParams {
  int32_t max_detections; /* rows of the outputs per image */
  int32_t max_candidates; /* the best this many of an image enter suppression */
  int32_t multi_label;    /* 0: only the best class of an anchor is a candidate */
  int32_t class_agnostic; /* not 0: boxes of different classes suppress each other */
} YolorNmsParams;

/* Thresholds are pointers, so that they may change between runs of a captured graph. The host
 * cannot read those of a GPU: there, values that are not 0 to 1 (NaN too) give no detections. */
typedef struct YolorNmsInputs {
  void const* heads[YOLOR_NMS_MAX_LEVELS];
  float const* score_threshold; /* one value in [0, 1] */
  float const* iou_threshold;   /* one value in [0, 1] */
  uint8_t const* class_mask;    /* [batch][num_classes], 0: the class is ignored; or NULL */
} YolorNmsInputs;

/* Ordered by rank; unused rows are 0. */
typedef struct YolorNmsOutputs {
  int32_t* num_detections; /* [batch][1] */
  float* boxes_xyxy;       /* [batch][max_detections][4], input pixels */
  float* scores;           /* [batch][max_detections] */
  int32_t* class_ids;      /* [batch][max_detections] */
} YolorNmsOutputs;

/* The version of the library: YOLOR_NMS_VERSION of its build. */
YOLOR_NMS_EXPORT int32_t yolor_nms_version(void);

/* The compute capabilities that it holds machine code for, such as "7.5 8.0 9.0"; "" if it was
 * built without CUDA. */
YOLOR_NMS_EXPORT char const* yolor_nms_cuda_architectures(void);

/* What an error code means, naming the argument; never NULL. Codes above 0 are of the arguments;
 * those below 0 are CUDA's, negated. */
YOLOR_NMS_EXPORT char const* yolor_nms_error_text(int32_t code);

/* Scratch that a run needs, in bytes; 0 if an argument is bad. The code is in *error, unless that
 * is NULL. */
YOLOR_NMS_EXPORT size_t yolor_nms_workspace_bytes(YolorNmsShape const* shape,
                                                  YolorNmsParams const* params, int32_t* error);

/* Decode, select and suppress on a GPU, the current device; every pointer but the first four is to
 * its memory. The caller owns all of it; the workspace is aligned to 16 bytes and its contents do
 * not matter. One kernel is launched on `stream` (a cudaStream_t): nothing is allocated, nothing
 * waits, and it can be captured in a graph. Returns 0, or an error code, and then nothing was
 * launched. */
YOLOR_NMS_EXPORT int32_t yolor_nms_run(YolorNmsShape const* shape, YolorNmsParams const* params,
                                       YolorNmsInputs const* inputs, YolorNmsOutputs const* outputs,
                                       void* workspace, size_t workspace_bytes, void* stream);

/* The same on the host; every pointer is to host memory. Returns 0, or an error code, and then
 * nothing was written. */
YOLOR_NMS_EXPORT int32_t yolor_nms_run_host(YolorNmsShape const* shape,
                                            YolorNmsParams const* params,
                                            YolorNmsInputs const* inputs,
                                            YolorNmsOutputs const* outputs, void* workspace,
                                            size_t workspace_bytes);

#ifdef __cplusplus
}
#endif

#endif
