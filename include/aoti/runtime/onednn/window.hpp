// SPDX-License-Identifier: BSD-3-Clause
// A convolution's parameters as in torch and as in oneDNN, and the memory layout of its result.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "aoti/abi/types.hpp"
#include "aoti/runtime/native/tensor_body.hpp"
#include "aoti/runtime/onednn/primitives.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// A convolution's parameters, without its tensors.
struct Filter {
  /// One for each spatial dimension, or one for all of them.
  using Numbers = std::span<const std::int64_t>;

  Numbers stride, padding, dilation, output_padding;
  std::int64_t groups;
  bool transposed;
  bool fused = false;  ///< Whether it is an operator of oneDNN's, with which others are fused.

  bool fits(std::uint32_t spatial) const noexcept {
    const auto one = [spatial](Numbers numbers) {
      return numbers.size() == 1 || numbers.size() == spatial;
    };
    return one(stride) && one(padding) && one(dilation) && (!transposed || one(output_padding)) &&
           groups > 0 && *std::min_element(stride.begin(), stride.end()) > 0 &&
           *std::min_element(dilation.begin(), dilation.end()) > 0;
  }
};

/// A convolution for oneDNN. As in torch, one with one dimension is one with two, of which the
/// first has size 1.
struct Window {
  Shape from, by, to;
  dnnl_dims_t stride, padding, padding_after, dilation;
  std::int64_t groups;
  bool transposed, channels_last;

  Window(const TensorBody& input, const TensorBody& weight, const Filter& filter) noexcept
      : from{spatial(input)},
        by{spatial(weight)},
        groups{filter.groups},
        transposed{filter.transposed} {
    const auto at = [](Filter::Numbers numbers, int d) {
      return numbers[numbers.size() == 1 ? 0 : static_cast<std::size_t>(d)];
    };
    const int added = input.rank == 3 ? 1 : 0;
    to.rank = from.rank;
    to.sizes[0] = from.sizes[0];
    to.sizes[1] = transposed ? by.sizes[1] * groups : by.sizes[0];
    for (int d = 0; d < from.rank - 2; ++d) {
      const bool mine = d >= added;
      const std::int64_t more = mine && transposed ? at(filter.output_padding, d - added) : 0;
      stride[d] = mine ? at(filter.stride, d - added) : 1;
      padding[d] = mine ? at(filter.padding, d - added) : 0;
      dilation[d] = mine ? at(filter.dilation, d - added) : 1;
      padding_after[d] = padding[d] - more;
      const std::int64_t size = from.sizes[d + 2], reach = dilation[d] * (by.sizes[d + 2] - 1) + 1;
      const std::int64_t room = size + 2 * padding[d] - reach;
      to.sizes[d + 2] = transposed ? (size - 1) * stride[d] - 2 * padding[d] + reach + more
                        : room < 0 ? -1
                                   : room / stride[d] + 1;
      --dilation[d];  // oneDNN counts from 0
    }
    channels_last = is_channels_last(input, filter.fused);
    arrange(to);
  }

  /// Why the result is impossible, or null.
  const char* refused() const noexcept {
    for (int d = 0; d < to.rank; ++d) {
      if (to.sizes[d] < 0) return "the result has a negative size";
    }
    return nullptr;
  }

  /// Applied to the shapes of the input and of the result.
  void arrange(Shape& shape) const noexcept {
    if (channels_last) {
      shape.channels_last();
    } else {
      shape.row_major();
    }
  }

 private:
  static Shape spatial(const TensorBody& tensor) noexcept {
    Shape shape;
    shape.rank = static_cast<int>(tensor.rank);
    for (int d = 0; d < shape.rank; ++d) {
      shape.sizes[d] = tensor.sizes()[d];
      shape.strides[d] = tensor.strides()[d];
    }
    if (shape.rank == 3) {
      shape.rank = 4;
      shape.sizes[3] = shape.sizes[2];
      shape.strides[3] = shape.strides[2];
      shape.sizes[2] = 1;
      shape.strides[2] = shape.sizes[3] * shape.strides[3];
    }
    return shape;
  }

  /// Whether torch treats strides as channels-last: each dimension, from the channels outwards to
  /// the batch, has a stride at least as large as the extent of those before it. If the channels'
  /// stride does not decide, it does not.
  static bool lies_channels_last(const Shape& shape) noexcept {
    std::int64_t reach = 0;
    for (int i = 0; i < shape.rank; ++i) {
      const int d = i == 0 ? 1 : i + 1 < shape.rank ? shape.rank - i : 0;
      if (shape.sizes[d] == 0 || shape.strides[d] < reach) return false;
      if (d == 0 && reach == shape.strides[1]) return false;
      reach = shape.strides[d] * shape.sizes[d];
    }
    return shape.strides[1] != 0;
  }

  /// Whether torch's own oneDNN, which may be newer, convolves this dtype here.
  static bool torch_convolves(DType dtype) noexcept {
#if defined(__x86_64__)
    static const bool has_avx512_fp16 = [] {
      unsigned a = 0, b = 0, c = 0, d = 0;
      return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 23 & 1) != 0;
    }();
    if (dtype == DType::float16) return has_avx512_fp16;
#endif
    return type_of(dtype) != dnnl_data_type_undef && computed_as(dtype) == dtype;
  }

  /// Whether torch's result is channels-last. Found by comparison: in three dimensions this is so
  /// only if torch convolves with its own oneDNN, assumed here to have more than one thread.
  bool is_channels_last(const TensorBody& input, bool fused) const noexcept {
    Shape first = from;
    if (input.rank == 3 && !input.row_major) first.row_major();
    if (!lies_channels_last(first) && !lies_channels_last(by)) return false;
    if (fused) return true;
    if (input.rank == 5 && !torch_convolves(input.dtype)) return false;
    if (input.rank < 5 || input.dtype != DType::float32) return true;
    const std::int64_t* sizes = from.sizes;
    return groups > 1 || (by.sizes[3] > 3 && by.sizes[4] > 3) || sizes[0] > 1 ||
           sizes[0] * sizes[1] * sizes[2] * sizes[3] > 20480;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
