// SPDX-License-Identifier: BSD-3-Clause
// Operators that return another view of a tensor's memory.
#pragma once

#include <cstdint>
#include <limits>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Views {
  /// @param start,end null for the ends; counted from the end if negative
  static const char* slice(Body& self, std::int64_t dimension, const std::int64_t* start,
                           const std::int64_t* end, std::int64_t step, Handle* out) noexcept {
    if (self.rank == 0 || !wrap(dimension, self.rank)) return no_dimension;
    if (step <= 0) return "the step is not positive";
    const std::int64_t size = self.sizes()[dimension];
    const auto place = [size](const std::int64_t* given, std::int64_t otherwise) {
      std::int64_t at = given != nullptr ? *given : otherwise;
      if (at < 0) at += size;
      return at < 0 ? 0 : at < size ? at : size;
    };
    const std::int64_t first = place(start, 0), last = place(end, size);
    View view{self};
    view.offset += first * view.strides[dimension];
    view.sizes[dimension] = last > first ? (last - first - 1) / step + 1 : 0;
    if (__builtin_mul_overflow(view.strides[dimension], step, &view.strides[dimension])) {
      view.strides[dimension] =
          std::numeric_limits<std::int64_t>::max();  // has at most one element
    }
    return view.give(out);
  }
  static const char* narrow(Body& self, std::int64_t dimension, std::int64_t start,
                            std::int64_t length, Handle* out) noexcept {
    if (self.rank == 0 || !wrap(dimension, self.rank)) return no_dimension;
    const std::int64_t size = self.sizes()[dimension];
    if (start < 0) start += size;
    if (length < 0 || start < 0 || start > size || length > size - start) {
      return "the part reaches beyond the dimension";
    }
    View view{self};
    view.offset += start * view.strides[dimension];
    view.sizes[dimension] = length;
    return view.give(out);
  }
  static const char* permute(Body& self, const std::int64_t* dimensions, std::int64_t count,
                             Handle* out) noexcept {
    if (count != self.rank) return "there are not as many dimensions";
    View view{self};
    std::uint64_t taken = 0;
    for (std::uint32_t i = 0; i < self.rank; ++i) {
      std::int64_t d = dimensions[i];
      if (!wrap(d, self.rank)) return no_dimension;
      if ((taken >> d & 1) != 0) return "a dimension comes twice";
      taken |= std::uint64_t{1} << d;
      view.sizes[i] = self.sizes()[d];
      view.strides[i] = self.strides()[d];
    }
    return view.give(out);
  }
  static const char* squeeze(Body& self, std::int64_t dimension, Handle* out) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    View view{self};
    if (self.rank != 0 && self.sizes()[dimension] == 1) {
      --view.rank;
      for (auto d = static_cast<std::uint32_t>(dimension); d < view.rank; ++d) {
        view.sizes[d] = view.sizes[d + 1];
        view.strides[d] = view.strides[d + 1];
      }
    }
    return view.give(out);
  }

  /// Pairs of numbers as complex numbers.
  static const char* as_complex(Body& self, Handle* out) noexcept {
    View view{self};
    switch (self.dtype) {
      case DType::float16:
        view.dtype = DType::complex32;
        break;
      case DType::float32:
        view.dtype = DType::complex64;
        break;
      case DType::float64:
        view.dtype = DType::complex128;
        break;
      default:
        return not_for_dtype;
    }
    if (self.rank == 0 || self.sizes()[self.rank - 1] != 2) return "the last size is not 2";
    if (self.strides()[self.rank - 1] != 1) return "the two numbers are not contiguous";
    --view.rank;
    bool even = self.offset % 2 == 0;
    for (std::uint32_t d = 0; d < view.rank; ++d) {
      even &= view.strides[d] % 2 == 0;
      view.strides[d] /= 2;
    }
    if (!even) return "the strides or the offset are not even";
    view.offset /= 2;
    return view.give(out);
  }
  static const char* as_real(Body& self, Handle* out) noexcept {
    View view{self};
    switch (self.dtype) {
      case DType::complex32:
        view.dtype = DType::float16;
        break;
      case DType::complex64:
        view.dtype = DType::float32;
        break;
      case DType::complex128:
        view.dtype = DType::float64;
        break;
      default:
        return not_for_dtype;
    }
    if (self.rank == Body::max_rank) return "there are too many dimensions";
    for (std::uint32_t d = 0; d < self.rank; ++d) view.strides[d] *= 2;
    view.offset *= 2;
    view.sizes[view.rank] = 2;
    view.strides[view.rank++] = 1;
    return view.give(out);
  }
  /// The same bytes as elements of another type; a type of another size requires that the last
  /// dimension can be split or merged.
  static const char* as_dtype(Body& self, std::int32_t dtype, Handle* out) noexcept {
    View view{self};
    view.dtype = static_cast<DType>(dtype);
    const auto from = static_cast<std::int64_t>(element_size(self.dtype));
    const auto to = static_cast<std::int64_t>(element_size(view.dtype));
    if (to == 0) return not_for_dtype;
    if (from == to) return view.give(out);
    if (self.rank == 0) return "a number has no dimension to take apart";
    const std::uint32_t last = self.rank - 1;
    if (self.strides()[last] != 1) return "the last dimension is not contiguous";
    // Converts counts of elements of one type to those of the other.
    bool whole = true;
    const auto turn = [&](std::int64_t& number) {
      whole &= number * from % to == 0;
      number = number * from / to;
    };
    turn(view.offset);
    turn(view.sizes[last]);
    for (std::uint32_t d = 0; d < last; ++d) turn(view.strides[d]);
    return whole ? view.give(out) : "the last size, a stride or the offset is not a multiple";
  }

 private:
  struct View {
    explicit View(const Body& body) noexcept
        : of{body}, rank{body.rank}, offset{body.offset}, dtype{body.dtype} {
      for (std::uint32_t d = 0; d < rank; ++d) {
        sizes[d] = body.sizes()[d];
        strides[d] = body.strides()[d];
      }
    }
    const char* give(Handle* out) const noexcept {
      Output result;
      const char* wrong = result.view(of, rank, sizes, strides, offset, dtype);
      if (wrong == nullptr) result.give(out);
      return wrong;
    }

    const Body& of;
    std::uint32_t rank;
    std::int64_t sizes[Body::max_rank] = {}, strides[Body::max_rank] = {}, offset;
    DType dtype;
  };
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
