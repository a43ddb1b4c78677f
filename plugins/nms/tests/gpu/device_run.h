/// A run on the GPU with memory of its own.
#pragma once

#include "device_memory.h"
#include "nms_device.h"
#include "reference.h"
#include "yolor_nms/problem.h"

namespace yolor_nms {

class DeviceRun {
 public:
  /// @param is_filled  whether workspace and outputs are filled with a pattern before a run; if not
  ///                   they are memory that nothing wrote, which compute-sanitizer's initcheck
  ///                   wants
  explicit DeviceRun(bool is_filled = true) : is_filled_(is_filled) {}

  /// Copy what a run is told to the device; `heads` may be in any layout.
  void load(Shape const& shape, Params const& params, Inputs const& host, int window) {
    shape_ = shape;
    params_ = params;
    window_ = window;
    std::size_t const size = shape.data_type == YOLOR_NMS_FLOAT16 ? 2 : 4;
    Plan const plan = plan_of(shape, params, window == 0 ? kMaxWindow : window);
    auto const batch = static_cast<std::size_t>(shape.batch);
    for (int i = 0; i < shape.num_levels; ++i) {
      auto const values = batch * static_cast<std::size_t>(plan.levels[i].image_step);
      inputs_.heads[i] =
          heads_[i].put(static_cast<unsigned char const*>(host.heads[i]), values * size, stream_);
    }
    float const thresholds[] = {*host.score_threshold, *host.iou_threshold};
    inputs_.score_threshold = thresholds_.put(thresholds, 2, stream_);
    inputs_.iou_threshold = inputs_.score_threshold + 1;
    inputs_.class_mask = nullptr;
    if (host.class_mask != nullptr) {
      std::size_t const classes = batch * static_cast<std::size_t>(shape.num_classes);
      inputs_.class_mask = mask_.put(host.class_mask, classes, stream_);
    }
    workspace_bytes_ = batch * plan.bytes_per_image;
    prepare(workspace_, workspace_bytes_);
    std::size_t const rows = batch * static_cast<std::size_t>(params.max_detections);
    prepare(num_detections_, batch * 4);
    prepare(boxes_, rows * 16);
    prepare(scores_, rows * 4);
    prepare(class_ids_, rows * 4);
    stream_.synchronize();  // the host's memory may go now
  }

  std::int32_t launch(int num_blocks = 0) {
    Outputs const out = outputs();
    return run_on_device(&shape_, &params_, &inputs_, &out, workspace_.data(), workspace_bytes_,
                         stream(), {num_blocks, window_});
  }

  /// What the kernel is given.
  template <class Element>
  Problem<Element> problem() const {
    return {plan_of(shape_, params_, window_ == 0 ? kMaxWindow : window_), inputs_, outputs(),
            workspace_.as<unsigned char>()};
  }

  Detections detections() {
    Detections found(shape_, params_);
    num_detections_.get(found.num_detections, stream_);
    boxes_.get(found.boxes_xyxy, stream_);
    scores_.get(found.scores, stream_);
    class_ids_.get(found.class_ids, stream_);
    stream_.synchronize();
    return found;
  }

  Outputs outputs() const {
    return {num_detections_.as<std::int32_t>(), boxes_.as<float>(), scores_.as<float>(),
            class_ids_.as<std::int32_t>()};
  }
  cudaStream_t stream() const { return stream_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  float* thresholds() const { return thresholds_.as<float>(); }

 private:
  void prepare(DeviceBuffer& buffer, std::size_t bytes) {
    if (is_filled_) {
      buffer.fill(bytes, 0xA5, stream_);
    } else {
      buffer.renew(bytes);
    }
  }

  bool is_filled_;
  Stream stream_;
  Shape shape_{};
  Params params_{};
  Inputs inputs_{};
  int window_ = 0;
  std::size_t workspace_bytes_ = 0;
  DeviceBuffer heads_[kMaxLevels];
  DeviceBuffer thresholds_, mask_, workspace_, num_detections_, boxes_, scores_, class_ids_;
};

/// A graph of one launch.
class Graph {
 public:
  explicit Graph(DeviceRun& run) : Graph(run.stream(), [&] { return run.launch(); }) {}
  template <class Launch>
  Graph(cudaStream_t stream, Launch const& launch) {
    cudaGraph_t graph{};
    CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    std::int32_t const code = launch();
    CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
    if (code != 0) {
      std::fprintf(stderr, "launch in a graph: code %d\n", code);
      std::exit(EXIT_FAILURE);
    }
    CHECK_CUDA(cudaGraphInstantiate(&executable_, graph, 0));
    CHECK_CUDA(cudaGraphDestroy(graph));
  }
  ~Graph() { cudaGraphExecDestroy(executable_); }
  Graph(Graph const&) = delete;
  Graph& operator=(Graph const&) = delete;
  void launch(cudaStream_t stream) const { CHECK_CUDA(cudaGraphLaunch(executable_, stream)); }

 private:
  cudaGraphExec_t executable_{};
};

}  // namespace yolor_nms
