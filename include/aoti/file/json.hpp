// SPDX-License-Identifier: BSD-3-Clause
// JSON as a small tree: the format of metadata, call specs and input specs.
#pragma once

#include <rapidjson/reader.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

enum class JsonKind : std::uint8_t { null, boolean, integer, number, string, array, object };

/// A JSON value. Objects keep the order of their members.
template <class = void> struct BasicJson {
  JsonKind kind = JsonKind::null;
  std::int64_t integer = 0;         ///< An integer; 0 or 1 for a boolean.
  double number = 0;                ///< A number that is not an integer.
  std::string string{};             ///< A string.
  std::vector<std::string> keys{};  ///< An object's keys, one for each item.
  std::vector<BasicJson> items{};   ///< The items of an array or an object.

  /// Parses one JSON document, nested at most 64 levels deep.
  /// @param operation what is parsed, for errors
  /// @errors damaged_package
  static Result<BasicJson> parse(std::string_view text, std::string operation);

  bool is(JsonKind wanted) const noexcept { return kind == wanted; }

  /// The member with that key, or a null value.
  const BasicJson& operator[](std::string_view key) const noexcept {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (keys[i] == key) return items[i];
    }
    static const BasicJson null;
    return null;
  }
};

namespace detail {

/// Builds the tree from RapidJSON's events.
template <class Json> struct JsonBuilder {
  std::vector<Json*> open;  // the arrays and objects that are not closed yet
  Json root;

  /// The place of the next value.
  Json& next() { return open.empty() ? root : open.back()->items.emplace_back(); }
  bool add(Json&& value) { return next() = std::move(value), true; }
  bool begin(JsonKind kind) {
    if (open.size() == 64) return false;
    Json& value = next();
    value.kind = kind;
    open.push_back(&value);
    return true;
  }
  bool end() { return open.pop_back(), true; }
  bool integer(std::int64_t value) {
    return add(Json{.kind = JsonKind::integer, .integer = value});
  }

  bool Null() { return add(Json{}); }
  bool Bool(bool value) { return add(Json{.kind = JsonKind::boolean, .integer = value}); }
  bool Int(int value) { return integer(value); }
  bool Uint(unsigned value) { return integer(value); }
  bool Int64(std::int64_t value) { return integer(value); }
  bool Uint64(std::uint64_t value) {
    return std::in_range<std::int64_t>(value) ? integer(static_cast<std::int64_t>(value))
                                              : Double(static_cast<double>(value));
  }
  bool Double(double value) { return add(Json{.kind = JsonKind::number, .number = value}); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return false; }
  bool String(const char* text, rapidjson::SizeType size, bool) {
    return add(Json{.kind = JsonKind::string, .string = std::string(text, size)});
  }
  bool Key(const char* text, rapidjson::SizeType size, bool) {
    return open.back()->keys.emplace_back(text, size), true;
  }
  bool StartObject() { return begin(JsonKind::object); }
  bool EndObject(rapidjson::SizeType) { return end(); }
  bool StartArray() { return begin(JsonKind::array); }
  bool EndArray(rapidjson::SizeType) { return end(); }
};

}  // namespace detail

template <class T>
Result<BasicJson<T>> BasicJson<T>::parse(std::string_view text, std::string operation) {
  constexpr std::size_t longest = 16 << 20;  // a value takes a hundred times what "1," does
  if (text.size() > longest) {
    return Error{
        Errc::damaged_package, std::move(operation),
        detail::concat({"found ", text.size(), " bytes of JSON, expected at most ", longest})};
  }
  detail::JsonBuilder<BasicJson> builder;
  // In place, on a copy, and recursively: the reader's own stack does arithmetic on a null pointer,
  // which UBSan reports. The builder limits the depth.
  std::string copy{text};
  rapidjson::InsituStringStream stream{copy.data()};
  rapidjson::Reader reader;
  reader.Parse<rapidjson::kParseInsituFlag | rapidjson::kParseNanAndInfFlag>(stream, builder);
  if (reader.HasParseError() || stream.Tell() != text.size()) {  // the reader stops at a null byte
    const std::size_t at = reader.HasParseError() ? reader.GetErrorOffset() : stream.Tell();
    return Error{Errc::damaged_package, std::move(operation),
                 detail::concat({"not readable as JSON at byte ", at, " of ", text.size()})};
  }
  return std::move(builder.root);
}

using Json = BasicJson<>;

}  // namespace aoti::inline AOTI_ABI
