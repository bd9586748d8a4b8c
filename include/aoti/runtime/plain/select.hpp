// SPDX-License-Identifier: BSD-3-Clause
// Operators that search for elements: non-zero ones, those that a mask selects, and positions in an
// order.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Select {
  /// The indices of the non-zero elements, one row for each.
  static const char* nonzero(Body& self, Handle* out) noexcept {
    Elements elements;
    if (const char* wrong = elements.read(self, DType::boolean)) return wrong;
    const std::int64_t sizes[] = {count(elements), self.rank}, strides[] = {1, sizes[0]};
    Output result;
    if (const char* wrong = result.make(DType::int64, sizes, 2, strides)) return wrong;
    list(elements, self, *result, sizes[0]);
    result.give(out);
    return nullptr;
  }
  /// The first `size` of them, filled up with rows of a number.
  static const char* nonzero_static(Body& self, std::int64_t size, std::int64_t fill,
                                    Handle* out) noexcept {
    Elements elements;
    if (size < 0) return "the size is negative";
    if (const char* wrong = elements.read(self, DType::boolean)) return wrong;
    const std::int64_t sizes[] = {size, self.rank};
    Output result;
    if (const char* wrong = result.make(DType::int64, sizes, 2)) return wrong;
    for (std::int64_t i = 0; i < result->count; ++i) result.data<std::int64_t>()[i] = fill;
    list(elements, self, *result, size);
    result.give(out);
    return nullptr;
  }

  /// The elements where the mask is not 0; both are broadcast.
  static const char* masked_select(Body& self, Body& mask, Handle* out) noexcept {
    if (mask.dtype != DType::boolean && mask.dtype != DType::uint8) return not_for_dtype;
    Temporary first, second;
    const char* wrong = nullptr;
    const Body* const from = together(first, self, self, mask, wrong);
    const Body* const places =
        wrong == nullptr ? together(second, mask, self, mask, wrong) : nullptr;
    if (wrong != nullptr) return wrong;
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < places->count; ++i) found += places->data[i] != std::byte{0};
    Output result;
    if ((wrong = result.make(self.dtype, &found, 1)) != nullptr) return wrong;
    const std::size_t size = element_size(self.dtype);
    std::byte* to = result->data;
    for (std::int64_t i = 0; i < places->count; ++i) {
      if (places->data[i] == std::byte{0}) continue;
      copy_element(to, from->data + static_cast<std::size_t>(i) * size, size);
      to += size;
    }
    result.give(out);
    return nullptr;
  }

  /// self, with the elements of source one after the other where the mask is not 0.
  static const char* masked_scatter(Body& self, Body& mask, Body& source, Handle* out) noexcept {
    if (mask.dtype != DType::boolean || source.dtype != self.dtype) return not_for_dtype;
    Temporary second;
    Output result;
    Elements from;
    const char* wrong = nullptr;
    const Body* const places = together(second, mask, self, mask, wrong);
    if (wrong == nullptr) wrong = result.make(self.dtype, places->sizes(), places->rank);
    if (wrong == nullptr) wrong = copy_elements(*result, self);
    if (wrong == nullptr) wrong = from.read(source);
    if (wrong != nullptr) return wrong;
    const std::size_t size = element_size(self.dtype);
    std::int64_t taken = 0;
    for (std::int64_t i = 0; i < places->count; ++i) {
      if (places->data[i] == std::byte{0}) continue;
      if (taken == source.count) return "the source has fewer elements than the mask";
      copy_element(result->data + static_cast<std::size_t>(i) * size,
                   (*from).data + static_cast<std::size_t>(taken++) * size, size);
    }
    result.give(out);
    return nullptr;
  }

  /// Each index, as often as its element says.
  static const char* repeat_interleave(Body& repeats, const std::int64_t* size,
                                       Handle* out) noexcept {
    if (repeats.dtype != DType::int64 && repeats.dtype != DType::int32) return not_for_dtype;
    if (repeats.rank != 1) return "the repeats are not of one dimension";
    Elements counts;
    if (const char* wrong = counts.read(repeats, DType::int64)) return wrong;
    const auto* const times = counts.data<std::int64_t>();
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < repeats.count; ++i) {
      if (times[i] < 0) return "a number of repeats is negative";
      if (__builtin_add_overflow(sum, times[i], &sum)) return "there are too many repeats";
    }
    if (size != nullptr && *size != sum) return "the size is not that of all repeats";
    Output result;
    Target to;
    if (const char* wrong = result.make(repeats.dtype, &sum, 1)) return wrong;
    if (const char* wrong = to.begin(*result, DType::int64)) return wrong;
    std::int64_t* next = to.data<std::int64_t>();
    for (std::int64_t i = 0; i < repeats.count; ++i) {
      for (std::int64_t k = 0; k < times[i]; ++k) *next++ = i;
    }
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

  static const char* bucketize(Body& self, Body& boundaries, std::int32_t narrow,
                               std::int32_t right, Handle* out) noexcept {
    if (boundaries.rank != 1) return "the boundaries are not of one dimension";
    return search(boundaries, self, narrow != 0, right != 0, nullptr, out);
  }
  /// The positions at which the numbers of self would be inserted in the last dimension of sorted:
  /// before or after equal ones. sorted has one dimension, or the sizes of self except for the
  /// last.
  static const char* searchsorted(Body& sorted, Body& self, std::int32_t narrow, std::int32_t right,
                                  const char** side, Handle* sorter, Handle* out) noexcept {
    if (side != nullptr) {
      const std::string_view name = *side;
      if (name != "left" && name != "right") return "the side is neither left nor right";
      if (right != 0 && name == "left") return "the side is left, and right is set";
      right = name == "right";
    }
    return search(sorted, self, narrow != 0, right != 0, optional(sorter), out);
  }
  static const char* searchsorted_scalar(Body& sorted, double value, std::int32_t narrow,
                                         std::int32_t right, const char** side, Handle* sorter,
                                         Handle* out) noexcept {
    Temporary room;
    // A tensor without dimensions does not widen the other operand's type, unless it is of another
    // kind.
    const bool whole = !is_floating(sorted.dtype) && value == std::floor(value);
    Body* number = room.make(is_floating(sorted.dtype) ? sorted.dtype
                             : whole                   ? DType::int64
                                                       : DType::float32,
                             nullptr, 0);
    if (number == nullptr) return Body::no_memory;
    write_number(number->dtype, number->data, number_of(value));
    return searchsorted(sorted, *number, narrow, right, side, sorter, out);
  }

  /// The counts of elements in `bins` bins of equal width; from the least to the largest element if
  /// both ends are equal.
  static const char* histc(Body& self, std::int64_t bins, double least, double most,
                           Handle* out) noexcept {
    if (!is_floating(self.dtype)) return not_for_dtype;
    if (bins <= 0) return "the number of bins is not positive";
    Elements elements;
    Output result;
    Target to;
    const DType type = computing(self.dtype);
    if (const char* wrong = elements.read(self, type)) return wrong;
    if (const char* wrong = result.make(self.dtype, &bins, 1)) return wrong;
    if (const char* wrong = to.begin(*result, type)) return wrong;
    const bool found = with_floating(type, [&]<class T>(T) {
      const T* const from = elements.data<T>();
      T low = static_cast<T>(least), high = static_cast<T>(most);
      if (low == high && self.count > 0) {
        low = high = from[0];
        for (std::int64_t i = 0; i < self.count; ++i) {
          low = from[i] < low || from[i] != from[i] ? from[i] : low;
          high = from[i] > high || from[i] != from[i] ? from[i] : high;
        }
      }
      if (low == high) low -= 1, high += 1;
      if (!(std::isfinite(low) && std::isfinite(high) && low < high)) return false;
      T* const counts = to.data<T>();
      for (std::int64_t i = 0; i < bins; ++i) counts[i] = 0;
      for (std::int64_t i = 0; i < self.count; ++i) {
        if (!(from[i] >= low && from[i] <= high)) continue;
        auto bin = static_cast<std::int64_t>((from[i] - low) * static_cast<T>(bins) / (high - low));
        ++counts[bin < bins ? bin : bins - 1];
      }
      return true;
    });
    if (!found) return "the range of the bins is not finite, or its ends are in the wrong order";
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

 private:
  static std::int64_t count(const Elements& elements) noexcept {
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < (*elements).count; ++i) {
      found += (*elements).data[i] != std::byte{0};
    }
    return found;
  }
  static void list(const Elements& elements, const Body& of, Body& to, std::int64_t most) noexcept {
    auto* next = reinterpret_cast<std::int64_t*>(to.data);
    const std::byte* at = (*elements).data;
    std::int64_t found = 0;
    for_each_index(of.sizes(), of.rank, [&](const std::int64_t* index) {
      if (*at++ == std::byte{0} || found == most) return;
      for (std::uint32_t d = 0; d < of.rank; ++d) next[d * to.strides()[1]] = index[d];
      next += to.strides()[0];
      ++found;
    });
  }

  /// A row-major copy of one of two tensors, broadcast to the sizes of both.
  static const Body* together(Temporary& room, const Body& tensor, const Body& a, const Body& b,
                              const char*& wrong) noexcept {
    std::int64_t sizes[Body::max_rank] = {};
    std::uint32_t rank = 0;
    wrong = broadcast(a, b, sizes, rank);
    if (wrong != nullptr) return nullptr;
    Body* copy = room.make(tensor.dtype, sizes, rank);
    wrong = copy != nullptr ? copy_elements(*copy, tensor) : Body::no_memory;
    return copy;
  }

  /// The type in which both are compared, promoted as in torch.
  static DType common(const Body& a, const Body& b) noexcept {
    if (a.dtype == b.dtype) return a.dtype;
    const auto kind = [](DType type) { return is_floating(type) ? 2 : is_integer(type) ? 1 : 0; };
    if (kind(a.dtype) != kind(b.dtype)) return kind(a.dtype) > kind(b.dtype) ? a.dtype : b.dtype;
    if ((a.rank == 0) != (b.rank == 0)) return a.rank != 0 ? a.dtype : b.dtype;
    if (kind(a.dtype) == 1) return DType::int64;
    const bool wide = a.dtype == DType::float64 || b.dtype == DType::float64;
    return wide ? DType::float64 : DType::float32;
  }

  static const char* search(const Body& sorted, const Body& self, bool narrow, bool right,
                            const Body* sorter, Handle* out) noexcept {
    if (!is_real(sorted.dtype) || !is_real(self.dtype)) return not_for_dtype;
    if (sorted.rank == 0) return "the sorted tensor has no dimensions";
    const std::int64_t count = sorted.sizes()[sorted.rank - 1];
    if (sorted.rank != 1) {
      if (sorted.rank != self.rank) return sizes_differ;
      for (std::uint32_t d = 0; d + 1 < self.rank; ++d) {
        if (sorted.sizes()[d] != self.sizes()[d]) return sizes_differ;
      }
    }
    if (narrow && count >= std::numeric_limits<std::int32_t>::max()) {
      return "the places do not fit into int32";
    }
    const DType dtype = common(sorted, self);
    // Through the common type, which may round.
    Elements rounded[2], read[2], order;
    Output result;
    for (int i = 0; i < 2; ++i) {
      const char* wrong = rounded[i].read(i == 0 ? sorted : self, dtype);
      if (wrong == nullptr) wrong = read[i].read(*rounded[i], computing(dtype));
      if (wrong != nullptr) return wrong;
    }
    if (const char* wrong =
            result.make(narrow ? DType::int32 : DType::int64, self.sizes(), self.rank))
      return wrong;
    const std::int64_t* sorted_by = nullptr;
    if (sorter != nullptr) {
      if (sorter->dtype != DType::int64) return not_for_dtype;
      if (sorter->count != sorted.count) return sizes_differ;
      if (const char* wrong = order.read(*sorter)) return wrong;
      sorted_by = order.data<std::int64_t>();
      for (std::int64_t i = 0; i < sorter->count; ++i) {
        if (sorted_by[i] < 0 || sorted_by[i] >= count) return index_out_of_range;
      }
    }
    const std::int64_t line = sorted.rank != 1 ? self.sizes()[self.rank - 1] : self.count;
    with_real(computing(dtype), [&]<class T>(T) {
      for (std::int64_t i = 0; i < self.count; ++i) {
        const std::int64_t first = i / line * count;
        const T value = read[1].data<T>()[i];
        std::int64_t begin = 0, end = count;
        while (begin < end) {
          const std::int64_t middle = begin + (end - begin) / 2;
          const std::int64_t at = sorted_by != nullptr ? sorted_by[first + middle] : middle;
          const T other = read[0].data<T>()[first + at];
          (right ? !(other > value) : !(other >= value)) ? begin = middle + 1 : end = middle;
        }
        if (narrow) {
          result.data<std::int32_t>()[i] = static_cast<std::int32_t>(begin);
        } else {
          result.data<std::int64_t>()[i] = begin;
        }
      }
    });
    result.give(out);
    return nullptr;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
