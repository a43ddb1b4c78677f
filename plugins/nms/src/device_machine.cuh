/// The machine of `yolor_nms/machine.h` on a GPU: one cooperative kernel.
#pragma once

#include <cooperative_groups.h>

#include "yolor_nms/detect.h"

namespace yolor_nms {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;
inline constexpr int kThreads = kMaxWindow;

class DeviceWarp {
 public:
  template <class Value>
  class PerLane {
   public:
    __device__ Value& operator[](int /*lane*/) { return value_; }

   private:
    Value value_;
  };

  __device__ explicit DeviceWarp(int lane) : lane_(lane) {}

  template <class Function>
  __device__ void once(Function const& function) const {
    if (lane_ == 0) { function(); }
  }
  template <class Function>
  __device__ std::uint32_t ballot(Function const& function) const {
    return __ballot_sync(kAllLanes, function(lane_) ? 1 : 0);
  }
  template <class Function>
  __device__ std::uint32_t sum(Function const& function) const {
    std::uint32_t total = function(lane_);
    YN_UNROLL
    for (int step = kWordBits / 2; step > 0; step /= 2) {
      total += __shfl_xor_sync(kAllLanes, total, step);
    }
    return total;
  }
  template <class Function>
  __device__ std::uint64_t max(Function const& function) const {
    unsigned long long highest = function(lane_);
    YN_UNROLL
    for (int step = kWordBits / 2; step > 0; step /= 2) {
      unsigned long long const other = __shfl_xor_sync(kAllLanes, highest, step);
      highest = other > highest ? other : highest;
    }
    return highest;
  }

 private:
  int lane_;
};

class DeviceBlock {
 public:
  using Warp = DeviceWarp;

  template <class Value>
  class PerThread {
   public:
    __device__ Value& operator[](int /*thread*/) { return value_; }

   private:
    Value value_;
  };

  __device__ DeviceBlock(int index, int count) : index_(index), count_(count) {}

  __device__ int index() const { return index_; }
  __device__ int count() const { return count_; }

  template <class Function>
  __device__ void for_each(int count, Function const& function) const {
    for (int i = thread(); i < count; i += kThreads) { function(i); }
    __syncthreads();
  }
  template <class Load, class Function>
  __device__ void for_each_loaded(int count, Load const& load, Function const& function) const {
    constexpr int kLoads = 4;  // in flight at once
    for (int first = thread(); first < count; first += kLoads * kThreads) {
      float values[kLoads];
      YN_UNROLL
      for (int k = 0; k < kLoads; ++k) {
        int const i = first + k * kThreads;
        values[k] = i < count ? load(i) : 0.0F;
      }
      YN_UNROLL
      for (int k = 0; k < kLoads; ++k) {
        int const i = first + k * kThreads;
        if (i < count) { function(i, values[k]); }
      }
    }
    __syncthreads();
  }
  template <class Function>
  __device__ void for_each_warp(int count, Function const& function) const {
    int const own = thread();
    DeviceWarp warp(own % kWordBits);
    for (int i = own / kWordBits; i < count; i += kThreads / kWordBits) { function(warp, i); }
    __syncthreads();
  }
  template <class Function>
  __device__ void each_thread(int count, Function const& function) const {
    int const i = thread();
    if (i < count) { function(i); }
  }
  template <class Function>
  __device__ bool any_warp(int count, Function const& function) const {
    int const own = thread();
    DeviceWarp warp(own % kWordBits);
    bool is_any = false;
    for (int i = own / kWordBits; i < count; i += kThreads / kWordBits) {
      is_any |= function(warp, i);
    }
    return __syncthreads_or(is_any ? 1 : 0) != 0;
  }
  __device__ static void sync() { __syncthreads(); }

  __device__ static std::uint32_t add(std::uint32_t& counter, std::uint32_t value) {
    return atomicAdd(&counter, value);
  }
  __device__ static void set_bits(std::uint32_t& word, std::uint32_t bits) {
    atomicOr(&word, bits);
  }
  /// One atomic for all threads of a warp that are here at the same time.
  __device__ static std::uint32_t take_slot(std::uint32_t& counter) {
    auto const here = cooperative_groups::coalesced_threads();
    std::uint32_t first = 0;
    if (here.thread_rank() == 0) { first = atomicAdd(&counter, here.size()); }
    return here.shfl(first, 0) + here.thread_rank();
  }

 private:
  __device__ static int thread() {
    int thread = 0;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
  }

  int index_;
  int count_;
};

/// The grid is `blocks an image` x `images at once`: gridDim.x blocks work on an image, and where
/// there are more images than gridDim.y, a block works on several, one after the other.
class DeviceGrid {
 public:
  __device__ DeviceGrid(SharedMemory& shared, int batch) : shared_(shared), batch_(batch) {}

  __device__ SharedMemory& shared() { return shared_; }

  template <class Phase>
  __device__ void phase(Phase const& phase, bool is_alone = false) {
    if (!is_alone) { wait(); }
    run(first_image(), phase);
    is_dirty_ = true;
  }

  template <class Lead, class Phase>
  __device__ void led_phase(Lead const& lead, Phase const& phase) {
    auto token = cooperative_groups::this_grid().barrier_arrive();
    DeviceBlock block = own_block();
    lead(block, first_image());
    cooperative_groups::this_grid().barrier_wait(std::move(token));
    phase(block, first_image(), true);
    run(first_image() + images_at_once(),
        [&](DeviceBlock& same, int image) { phase(same, image, false); });
    is_dirty_ = true;
  }

  template <class Function>
  __device__ int most(int limit, Function const& function) {
    wait();
    constexpr int kFewImages = 8;
    int highest = 0;
    if (batch_ <= kFewImages) {  // every thread asks itself
      for (int image = 0; image < batch_; ++image) {
        int const value = function(image);
        highest = value > highest ? value : highest;
      }
      return highest;
    }
    for (int image = static_cast<int>(threadIdx.x); image < batch_; image += kThreads) {
      int const value = function(image);
      highest = value > highest ? value : highest;
    }
    for (int value = limit; value > 0; --value) {
      if (__syncthreads_or(highest >= value ? 1 : 0) != 0) { return value; }
    }
    return 0;
  }

 private:
  __device__ void wait() {
    if (is_dirty_) { cooperative_groups::this_grid().sync(); }
    is_dirty_ = false;
  }
  template <class Phase>
  __device__ void run(int first, Phase const& phase) {
    DeviceBlock block = own_block();
    for (int image = first; image < batch_; image += images_at_once()) { phase(block, image); }
  }
  __device__ static DeviceBlock own_block() {
    return {static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x)};
  }
  /// The compiler is not told that it is the same number in every phase: it would keep what follows
  /// from it (addresses) in registers from phase to phase, and spill others.
  __device__ static int first_image() {
    auto image = static_cast<int>(blockIdx.y);
    asm volatile("" : "+r"(image));
    return image;
  }
  __device__ static int images_at_once() { return static_cast<int>(gridDim.y); }

  SharedMemory& shared_;
  int batch_;
  bool is_dirty_ = false;
};

}  // namespace yolor_nms
