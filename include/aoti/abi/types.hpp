// SPDX-License-Identifier: BSD-3-Clause
// Element types and device types by their numbers in torch's C interface.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI {

/// Element types; the values are c10::ScalarType's, which is what the C interface passes.
enum class DType : std::int32_t {
  uint8 = 0,
  int8 = 1,
  int16 = 2,
  int32 = 3,
  int64 = 4,
  float16 = 5,
  float32 = 6,
  float64 = 7,
  complex32 = 8,
  complex64 = 9,
  complex128 = 10,
  boolean = 11,
  bfloat16 = 15,
  float8_e5m2 = 23,
  float8_e4m3fn = 24,
  float8_e5m2fnuz = 25,
  float8_e4m3fnuz = 26,
  uint16 = 27,
  uint32 = 28,
  uint64 = 29,
  float8_e8m0fnu = 44,
  float4_e2m1fn_x2 = 45,
};

/// Device types; the values are c10::DeviceType's.
enum class DeviceType : std::int32_t {
  cpu = 0,
  cuda = 1,
  xpu = 12,
  mps = 13,
  meta = 14,
  privateuse1 = 20
};

namespace abi {

struct DTypeRow {
  DType dtype;
  std::string_view name;  ///< As torch prints it, without "torch.".
  std::size_t size;       ///< Bytes of one element.
};

inline constexpr std::array dtype_rows{
    DTypeRow{DType::uint8, "uint8", 1},
    DTypeRow{DType::int8, "int8", 1},
    DTypeRow{DType::int16, "int16", 2},
    DTypeRow{DType::int32, "int32", 4},
    DTypeRow{DType::int64, "int64", 8},
    DTypeRow{DType::float16, "float16", 2},
    DTypeRow{DType::float32, "float32", 4},
    DTypeRow{DType::float64, "float64", 8},
    DTypeRow{DType::complex32, "complex32", 4},
    DTypeRow{DType::complex64, "complex64", 8},
    DTypeRow{DType::complex128, "complex128", 16},
    DTypeRow{DType::boolean, "bool", 1},
    DTypeRow{DType::bfloat16, "bfloat16", 2},
    DTypeRow{DType::float8_e5m2, "float8_e5m2", 1},
    DTypeRow{DType::float8_e4m3fn, "float8_e4m3fn", 1},
    DTypeRow{DType::float8_e5m2fnuz, "float8_e5m2fnuz", 1},
    DTypeRow{DType::float8_e4m3fnuz, "float8_e4m3fnuz", 1},
    DTypeRow{DType::uint16, "uint16", 2},
    DTypeRow{DType::uint32, "uint32", 4},
    DTypeRow{DType::uint64, "uint64", 8},
    DTypeRow{DType::float8_e8m0fnu, "float8_e8m0fnu", 1},
    DTypeRow{DType::float4_e2m1fn_x2, "float4_e2m1fn_x2", 1},
};

struct DeviceTypeRow {
  DeviceType type;
  std::string_view name;
};

inline constexpr std::array device_type_rows{
    DeviceTypeRow{DeviceType::cpu, "cpu"},
    DeviceTypeRow{DeviceType::cuda, "cuda"},
    DeviceTypeRow{DeviceType::xpu, "xpu"},
    DeviceTypeRow{DeviceType::mps, "mps"},
    DeviceTypeRow{DeviceType::meta, "meta"},
    DeviceTypeRow{DeviceType::privateuse1, "privateuseone"},
};

}  // namespace abi

/// "float32"; "unknown dtype" for numbers without a name here.
constexpr std::string_view to_string(DType dtype) noexcept {
  for (const auto& row : abi::dtype_rows) {
    if (row.dtype == dtype) return row.name;
  }
  return "unknown dtype";
}

/// "cuda"; "unknown device" for numbers without a name here.
constexpr std::string_view to_string(DeviceType type) noexcept {
  for (const auto& row : abi::device_type_rows) {
    if (row.type == type) return row.name;
  }
  return "unknown device";
}

/// The element type with that name; false if there is none.
constexpr bool parse_dtype(std::string_view name, DType& out) noexcept {
  for (const auto& row : abi::dtype_rows) {
    if (row.name != name) continue;
    out = row.dtype;
    return true;
  }
  return false;
}

/// The device type with that name; false if there is none.
constexpr bool parse_device_type(std::string_view name, DeviceType& out) noexcept {
  for (const auto& row : abi::device_type_rows) {
    if (row.name != name) continue;
    out = row.type;
    return true;
  }
  return false;
}

/// The element type of a C++ type.
template <class T>
inline constexpr DType dtype_of = [] {
  using U = std::remove_cv_t<T>;
  if constexpr (std::same_as<U, bool>) {
    return DType::boolean;
  } else if constexpr (std::same_as<U, float>) {
    return DType::float32;
  } else if constexpr (std::same_as<U, double>) {
    return DType::float64;
  } else {
    static_assert(std::integral<U> && sizeof(U) <= 8, "there is no element type for this C++ type");
    constexpr DType signed_types[] = {DType::int8, DType::int16, DType::int32, DType::int64};
    constexpr DType unsigned_types[] = {DType::uint8, DType::uint16, DType::uint32, DType::uint64};
    constexpr int log = sizeof(U) == 1 ? 0 : sizeof(U) == 2 ? 1 : sizeof(U) == 4 ? 2 : 3;
    return std::is_signed_v<U> ? signed_types[log] : unsigned_types[log];
  }
}();

namespace abi {

/// The size of each element type by its number; 0 for numbers without a type.
inline constexpr auto element_sizes = [] {
  std::array<std::uint8_t, 64> sizes{};
  for (const auto& row : dtype_rows) {
    sizes[static_cast<std::size_t>(row.dtype)] = static_cast<std::uint8_t>(row.size);
  }
  return sizes;
}();

}  // namespace abi

/// The bytes of one element; 0 for numbers without a name here.
constexpr std::size_t element_size(DType dtype) noexcept {
  const auto number = static_cast<std::uint32_t>(dtype);
  return number < abi::element_sizes.size() ? abi::element_sizes[number] : 0;
}

}  // namespace aoti::inline AOTI_ABI
