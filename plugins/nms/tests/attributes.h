/// Attributes of a YolorNMS node, for tests that spoil them.
#pragma once

#include <string>
#include <vector>

#include "plugin/plugin_config.h"

namespace yolor_nms {

/// Good ones, of two levels; every list may be changed before `fields` is asked.
struct Attributes {
  std::vector<float> anchors{10, 20, 30, 40, 50, 60, 70, 80, 90, 100};
  std::vector<std::int32_t> num_anchors{2, 3};
  std::vector<std::int32_t> strides{8, 16};
  std::vector<std::int32_t> num_classes{7};
  std::vector<std::int32_t> max_detections{300};
  std::vector<std::int32_t> max_candidates{30000};
  std::vector<std::int32_t> multi_label{1};
  std::vector<std::int32_t> class_agnostic{0};

  std::vector<Field> fields() const {
    std::vector<Field> fields{{"anchors", FieldType::kFloat32, anchors.data(), count_of(anchors)}};
    auto const add = [&](char const* name, std::vector<std::int32_t> const& values) {
      fields.push_back({name, FieldType::kInt32, values.data(), count_of(values)});
    };
    add("num_anchors", num_anchors);
    add("strides", strides);
    add("num_classes", num_classes);
    add("max_detections", max_detections);
    add("max_candidates", max_candidates);
    add("multi_label", multi_label);
    add("class_agnostic", class_agnostic);
    return fields;
  }

  template <class Value>
  static std::int32_t count_of(std::vector<Value> const& values) {
    return static_cast<std::int32_t>(values.size());
  }
};

/// Those of a node behind the maps of a shape.
inline Attributes attributes_of(Shape const& shape, Params const& params) {
  Attributes attributes;
  attributes.anchors.clear();
  attributes.num_anchors.clear();
  attributes.strides.clear();
  for (int i = 0; i < shape.num_levels; ++i) {
    HeadLevel const& level = shape.levels[i];
    float const* const end = level.anchors_px + 2 * level.num_anchors;
    attributes.anchors.insert(attributes.anchors.end(), level.anchors_px, end);
    attributes.num_anchors.push_back(level.num_anchors);
    attributes.strides.push_back(level.stride);
  }
  attributes.num_classes = {shape.num_classes};
  attributes.max_detections = {params.max_detections};
  attributes.max_candidates = {params.max_candidates};
  attributes.multi_label = {params.multi_label};
  attributes.class_agnostic = {params.class_agnostic};
  return attributes;
}

/// The config that good attributes tell.
inline PluginConfig config_of(Attributes const& attributes) {
  auto const fields = attributes.fields();
  std::string problem;
  return config_from_fields(fields.data(), Attributes::count_of(fields), problem).value();
}

}  // namespace yolor_nms
