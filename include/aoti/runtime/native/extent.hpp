// SPDX-License-Identifier: BSD-3-Clause
// Computes a tensor's numbers of elements and bytes from its sizes and strides, and whether such a
// tensor can exist.
#pragma once

#include <cstddef>
#include <cstdint>

#include "aoti/abi/types.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The extent of a tensor with given sizes and strides.
struct Extent {
  std::int64_t count = 1;  ///< The number of elements.
  std::int64_t bytes = 0;  ///< From the first element to the last.
  bool row_major = true;
  const char* wrong = nullptr;  ///< Why such a tensor cannot exist; null if it can.

  /// @param strides null for row-major
  [[gnu::always_inline]] Extent(std::size_t rank, const std::int64_t* sizes,
                                const std::int64_t* strides, DType dtype) noexcept {
    // If all numbers are below 2^31, nothing can overflow; one test checks this.
    const std::uint64_t element = element_size(dtype);
    std::uint64_t all = 0, last = 0, step = 1;
    for (std::size_t d = rank; d-- > 0;) {
      const auto size = static_cast<std::uint64_t>(sizes[d]);
      const std::uint64_t stride =
          strides != nullptr ? static_cast<std::uint64_t>(strides[d]) : step;
      all |= size | stride | step | last;
      row_major &= size == 1 || stride == step;
      last += (size - 1) * stride;
      step *= size;
    }
    all |= step | last;
    count = static_cast<std::int64_t>(step);
    bytes = static_cast<std::int64_t>((last + 1) * element);
    if (all >> 31 != 0 || step == 0 || element == 0) [[unlikely]]
      examine(rank, sizes, strides, static_cast<std::int64_t>(element));
  }

 private:
  /// The same for any numbers.
  [[gnu::cold, gnu::noinline]] void examine(std::size_t rank, const std::int64_t* sizes,
                                            const std::int64_t* strides,
                                            std::int64_t element) noexcept {
    std::int64_t last = 0, step = 1;
    bool negative = false, overflow = false, empty = false;
    row_major = true;
    for (std::size_t d = rank; d-- > 0;) {
      const std::int64_t size = sizes[d], stride = strides != nullptr ? strides[d] : step;
      negative |= size < 0 || (strides != nullptr && stride < 0);
      empty |= size == 0;
      row_major &= size == 1 || stride == step;
      std::int64_t more = 0, reach = 0;
      overflow |= __builtin_mul_overflow(step, size, &step);
      overflow |= __builtin_sub_overflow(size, 1, &more);
      overflow |= __builtin_mul_overflow(more, stride, &reach);
      overflow |= __builtin_add_overflow(last, reach, &last);
    }
    overflow |= __builtin_add_overflow(last, 1, &last);
    overflow |= __builtin_mul_overflow(last, element, &bytes);
    count = step;
    if (empty) {
      count = bytes = 0;
      row_major = true;
      overflow = false;
    }
    if (element == 0 || negative || overflow) {
      wrong = element == 0 ? "the dtype is unknown"
              : negative   ? "a size or stride is negative"
                           : "there are more bytes than can be counted";
    }
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
