# The TensorRT plugin: yolor_nms_plugin, with the interface that the headers given are of.

set(TENSORRT_INCLUDE_DIR "" CACHE PATH "Where NvInferRuntime.h is; without it there is no plugin")
if(NOT TENSORRT_INCLUDE_DIR)
  message(STATUS "TENSORRT_INCLUDE_DIR is not given: the TensorRT plugin is not built")
  return()
endif()
if(NOT YOLOR_NMS_HAS_CUDA)
  message(FATAL_ERROR "the TensorRT plugin needs the CUDA part: give -DYOLOR_NMS_CUDA=ON")
endif()
set(version_header "${TENSORRT_INCLUDE_DIR}/NvInferVersion.h")
if(NOT EXISTS "${version_header}")
  message(FATAL_ERROR "no NvInferVersion.h in TENSORRT_INCLUDE_DIR: ${TENSORRT_INCLUDE_DIR}")
endif()

# NV_TENSORRT_MAJOR is a number, or since 10.16 the name of another macro, which is one.
foreach(part MAJOR MINOR)
  file(STRINGS "${version_header}" lines
    REGEX "^#define (NV_TENSORRT_${part}|TRT_${part}_ENTERPRISE) +[0-9]+")
  string(REGEX MATCH "[0-9]+" TENSORRT_${part} "${lines}")
endforeach()
if(TENSORRT_MAJOR GREATER_EQUAL 10)
  set(plugin_source src/plugin/plugin_v3.cpp)
elseif(TENSORRT_MAJOR EQUAL 8 AND TENSORRT_MINOR GREATER_EQUAL 5)
  set(plugin_source src/plugin/plugin_v2.cpp)
else()
  message(FATAL_ERROR "TensorRT ${TENSORRT_MAJOR}.${TENSORRT_MINOR} in ${TENSORRT_INCLUDE_DIR}: expected 8.5, 8.6, or 10 and later")
endif()
message(STATUS "TensorRT ${TENSORRT_MAJOR}.${TENSORRT_MINOR} headers, plugin of ${plugin_source}")

add_library(yolor_nms_plugin SHARED ${plugin_source} src/plugin/plugin_config.cpp
  src/plugin/plugin_log.cpp src/plugin/plugin_tensorrt.cpp src/plugin/plugin_tensors.cpp)
target_include_directories(yolor_nms_plugin SYSTEM PRIVATE "${TENSORRT_INCLUDE_DIR}")
target_link_libraries(yolor_nms_plugin PRIVATE yolor_nms_parts CUDA::cudart_static ${CMAKE_DL_LIBS})
set_target_properties(yolor_nms_plugin PROPERTIES LINKER_LANGUAGE CXX)
# It needs nothing of libnvinfer, and it runs its own kernels, whatever else the process has loaded.
target_link_options(yolor_nms_plugin PRIVATE LINKER:--no-undefined LINKER:-Bsymbolic)
