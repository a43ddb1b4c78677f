/// Device memory and streams that free themselves, for tests and benchmarks.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace yolor_nms {

/// End the program, with what and where, if a CUDA call failed.
#define CHECK_CUDA(call)                                                 \
  do {                                                                   \
    cudaError_t const check_cuda_error = (call);                         \
    if (check_cuda_error != cudaSuccess) {                               \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
                   cudaGetErrorString(check_cuda_error));                \
      std::exit(EXIT_FAILURE);                                           \
    }                                                                    \
  } while (false)

class Stream {
 public:
  Stream() { CHECK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  operator cudaStream_t() const { return stream_; }
  void synchronize() const { CHECK_CUDA(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_{};
};

/// Memory that grows and is used again.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t bytes) { reserve(bytes); }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer const&) = delete;
  DeviceBuffer& operator=(DeviceBuffer const&) = delete;

  void* data() const { return data_; }
  template <class Value>
  Value* as() const {
    return static_cast<Value*>(data_);
  }
  void reserve(std::size_t bytes) {
    if (bytes <= bytes_) { return; }
    CHECK_CUDA(cudaFree(data_));
    CHECK_CUDA(cudaMalloc(&data_, bytes));
    bytes_ = bytes;
  }
  /// Other memory, with nothing in it.
  void renew(std::size_t bytes) {
    bytes_ = 0;
    reserve(bytes);
  }
  void fill(std::size_t bytes, int value, cudaStream_t stream) {
    reserve(bytes);
    CHECK_CUDA(cudaMemsetAsync(data_, value, bytes, stream));
  }
  template <class Value>
  Value* put(Value const* values, std::size_t count, cudaStream_t stream) {
    reserve(count * sizeof(Value));
    CHECK_CUDA(
        cudaMemcpyAsync(data_, values, count * sizeof(Value), cudaMemcpyHostToDevice, stream));
    return as<Value>();
  }
  template <class Value>
  void get(std::vector<Value>& values, cudaStream_t stream) const {
    CHECK_CUDA(cudaMemcpyAsync(values.data(), data_, values.size() * sizeof(Value),
                               cudaMemcpyDeviceToHost, stream));
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace yolor_nms
