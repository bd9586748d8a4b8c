// SPDX-License-Identifier: BSD-3-Clause
// Bags of embeddings: rows of a table, reduced to sums, means or maxima, bag by bag.
#pragma once

#include <cstdint>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Embedding {
  /// @param offsets where each bag begins among the indices; if includes_last is set, the last one
  ///        is where the indices end
  /// @param mode 0 for sums, 1 for means, 2 for maxima
  /// @param weights for sums, one for each index; or null
  /// @param padding the row that is ignored; negative for none
  /// @param bag_of the bag of each index; empty if torch does not need it
  /// @param bag_sizes how many indices each bag has, without ignored ones
  /// @param largest the row of each maximum
  static const char* bag(Body& table, Body& indices, Body& offsets, std::int32_t, std::int64_t mode,
                         std::int32_t, Handle* weights, std::int32_t includes_last,
                         std::int64_t padding, Handle* out, Handle* bag_of, Handle* bag_sizes,
                         Handle* largest) noexcept {
    return run(table, indices, offsets, mode, optional(weights), includes_last != 0, padding, false,
               out, bag_of, bag_sizes, largest);
  }
  static const char* bag_forward_only(Body& table, Body& indices, Body& offsets, std::int32_t,
                                      std::int64_t mode, std::int32_t, Handle* weights,
                                      std::int32_t includes_last, std::int64_t padding, Handle* out,
                                      Handle* bag_of, Handle* bag_sizes, Handle* largest) noexcept {
    return run(table, indices, offsets, mode, optional(weights), includes_last != 0, padding, true,
               out, bag_of, bag_sizes, largest);
  }

 private:
  enum Mode : std::int64_t { sum, mean, max };

  static const char* run(const Body& table, const Body& indices, const Body& offsets,
                         std::int64_t mode, const Body* weights, bool includes_last,
                         std::int64_t padding, bool forward_only, Handle* out, Handle* bag_of,
                         Handle* bag_sizes, Handle* largest) noexcept {
    const auto counts = [](DType type) { return type == DType::int64 || type == DType::int32; };
    if (!is_floating(table.dtype) || !counts(indices.dtype) || !counts(offsets.dtype)) {
      return not_for_dtype;
    }
    if (mode < sum || mode > max) return "there is no such mode";
    if (table.rank != 2 || indices.rank != 1 || offsets.rank != 1) return sizes_differ;
    if (weights != nullptr && (mode != sum || weights->rank != 1 ||
                               weights->count != indices.count || weights->dtype != table.dtype)) {
      return "the weights do not fit the indices";
    }
    if (includes_last && offsets.count == 0) return "there are no offsets";
    const std::int64_t rows = table.sizes()[0], width = table.sizes()[1];
    const std::int64_t bags = offsets.count - (includes_last ? 1 : 0);
    const DType type = computing(table.dtype), wide = DType::int64;
    Elements from, places, begins, scales;
    Output sums, numbers, sizes, best;
    if (const char* wrong = from.read(table, type)) return wrong;
    if (const char* wrong = places.read(indices, wide)) return wrong;
    if (const char* wrong = begins.read(offsets, wide)) return wrong;
    if (weights != nullptr) {
      if (const char* wrong = scales.read(*weights, type)) return wrong;
    }
    const std::int64_t* const place = places.data<std::int64_t>();
    const std::int64_t* const begin = begins.data<std::int64_t>();
    for (std::int64_t i = 0; i < indices.count; ++i) {
      if (place[i] < 0 || place[i] >= rows) return index_out_of_range;
    }
    for (std::int64_t i = 0; i < offsets.count; ++i) {
      const std::int64_t least = i == 0 ? 0 : begin[i - 1];
      const bool fits = i == 0 ? begin[i] == 0 : begin[i] >= least && begin[i] <= indices.count;
      if (!fits) return "the offsets do not begin with 0, do not rise, or go beyond the indices";
    }
    const bool fast = mode == sum && table.dtype != DType::float64 && table.strides()[1] == 1 &&
                      padding < 0 && (weights == nullptr || weights->strides()[0] == 1);
    const std::int64_t shape[] = {bags, width};
    const std::int64_t listed = mode == sum && fast ? 0 : indices.count;
    const std::int64_t sized = forward_only && mode == sum ? offsets.count : bags;
    if (const char* wrong = sums.make(table.dtype, shape, 2)) return wrong;
    if (const char* wrong = numbers.make(offsets.dtype, &listed, 1)) return wrong;
    if (const char* wrong = sizes.make(offsets.dtype, &sized, 1)) return wrong;
    const char* wrong =
        mode == max ? best.make(offsets.dtype, shape, 2) : best.make(offsets.dtype, &sized, 1);
    if (wrong != nullptr) return wrong;
    Target to, bag_at, size_at, best_at;
    if ((wrong = to.begin(*sums, type)) != nullptr) return wrong;
    if ((wrong = bag_at.begin(*numbers, wide)) != nullptr) return wrong;
    if ((wrong = size_at.begin(*sizes, wide)) != nullptr) return wrong;
    if ((wrong = best_at.begin(*best, wide)) != nullptr) return wrong;
    for (std::int64_t i = 0; i < sized; ++i) size_at.data<std::int64_t>()[i] = 0;
    for (std::int64_t i = 0; i < best->count; ++i) best_at.data<std::int64_t>()[i] = 0;

    with_floating(type, [&]<class T>(T) {
      for (std::int64_t b = 0; b < bags; ++b) {
        T* const row = to.data<T>() + b * width;
        std::int64_t* const winners =
            mode == max ? best_at.data<std::int64_t>() + b * width : nullptr;
        const std::int64_t end = b + 1 < offsets.count ? begin[b + 1] : indices.count;
        std::int64_t count = 0;
        for (std::int64_t d = 0; d < width; ++d) row[d] = 0;
        for (std::int64_t i = begin[b]; i < end; ++i) {
          if (listed != 0) bag_at.data<std::int64_t>()[i] = b;
          if (place[i] == padding) continue;
          const T* const next = from.data<T>() + place[i] * width;
          const T scale = weights != nullptr ? scales.data<T>()[i] : T{1};
          for (std::int64_t d = 0; d < width; ++d) {
            if (mode != max) {
              row[d] += next[d] * scale;
            } else if (count == 0 || next[d] > row[d]) {
              row[d] = next[d];
              winners[d] = place[i];
            }
          }
          ++count;
        }
        if (mode == mean && count != 0) {
          for (std::int64_t d = 0; d < width; ++d) row[d] /= static_cast<T>(count);
        }
        size_at.data<std::int64_t>()[b] = count;
      }
    });
    for (Target* done : {&to, &bag_at, &size_at, &best_at}) {
      if ((wrong = done->finish()) != nullptr) return wrong;
    }
    sums.give(out);
    numbers.give(bag_of);
    sizes.give(bag_sizes);
    best.give(largest);
    return nullptr;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
