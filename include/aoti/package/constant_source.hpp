// SPDX-License-Identifier: BSD-3-Clause
// The shapes of a model's constants, from the C++ source that torch puts into packages without a
// spec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "aoti/package/constants.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Reads the shapes from the C++ source of a model, which has lines such as
/// `constants_info_[3].shape = {8, 32};`.
template <class = void> struct SourceReader {
  std::string_view text;

  /// The text before `end`, which is skipped.
  std::string_view until(std::string_view end) {
    const std::size_t at = text.find(end);
    const std::string_view found = text.substr(0, at);
    text = at == text.npos ? std::string_view{} : text.substr(at + end.size());
    return found;
  }

  static bool number(std::string_view digits, std::int64_t& out) {
    out = 0;
    for (const char digit : digits) {
      if (digit < '0' || digit > '9' || __builtin_mul_overflow(out, 10, &out) ||
          __builtin_add_overflow(out, digit - '0', &out)) {
        return false;
      }
    }
    return !digits.empty();
  }

  /// "{8, 32}"; numbers may end in L.
  static bool numbers(std::string_view list, std::vector<std::int64_t>& out) {
    if (!list.starts_with('{') || !list.ends_with('}')) return false;
    SourceReader items{list.substr(1, list.size() - 2)};
    while (!items.text.empty()) {
      std::string_view item = items.until(",");
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with('L') || item.ends_with(' ')) item.remove_suffix(1);
      if (!number(item, out.emplace_back())) return false;
    }
    return true;
  }

  void read(std::vector<Constant>& constants) {
    constexpr std::string_view info = "constants_info_[";
    struct Found {
      bool named = false, strided = false, placed = false, sized = false, stepped = false;
      std::int64_t start = 0;  // in its storage, in elements
      std::optional<DeviceType> device;
      std::vector<std::int64_t> shape, strides;
    };
    std::vector<Found> all(constants.size());
    while (until(info), !text.empty()) {
      std::int64_t index = 0;
      if (!number(until("]."), index) || static_cast<std::size_t>(index) >= all.size()) continue;
      Found& found = all[static_cast<std::size_t>(index)];
      const Constant& constant = constants[static_cast<std::size_t>(index)];
      const std::string_view field = until(" = "), value = until(";");
      if (field == "name") found.named = value == concat({"\"", constant.name, "\""});
      if (field == "shape") found.sized = numbers(value, found.shape);
      if (field == "stride") found.stepped = numbers(value, found.strides);
      if (field == "offset") found.placed = number(value, found.start);
      constexpr std::string_view prefix = "cached_torch_device_type_";
      if (DeviceType type{}; field == "device_type" && value.starts_with(prefix) &&
                             parse_device_type(value.substr(prefix.size()), type)) {
        found.device = type;
      }
      if (field == "layout") found.strided = value.find("layout_strided") != value.npos;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Found& found = all[i];
      std::int64_t start = 0;
      if (found.named && found.strided && found.placed && found.sized && found.stepped &&
          !__builtin_mul_overflow(found.start, element_size(constants[i].dtype), &start)) {
        describe(constants[i], found.shape, found.strides);
        constants[i].offset += static_cast<std::size_t>(start);
        constants[i].device = found.device;
      }
    }
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
