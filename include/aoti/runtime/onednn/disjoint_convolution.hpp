// SPDX-License-Identifier: BSD-3-Clause
// Transposed convolutions whose windows do not overlap, as those that double an image's size.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/product.hpp"
#include "aoti/runtime/onednn/window.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// Each pixel's channels times the weights are a block of the result. So it is one product, and a
/// copy that puts the blocks in their places: faster than oneDNN's own transposed convolution.
struct DisjointConvolution {
  static bool fits(const Window& window) noexcept {
    const bool single = window.groups == 1 && window.by.sizes[0] != 0;
    if (!window.transposed || !single || !window.channels_last) return false;
    for (int d = 0; d + 2 < window.by.rank; ++d) {
      const bool is_apart = window.stride[d] == window.by.sizes[d + 2] &&
                            (window.dilation[d] == 0 || window.by.sizes[d + 2] == 1);
      if (!is_apart || window.padding[d] != 0 || window.padding_after[d] != 0) return false;
    }
    Shape rows = window.from, plain = window.by;
    rows.channels_last();
    plain.row_major();
    return rows == window.from && (plain == window.by || has_channels_last(window));
  }

  /// How many elements the bias has for the product, where each is repeated.
  static std::int64_t columns(const Window& window) noexcept {
    return window.by.sizes[1] * block(window);
  }
  /// Repeats the bias of each channel for a block.
  static void repeat(const Window& window, const void* bias, std::size_t size,
                     std::byte* out) noexcept {
    const bool last = has_channels_last(window);
    const std::int64_t channels = window.by.sizes[1], count = columns(window);
    const std::int64_t times = count / channels;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t channel = last ? i % channels : i / times;
      std::memcpy(out + static_cast<std::size_t>(i) * size,
                  static_cast<const std::byte*>(bias) + static_cast<std::size_t>(channel) * size,
                  size);
    }
  }

  /// @param biased whether calls give a bias from repeat()
  /// @param packs whether the weights do not change
  static void build(Plan& plan, dnnl_data_type_t type, const Window& window, bool biased,
                    bool packs, const Fused& fused) noexcept {
    const std::int64_t pixels = product(window.from) / window.from.sizes[1];
    const std::int64_t channels = window.by.sizes[0], width = columns(window);
    Shape placed, apart;
    place(window, placed, apart);
    const Layout result{type, placed}, in_blocks{type, apart};
    Attributes attributes;
    fused.append_to(attributes);
    int computed = -1, to = -1;
    add_product(plan, type, Shape::matrix(pixels, channels), Shape::matrix(channels, width), packs,
                Shape::matrix(pixels, width), biased, attributes, [&](Description blocks) {
                  to = plan.given(result.get());
                  return computed = plan.between(blocks);
                });
    plan.reorder(plan.seen_as(computed, in_blocks.get()), to);
  }

 private:
  static bool has_channels_last(const Window& window) noexcept {
    Shape last = window.by;
    last.channels_last();
    return last == window.by;
  }
  static std::int64_t product(const Shape& shape) noexcept {
    std::int64_t count = 1;
    for (int d = 0; d < shape.rank; ++d) count *= shape.sizes[d];
    return count;
  }
  /// How many elements of the result a pixel gives for each channel.
  static std::int64_t block(const Window& window) noexcept {
    return product(window.by) / (window.by.sizes[0] * window.by.sizes[1]);
  }

  /// The result's dimensions, each spatial one as two, in the order of its memory; and where its
  /// elements are among the blocks.
  static void place(const Window& window, Shape& placed, Shape& apart) noexcept {
    const Shape &from = window.from, &by = window.by;
    const int spatial = from.rank - 2;
    const bool last = has_channels_last(window);
    placed.rank = 2 * spatial + 2;
    placed.sizes[0] = from.sizes[0];
    placed.sizes[placed.rank - 1] = by.sizes[1];
    for (int d = 0; d < spatial; ++d) {
      placed.sizes[1 + 2 * d] = from.sizes[d + 2];
      placed.sizes[2 + 2 * d] = by.sizes[d + 2];
    }
    apart = placed;
    placed.row_major();
    std::int64_t within = last ? by.sizes[1] : 1, step = columns(window);
    apart.strides[apart.rank - 1] = last ? 1 : block(window);
    for (int d = spatial; d-- > 0;) {
      apart.strides[2 + 2 * d] = within;
      apart.strides[1 + 2 * d] = step;
      within *= by.sizes[d + 2];
      step *= from.sizes[d + 2];
    }
    apart.strides[0] = step;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
