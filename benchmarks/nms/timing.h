/// Device times: events around work that is queued ahead, so that the processor's pace is not in
/// them.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "gpu/device_memory.h"

namespace yolor_nms {

/// Busy for a while; returns the time that it saw go by, in nanoseconds.
__global__ void spin(long long nanoseconds, long long* seen);

/// Quantiles of samples in microseconds.
struct Samples {
  std::vector<float> us;

  float quantile(double q) const {
    std::vector<float> sorted = us;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5)];
  }
};

class Timer {
 public:
  explicit Timer(cudaStream_t stream);
  ~Timer();
  Timer(Timer const&) = delete;
  Timer& operator=(Timer const&) = delete;

  /// Time `work` `count` times, with `before` ahead of each, outside the clock.
  Samples each(
      int count, std::function<void()> const& work, std::function<void()> const& before = [] {});

  /// Mean time of `work` in a row of `count`, nothing in between.
  float in_a_row(int count, std::function<void()> const& work);

 private:
  void queue_behind_spin();

  static constexpr int kAhead = 200;
  cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;
  DeviceBuffer seen_;
};

}  // namespace yolor_nms
