// SPDX-License-Identifier: BSD-3-Clause
// The 8-bit floating-point types, converted as in torch.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "aoti/abi/types.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A type with a sign, an exponent and a mantissa.
struct Float8 {
  int mantissa;            ///< Number of bits.
  int bias;                ///< Of the exponent.
  std::uint8_t largest;    ///< The largest finite number.
  std::uint8_t too_large;  ///< The result for larger numbers; without a sign if it is `none`.
  std::uint8_t none;       ///< NaN.

  /// Whether the bits of -0 mean NaN.
  constexpr bool is_unsigned_zero() const noexcept { return none == 0x80; }

  constexpr float to_float(std::uint8_t bits) const noexcept {
    const std::uint32_t sign = std::uint32_t{bits} >> 7 << 31, magnitude = bits & 0x7fu;
    if (magnitude > largest || (is_unsigned_zero() && bits == none)) {
      const bool infinite = magnitude == too_large;
      return infinite ? std::bit_cast<float>(sign | 0x7f800000)
                      : std::numeric_limits<float>::quiet_NaN();
    }
    if (magnitude >> mantissa != 0) {
      return std::bit_cast<float>(
          sign | ((magnitude << (23 - mantissa)) + (static_cast<std::uint32_t>(127 - bias) << 23)));
    }
    const float value = static_cast<float>(magnitude) * power_of_two(1 - bias - mantissa);
    return sign != 0 ? -value : value;
  }

  /// To the nearest, ties to even.
  constexpr std::uint8_t from_float(float value) const noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 31 << 7, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return static_cast<std::uint8_t>(sign | none);
    std::uint32_t rounded = 0;
    if (magnitude < std::bit_cast<std::uint32_t>(power_of_two(1 - bias))) {
      // This addition rounds, and leaves the digits that count last.
      const float shift = power_of_two(1 - bias - mantissa + 23);
      rounded = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + shift) -
                std::bit_cast<std::uint32_t>(shift);
    } else {
      const int dropped = 23 - mantissa;
      rounded = magnitude + (1u << (dropped - 1)) - 1 + (magnitude >> dropped & 1);
      rounded = (rounded >> dropped) - (static_cast<std::uint32_t>(127 - bias) << mantissa);
    }
    if (rounded > largest) rounded = too_large;
    if (is_unsigned_zero() && rounded == 0) return 0;
    return static_cast<std::uint8_t>(sign | rounded);
  }

 private:
  static constexpr float power_of_two(int exponent) noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(127 + exponent) << 23);
  }
};

inline constexpr Float8 float8_e4m3fn{3, 7, 0x7e, 0x7e, 0x7f};
inline constexpr Float8 float8_e5m2{2, 15, 0x7b, 0x7c, 0x7f};
inline constexpr Float8 float8_e4m3fnuz{3, 8, 0x7f, 0x80, 0x80};
inline constexpr Float8 float8_e5m2fnuz{2, 16, 0x7f, 0x80, 0x80};

/// A power of two: the exponent of a float.
constexpr float e8m0_to_float(std::uint8_t bits) noexcept {
  if (bits == 0xff) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(bits == 0 ? 0x00400000u : std::uint32_t{bits} << 23);
}
/// To the nearest, ties up, without the sign.
constexpr std::uint8_t float_to_e8m0(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t exponent = bits >> 23 & 0xff, mantissa = bits & 0x7fffff;
  const bool up = exponent != 0 ? mantissa >= 0x400000 : mantissa > 0x400000;
  return static_cast<std::uint8_t>(exponent + (exponent != 0xff && up ? 1 : 0));
}

}  // namespace aoti::inline AOTI_ABI::detail
