/// Where a plugin's messages go: to the logger of the TensorRT that calls, or to standard error.
///
/// The library is not linked with TensorRT: it finds the one that the process has loaded.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <string>

#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
#define YOLOR_NMS_HAS_LOGGER_FINDER 1  // and `loadLibrary` of the registry with it
#else
#define YOLOR_NMS_HAS_LOGGER_FINDER 0
#endif

namespace yolor_nms {

#if YOLOR_NMS_HAS_LOGGER_FINDER
/// Remember the finder, and the TensorRT that it is of. One of another major version is not called.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;
#endif

/// The version that the TensorRT found so far tells of itself, or 0.
int loaded_version() noexcept;

/// Whether that TensorRT is of another major version than the headers that this was compiled with:
/// its objects may have another layout.
bool is_of_another_major() noexcept;

/// A function that the loaded TensorRT exports, or a null pointer.
void* tensorrt_function(char const* name) noexcept;

/// @param where  the method that the problem is in
void log_error(char const* where, std::string const& problem) noexcept;

/// Run the body of a method that TensorRT calls: an exception is logged and ends here.
template <class Result, class Body>
Result guarded(char const* where, Result failure, Body const& body) noexcept {
  try {
    return body();
  } catch (std::exception const& error) { log_error(where, error.what()); } catch (...) {
    log_error(where, "an exception of unknown type");
  }
  return failure;
}

}  // namespace yolor_nms
