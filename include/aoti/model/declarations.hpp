// SPDX-License-Identifier: BSD-3-Clause
// How a model written in C++ declares its inputs, outputs and constants.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aoti/abi/types.hpp"
#include "aoti/model/tensor.hpp"
#include "aoti/package/constants.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// One dimension of an input or output: a size; or the name of a size that is the same wherever the
/// name is used, "batch"; or `any`.
struct Dim {
  std::int64_t size = -1;      ///< -1 if every size is allowed.
  const char* name = nullptr;  ///< Of a size that is not fixed; may be null.

  constexpr Dim() noexcept = default;
  constexpr Dim(int fixed) noexcept : size{fixed} {}
  constexpr Dim(long fixed) noexcept : size{fixed} {}
  constexpr Dim(const char* tied) noexcept : name{tied} {}
};
inline constexpr Dim any{};

/// An input or output: a row-major tensor.
struct Port {
  const char* name = "";
  DType dtype = DType::float32;
  std::array<Dim, max_rank> dims{};
  std::size_t rank = 0;
};

/// Declares an input or output: `tensor<float>("x", "batch", 3)` is of float32, with a size that
/// other ports may share, and a fixed one. Hosts that read the package's spec check inputs by it.
template <class T, class... Size>
requires(sizeof...(Size) <= max_rank) constexpr Port tensor(const char* name, Size... sizes) {
  return {name, dtype_of<T>, {Dim{sizes}...}, sizeof...(Size)};
}

/// Sizes of a constant: `Shape{3, 4}`.
struct Shape {
  std::array<std::int64_t, max_rank> sizes{};
  std::size_t rank = 0;

  constexpr Shape() noexcept = default;
  template <class... Size>
  requires(sizeof...(Size) > 0 &&
           sizeof...(Size) <= max_rank) constexpr Shape(Size... size) noexcept
      : sizes{static_cast<std::int64_t>(size)...}, rank{sizeof...(Size)} {}

  /// The number of elements; -1 if a size is negative.
  constexpr std::int64_t count() const noexcept {
    std::int64_t count = 1;
    for (std::size_t d = 0; d < rank; ++d) {
      if (sizes[d] < 0) return -1;
      count *= sizes[d];
    }
    return count;
  }
};

/// A constant of a model: a row-major tensor that the model holds, by its name in the weights.
struct Declared {
  const char* name = "";
  DType dtype = DType::float32;
  Shape shape{};
  ConstantKind kind = ConstantKind::parameter;
  const void* data = nullptr;  ///< Initial elements, of static lifetime; null if the host sets it.
  std::int64_t data_count = -1;  ///< The number of elements in `data`; -1 for none.
};

/// A weight whose first value is part of the model: `parameter("w", {2, 2}, values)`, where
/// `values` is a static constexpr std::array.
template <class T, std::size_t count>
constexpr Declared parameter(const char* name, Shape shape, const std::array<T, count>& values) {
  return {name, dtype_of<T>, shape, ConstantKind::parameter, values.data(), count};
}
/// A weight that the host must set, or that lies in the package: `parameter<float>("w", {2, 2})`.
template <class T> constexpr Declared parameter(const char* name, Shape shape) {
  return {name, dtype_of<T>, shape, ConstantKind::parameter};
}

/// State, which a run may change. All instances of a model share it.
template <class T, std::size_t count>
constexpr Declared buffer(const char* name, Shape shape, const std::array<T, count>& values) {
  return {name, dtype_of<T>, shape, ConstantKind::buffer, values.data(), count};
}

/// A constant that `fold` computes from the others whenever these have changed.
template <class T> constexpr Declared folded(const char* name, Shape shape) {
  return {name, dtype_of<T>, shape, ConstantKind::folded};
}

namespace detail {

/// Whether each initial value has as many elements as its shape.
template <class Constants> constexpr bool values_fit(const Constants& constants) noexcept {
  for (const Declared& one : constants) {
    if (one.shape.count() < 0) return false;
    if (one.data_count >= 0 && one.data_count != one.shape.count()) return false;
  }
  return true;
}

template <class Constants> constexpr bool names_differ(const Constants& constants) noexcept {
  for (std::size_t i = 0; i < constants.size(); ++i) {
    if (std::string_view{constants[i].name}.empty()) return false;
    for (std::size_t k = 0; k < i; ++k) {
      if (std::string_view{constants[i].name} == constants[k].name) return false;
    }
  }
  return true;
}

/// Either all weights have initial values, or none has: a host loads all of them, or none.
template <class Constants> constexpr bool have_values_or_not(const Constants& constants) noexcept {
  bool with = false, without = false;
  for (const Declared& one : constants) {
    if (one.kind == ConstantKind::folded) continue;
    (one.data_count >= 0 ? with : without) = true;
  }
  return !(with && without);
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
