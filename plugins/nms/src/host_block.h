/// A block of threads on the host: one thread after the other.
#pragma once

#include <cstdint>

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

 private:
  static std::uint32_t greatest_common_divisor(std::uint32_t a, std::uint32_t b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
  }

  int count_;
  std::uint32_t start_ = 0;
  std::uint32_t step_ = 1;
};

class HostBlock {
 public:
  HostBlock(int index, int count, std::uint32_t shuffle)
      : index_(index), count_(count), shuffle_(shuffle) {}

  int index() const { return index_; }
  int count() const { return count_; }

  template <class Function>
  void for_each(int count, Function const& function) const {
    if (shuffle_ == 0) {
      for (int i = 0; i < count; ++i) { function(i); }
      return;
    }
    Order const order(count, shuffle_);
    for (int i = 0; i < count; ++i) { function(order.at(i)); }
  }

  static void sync() {}

  /// The value before.
  static std::uint32_t add(std::uint32_t& counter, std::uint32_t value) {
    std::uint32_t const before = counter;
    counter += value;
    return before;
  }
  static void raise(std::uint64_t& highest, std::uint64_t value) {
    if (value > highest) { highest = value; }
  }
  static void set_bits(std::uint64_t& word, std::uint64_t bits) { word |= bits; }

 private:
  int index_;
  int count_;
  std::uint32_t shuffle_;
};

}  // namespace yolor_nms
