/// What a plugin is made from: good attributes are read, bad ones are refused by name, and bytes
/// that something damaged never do more harm than that.

#include <cmath>
#include <cstring>
#include <functional>

#include "attributes.h"
#include "expect.h"

namespace {

using namespace yolor_nms;

bool is_sound(PluginConfig const& config) {
  return first_error(config.shape) == Error::kNone && first_error(config.params) == Error::kNone;
}

bool is_same(PluginConfig const& a, PluginConfig const& b) {
  return std::memcmp(&a.shape, &b.shape, sizeof(Shape)) == 0 &&
         std::memcmp(&a.params, &b.params, sizeof(Params)) == 0;
}

/// The message that attributes are refused with.
std::string problem_of(std::vector<Field> const& fields) {
  std::string problem;
  auto const config = config_from_fields(fields.data(), Attributes::count_of(fields), problem);
  EXPECT(!config && !problem.empty());
  return problem;
}

void expect_problem(std::string const& expected, std::function<void(Attributes&)> const& spoil) {
  Attributes attributes;
  spoil(attributes);
  std::string const problem = problem_of(attributes.fields());
  if (problem != expected) { std::fprintf(stderr, "problem is: %s\n", problem.c_str()); }
  EXPECT(problem == expected);
}

void expect_field_problem(std::string const& expected,
                          std::function<void(std::vector<Field>&)> const& spoil) {
  Attributes const attributes;
  auto fields = attributes.fields();
  spoil(fields);
  std::string const problem = problem_of(fields);
  if (problem != expected) { std::fprintf(stderr, "problem is: %s\n", problem.c_str()); }
  EXPECT(problem == expected);
}

void good_attributes_are_read() {
  PluginConfig const config = config_of(Attributes());

  EXPECT(is_sound(config));
  EXPECT(config.shape.batch == 1 && config.shape.num_classes == 7 && config.shape.num_levels == 2);
  HeadLevel const& level = config.shape.levels[1];
  EXPECT(level.stride == 16 && level.num_anchors == 3 && level.channels == 36);
  EXPECT(level.anchors_px[0] == 50.0F && level.anchors_px[5] == 100.0F);
  EXPECT(config.params.max_detections == 300 && config.params.max_candidates == 30000);
  EXPECT(config.params.multi_label == 1 && config.params.class_agnostic == 0);
}

void attributes_come_in_any_order_and_as_int64_at_any_address() {
  Attributes const attributes;
  auto fields = attributes.fields();
  std::vector<std::vector<char>> copies;  // 1 byte off
  for (Field& field : fields) {
    std::vector<char> copy(1);
    for (std::int32_t i = 0; i < field.length; ++i) {
      char wide[8];
      std::size_t size = sizeof(float);
      std::memcpy(wide, static_cast<char const*>(field.data) + i * 4, 4);
      if (field.type == FieldType::kInt32) {
        std::int32_t narrow = 0;
        std::memcpy(&narrow, wide, 4);
        std::int64_t const value = narrow;
        std::memcpy(wide, &value, size = sizeof(value));
      }
      copy.insert(copy.end(), wide, wide + size);
    }
    copies.push_back(std::move(copy));
    field.data = copies.back().data() + 1;
    if (field.type == FieldType::kInt32) { field.type = FieldType::kInt64; }
  }
  std::swap(fields[0], fields[7]);
  std::swap(fields[2], fields[5]);

  std::string problem;
  auto const config = config_from_fields(fields.data(), 8, problem);

  EXPECT(config && is_same(*config, config_of(attributes)));
}

void a_bad_value_is_named_with_what_was_expected() {
  expect_problem("attribute num_anchors: value 9 at index 1, expected 1 to 8",
                 [](Attributes& a) { a.num_anchors[1] = 9; });
  expect_problem("attribute strides: value 0 at index 0, expected 1 to 65536",
                 [](Attributes& a) { a.strides[0] = 0; });
  expect_problem("attribute num_classes: value 65537 at index 0, expected 1 to 65536",
                 [](Attributes& a) { a.num_classes[0] = 65537; });
  expect_problem("attribute max_detections: value -1 at index 0, expected 1 to 1073741824",
                 [](Attributes& a) { a.max_detections[0] = -1; });
  expect_problem("attribute max_candidates: value 0 at index 0, expected 1 to 1073741824",
                 [](Attributes& a) { a.max_candidates[0] = 0; });
  expect_problem("attribute multi_label: value 2 at index 0, expected 0 to 1",
                 [](Attributes& a) { a.multi_label[0] = 2; });
  expect_problem("attribute class_agnostic: value -1 at index 0, expected 0 to 1",
                 [](Attributes& a) { a.class_agnostic[0] = -1; });
  for (float side : {0.0F, -1.0F, NAN, HUGE_VALF, 0x1.8p+24F}) {
    Attributes spoilt;
    spoilt.anchors[3] = side;
    EXPECT(problem_of(spoilt.fields()) == "attribute anchors: value " + std::to_string(side) +
                                              " at index 3, expected above 0 and at most 2^24");
  }
}

void a_bad_length_is_named_with_what_was_expected() {
  expect_problem("attribute num_classes has 2 values, expected 1",
                 [](Attributes& a) { a.num_classes.push_back(1); });
  expect_problem("attribute num_anchors has 0 values, expected 1 to 6",
                 [](Attributes& a) { a.num_anchors.clear(); });
  expect_problem("attribute strides has 7 values, expected 1 to 6",
                 [](Attributes& a) { a.strides.assign(7, 8); });
  expect_problem("attribute strides has 3 values, expected 2, as many as num_anchors",
                 [](Attributes& a) { a.strides.push_back(32); });
  expect_problem(
      "attribute anchors has 9 values, expected 10, width and height of as many as num_anchors "
      "tells",
      [](Attributes& a) { a.anchors.pop_back(); });
  expect_problem("attribute anchors has 98 values, expected 1 to 96",
                 [](Attributes& a) { a.anchors.assign(98, 1.0F); });
  expect_field_problem("attribute anchors has -1 values, expected 1 to 96",
                       [](std::vector<Field>& f) { f[0].length = -1; });
}

void a_bad_field_is_named() {
  for (std::size_t i = 0; i < 8; ++i) {
    std::string const name = Attributes().fields()[i].name;
    expect_field_problem("attribute " + name + " is missing", [i](std::vector<Field>& f) {
      f.erase(f.begin() + static_cast<std::ptrdiff_t>(i));
    });
    expect_field_problem("attribute " + name + " is given twice",
                         [i](std::vector<Field>& f) { f.push_back(f[i]); });
    expect_field_problem("attribute " + name + " has no data",
                         [i](std::vector<Field>& f) { f[i].data = nullptr; });
    char const* const expected = i == 0 ? " is not float32" : " is neither int32 nor int64";
    expect_field_problem("attribute " + name + expected,
                         [i](std::vector<Field>& f) { f[i].type = FieldType::kOther; });
  }
  expect_field_problem("attribute num_class is unknown",
                       [](std::vector<Field>& f) { f[3].name = "num_class"; });
  expect_field_problem("an attribute has no name",
                       [](std::vector<Field>& f) { f[3].name = nullptr; });
  expect_field_problem("attribute anchors is missing", [](std::vector<Field>& f) { f.clear(); });
  std::string problem;
  EXPECT(!config_from_fields(nullptr, 8, problem) && problem == "there are no attributes");
}

void a_value_of_int64_is_not_cut_to_32_bits() {
  std::int64_t const many = (std::int64_t{1} << 32) + 300;
  expect_field_problem(
      "attribute max_detections: value 4294967596 at index 0, expected 1 to "
      "1073741824",
      [&](std::vector<Field>& f) {
        f[4].type = FieldType::kInt64;
        f[4].data = &many;
      });
}

void fields_of_a_config_are_those_it_was_made_from() {
  Attributes const attributes;
  ConfigFields const fields(config_of(attributes));
  auto const expected = attributes.fields();
  for (int i = 0; i < kNumFields; ++i) {
    Field const& field = expected[static_cast<std::size_t>(i)];
    EXPECT(std::strcmp(fields[i].name, field.name) == 0);
    EXPECT(fields[i].type == field.type && fields[i].length == field.length);
    auto const bytes = static_cast<std::size_t>(field.length) * 4;
    EXPECT(std::memcmp(fields[i].data, field.data, bytes) == 0);
  }
}

std::optional<PluginConfig> read_exactly(std::vector<unsigned char> const& bytes) {
  // Memory of just this size, so that a sanitizer sees a read beyond it.
  std::vector<unsigned char> exact(bytes.begin(), bytes.end());
  exact.shrink_to_fit();
  std::string problem;
  auto config = config_from_bytes(exact.data(), exact.size(), problem);
  EXPECT(config || !problem.empty());
  EXPECT(!config || is_sound(*config));
  return config;
}

void a_config_survives_as_bytes() {
  PluginConfig const config = config_of(Attributes());

  auto const read = read_exactly(bytes_from_config(config));

  EXPECT(read && is_same(*read, config));
}

void bytes_of_another_length_are_refused() {
  auto bytes = bytes_from_config(config_of(Attributes()));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT(!read_exactly({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}));
  }
  bytes.push_back(0);
  EXPECT(!read_exactly(bytes));
  std::string problem;
  EXPECT(!config_from_bytes(nullptr, 100, problem) && !problem.empty());
}

void flipped_bits_are_refused_or_tell_another_sound_config() {
  PluginConfig const config = config_of(Attributes());
  auto const bytes = bytes_from_config(config);
  int refused = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] = static_cast<unsigned char>(flipped[bit / 8] ^ (1U << bit % 8));
    auto const read = read_exactly(flipped);
    EXPECT(!read || !is_same(*read, config));
    refused += read ? 0 : 1;
  }
  EXPECT(refused > 64);  // at least all of the head
}

void every_word_of_bytes_may_be_anything() {
  auto const bytes = bytes_from_config(config_of(Attributes()));
  for (std::size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    for (std::uint32_t word : {0U, 1U, 2U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU, 0x3FFFFFFFU}) {
      auto damaged = bytes;
      std::memcpy(&damaged[at], &word, 4);
      read_exactly(damaged);
    }
  }
}

void bytes_of_another_layout_say_so() {
  auto bytes = bytes_from_config(config_of(Attributes()));
  bytes[4] = 2;
  std::string problem;
  EXPECT(!config_from_bytes(bytes.data(), bytes.size(), problem));
  EXPECT(problem.find("layout 2, expected 1") != std::string::npos);
}

}  // namespace

int main() {
  good_attributes_are_read();
  attributes_come_in_any_order_and_as_int64_at_any_address();
  a_bad_value_is_named_with_what_was_expected();
  a_bad_length_is_named_with_what_was_expected();
  a_bad_field_is_named();
  a_value_of_int64_is_not_cut_to_32_bits();
  fields_of_a_config_are_those_it_was_made_from();
  a_config_survives_as_bytes();
  bytes_of_another_length_are_refused();
  flipped_bits_are_refused_or_tell_another_sound_config();
  every_word_of_bytes_may_be_anything();
  bytes_of_another_layout_say_so();
}
