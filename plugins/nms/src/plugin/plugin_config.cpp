#include "plugin_config.h"

#include <cstring>
#include <numeric>

namespace yolor_nms {
namespace {

constexpr std::uint32_t kMagic = 0x534D4E59U;  // "YNMS"
constexpr std::uint32_t kLayoutVersion = 1;
constexpr std::size_t kWord = 4;

using Ints = std::vector<std::int32_t>;

std::string attribute(char const* name) { return std::string("attribute ") + name; }

std::string text_of_range(std::int64_t low, std::int64_t high) {
  return std::to_string(low) + " to " + std::to_string(high);
}

std::string text_of_value(std::string const& value, std::int32_t index) {
  return ": value " + value + " at index " + std::to_string(index) + ", expected ";
}

char const* name_of(int field) { return field == 0 ? kAnchorsName : kIntRules[field - 1].name; }

/// The place of an attribute in `ConfigFields`, or -1.
int index_of(char const* name) {
  for (int i = 0; i < kNumFields; ++i) {
    if (std::strcmp(name, name_of(i)) == 0) { return i; }
  }
  return -1;
}

/// Put the attributes in order. Returns a problem, or "".
std::string sort_fields(Field const* fields, std::int32_t count, Field const** sorted) {
  if (count < 0 || (count > 0 && fields == nullptr)) { return "there are no attributes"; }
  for (std::int32_t i = 0; i < count; ++i) {
    if (fields[i].name == nullptr) { return "an attribute has no name"; }
    int const index = index_of(fields[i].name);
    if (index < 0) { return attribute(fields[i].name) + " is unknown"; }
    if (sorted[index] != nullptr) { return attribute(fields[i].name) + " is given twice"; }
    sorted[index] = &fields[i];
  }
  for (int i = 0; i < kNumFields; ++i) {
    if (sorted[i] == nullptr) { return attribute(name_of(i)) + " is missing"; }
  }
  return "";
}

std::string problem_of_length(Field const& field, std::int32_t most) {
  std::string const expected = most == 1 ? "1" : text_of_range(1, most);
  if (field.length < 1 || field.length > most) {
    return attribute(field.name) + " has " + std::to_string(field.length) + " values, expected " +
           expected;
  }
  return field.data == nullptr ? attribute(field.name) + " has no data" : "";
}

template <class Value>
Value value_at(Field const& field, std::int32_t index) {
  Value value{};
  auto const* bytes = static_cast<unsigned char const*>(field.data);
  std::memcpy(&value, bytes + static_cast<std::size_t>(index) * sizeof(Value), sizeof(Value));
  return value;
}

std::string read_ints(Field const& field, IntRule const& rule, Ints& values) {
  bool const is_wide = field.type == FieldType::kInt64;
  if (!is_wide && field.type != FieldType::kInt32) {
    return attribute(rule.name) + " is neither int32 nor int64";
  }
  std::string problem = problem_of_length(field, rule.most_values);
  for (std::int32_t i = 0; problem.empty() && i < field.length; ++i) {
    std::int64_t const value =
        is_wide ? value_at<std::int64_t>(field, i) : value_at<std::int32_t>(field, i);
    if (value < rule.low || value > rule.high) {
      problem = attribute(rule.name) + text_of_value(std::to_string(value), i) +
                text_of_range(rule.low, rule.high);
    }
    values.push_back(static_cast<std::int32_t>(value));
  }
  return problem;
}

std::string read_anchors(Field const& field, std::vector<float>& values) {
  if (field.type != FieldType::kFloat32) { return attribute(kAnchorsName) + " is not float32"; }
  std::string problem = problem_of_length(field, kMaxLevels * kMaxAnchors * 2);
  for (std::int32_t i = 0; problem.empty() && i < field.length; ++i) {
    auto const value = value_at<float>(field, i);
    if (!(value > 0.0F && value <= kMaxAnchorPx)) {
      problem = attribute(kAnchorsName) + text_of_value(std::to_string(value), i) +
                "above 0 and at most 2^24";
    }
    values.push_back(value);
  }
  return problem;
}

/// Returns a problem of lists that do not fit each other, or "".
std::string problem_of_lengths(std::vector<float> const& anchors, Ints const& num_anchors,
                               Ints const& strides) {
  if (strides.size() != num_anchors.size()) {
    return "attribute strides has " + std::to_string(strides.size()) + " values, expected " +
           std::to_string(num_anchors.size()) + ", as many as num_anchors";
  }
  int const all = std::accumulate(num_anchors.begin(), num_anchors.end(), 0);
  if (anchors.size() != 2 * static_cast<std::size_t>(all)) {
    return "attribute anchors has " + std::to_string(anchors.size()) + " values, expected " +
           std::to_string(2 * all) + ", width and height of as many as num_anchors tells";
  }
  return "";
}

PluginConfig config_of(std::vector<float> const& anchors, Ints const* ints) {
  PluginConfig config{};
  Ints const& num_anchors = ints[kNumAnchorsAt];
  Shape& shape = config.shape;
  shape.batch = 1;
  shape.num_classes = ints[kNumClassesAt][0];
  shape.num_levels = static_cast<std::int32_t>(num_anchors.size());
  float const* next = anchors.data();
  for (std::size_t i = 0; i < num_anchors.size(); ++i) {
    HeadLevel& level = shape.levels[i];
    level.height = level.width = 1;
    level.stride = ints[kStridesAt][i];
    level.num_anchors = num_anchors[i];
    level.channels = num_anchors[i] * (5 + shape.num_classes);
    std::memcpy(level.anchors_px, next,
                2 * sizeof(float) * static_cast<std::size_t>(num_anchors[i]));
    next += 2 * num_anchors[i];
  }
  config.params.max_detections = ints[kMaxDetectionsAt][0];
  config.params.max_candidates = ints[kMaxCandidatesAt][0];
  config.params.multi_label = ints[kMultiLabelAt][0];
  config.params.class_agnostic = ints[kClassAgnosticAt][0];
  return config;
}

void append_word(std::vector<unsigned char>& bytes, std::uint32_t word) {
  unsigned char parts[kWord];
  std::memcpy(parts, &word, kWord);
  bytes.insert(bytes.end(), parts, parts + kWord);
}

/// Reads words from the front of a buffer, never beyond its end.
class WordReader {
 public:
  WordReader(void const* bytes, std::size_t size)
      : next_(static_cast<unsigned char const*>(bytes)), left_(size) {}

  bool take(std::uint32_t& word) {
    if (left_ < kWord) { return false; }
    std::memcpy(&word, next_, kWord);
    skip(1);
    return true;
  }
  std::size_t words_left() const { return left_ / kWord; }
  bool is_at_end() const { return left_ == 0; }
  void const* next() const { return next_; }
  void skip(std::size_t words) {
    next_ += words * kWord;
    left_ -= words * kWord;
  }

 private:
  unsigned char const* next_;
  std::size_t left_;
};

}  // namespace

std::optional<PluginConfig> config_from_fields(Field const* fields, std::int32_t count,
                                               std::string& problem) {
  Field const* sorted[kNumFields] = {};
  std::vector<float> anchors;
  Ints ints[kNumIntFields];
  problem = sort_fields(fields, count, sorted);
  if (problem.empty()) { problem = read_anchors(*sorted[0], anchors); }
  for (int i = 0; problem.empty() && i < kNumIntFields; ++i) {
    problem = read_ints(*sorted[1 + i], kIntRules[i], ints[i]);
  }
  if (problem.empty()) {
    problem = problem_of_lengths(anchors, ints[kNumAnchorsAt], ints[kStridesAt]);
  }
  if (!problem.empty()) { return std::nullopt; }
  return config_of(anchors, ints);
}

ConfigFields::ConfigFields(PluginConfig const& config) {
  for (int i = 0; i < config.shape.num_levels; ++i) {
    HeadLevel const& level = config.shape.levels[i];
    anchors_.insert(anchors_.end(), level.anchors_px, level.anchors_px + 2 * level.num_anchors);
    ints_[kNumAnchorsAt].push_back(level.num_anchors);
    ints_[kStridesAt].push_back(level.stride);
  }
  ints_[kNumClassesAt] = {config.shape.num_classes};
  ints_[kMaxDetectionsAt] = {config.params.max_detections};
  ints_[kMaxCandidatesAt] = {config.params.max_candidates};
  ints_[kMultiLabelAt] = {config.params.multi_label};
  ints_[kClassAgnosticAt] = {config.params.class_agnostic};
  fields_[0] = {kAnchorsName, FieldType::kFloat32, anchors_.data(),
                static_cast<std::int32_t>(anchors_.size())};
  for (int i = 0; i < kNumIntFields; ++i) {
    fields_[1 + i] = {kIntRules[i].name, FieldType::kInt32, ints_[i].data(),
                      static_cast<std::int32_t>(ints_[i].size())};
  }
}

std::vector<unsigned char> bytes_from_config(PluginConfig const& config) {
  ConfigFields const fields(config);
  std::vector<unsigned char> bytes;
  append_word(bytes, kMagic);
  append_word(bytes, kLayoutVersion);
  for (int i = 0; i < kNumFields; ++i) {
    auto const length = static_cast<std::uint32_t>(fields[i].length);
    auto const* values = static_cast<unsigned char const*>(fields[i].data);
    append_word(bytes, length);
    bytes.insert(bytes.end(), values, values + length * kWord);
  }
  return bytes;
}

std::optional<PluginConfig> config_from_bytes(void const* bytes, std::size_t size,
                                              std::string& problem) {
  WordReader reader(bytes, bytes == nullptr ? 0 : size);
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  bool const has_head = reader.take(magic) && reader.take(version);
  if (!has_head || magic != kMagic) {
    problem = "the serialized plugin is not one of YolorNMS: " + std::to_string(size) + " bytes";
    return std::nullopt;
  }
  if (version != kLayoutVersion) {
    problem = "the serialized plugin has layout " + std::to_string(version) + ", expected " +
              std::to_string(kLayoutVersion) + ": it was written by another version of the library";
    return std::nullopt;
  }
  Field fields[kNumFields];
  for (int i = 0; i < kNumFields; ++i) {
    std::uint32_t length = 0;
    if (!reader.take(length) || length > reader.words_left()) {
      problem = std::string("the serialized plugin ends within ") + name_of(i);
      return std::nullopt;
    }
    FieldType const type = i == 0 ? FieldType::kFloat32 : FieldType::kInt32;
    fields[i] = {name_of(i), type, reader.next(), static_cast<std::int32_t>(length)};
    reader.skip(length);
  }
  if (!reader.is_at_end()) {
    problem = "the serialized plugin has bytes behind its end: " + std::to_string(size) + " bytes";
    return std::nullopt;
  }
  return config_from_fields(fields, kNumFields, problem);
}

}  // namespace yolor_nms
