/// What a YolorNMS plugin is made from, checked; and the same as bytes. Nothing here is of
/// TensorRT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "yolor_nms/params.h"

namespace yolor_nms {

inline constexpr char const* kPluginName = "YolorNMS";
inline constexpr char const* kPluginVersion = "1";  // of the attributes and of what they mean
inline constexpr char const* kPluginNamespace = "";

enum class FieldType { kFloat32, kInt32, kInt64, kOther };

/// An attribute, as TensorRT hands it over. The data need not be aligned.
struct Field {
  char const* name;
  FieldType type;
  void const* data;
  std::int32_t length;  // values
};

/// A list of integers; one that holds a single value is told as such.
struct IntRule {
  char const* name;
  std::int32_t most_values;
  std::int64_t low, high;  // of each value
};

/// Where an attribute is among `kIntRules`.
enum IntPlace {
  kNumAnchorsAt,
  kStridesAt,
  kNumClassesAt,
  kMaxDetectionsAt,
  kMaxCandidatesAt,
  kMultiLabelAt,
  kClassAgnosticAt,
  kNumIntFields
};

inline constexpr char const* kAnchorsName = "anchors";  // width, height of each, by level; float32
inline constexpr IntRule kIntRules[kNumIntFields] = {
    {"num_anchors", kMaxLevels, 1, kMaxAnchors},
    {"strides", kMaxLevels, 1, kMaxStride},
    {"num_classes", 1, 1, kMaxClasses},
    {"max_detections", 1, 1, kMaxPairs},
    {"max_candidates", 1, 1, kMaxPairs},
    {"multi_label", 1, 0, 1},
    {"class_agnostic", 1, 0, 1},
};
inline constexpr int kNumFields = 1 + kNumIntFields;  // the anchors come first

/// All that a run needs and that no tensor tells.
struct PluginConfig {
  Shape shape;  // of one image and maps of one cell, float32, NCHW
  Params params;
};

/// Check attributes, which may come in any order.
///
/// @param problem  set, and naming the attribute, where nothing is returned
std::optional<PluginConfig> config_from_fields(Field const* fields, std::int32_t count,
                                               std::string& problem);

/// The attributes of a config, with memory of their own.
class ConfigFields {
 public:
  explicit ConfigFields(PluginConfig const& config);
  ConfigFields(ConfigFields const&) = delete;  // the fields point into the lists
  ConfigFields& operator=(ConfigFields const&) = delete;

  Field const& operator[](int index) const { return fields_[index]; }

 private:
  std::vector<float> anchors_;
  std::vector<std::int32_t> ints_[kNumIntFields];
  Field fields_[kNumFields];
};

/// A config as bytes: `YNMS`, the version of this layout, then every attribute in the order of
/// `ConfigFields`, as the number of its values and the values. All of it in words of 4 bytes.
std::vector<unsigned char> bytes_from_config(PluginConfig const& config);

/// The opposite; whatever the bytes are, only what `config_from_fields` accepts is returned.
std::optional<PluginConfig> config_from_bytes(void const* bytes, std::size_t size,
                                              std::string& problem);

}  // namespace yolor_nms
