// SPDX-License-Identifier: BSD-3-Clause
// Operators that order elements: sort, topk, kthvalue, median, mode, and running extremes.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

/// Integers in torch's order of the elements: -0 equals 0, and NaN comes last.
struct Keys {
  static constexpr std::uint64_t sign = std::uint64_t{1} << 63, none = ~std::uint64_t{0};

  explicit Keys(DType of) noexcept : dtype{of} {}

  bool is_nan(std::uint64_t key) const noexcept { return is_floating(dtype) && key == none; }

  static std::uint64_t of(double value) noexcept {
    if (std::isnan(value)) return none;
    const auto bits = std::bit_cast<std::uint64_t>(value + 0.0);  // turns -0 into 0
    return (bits & sign) != 0 ? ~bits : bits | sign;
  }
  static std::uint64_t of(const Number& number) noexcept {
    if (number.kind == Number::Kind::floating) return of(number.floating);
    return number.kind == Number::Kind::natural ? number.integer : number.integer ^ sign;
  }

  /// Calls `each(i, key)` for the elements of a line.
  template <class Each>
  void read(const std::byte* from, std::int64_t count, std::int64_t step, Each each) const {
    const auto all = [&](auto key) {
      for (std::int64_t i = 0; i < count; ++i, from += step) each(i, key(from));
    };
    switch (dtype) {
      case DType::float32:
        return all([](const std::byte* at) { return of(load<float>(at)); });
      case DType::int64:
        return all([](const std::byte* at) { return load<std::uint64_t>(at) ^ sign; });
      default:
        return all([this](const std::byte* at) { return of(read_number(dtype, at)); });
    }
  }

  DType dtype;
};

struct Ranked {
  std::uint64_t key;
  std::int64_t index;
};
struct ByKey {
  bool operator()(const Ranked& a, const Ranked& b) const noexcept { return a.key < b.key; }
};
struct ByKeyAndIndex {
  bool operator()(const Ranked& a, const Ranked& b) const noexcept {
    return a.key != b.key ? a.key < b.key : a.index < b.index;
  }
};

/// A tensor of results, addressed by the dimensions of the operand.
struct Ranks {
  /// @param dropped the dimension that the results lack; the number of dimensions if none
  Ranks(const Body& body, std::int64_t dropped) noexcept : data{body.data} {
    for (std::uint32_t d = 0, from = 0; from < body.rank; ++d) {
      strides[d] = d == dropped ? 0 : body.strides()[from++];
    }
  }
  std::byte* data;
  std::int64_t strides[Body::max_rank + 1] = {};
};

struct Order {
  /// Sorts along a dimension, stably; the results have the tensor's layout, made dense.
  static const char* sort_stable(Body& self, std::int32_t*, std::int64_t dimension,
                                 std::int32_t descending, Handle* values,
                                 Handle* indices) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    std::int64_t strides[Body::max_rank];
    dense_strides(self, strides);
    return rank(self, dimension, descending != 0, length(self, dimension), false, strides, values,
                indices, [](Ranked* line, std::int64_t count) {
                  std::sort(line, line + count, ByKeyAndIndex{});
                  return line;
                });
  }
  static const char* sort(Body& self, std::int64_t dimension, std::int32_t descending,
                          Handle* values, Handle* indices) noexcept {
    return sort_stable(self, nullptr, dimension, descending, values, indices);
  }

  /// Equal elements are chosen and ordered as in torch.
  static const char* topk(Body& self, std::int64_t k, std::int64_t dimension, std::int32_t largest,
                          std::int32_t sorted, Handle* values, Handle* indices) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    if (k < 0 || k > length(self, dimension)) return "there are fewer elements than k";
    return rank(self, dimension, largest != 0, k, false, nullptr, values, indices,
                [=](Ranked* line, std::int64_t count) {
                  if (k == 0) return line;
                  if (k * 64 <= count) {
                    std::partial_sort(line, line + k, line + count, ByKey{});
                  } else {
                    std::nth_element(line, line + k - 1, line + count, ByKey{});
                    if (sorted != 0) std::sort(line, line + k - 1, ByKey{});
                  }
                  return line;
                });
  }

  /// Of equal elements, the first.
  static const char* kthvalue(Body& self, std::int64_t k, std::int64_t dimension,
                              std::int32_t keeps, Handle* values, Handle* indices) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    if (k < 1 || k > length(self, dimension)) return "there are fewer elements than k";
    return rank(self, dimension, false, 1, keeps == 0, nullptr, values, indices,
                [k](Ranked* line, std::int64_t count) {
                  std::nth_element(line, line + k - 1, line + count, ByKeyAndIndex{});
                  return line + k - 1;
                });
  }

  /// The smallest of the most frequent elements; NaN comes last, and each counts as different.
  static const char* mode(Body& self, std::int64_t dimension, std::int32_t keeps, Handle* values,
                          Handle* indices) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    if (length(self, dimension) == 0) return "the dimension has no elements";
    const Keys keys{self.dtype};
    return rank(
        self, dimension, false, 1, keeps == 0, nullptr, values, indices,
        [keys](Ranked* line, std::int64_t count) {
          std::sort(line, line + count, ByKey{});
          const Ranked* most = line;
          std::int64_t times = 0, run = 0;
          for (std::int64_t i = 0; i < count; ++i) {
            ++run;
            if (i + 1 < count && line[i].key == line[i + 1].key && !keys.is_nan(line[i].key)) {
              continue;
            }
            if (run > times) most = line + i, times = run;
            run = 0;
          }
          return most;
        });
  }

  /// The lower median of all elements; NaN if there is one.
  static const char* median(Body& self, Handle* out) noexcept { return middle(self, false, out); }
  /// The same, ignoring NaN.
  static const char* nanmedian(Body& self, Handle* out) noexcept { return middle(self, true, out); }

  /// The running maximum, and of equal elements the last; NaN stays.
  static const char* cummax(Body& self, std::int64_t dimension, Handle* values,
                            Handle* indices) noexcept {
    return extremes(self, dimension, true, values, indices);
  }
  static const char* cummin(Body& self, std::int64_t dimension, Handle* values,
                            Handle* indices) noexcept {
    return extremes(self, dimension, false, values, indices);
  }

 private:
  static std::int64_t length(const Body& tensor, std::int64_t dimension) noexcept {
    return tensor.rank != 0 ? tensor.sizes()[dimension] : 1;
  }

  /// Ranks the elements of each line along a dimension: `rank(line, count)` returns the `kept` ones
  /// that the results take, in order.
  /// @param drops whether the results lack that dimension
  /// @param strides of the results; null for row-major
  template <class Rank>
  static const char* rank(const Body& self, std::int64_t dimension, bool descending,
                          std::int64_t kept, bool drops, const std::int64_t* strides,
                          Handle* values, Handle* indices, Rank rank) noexcept {
    if (!is_real(self.dtype)) return not_for_dtype;
    std::int64_t sizes[Body::max_rank] = {};
    std::uint32_t count = 0;
    drops = drops && self.rank != 0;
    if (self.rank == 0) kept = 1;  // even of the 0 largest numbers
    for (std::uint32_t d = 0; d < self.rank; ++d) {
      if (d != dimension || !drops) sizes[count++] = d == dimension ? kept : self.sizes()[d];
    }
    Output first, second;
    if (const char* wrong = first.make(self.dtype, sizes, count, strides)) return wrong;
    if (const char* wrong = second.make(DType::int64, sizes, count, strides)) return wrong;
    if (first->count != 0) {
      const Scratch<Ranked> line{length(self, dimension)};
      if (!line) return Body::no_memory;
      const std::int64_t dropped = drops ? dimension : self.rank;
      fill(self, dimension, descending, kept, Ranks{*first, dropped}, Ranks{*second, dropped},
           line.get(), rank);
    }
    first.give(values);
    second.give(indices);
    return nullptr;
  }
  template <class Rank>
  static void fill(const Body& self, std::int64_t dimension, bool descending, std::int64_t kept,
                   const Ranks& values, const Ranks& indices, Ranked* line, Rank rank) noexcept {
    const Keys keys{self.dtype};
    const std::uint64_t flip = descending ? Keys::none : 0;
    const auto size = static_cast<std::int64_t>(element_size(self.dtype));
    const std::int64_t count = length(self, dimension);
    std::int64_t sizes[Body::max_rank] = {};
    for (std::uint32_t d = 0; d < self.rank; ++d) sizes[d] = d == dimension ? 1 : self.sizes()[d];
    const std::int64_t step = self.rank != 0 ? self.strides()[dimension] * size : 0;
    for_each_index(sizes, self.rank, [&](const std::int64_t* index) {
      const std::byte* from = self.data + offset_of(index, self.strides(), self.rank) * size;
      keys.read(from, count, step, [&](std::int64_t i, std::uint64_t key) {
        line[i] = {key ^ flip, i};
      });
      const Ranked* taken = rank(line, count);
      std::byte* value = values.data + offset_of(index, values.strides, self.rank) * size;
      std::int64_t* place = reinterpret_cast<std::int64_t*>(indices.data) +
                            offset_of(index, indices.strides, self.rank);
      for (std::int64_t i = 0; i < kept; ++i) {
        *place = taken[i].index;
        copy_element(value, from + taken[i].index * step, static_cast<std::size_t>(size));
        value += values.strides[dimension] * size;
        place += indices.strides[dimension];
      }
    });
  }

  static const char* middle(const Body& self, bool skips, Handle* out) noexcept {
    if (!is_real(self.dtype)) return not_for_dtype;
    const Scratch<Ranked> line{self.count};
    Elements elements;
    Output result;
    if (!line) return Body::no_memory;
    if (const char* wrong = elements.read(self)) return wrong;
    if (const char* wrong = result.make(self.dtype, nullptr, 0)) return wrong;
    const Keys keys{self.dtype};
    const auto size = static_cast<std::int64_t>(element_size(self.dtype));
    std::int64_t nans = 0;
    keys.read((*elements).data, self.count, size, [&](std::int64_t i, std::uint64_t key) {
      line[i] = {key, i};
      nans += keys.is_nan(key);
    });
    const std::int64_t count = skips ? self.count - nans : self.count;
    if (count == 0 || (nans != 0 && !skips)) {
      write_number(self.dtype, result->data, number_of(std::numeric_limits<double>::quiet_NaN()));
    } else {
      Ranked* const middle = line.get() + (count - 1) / 2;
      std::nth_element(line.get(), middle, line.get() + self.count, ByKey{});
      copy_element(result->data, (*elements).data + middle->index * size,
                   static_cast<std::size_t>(size));
    }
    result.give(out);
    return nullptr;
  }

  static const char* extremes(const Body& self, std::int64_t dimension, bool largest,
                              Handle* values, Handle* indices) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    const Keys keys{self.dtype};
    return rank(self, dimension, false, length(self, dimension), false, nullptr, values, indices,
                [=](Ranked* line, std::int64_t count) {
                  for (std::int64_t i = 1; i < count; ++i) {
                    const std::uint64_t best = line[i - 1].key, next = line[i].key;
                    const bool taken =
                        keys.is_nan(next) ||
                        (!keys.is_nan(best) && (largest ? next >= best : next <= best));
                    if (!taken) line[i] = line[i - 1];
                  }
                  return line;
                });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
