// SPDX-License-Identifier: BSD-3-Clause
// Bytes that somebody else owns, and checked reads from them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI {

using Bytes = std::span<const std::byte>;

namespace detail {

/// Whether [offset, offset + size) lies within `total` bytes, for any numbers.
constexpr bool within(std::uint64_t offset, std::uint64_t size, std::uint64_t total) noexcept {
  return offset <= total && size <= total - offset;
}

/// Copies a T from `offset`, unaligned; false if it does not lie within the bytes. Numbers have
/// this machine's byte order, which is little-endian wherever aoti runs.
template <class T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] bool read(Bytes bytes, std::uint64_t offset, T& out) noexcept {
  if (!within(offset, sizeof(T), bytes.size())) return false;
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return true;
}

inline std::string_view as_text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
