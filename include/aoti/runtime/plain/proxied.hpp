// SPDX-License-Identifier: BSD-3-Clause
// Operators of any dtype that models call through a proxy executor: copies, padding, unique
// elements, and counts.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "aoti/runtime/native/operands.hpp"
#include "aoti/runtime/native/operator.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Proxied {
  using Sizes = std::span<const std::int64_t>;

  /// @param format a number of c10::MemoryFormat
  static const char* clone(Body& self, std::optional<std::int64_t> format,
                           OperatorResult& result) noexcept {
    enum { contiguous, preserve, channels_last_2d, channels_last_3d };
    std::int64_t strides[Body::max_rank];
    const std::int64_t wanted = format.value_or(preserve);
    if (wanted == contiguous) return result.copy(self);
    if (wanted == preserve) {
      dense_strides(self, strides);
      return result.copy(self, strides);
    }
    if (self.rank != (wanted == channels_last_2d ? 4 : 5)) return sizes_differ;
    std::int64_t step = 1;
    for (std::uint32_t i = 0; i < self.rank; ++i) {
      const std::uint32_t d = channels_last(self.rank, i);
      strides[d] = step;
      step *= self.sizes()[d];
    }
    return result.copy(self, strides);
  }

  static const char* convert(Body& self, std::int64_t dtype, OperatorResult& result) noexcept {
    std::int64_t strides[Body::max_rank];
    dense_strides(self, strides);
    const auto type = static_cast<DType>(dtype);
    if (const char* wrong = result.make(type, self.sizes(), self.rank, strides)) return wrong;
    return copy_elements(*result, self);
  }

  /// @param pad how much to add before and after, the last dimension first; negative to cut off
  static const char* constant_pad(Body& self, Sizes pad, std::optional<Number> value,
                                  OperatorResult& result) noexcept {
    if (pad.size() % 2 != 0 || pad.size() > 2u * self.rank) return sizes_differ;
    if (!is_convertible(self.dtype)) return not_for_dtype;
    std::int64_t sizes[Body::max_rank], kept[Body::max_rank], strides[Body::max_rank];
    std::int64_t from = 0, to = 0;
    std::copy_n(self.sizes(), self.rank, sizes);
    std::copy_n(self.sizes(), self.rank, kept);
    bool grows = false;
    for (std::size_t i = 0; i < pad.size() / 2; ++i) {
      const std::size_t d = self.rank - 1 - i;
      const std::int64_t before = pad[2 * i], behind = pad[2 * i + 1];
      sizes[d] += before + behind;
      kept[d] += std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(behind, 0);
      from -= std::min<std::int64_t>(before, 0) * self.strides()[d];
      if (sizes[d] < 0 || kept[d] < 0) return "a size becomes negative";
      grows |= before > 0 || behind > 0;
    }
    OperatorResult source;
    if (const char* wrong =
            source.view(self, self.rank, kept, self.strides(), self.offset + from, self.dtype)) {
      return wrong;
    }
    if (!grows) return clone(*source, std::nullopt, result);
    std::int64_t step = 1;
    const bool last = lies_channels_last(self);
    for (std::uint32_t i = 0; i < self.rank; ++i) {
      const std::uint32_t d = last ? channels_last(self.rank, i) : self.rank - 1 - i;
      strides[d] = step;
      step *= sizes[d];
    }
    if (const char* wrong = result.make(self.dtype, sizes, self.rank, strides)) return wrong;
    std::byte element[16] = {};
    write_number(self.dtype, element, value.value_or(number_of(std::int64_t{0})));
    const std::size_t bytes = element_size(self.dtype);
    for (std::int64_t i = 0; i < result->count; ++i) {
      copy_element(result->data + static_cast<std::size_t>(i) * bytes, element, bytes);
    }
    for (std::size_t i = 0; i < pad.size() / 2; ++i) {
      to += std::max<std::int64_t>(pad[2 * i], 0) * strides[self.rank - 1 - i];
    }
    OperatorResult target;
    if (const char* wrong =
            target.view(*result, self.rank, kept, strides, result->offset + to, self.dtype)) {
      return wrong;
    }
    return copy_elements(*target, *source);
  }

  /// The distinct numbers in ascending order; the position of each element of self among them; and
  /// their counts. NaN equals nothing, and comes last.
  static const char* unique(Body& self, bool, bool return_inverse, bool return_counts,
                            OperatorResult& values, OperatorResult& inverse,
                            OperatorResult& counts) noexcept {
    return distinct(self, true, return_inverse, return_counts, values, inverse, counts);
  }
  /// The same for runs of equal elements, in their own order.
  static const char* unique_consecutive(Body& self, bool return_inverse, bool return_counts,
                                        std::optional<std::int64_t> dimension,
                                        OperatorResult& values, OperatorResult& inverse,
                                        OperatorResult& counts) noexcept {
    if (dimension && self.rank != 1) return "only over all of the elements";
    return distinct(self, false, return_inverse, return_counts, values, inverse, counts);
  }

  /// The count of each number from 0 on, or the sum of the weights of its elements.
  static const char* bincount(Body& self, const Body* weights, std::optional<std::int64_t> least,
                              OperatorResult& result) noexcept {
    if (!is_integer(self.dtype)) return not_for_dtype;
    if (self.rank != 1 ||
        (weights != nullptr && (weights->rank != 1 || weights->count != self.count))) {
      return sizes_differ;
    }
    if (least.value_or(0) < 0) return "the least number of bins is negative";
    Elements numbers;
    if (const char* wrong = numbers.read(self, DType::int64)) return wrong;
    const auto* const at = numbers.data<std::int64_t>();
    std::int64_t bins = 0;
    for (std::int64_t i = 0; i < self.count; ++i) {
      if (at[i] < 0 || at[i] == std::numeric_limits<std::int64_t>::max())
        return "a number is negative or too large";
      bins = std::max(bins, at[i] + 1);
    }
    bins = std::max(bins, least.value_or(0));
    const bool single = weights != nullptr && weights->dtype == DType::float32;
    const DType dtype = weights == nullptr || self.count == 0 ? DType::int64
                        : single                              ? DType::float32
                                                              : DType::float64;
    if (const char* wrong = result.make(dtype, &bins, 1)) return wrong;
    NativeFunctions::zero_(Body::handle(&*result));
    Elements added;
    if (dtype != DType::int64) {
      if (const char* wrong = added.read(*weights, dtype)) return wrong;
    }
    with_real(dtype, [&]<class T>(T) {
      T* const sums = result.data<T>();
      for (std::int64_t i = 0; i < self.count; ++i) {
        sums[at[i]] += dtype == DType::int64 ? T{1} : added.data<T>()[i];
      }
    });
    return nullptr;
  }

  static const char* unsqueeze(Body& self, std::int64_t dimension,
                               OperatorResult& result) noexcept {
    const std::int64_t rank = self.rank;
    if (dimension < 0) dimension += rank + 1;
    if (dimension < 0 || dimension > rank || self.rank == Body::max_rank) return no_dimension;
    std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
    for (std::int64_t d = 0; d < rank; ++d) {
      sizes[d < dimension ? d : d + 1] = self.sizes()[d];
      strides[d < dimension ? d : d + 1] = self.strides()[d];
    }
    sizes[dimension] = 1;
    strides[dimension] = dimension < rank ? self.sizes()[dimension] * self.strides()[dimension] : 1;
    return result.view(self, self.rank + 1u, sizes, strides, self.offset, self.dtype);
  }
  static const char* select(Body& self, std::int64_t dimension, std::int64_t index,
                            OperatorResult& result) noexcept {
    if (self.rank == 0 || !wrap(dimension, self.rank)) return no_dimension;
    if (index < 0) index += self.sizes()[dimension];
    if (index < 0 || index >= self.sizes()[dimension]) return index_out_of_range;
    std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
    for (std::int64_t d = 0, to = 0; d < self.rank; ++d) {
      if (d == dimension) continue;
      sizes[to] = self.sizes()[d];
      strides[to++] = self.strides()[d];
    }
    return result.view(self, self.rank - 1u, sizes, strides,
                       self.offset + index * self.strides()[dimension], self.dtype);
  }
  /// @param wanted -1 for a size that does not change
  static const char* expand(Body& self, Sizes wanted, std::optional<bool>,
                            OperatorResult& result) noexcept {
    if (wanted.size() < self.rank || wanted.size() > Body::max_rank) return sizes_differ;
    std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
    const std::size_t added = wanted.size() - self.rank;
    for (std::size_t d = 0; d < wanted.size(); ++d) {
      const std::int64_t size = d < added ? 1 : self.sizes()[d - added];
      if (wanted[d] == -1 && d < added) return sizes_differ;
      sizes[d] = wanted[d] == -1 ? size : wanted[d];
      if (sizes[d] != size && size != 1) return sizes_differ;
      strides[d] = d < added || sizes[d] != size ? 0 : self.strides()[d - added];
    }
    return result.view(self, wanted.size(), sizes, strides, self.offset, self.dtype);
  }
  static const char* full(Sizes sizes, Number value, std::optional<std::int64_t> dtype,
                          std::optional<std::int64_t>, std::optional<std::int64_t>,
                          std::optional<bool>, OperatorResult& result) noexcept {
    const DType type = dtype                                  ? static_cast<DType>(*dtype)
                       : value.kind == Number::Kind::floating ? DType::float32
                                                              : DType::int64;
    if (!is_convertible(type)) return not_for_dtype;
    if (const char* wrong = result.make(type, sizes.data(), sizes.size())) return wrong;
    std::byte element[16] = {};
    write_number(type, element, value);
    const std::size_t bytes = element_size(type);
    for (std::int64_t i = 0; i < result->count; ++i) {
      copy_element(result->data + static_cast<std::size_t>(i) * bytes, element, bytes);
    }
    return nullptr;
  }

 private:
  static const char* distinct(const Body& self, bool sorts, bool return_inverse, bool return_counts,
                              OperatorResult& values, OperatorResult& inverse,
                              OperatorResult& counts) noexcept {
    if (!is_real(self.dtype)) return not_for_dtype;
    const DType type = computing(self.dtype == DType::uint64 ? DType::int64 : self.dtype);
    Elements elements;
    Scratch<std::int64_t> order{self.count + 1}, firsts{self.count + 1};
    if (!order || !firsts) return Body::no_memory;
    if (const char* wrong = elements.read(self, type)) return wrong;
    const std::int64_t n = self.count, nothing = 0;
    if (const char* wrong = return_inverse ? inverse.make(DType::int64, self.sizes(), self.rank)
                                           : inverse.make(DType::int64, &nothing, 1)) {
      return wrong;
    }
    std::int64_t found = 0;
    with_real(type, [&]<class T>(T) {
      const T* const at = elements.data<T>();
      for (std::int64_t i = 0; i < n; ++i) order[i] = i;
      const auto nan = [](T x) { return x != x; };
      if (sorts) {
        const bool natural = self.dtype == DType::uint64;
        std::sort(order.get(), order.get() + n, [&](std::int64_t a, std::int64_t b) {
          const T x = at[a], y = at[b];
          if (natural && x != y)
            return static_cast<std::uint64_t>(x) < static_cast<std::uint64_t>(y);
          if (x < y || y < x) return x < y;
          return nan(x) != nan(y) ? nan(y) : a < b;
        });
      }
      for (std::int64_t i = 0; i < n; ++i) {
        if (i == 0 || !(at[order[i]] == at[order[i - 1]])) firsts[found++] = i;
        if (return_inverse) inverse.data<std::int64_t>()[order[i]] = found - 1;
      }
    });
    firsts[found] = n;
    if (const char* wrong = values.make(self.dtype, &found, 1)) return wrong;
    if (const char* wrong = counts.make(DType::int64, return_counts ? &found : &nothing, 1)) {
      return wrong;
    }
    Elements source;
    if (const char* wrong = source.read(self)) return wrong;
    const std::size_t bytes = element_size(self.dtype);
    for (std::int64_t i = 0; i < found; ++i) {
      copy_element(values->data + static_cast<std::size_t>(i) * bytes,
                   (*source).data + static_cast<std::size_t>(order[firsts[i]]) * bytes, bytes);
      if (return_counts) counts.data<std::int64_t>()[i] = firsts[i + 1] - firsts[i];
    }
    return nullptr;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
