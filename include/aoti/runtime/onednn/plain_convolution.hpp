// SPDX-License-Identifier: BSD-3-Clause
// Convolutions of types that torch convolves and oneDNN does not, in plain loops.
#pragma once

#include <cstdint>

#include "aoti/runtime/native/numbers.hpp"
#include "aoti/runtime/native/tensor_body.hpp"
#include "aoti/runtime/native/tensor_copy.hpp"
#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/window.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// Without oneDNN. Integers are unsigned, as their sums may overflow.
template <class T>
void convolve_plainly(const Window& window, const TensorBody& input, const TensorBody& weight,
                      const void* bias, const Added& added, TensorBody& result) noexcept {
  const Shape &from = window.from, &by = window.by, &to = window.to;
  const bool transposed = window.transposed;
  const auto spatial = static_cast<std::uint32_t>(to.rank - 2);
  const std::int64_t ins = from.sizes[1] / window.groups, outs = to.sizes[1] / window.groups,
                     in_step = by.strides[transposed ? 0 : 1],
                     out_step = by.strides[transposed ? 1 : 0];
  for_each_index(to.sizes, spatial + 2, [&](const std::int64_t* at) {
    const std::int64_t group = at[1] / outs;
    const T* const first = reinterpret_cast<const T*>(input.data) + at[0] * from.strides[0] +
                           group * ins * from.strides[1];
    const T* const first_factor = reinterpret_cast<const T*>(weight.data) +
                                  group * (transposed ? ins * in_step : outs * out_step) +
                                  at[1] % outs * out_step;
    decltype(T{} * 1u) sum = bias != nullptr ? static_cast<const T*>(bias)[at[1]] : T{0};
    for_each_index(by.sizes + 2, spatial, [&](const std::int64_t* k) {
      const T *x = first, *factor = first_factor;
      for (std::uint32_t d = 0; d < spatial; ++d) {
        const std::int64_t stride = window.stride[d], reach = k[d] * (window.dilation[d] + 1);
        std::int64_t place = transposed ? at[d + 2] + window.padding[d] - reach
                                        : at[d + 2] * stride - window.padding[d] + reach;
        if (transposed && place % stride != 0) return;
        if (transposed) place /= stride;
        if (place < 0 || place >= from.sizes[d + 2]) return;
        x += place * from.strides[d + 2];
        factor += k[d] * by.strides[d + 2];
      }
      for (std::int64_t c = 0; c < ins; ++c) {
        sum += decltype(sum){x[c * from.strides[1]]} * factor[c * in_step];
      }
    });
    T& element = reinterpret_cast<T*>(result.data)[offset_of(at, to.strides, spatial + 2)];
    if (added.tensor != nullptr) {
      sum += aoti::detail::to<decltype(sum)>(number_of(added.scale)) * element;
    }
    element = static_cast<T>(sum);
  });
}

}  // namespace aoti::inline AOTI_ABI::detail::onednn
