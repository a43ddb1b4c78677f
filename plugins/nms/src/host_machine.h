/// The machine of `yolor_nms/machine.h` on the host: one thread after the other.
#pragma once

#include <cstdint>
#include <cstring>

#include "nms_host.h"
#include "yolor_nms/detect.h"

namespace yolor_nms {

/// A way through 0 .. count - 1: forwards, or in a stride that meets every number once.
class Order {
 public:
  Order(int count, std::uint32_t shuffle) : count_(count) {
    if (shuffle == 0 || count < 2) { return; }
    auto const size = static_cast<std::uint32_t>(count);
    start_ = shuffle % size;
    step_ = (shuffle >> 8U) % size + 1;
    while (greatest_common_divisor(step_, size) != 1) { ++step_; }
  }

  int at(int i) const {
    auto const walked = static_cast<std::uint64_t>(step_) * static_cast<std::uint64_t>(i);
    return static_cast<int>((start_ + walked) % static_cast<std::uint64_t>(count_));
  }

  template <class Function>
  void visit(Function const& function) const {
    for (int i = 0; i < count_; ++i) { function(at(i)); }
  }

 private:
  static std::uint32_t greatest_common_divisor(std::uint32_t a, std::uint32_t b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
  }

  int count_;
  std::uint32_t start_ = 0;
  std::uint32_t step_ = 1;
};

class HostWarp {
 public:
  template <class Value>
  class PerLane {
   public:
    Value& operator[](int lane) { return values_[lane]; }

   private:
    Value values_[kWordBits]{};
  };

  explicit HostWarp(std::uint32_t shuffle) : shuffle_(shuffle) {}

  template <class Function>
  void once(Function const& function) const {
    function();
  }
  template <class Function>
  std::uint32_t ballot(Function const& function) const {
    std::uint32_t bits = 0;
    each([&](int lane) { bits |= (function(lane) ? 1U : 0U) << static_cast<unsigned>(lane); });
    return bits;
  }
  template <class Function>
  std::uint32_t sum(Function const& function) const {
    std::uint32_t total = 0;
    each([&](int lane) { total += function(lane); });
    return total;
  }
  template <class Function>
  std::uint64_t max(Function const& function) const {
    std::uint64_t highest = 0;
    each([&](int lane) {
      std::uint64_t const value = function(lane);
      if (value > highest) { highest = value; }
    });
    return highest;
  }

 private:
  template <class Function>
  void each(Function const& function) const {
    Order(kWordBits, shuffle_).visit(function);
  }

  std::uint32_t shuffle_;
};

class HostBlock {
 public:
  using Warp = HostWarp;

  template <class Value>
  class PerThread {
   public:
    Value& operator[](int thread) { return values_[thread]; }

   private:
    Value values_[kMaxWindow]{};
  };

  HostBlock(int index, int count, std::uint32_t shuffle)
      : index_(index), count_(count), shuffle_(shuffle) {}

  int index() const { return index_; }
  int count() const { return count_; }

  template <class Function>
  void for_each(int count, Function const& function) const {
    Order(count, shuffle_).visit(function);
  }
  template <class Predicate, class Function>
  void for_each_of(int count, Predicate const& predicate, Function const& function) const {
    for_each(count, [&](int i) {
      if (predicate(i)) { function(i); }
    });
  }
  template <class Predicate, class Function>
  void for_each_pair_of(int count, Predicate const& predicate, Function const& function) const {
    for_each(count * kWordBits, [&](int i) {
      if (predicate(i / kWordBits, i % kWordBits)) { function(i / kWordBits, i % kWordBits); }
    });
  }
  template <class Function>
  void for_each_warp(int count, Function const& function) const {
    HostWarp warp(shuffle_);
    for_each(count, [&](int i) { function(warp, i); });
  }
  template <class Function>
  void each_thread(int count, Function const& function) const {
    for_each(count, function);
  }
  template <class Function>
  bool any_warp(int count, Function const& function) const {
    bool is_any = false;
    for_each_warp(count, [&](HostWarp& warp, int i) { is_any |= function(warp, i); });
    return is_any;
  }
  static void sync() {}

  static std::uint32_t add(std::uint32_t& counter, std::uint32_t value) {
    std::uint32_t const before = counter;
    counter += value;
    return before;
  }
  static void set_bits(std::uint32_t& word, std::uint32_t bits) { word |= bits; }
  static std::uint32_t take_slot(std::uint32_t& counter) { return counter++; }

 private:
  int index_;
  int count_;
  std::uint32_t shuffle_;
};

class HostGrid {
 public:
  HostGrid(int batch, HostSchedule const& schedule) : batch_(batch), schedule_(schedule) {}

  SharedMemory& shared() { return shared_; }

  template <class Phase>
  void phase(Phase const& phase, bool /*is_alone*/ = false) {
    int const num_blocks = schedule_.num_blocks;
    Order(num_blocks * batch_, schedule_.shuffle).visit([&](int i) {
      // Nonsense, as a GPU has it, so that a phase that forgets to initialise it is found.
      if (schedule_.shuffle != 0) {
        std::memset(static_cast<void*>(&shared_), 0xA5, sizeof(shared_));
      }
      HostBlock block(i % num_blocks, num_blocks, schedule_.shuffle);
      phase(block, i / num_blocks);
    });
  }

  template <class Phase>
  void led_phase(Phase const& led) {
    phase([&](HostBlock& block, int image) { led(block, image, [] {}); });
  }

  template <class Function>
  int most(int /*limit*/, Function const& function) const {
    int highest = 0;
    for (int image = 0; image < batch_; ++image) {
      int const value = function(image);
      if (value > highest) { highest = value; }
    }
    return highest;
  }

 private:
  int batch_;
  HostSchedule schedule_;
  SharedMemory shared_;
};

}  // namespace yolor_nms
