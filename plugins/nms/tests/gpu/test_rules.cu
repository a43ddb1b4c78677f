/// The rules on a GPU: the shared cases, and the bits of the exponential and of half precision.

#include <cstdio>
#include <cstring>
#include <vector>

#include "../expect.h"
#include "device_memory.h"
#include "yolor_nms/cases.h"
#include "yolor_nms/problem.h"

namespace {

using namespace yolor_nms;

constexpr std::uint32_t kStep = 257;  // every so-manieth float
constexpr std::uint32_t kCount = 0xFFFFFFFFU / kStep;

__global__ void run_cases(int* number) { *number = failing_case(); }

__global__ void take_exponentials(float* results) {
  std::uint32_t const i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < kCount) { results[i] = exponential(float_from_bits(i * kStep)); }
}

__global__ void take_sigmoids(float* results) {
  std::uint32_t const i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < kCount) { results[i] = sigmoid(float_from_bits(i * kStep)); }
}

__global__ void widen_halves(float* results) {
  std::uint32_t const i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < 65536U) { results[i] = as_float(Half{static_cast<std::uint16_t>(i)}); }
}

bool same_or_both_nan(float a, float b) {
  return bits_from_float(a) == bits_from_float(b) || (is_nan(a) && is_nan(b));
}

template <class Rule, class Kernel>
void expect_bits_of_host(Kernel kernel, std::uint32_t count, Rule const& rule) {
  Stream stream;
  std::vector<float> results(count);
  DeviceBuffer buffer(count * sizeof(float));
  kernel<<<count / 256 + 1, 256, 0, stream>>>(buffer.as<float>());
  CHECK_CUDA(cudaGetLastError());
  buffer.get(results, stream);
  stream.synchronize();
  for (std::uint32_t i = 0; i < count; ++i) { EXPECT(same_or_both_nan(results[i], rule(i))); }
}

void every_case_holds_on_the_gpu() {
  Stream stream;
  std::vector<int> number(1, -1);
  DeviceBuffer buffer(sizeof(int));
  run_cases<<<1, 1, 0, stream>>>(buffer.as<int>());
  CHECK_CUDA(cudaGetLastError());
  buffer.get(number, stream);
  stream.synchronize();
  EXPECT(number[0] == 0);
}

}  // namespace

int main() {
  every_case_holds_on_the_gpu();
  expect_bits_of_host(take_exponentials, kCount,
                      [](std::uint32_t i) { return exponential(float_from_bits(i * kStep)); });
  expect_bits_of_host(take_sigmoids, kCount,
                      [](std::uint32_t i) { return sigmoid(float_from_bits(i * kStep)); });
  expect_bits_of_host(widen_halves, 65536U, [](std::uint32_t i) {
    return float_from_half(static_cast<std::uint16_t>(i));
  });
  std::printf("%u exponentials and sigmoids, 65536 halves: the bits of the host\n", kCount);
}
