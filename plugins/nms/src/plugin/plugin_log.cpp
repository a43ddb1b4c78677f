#include "plugin_log.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>

#define YOLOR_NMS_TEXT(number) #number
#define YOLOR_NMS_SONAME(major) "libnvinfer.so." YOLOR_NMS_TEXT(major)

namespace yolor_nms {
namespace {

using nvinfer1::ILogger;

// Not RTLD_DEFAULT: Python loads TensorRT without putting its names into the global scope.
std::atomic<void*> tensorrt_library;
#if YOLOR_NMS_HAS_LOGGER_FINDER
std::atomic<nvinfer1::ILoggerFinder*> logger_finder;

/// The library that the functions of an object are in, or a null pointer: the program itself.
void* library_of(void const* object) {
  Dl_info info{};
  void const* const virtual_functions = *static_cast<void const* const*>(object);
  if (dladdr(virtual_functions, &info) == 0) { return nullptr; }
  return dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
}
#endif

/// TensorRT 8 counts in thousands, 10 and later in tens of thousands.
constexpr int major_of(long version) {
  constexpr long kScale = NV_TENSORRT_MAJOR >= 10 ? 10000 : 1000;
  return static_cast<int>(version / kScale);
}
static_assert(major_of(NV_TENSORRT_VERSION) == NV_TENSORRT_MAJOR);

/// The logger of the engine that calls, or else the one that TensorRT was first given.
ILogger* logger() {
  if (is_of_another_major()) { return nullptr; }
#if YOLOR_NMS_HAS_LOGGER_FINDER
  if (nvinfer1::ILoggerFinder* const finder = logger_finder.load()) {
    if (ILogger* const found = finder->findLogger()) { return found; }
  }
#endif
  void* const function = tensorrt_function("getLogger");
  return function == nullptr ? nullptr : reinterpret_cast<ILogger* (*)()>(function)();
}

}  // namespace

#if YOLOR_NMS_HAS_LOGGER_FINDER
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept {
  tensorrt_library.store(finder == nullptr ? nullptr : library_of(finder));
  logger_finder.store(finder);
}
#endif

int loaded_version() noexcept {
  void* const function = tensorrt_function("getInferLibVersion");
  return function == nullptr ? 0 : reinterpret_cast<std::int32_t (*)()>(function)();
}

bool is_of_another_major() noexcept {
  int const version = loaded_version();
  return version != 0 && major_of(version) != NV_TENSORRT_MAJOR;
}

void* tensorrt_function(char const* name) noexcept {
  void* library = tensorrt_library.load();
  if (library == nullptr) {
    library = dlopen(YOLOR_NMS_SONAME(NV_TENSORRT_MAJOR), RTLD_NOLOAD | RTLD_LAZY);
    tensorrt_library.store(library);
  }
  return dlsym(library == nullptr ? RTLD_DEFAULT : library, name);
}

void log_error(char const* where, std::string const& problem) noexcept {
  try {
    std::string const text = std::string("YolorNMS: ") + where + ": " + problem;
    if (ILogger* const found = logger()) {
      found->log(ILogger::Severity::kERROR, text.c_str());
    } else {
      std::fprintf(stderr, "%s\n", text.c_str());
    }
  } catch (...) { std::fputs("YolorNMS: an error that could not be told\n", stderr); }
}

}  // namespace yolor_nms
