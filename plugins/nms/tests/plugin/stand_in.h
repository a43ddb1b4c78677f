/// What a plugin needs of TensorRT, without TensorRT: a logger and sizes as expressions.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "attributes.h"
#include "plugin/plugin_log.h"

namespace yolor_nms {

class RecordingLogger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override {
    if (severity == Severity::kERROR) { messages_.emplace_back(message); }
  }
  /// Whether just one message came since the last call, and has the text in it.
  bool took_one_with(std::string const& text) {
    std::vector<std::string> const messages = std::move(messages_);
    messages_.clear();
    bool const is_so = messages.size() == 1 && messages[0].find(text) != std::string::npos;
    for (auto const& message : messages) {
      if (!is_so) { std::fprintf(stderr, "message is: %s\n", message.c_str()); }
    }
    return is_so;
  }
  bool took_none() const { return messages_.empty(); }

 private:
  std::vector<std::string> messages_;
};

#if YOLOR_NMS_HAS_LOGGER_FINDER
class LoggerFinder final : public nvinfer1::ILoggerFinder {
 public:
  explicit LoggerFinder(nvinfer1::ILogger* logger) : logger_(logger) {}
  nvinfer1::ILogger* findLogger() override { return logger_; }

 private:
  nvinfer1::ILogger* logger_;
};
#endif

/// Attributes as a parser of ONNX hands them over.
inline std::vector<nvinfer1::PluginField> plugin_fields(std::vector<Field> const& fields) {
  using nvinfer1::PluginFieldType;
  std::vector<nvinfer1::PluginField> same;
  for (Field const& field : fields) {
    auto type = PluginFieldType::kUNKNOWN;
    if (field.type == FieldType::kFloat32) { type = PluginFieldType::kFLOAT32; }
    if (field.type == FieldType::kInt32) { type = PluginFieldType::kINT32; }
    same.emplace_back(field.name, field.data, type, field.length);
  }
  return same;
}

using SizeValue = decltype(nvinfer1::Dims::d[0] + 0);

/// A constant, or a size that is known later.
class Size final : public nvinfer1::IDimensionExpr {
 public:
  Size(bool is_constant, SizeValue value) : value_(is_constant, value) { mImpl = &value_; }

 private:
  class Value final : public nvinfer1::apiv::VDimensionExpr {
   public:
    Value(bool is_constant, SizeValue value) : is_constant_(is_constant), value_(value) {}
    bool isConstant() const override { return is_constant_; }
    SizeValue getConstantValue() const override { return value_; }
#if NV_TENSORRT_MAJOR >= 10
    bool isSizeTensor() const override { return false; }
#endif

   private:
    bool is_constant_;
    SizeValue value_;
  };
  Value value_;
};

/// Makes sizes and keeps them.
class SizeBuilder final : public nvinfer1::IExprBuilder {
 public:
  SizeBuilder() { mImpl = &maker_; }
  nvinfer1::IDimensionExpr const* later() { return maker_.made(false, -1); }

 private:
  class Maker final : public nvinfer1::apiv::VExprBuilder {
   public:
    nvinfer1::IDimensionExpr const* made(bool is_constant, SizeValue value) {
      return &sizes_.emplace_back(is_constant, value);
    }
    nvinfer1::IDimensionExpr const* constant(SizeValue value) override { return made(true, value); }
    nvinfer1::IDimensionExpr const* operation(nvinfer1::DimensionOperation,
                                              nvinfer1::IDimensionExpr const&,
                                              nvinfer1::IDimensionExpr const&) override {
      return nullptr;
    }
#if NV_TENSORRT_MAJOR >= 10
    nvinfer1::IDimensionExpr const* declareSizeTensor(std::int32_t, nvinfer1::IDimensionExpr const&,
                                                      nvinfer1::IDimensionExpr const&) override {
      return nullptr;
    }
#endif

   private:
    std::deque<Size> sizes_;
  };
  Maker maker_;
};

}  // namespace yolor_nms
