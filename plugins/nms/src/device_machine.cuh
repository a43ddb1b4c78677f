/// The machine of `yolor_nms/machine.h` on a GPU: one cooperative kernel.
#pragma once

#include <cooperative_groups.h>

#include "yolor_nms/detect.h"

namespace yolor_nms {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;
inline constexpr int kThreads = kMaxWindow;
inline constexpr int kWarps = kThreads / kWordBits;
inline constexpr int kAtOnce = 2;  // reads that a thread has under way

/// Read every line of the parameters, a warp each. They lie in constant memory, where the first use
/// of a line waits for it: all at once that is one wait instead of one after the other. What was
/// read goes to shared memory, or the compiler would not read it.
template <class Element>
__device__ void fetch_parameters(Problem<Element> const& problem, SharedMemory& shared) {
  constexpr int kLineBytes = 64;
  constexpr auto kLines = static_cast<int>(sizeof(problem)) / kLineBytes;
  static_assert(kLines <= kWarps);
  auto const line = static_cast<int>(threadIdx.x) / kWordBits;
  if (line >= kLines) { return; }
  auto const* const words = reinterpret_cast<unsigned const*>(&problem);
  shared.find_digit.sums[line] = words[line * (kLineBytes / static_cast<int>(sizeof(unsigned)))];
}

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
    YN_ROLLED
    for (int i = thread(); i < count; i += kThreads) { function(i); }
    __syncthreads();
  }
  /// What a predicate reads is asked for several times at once; where it holds, which is seldom,
  /// the function reads it again, from the nearest cache.
  template <class Predicate, class Function>
  __device__ void for_each_of(int count, Predicate const& predicate,
                              Function const& function) const {
    YN_ROLLED
    for (int first = thread(); first < count; first += kAtOnce * kThreads) {
      unsigned holds = 0;
      YN_UNROLL
      for (int k = 0; k < kAtOnce; ++k) {
        int const i = first + k * kThreads;
        if (i < count && predicate(i)) { holds |= 1U << k; }
      }
      YN_ROLLED
      for (; holds != 0; holds &= holds - 1) { function(first + (__ffs(holds) - 1) * kThreads); }
    }
    __syncthreads();
  }
  template <class Predicate, class Function>
  __device__ void for_each_pair_of(int count, Predicate const& predicate,
                                   Function const& function) const {
    int const own = thread();
    int const lane = own % kWordBits;
    YN_ROLLED
    for (int first = own / kWordBits; first < count; first += kAtOnce * kWarps) {
      unsigned holds = 0;
      YN_UNROLL
      for (int k = 0; k < kAtOnce; ++k) {
        int const i = first + k * kWarps;
        if (i < count && predicate(i, lane)) { holds |= 1U << k; }
      }
      YN_ROLLED
      for (; holds != 0; holds &= holds - 1) {
        function(first + (__ffs(holds) - 1) * kWarps, lane);
      }
    }
    __syncthreads();
  }
  template <class Function>
  __device__ void for_each_warp(int count, Function const& function) const {
    int const own = thread();
    DeviceWarp warp(own % kWordBits);
    YN_ROLLED
    for (int i = own / kWordBits; i < count; i += kWarps) { function(warp, i); }
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
    YN_ROLLED
    for (int i = own / kWordBits; i < count; i += kWarps) { is_any |= function(warp, i); }
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

/// Blocks an image, and images at once.
inline dim3 grid_of(int blocks, int batch) {
  int const images = smaller_of(blocks, batch);
  return dim3(static_cast<unsigned>(blocks / images), static_cast<unsigned>(images));
}

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

  template <class Phase>
  __device__ void led_phase(Phase const& phase) {
    auto token = cooperative_groups::this_grid().barrier_arrive();
    bool has_waited = false;
    auto const wait = [&] {
      if (!has_waited) { cooperative_groups::this_grid().barrier_wait(std::move(token)); }
      has_waited = true;
    };
    run(first_image(), [&](DeviceBlock& block, int image) { phase(block, image, wait); });
    wait();  // a block without anchors
    is_dirty_ = true;
  }

  template <class Function>
  __device__ int most(int limit, Function const& function) {
    wait();
    constexpr int kFewImages = 8;
    int highest = 0;
    if (batch_ <= kFewImages) {  // every thread asks itself
      YN_ROLLED
      for (int image = 0; image < batch_; ++image) {
        int const value = function(image);
        highest = value > highest ? value : highest;
      }
      return highest;
    }
    YN_ROLLED
    for (int image = static_cast<int>(threadIdx.x); image < batch_; image += kThreads) {
      int const value = function(image);
      highest = value > highest ? value : highest;
    }
    YN_ROLLED
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
    YN_ROLLED
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
