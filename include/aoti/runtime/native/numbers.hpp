// SPDX-License-Identifier: BSD-3-Clause
// Numbers of any dtype, read from memory and written to it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "aoti/abi/types.hpp"
#include "aoti/runtime/native/float8.hpp"

namespace aoti::inline AOTI_ABI::detail {

constexpr float half_to_float(std::uint16_t bits) noexcept {
  const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
  const std::uint32_t exponent = bits >> 10 & 31u, mantissa = bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0xffu << 23 | mantissa << 13);
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

/// To the nearest, ties to even, as the processors do.
constexpr std::uint16_t float_to_half(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 31 << 15);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00);   // not a number
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);  // too large
  if (magnitude < 0x38800000) {  // below 2^-14: adding 0.5 leaves the digits that count last
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000));
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

constexpr float bfloat_to_float(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}
constexpr std::uint16_t float_to_bfloat(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// A number during conversion from one element type to another, without loss.
struct Number {
  enum class Kind : std::uint8_t { floating, natural, integer } kind;
  double floating;
  std::uint64_t integer;  ///< Negative numbers as two's complement.
  double imaginary = 0;
};

/// A complex number, passed as in the C interface.
template <class T> struct alignas(2 * sizeof(T)) Complex {
  T real;
  T imaginary;
};

template <class T> [[gnu::always_inline]] inline T load(const void* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T> Number number_of(T value) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    return {Number::Kind::floating, static_cast<double>(value), 0};
  } else if constexpr (std::is_signed_v<T>) {
    return {Number::Kind::integer, 0, static_cast<std::uint64_t>(static_cast<std::int64_t>(value))};
  } else {
    return {Number::Kind::natural, 0, static_cast<std::uint64_t>(value)};
  }
}

/// Converts like static_cast (only the real part, unless the type is bool), except that
/// floating-point numbers out of range give an unspecified number.
template <class T> T to(const Number& number) noexcept {
  if (number.kind == Number::Kind::floating) {
    if constexpr (std::is_same_v<T, bool>) {
      return number.floating != 0 || number.imaginary != 0;
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(number.floating);
    } else {
      constexpr double limit = 0x1p63;
      if (number.floating >= limit && number.floating < 2 * limit) {
        return static_cast<T>(static_cast<std::uint64_t>(number.floating));
      }
      const bool fits = number.floating >= -limit && number.floating < limit;
      return static_cast<T>(fits ? static_cast<std::int64_t>(number.floating)
                                 : std::numeric_limits<std::int64_t>::min());
    }
  }
  if (number.kind == Number::Kind::natural) return static_cast<T>(number.integer);
  return static_cast<T>(static_cast<std::int64_t>(number.integer));
}

/// Whether torch's checked conversion to a type accepts a number.
template <class T>
bool fits(const Number& number, T most = std::numeric_limits<T>::max()) noexcept {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>) {
    const double value = std::fabs(to<double>(number));
    return !std::isfinite(value) || value <= static_cast<double>(most);
  } else if (number.kind == Number::Kind::floating) {
    const double end = 2.0 * static_cast<double>(std::uint64_t{1} << (Limits::digits - 1));
    return number.floating >= static_cast<double>(Limits::lowest()) && number.floating < end;
  } else {
    T same = 0;
    if (number.kind == Number::Kind::natural) {
      return !__builtin_add_overflow(number.integer, T{0}, &same);
    }
    const auto value = static_cast<std::int64_t>(number.integer);
    if (value < 0 && !Limits::is_signed) {  // torch checks only the magnitude
      return !__builtin_add_overflow(std::uint64_t{0} - number.integer, T{0}, &same);
    }
    return !__builtin_add_overflow(value, T{0}, &same);
  }
}
inline bool fits(DType dtype, const Number& number) noexcept {
  if (dtype == DType::complex64) {
    return fits<float>(number) && fits<float>(number_of(number.imaginary));
  }
  if (number.imaginary != 0) return false;
  switch (dtype) {
    case DType::float32:
      return fits<float>(number);
    case DType::float16:
      return fits<float>(number, 65504);
    case DType::bfloat16:
      return fits<float>(number, 0x1.fep127f);
    case DType::int8:
      return fits<std::int8_t>(number);
    case DType::int16:
      return fits<std::int16_t>(number);
    case DType::int32:
      return fits<std::int32_t>(number);
    case DType::int64:
      return fits<std::int64_t>(number);
    case DType::uint8:
      return fits<std::uint8_t>(number);
    case DType::uint16:
      return fits<std::uint16_t>(number);
    case DType::uint32:
      return fits<std::uint32_t>(number);
    case DType::uint64:
      return fits<std::uint64_t>(number);
    default:
      return true;
  }
}

/// Whether elements of a type can be read and written as numbers.
constexpr bool is_convertible(DType dtype) noexcept {
  return element_size(dtype) != 0 && dtype != DType::float4_e2m1fn_x2;
}

/// Whether torch computes with a type as with real numbers.
constexpr bool is_real(DType dtype) noexcept {
  const std::string_view name = to_string(dtype);
  return is_convertible(dtype) && !name.starts_with("complex") && !name.starts_with("float8");
}

/// The element of a convertible type.
inline Number read_number(DType dtype, const void* from) noexcept {
  const auto complex = [](auto real, auto imaginary) {
    Number number = number_of(real);
    number.imaginary = imaginary;
    return number;
  };
  switch (dtype) {
    case DType::float32:
      return number_of(load<float>(from));
    case DType::float64:
      return number_of(load<double>(from));
    case DType::float16:
      return number_of(half_to_float(load<std::uint16_t>(from)));
    case DType::bfloat16:
      return number_of(bfloat_to_float(load<std::uint16_t>(from)));
    case DType::int8:
      return number_of(load<std::int8_t>(from));
    case DType::int16:
      return number_of(load<std::int16_t>(from));
    case DType::int32:
      return number_of(load<std::int32_t>(from));
    case DType::int64:
      return number_of(load<std::int64_t>(from));
    case DType::uint8:
      return number_of(load<std::uint8_t>(from));
    case DType::uint16:
      return number_of(load<std::uint16_t>(from));
    case DType::uint32:
      return number_of(load<std::uint32_t>(from));
    case DType::uint64:
      return number_of(load<std::uint64_t>(from));
    case DType::boolean:
      return number_of(load<std::uint8_t>(from) != 0);
    case DType::complex32: {
      const auto value = load<Complex<std::uint16_t>>(from);
      return complex(half_to_float(value.real), half_to_float(value.imaginary));
    }
    case DType::complex64: {
      const auto value = load<Complex<float>>(from);
      return complex(value.real, value.imaginary);
    }
    case DType::complex128: {
      const auto value = load<Complex<double>>(from);
      return complex(value.real, value.imaginary);
    }
    case DType::float8_e4m3fn:
      return number_of(float8_e4m3fn.to_float(load<std::uint8_t>(from)));
    case DType::float8_e5m2:
      return number_of(float8_e5m2.to_float(load<std::uint8_t>(from)));
    case DType::float8_e4m3fnuz:
      return number_of(float8_e4m3fnuz.to_float(load<std::uint8_t>(from)));
    case DType::float8_e5m2fnuz:
      return number_of(float8_e5m2fnuz.to_float(load<std::uint8_t>(from)));
    case DType::float8_e8m0fnu:
      return number_of(e8m0_to_float(load<std::uint8_t>(from)));
    default:
      return {};
  }
}

inline void write_number(DType dtype, void* at, const Number& number) noexcept {
  const auto store = [at](auto value) { std::memcpy(at, &value, sizeof value); };
  switch (dtype) {
    case DType::float32:
      return store(to<float>(number));
    case DType::float64:
      return store(to<double>(number));
    case DType::float16:
      return store(float_to_half(to<float>(number)));
    case DType::bfloat16:
      return store(float_to_bfloat(to<float>(number)));
    case DType::int8:
      return store(to<std::int8_t>(number));
    case DType::int16:
      return store(to<std::int16_t>(number));
    case DType::int32:
      return store(to<std::int32_t>(number));
    case DType::int64:
      return store(to<std::int64_t>(number));
    case DType::uint8:
      return store(to<std::uint8_t>(number));
    case DType::uint16:
      return store(to<std::uint16_t>(number));
    case DType::uint32:
      return store(to<std::uint32_t>(number));
    case DType::uint64:
      return store(to<std::uint64_t>(number));
    case DType::boolean:
      return store(static_cast<std::uint8_t>(to<bool>(number)));
    case DType::complex32:
      return store(Complex<std::uint16_t>{float_to_half(to<float>(number)),
                                          float_to_half(static_cast<float>(number.imaginary))});
    case DType::complex64:
      return store(Complex<float>{to<float>(number), static_cast<float>(number.imaginary)});
    case DType::complex128:
      return store(Complex<double>{to<double>(number), number.imaginary});
    case DType::float8_e4m3fn:
      return store(float8_e4m3fn.from_float(to<float>(number)));
    case DType::float8_e5m2:
      return store(float8_e5m2.from_float(to<float>(number)));
    case DType::float8_e4m3fnuz:
      return store(float8_e4m3fnuz.from_float(to<float>(number)));
    case DType::float8_e5m2fnuz:
      return store(float8_e5m2fnuz.from_float(to<float>(number)));
    case DType::float8_e8m0fnu:
      return store(float_to_e8m0(to<float>(number)));
    default:
      return;
  }
}

}  // namespace aoti::inline AOTI_ABI::detail
