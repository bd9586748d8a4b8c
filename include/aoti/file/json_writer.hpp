// SPDX-License-Identifier: BSD-3-Clause
// Writes JSON. RapidJSON's writer adds to null pointers, which sanitizers report.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Appends values to a text, with the commas between them.
class JsonWriter {
 public:
  const std::string& text() const noexcept { return text_; }

  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }

  /// Before a value of an object.
  void key(std::string_view name) {
    value(name);
    text_ += ':';
    first_ = true;
  }

  /// UTF-8.
  void value(std::string_view string) {
    separate();
    text_ += '"';
    for (const char c : string) {
      if (c == '"' || c == '\\') {
        (text_ += '\\') += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        constexpr const char* digits = "0123456789abcdef";
        ((text_ += "\\u00") += digits[c >> 4]) += digits[c & 15];
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }
  void value(std::int64_t number) {
    separate();
    text_ += std::to_string(number);
  }
  template <std::same_as<bool> Truth> void value(Truth truth) {
    separate();
    text_ += truth ? "true" : "false";
  }
  void null() {
    separate();
    text_ += "null";
  }

 private:
  void separate() {
    if (!first_) text_ += ',';
    first_ = false;
  }
  void begin(char open) {
    separate();
    text_ += open;
    first_ = true;
  }
  void end(char close) {
    text_ += close;
    first_ = false;
  }

  std::string text_;
  bool first_ = true;
};

}  // namespace aoti::inline AOTI_ABI::detail
