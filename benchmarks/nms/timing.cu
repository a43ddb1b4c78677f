#include "timing.h"

namespace yolor_nms {

__global__ void spin(long long nanoseconds, long long* seen) {
  auto const now = [] {
    long long time = 0;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
    return time;
  };
  long long const begin = now();
  long long end = begin;
  while (end - begin < nanoseconds) { end = now(); }
  *seen = end - begin;
}

Timer::Timer(cudaStream_t stream) : stream_(stream), events_(2 * kAhead), seen_(sizeof(long long)) {
  for (cudaEvent_t& event : events_) { CHECK_CUDA(cudaEventCreate(&event)); }
}

Timer::~Timer() {
  for (cudaEvent_t event : events_) { cudaEventDestroy(event); }
}

void Timer::queue_behind_spin() {
  constexpr long long kWhile = 3'000'000;
  spin<<<1, 1, 0, stream_>>>(kWhile, seen_.as<long long>());
  CHECK_CUDA(cudaGetLastError());
}

Samples Timer::each(int count, std::function<void()> const& work,
                    std::function<void()> const& before) {
  Samples samples;
  while (static_cast<int>(samples.us.size()) < count) {
    int const batch = std::min(kAhead, count - static_cast<int>(samples.us.size()));
    queue_behind_spin();
    for (int i = 0; i < batch; ++i) {
      before();
      CHECK_CUDA(cudaEventRecord(events_[static_cast<std::size_t>(2 * i)], stream_));
      work();
      CHECK_CUDA(cudaEventRecord(events_[static_cast<std::size_t>(2 * i + 1)], stream_));
    }
    CHECK_CUDA(cudaStreamSynchronize(stream_));
    for (int i = 0; i < batch; ++i) {
      float ms = 0.0F;
      CHECK_CUDA(cudaEventElapsedTime(&ms, events_[static_cast<std::size_t>(2 * i)],
                                      events_[static_cast<std::size_t>(2 * i + 1)]));
      samples.us.push_back(1000.0F * ms);
    }
  }
  return samples;
}

float Timer::in_a_row(int count, std::function<void()> const& work) {
  queue_behind_spin();
  CHECK_CUDA(cudaEventRecord(events_[0], stream_));
  for (int i = 0; i < count; ++i) { work(); }
  CHECK_CUDA(cudaEventRecord(events_[1], stream_));
  CHECK_CUDA(cudaStreamSynchronize(stream_));
  float ms = 0.0F;
  CHECK_CUDA(cudaEventElapsedTime(&ms, events_[0], events_[1]));
  return 1000.0F * ms / static_cast<float>(count);
}

}  // namespace yolor_nms
