// SPDX-License-Identifier: BSD-3-Clause
// Operators that write elements at the places of indices, and combine those at the same place.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Scatter {
  /// Copies self to out, then puts the elements of src where index says along a dimension.
  static const char* src_out(Body& out, Body& self, std::int64_t dimension, Body& index,
                             Body& src) noexcept {
    if (src.dtype != out.dtype) return not_for_dtype;
    Places places;
    if (const char* wrong = places.find(out, dimension, index)) return wrong;
    if (!covers(src, index)) return sizes_differ;
    Elements from;
    if (const char* wrong = from.read(src)) return wrong;
    if (const char* wrong = copy_overlapping(out, self)) return wrong;
    const std::size_t size = element_size(out.dtype);
    places.for_each((*from).strides(), out.strides(), [&](std::int64_t to, std::int64_t at) {
      copy_element(out.data + to * static_cast<std::int64_t>(size),
                   (*from).data + at * static_cast<std::int64_t>(size), size);
    });
    return nullptr;
  }
  /// The same with one number for all.
  static const char* value_out(Body& out, Body& self, std::int64_t dimension, Body& index,
                               double value) noexcept {
    if (!is_convertible(out.dtype)) return not_for_dtype;
    Places places;
    if (const char* wrong = places.find(out, dimension, index)) return wrong;
    if (const char* wrong = copy_overlapping(out, self)) return wrong;
    std::byte element[16] = {};
    write_number(out.dtype, element, number_of(value));
    const std::size_t size = element_size(out.dtype);
    places.for_each(out.strides(), out.strides(), [&](std::int64_t to, std::int64_t) {
      copy_element(out.data + to * static_cast<std::int64_t>(size), element, size);
    });
    return nullptr;
  }

  /// The same as src_out, but combines the elements with those that are already there.
  /// @param reduce "sum", "prod", "mean", "amax" or "max", "amin" or "min"
  /// @param includes_self whether elements of self count, too, where others are put
  static const char* reduce_two_out(Body& out, Body& self, std::int64_t dimension, Body& index,
                                    Body& src, const char* reduce,
                                    std::int32_t includes_self) noexcept {
    if (src.dtype != out.dtype) return not_for_dtype;
    Places places;
    if (const char* wrong = places.find(out, dimension, index)) return wrong;
    if (!covers(src, index)) return sizes_differ;
    Elements from;
    if (const char* wrong = from.read(src, computing(out.dtype))) return wrong;
    if (const char* wrong = copy_overlapping(out, self)) return wrong;
    return combine(out, places, from, reduce, includes_self != 0);
  }
  /// The same under its name in torch before 2.6.
  static const char* reduce_out(Body& out, Body& self, std::int64_t dimension, Body& index,
                                Body& src, const char* reduce,
                                std::int32_t includes_self) noexcept {
    return reduce_two_out(out, self, dimension, index, src, reduce, includes_self);
  }

  /// The same with one index for each slice along the dimension, into a new tensor.
  static const char* index_reduce(Body& self, std::int64_t dimension, Body& index, Body& source,
                                  const char* reduce, std::int32_t includes_self,
                                  Handle* out) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    if (source.dtype != self.dtype) return not_for_dtype;
    if (index.rank > 1 || source.rank != self.rank) return sizes_differ;
    if (self.rank == 0 && index.count != 1) return sizes_differ;
    // The index, broadcast over the other dimensions.
    std::int64_t numbers[2 * Body::max_rank] = {};
    for (std::uint32_t d = 0; d < self.rank; ++d) {
      const bool along = d == dimension;
      numbers[d] = along ? index.count : self.sizes()[d];
      numbers[self.rank + d] = along && index.rank != 0 ? index.strides()[0] : 0;
      if (source.sizes()[d] != numbers[d]) return sizes_differ;
    }
    Output all, result;
    if (const char* wrong =
            all.view(index, self.rank, numbers, numbers + self.rank, index.offset, index.dtype)) {
      return wrong;
    }
    Places places;
    Elements from;
    if (const char* wrong = result.copy(self)) return wrong;
    if (const char* wrong = places.find(*result, dimension, *all)) return wrong;
    if (const char* wrong = from.read(source, computing(self.dtype))) return wrong;
    if (const char* wrong = combine(*result, places, from, reduce, includes_self != 0))
      return wrong;
    result.give(out);
    return nullptr;
  }

 private:
  enum class Kind { sum, product, largest, smallest };

  /// The places that an index refers to, all within the tensor.
  class Places {
   public:
    const char* find(const Body& to, std::int64_t along, const Body& index) noexcept {
      if (!wrap(along, to.rank)) return no_dimension;
      if (index.count == 0) return nullptr;
      if ((index.rank != 0 ? index.rank : 1) != (to.rank != 0 ? to.rank : 1)) return sizes_differ;
      if (index.dtype != DType::int64 && index.dtype != DType::int32) {
        return "the indices are of neither int64 nor int32";
      }
      rank_ = index.rank;
      dimension_ = along;
      for (std::uint32_t d = 0; d < rank_; ++d) {
        sizes_[d] = index.sizes()[d];
        strides_[d] = index.strides()[d];
        if (to.rank != 0 && d != along && sizes_[d] > to.sizes()[d]) return sizes_differ;
      }
      if (rank_ == 0) rank_ = 1, sizes_[0] = 1, strides_[0] = 0;
      data_ = reinterpret_cast<const std::int64_t*>(index.data);
      if (index.dtype == DType::int32) {
        const Body* wide = room_.copy(index, DType::int64);
        if (wide == nullptr) return Body::no_memory;
        data_ = reinterpret_cast<const std::int64_t*>(wide->data);
        for (std::uint32_t d = 0; d < index.rank; ++d) strides_[d] = wide->strides()[d];
      }
      return within(to.rank != 0 ? to.sizes()[along] : 1) ? nullptr : index_out_of_range;
    }

    /// Calls `each(to, from)` with the offsets of two elements, in the order of the index.
    template <class Each>
    void for_each(const std::int64_t* from_strides, const std::int64_t* to_strides,
                  Each each) const {
      if (rank_ == 0) return;
      const auto last = rank_ - 1;
      const bool innermost = dimension_ == last;
      std::int64_t outer[Body::max_rank];
      for (std::uint32_t d = 0; d < rank_; ++d) outer[d] = d == last ? 1 : sizes_[d];
      const std::int64_t count = sizes_[last], step = strides_[last];
      // A tensor without dimensions has no strides.
      const std::int64_t from_step = count > 1 ? from_strides[last] : 0;
      const std::int64_t to_step = !innermost && count > 1 ? to_strides[last] : 0;
      for_each_index(outer, rank_, [&](const std::int64_t* at) {
        const std::int64_t* index = data_ + offset_of(at, strides_, rank_);
        std::int64_t from = 0, to = 0;
        for (std::uint32_t d = 0; d < last; ++d) {
          from += at[d] * from_strides[d];
          if (d != dimension_) to += at[d] * to_strides[d];
        }
        const std::int64_t along = extent_ > 1 ? to_strides[dimension_] : 0;
        for (std::int64_t i = 0; i < count; ++i) {
          each(to + i * to_step + index[i * step] * along, from + i * from_step);
        }
      });
    }

   private:
    bool within(std::int64_t size) noexcept {
      extent_ = size;
      std::int64_t once[Body::max_rank];  // checks an index that is broadcast only once
      for (std::uint32_t d = 0; d < rank_; ++d) once[d] = strides_[d] != 0 ? sizes_[d] : 1;
      bool all = true;
      for_each_index(once, rank_, [&](const std::int64_t* at) {
        const std::int64_t place = data_[offset_of(at, strides_, rank_)];
        all &= place >= 0 && place < size;
      });
      return all;
    }

    const std::int64_t* data_ = nullptr;
    std::int64_t sizes_[Body::max_rank], strides_[Body::max_rank];
    std::uint32_t rank_ = 0;
    std::int64_t dimension_ = 0, extent_ = 0;
    Temporary room_;
  };

  static bool covers(const Body& src, const Body& index) noexcept {
    if (index.count == 0) return true;
    if (src.rank == 0 && index.count > 1) return false;
    if ((src.rank != 0 ? src.rank : 1) != (index.rank != 0 ? index.rank : 1)) return false;
    for (std::uint32_t d = 0; d < src.rank && d < index.rank; ++d) {
      if (index.sizes()[d] > src.sizes()[d]) return false;
    }
    return src.count != 0;
  }

  static const char* combine(Body& out, const Places& places, const Elements& from,
                             const char* reduce, bool includes_self) noexcept {
    const std::string_view name = reduce;
    const bool mean = name == "mean";
    Kind kind = Kind::sum;
    if (name == "prod") {
      kind = Kind::product;
    } else if (name == "amax" || name == "max") {
      kind = Kind::largest;
    } else if (name == "amin" || name == "min") {
      kind = Kind::smallest;
    } else if (name != "sum" && !mean) {
      return "there is no such reduction";
    }
    if (!is_real(out.dtype) || out.dtype == DType::uint64) return not_for_dtype;
    Target to;
    if (const char* wrong = to.begin(out, computing(out.dtype), true)) return wrong;
    std::int64_t strides[Body::max_rank];
    for (std::int64_t d = out.rank, step = 1; d-- > 0; step *= out.sizes()[d]) strides[d] = step;
    with_real(computing(out.dtype), [&]<class T>(T) {
      T* const data = to.data<T>();
      const T* const source = from.data<T>();
      const auto all = [&](auto step) {
        places.for_each((*from).strides(), strides,
                        [=](std::int64_t at, std::int64_t i) { step(data[at], source[i]); });
      };
      if (!includes_self) {
        const T begin = neutral<T>(kind);
        all([begin](T& at, T) { at = begin; });
      }
      switch (kind) {
        case Kind::sum:
          return all([](T& at, T next) { at = add(at, next); });
        case Kind::product:
          return all([](T& at, T next) { at = multiply(at, next); });
        case Kind::largest:
          return all([](T& at, T next) { at = is_nan(next) || at < next ? next : at; });
        case Kind::smallest:
          return all([](T& at, T next) { at = is_nan(next) || next < at ? next : at; });
      }
    });
    if (const char* wrong = to.finish()) return wrong;
    return mean ? divide(out, places, (*from).strides(), strides, includes_self) : nullptr;
  }

  template <class T> static T neutral(Kind kind) noexcept {
    using Limits = std::numeric_limits<T>;
    switch (kind) {
      case Kind::sum:
        return 0;
      case Kind::product:
        return 1;
      case Kind::largest:
        return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
      default:
        return Limits::has_infinity ? Limits::infinity() : Limits::max();
    }
  }
  template <class T> static bool is_nan(T value) noexcept { return value != value; }
  template <class T> static T add(T a, T b) noexcept {
    if constexpr (std::is_integral_v<T>) {
      __builtin_add_overflow(a, b, &a);  // wraps
      return a;
    } else {
      return a + b;
    }
  }
  template <class T> static T multiply(T a, T b) noexcept {
    if constexpr (std::is_integral_v<T>) {
      __builtin_mul_overflow(a, b, &a);
      return a;
    } else {
      return a * b;
    }
  }

  /// Divides sums to get means, rounded down for integers.
  static const char* divide(Body& out, const Places& places, const std::int64_t* from_strides,
                            const std::int64_t* strides, bool includes_self) noexcept {
    const Scratch<std::int64_t> counts{out.count};
    Target to;
    if (!counts) return Body::no_memory;
    if (const char* wrong = to.begin(out, computing(out.dtype), true)) return wrong;
    for (std::int64_t i = 0; i < out.count; ++i) counts[i] = includes_self ? 1 : 0;
    places.for_each(from_strides, strides, [&](std::int64_t at, std::int64_t) { ++counts[at]; });
    with_real(computing(out.dtype), [&]<class T>(T) {
      T* const data = to.data<T>();
      for (std::int64_t i = 0; i < out.count; ++i) {
        const auto by = static_cast<T>(counts[i] > 1 ? counts[i] : 1);
        const T rest = std::is_integral_v<T> ? data[i] - data[i] / by * by : T{0};
        data[i] = data[i] / by - static_cast<T>(rest < 0 ? 1 : 0);
      }
    });
    return to.finish();
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
