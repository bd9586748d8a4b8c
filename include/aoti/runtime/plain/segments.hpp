// SPDX-License-Identifier: BSD-3-Clause
// Reductions of segments: consecutive parts of a dimension.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Segments {
  /// @param reduce "sum", "mean", "max", "min" or "prod"
  /// @param lengths of the segments; or null if `offsets` has their bounds. Their last dimension
  ///        replaces the one that is reduced; those before it are the data's
  /// @param initial the value that each segment starts with; null for the neutral one, or for NaN
  ///        for means without elements
  static const char* reduce(Body& data, const char* reduce, Handle* lengths, Handle* indices,
                            Handle* offsets, std::int64_t axis, std::int32_t unchecked,
                            const double* initial, Handle* out) noexcept {
    const Body* const by_length = optional(lengths);
    const Body* const given = by_length != nullptr ? by_length : optional(offsets);
    if (optional(indices) != nullptr) return "segments by indices are not supported";
    if (given == nullptr) return "there are neither lengths nor offsets";
    if (!is_floating(data.dtype)) return not_for_dtype;
    if (given->dtype != DType::int64 && given->dtype != DType::int32) return not_for_dtype;
    if (data.rank == 0 || !wrap(axis, data.rank)) return no_dimension;
    if (given->rank != axis + 1) return sizes_differ;
    const Split split{data, axis};
    std::int64_t sizes[Body::max_rank] = {};
    for (std::uint32_t d = 0; d < data.rank; ++d) sizes[d] = data.sizes()[d];
    for (std::int64_t d = 0; d < axis; ++d) {
      if (given->sizes()[d] != sizes[d]) return sizes_differ;
    }
    const std::int64_t ends = given->sizes()[axis], count = by_length != nullptr ? ends : ends - 1;
    if (count < 0) return "there are no offsets";
    sizes[axis] = count;
    const std::string_view name = reduce;
    if (name != "sum" && name != "mean" && name != "max" && name != "min" && name != "prod") {
      return "there is no such reduction";
    }
    Elements from, parts;
    Target to;
    Output result;
    const DType type = computing(data.dtype);
    if (const char* wrong = from.read(data, type)) return wrong;
    if (const char* wrong = parts.read(*given, DType::int64)) return wrong;
    for (std::int64_t o = 0; o < split.outer; ++o) {
      const std::int64_t* const row = parts.data<std::int64_t>() + o * ends;
      std::int64_t at = by_length != nullptr || ends == 0 ? 0 : row[0];
      bool fits = at >= 0 && at <= split.count;
      for (std::int64_t i = by_length != nullptr ? 0 : 1; fits && i < ends; ++i) {
        const std::int64_t length = by_length != nullptr ? row[i] : row[i] - at;
        fits = length >= 0 && length <= split.count - at;
        if (fits) at += length;
      }
      const bool whole = by_length == nullptr || unchecked != 0 || at == split.count;
      if (!fits || !whole) return "the segments do not fit the dimension";
    }
    if (const char* wrong = result.make(data.dtype, sizes, data.rank)) return wrong;
    if (const char* wrong = to.begin(*result, type)) return wrong;
    with_floating(type, [&]<class T>(T) {
      constexpr T infinite = std::numeric_limits<T>::infinity();
      const bool mean = name == "mean";
      const T neutral = name == "max"    ? -infinite
                        : name == "min"  ? infinite
                        : name == "prod" ? T{1}
                                         : T{0};
      const T begin = initial != nullptr ? static_cast<T>(*initial) : neutral;
      T* next = to.data<T>();
      for (std::int64_t o = 0; o < split.outer; ++o) {
        const std::int64_t* const row = parts.data<std::int64_t>() + o * ends;
        std::int64_t at = by_length != nullptr || ends == 0 ? 0 : row[0];
        for (std::int64_t s = 0; s < count; ++s) {
          const std::int64_t length = by_length != nullptr ? row[s] : row[s + 1] - at;
          for (std::int64_t i = 0; i < split.inner; ++i) {
            const T* value = from.data<T>() + (o * split.count + at) * split.inner + i;
            T sum = begin;
            for (std::int64_t k = 0; k < length; ++k, value += split.inner) {
              const bool taken =
                  std::isnan(*value) || (name == "max" ? *value > sum : *value < sum);
              if (name == "max" || name == "min") {
                if (taken) sum = *value;
              } else {
                sum = name == "prod" ? sum * *value : sum + *value;
              }
            }
            if (mean && length > 0 && !std::isnan(sum)) sum /= static_cast<T>(length);
            if (mean && length == 0 && initial == nullptr)
              sum = std::numeric_limits<T>::quiet_NaN();
            *next++ = sum;
          }
          at += length;
        }
      }
    });
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
