// SPDX-License-Identifier: BSD-3-Clause
// The oneDNN steps that compute a convolution.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>

#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/window.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

struct ConvolutionPlan {
  static void build(Plan& plan, dnnl_data_type_t type, const Window& window, bool biased,
                    const Fused& fused, const Added& added) noexcept {
    Shape dense = window.from, from = window.from, line;
    window.arrange(dense);
    if (from == dense) {
      from = dense;
    } else {
      from.normalise();
    }
    line.rank = 1;
    line.sizes[0] = window.to.sizes[1];
    line.strides[0] = 1;
    const Shape grouped = grouped_weights(window);
    const bool free = !window.channels_last, summed = added.tensor != nullptr;
    const Layout source{type, from}, weights{type, grouped}, target{type, window.to};
    const Layout bias = biased ? Layout{type, line} : Layout{};
    const Layout source_wanted{type, dense, free}, target_wanted{type, window.to, free && !summed},
        weights_wanted{type, grouped, true};
    Attributes attributes;
    added.append_to(attributes);
    fused.append_to(attributes);
    dnnl_primitive_desc_t description = nullptr;
    const dnnl_status_t status =
        describe(&description, window, source_wanted.get(), weights_wanted.get(), bias.get(),
                 target_wanted.get(), attributes.get());
    const int source_given = plan.given(source.get()), weights_given = plan.given(weights.get()),
              target_given = plan.given(target.get()),
              bias_given = biased ? plan.given(bias.get()) : -1;
    if (status != dnnl_success) {
      plan.add(description, status, {});
      return;
    }
    const auto wanted = [&](dnnl_query_t what) {
      return dnnl_primitive_desc_query_md(description, what, 0);
    };
    const int source_used = plan.arranged(source_given, wanted(dnnl_query_src_md));
    const int weights_used = plan.packed_for(description, status, weights_given);
    const bool in_place = plan.is(target_given, wanted(dnnl_query_dst_md));
    const int target_used = in_place ? target_given : plan.between(wanted(dnnl_query_dst_md));
    plan.add(description, status,
             {{DNNL_ARG_SRC, source_used},
              {DNNL_ARG_WEIGHTS, weights_used},
              {DNNL_ARG_BIAS, bias_given},
              {DNNL_ARG_DST, target_used}});
    if (!in_place) plan.reorder(target_used, target_given);
  }

 private:
  /// [groups, results, channels, …], without groups if there is only one.
  static Shape grouped_weights(const Window& window) noexcept {
    const Shape& by = window.by;
    const int results = window.transposed ? 1 : 0, channels = window.transposed ? 0 : 1;
    const int added = window.groups > 1 ? 1 : 0;
    Shape shape;
    shape.rank = by.rank + added;
    for (int d = 0; d < by.rank; ++d) {
      const int other = d == 0 ? results : d == 1 ? channels : d;
      shape.sizes[d + added] = by.sizes[other];
      shape.strides[d + added] = by.strides[other];
    }
    if (added != 0) {  // torch's first dimension covers all groups
      std::int64_t& split = shape.sizes[added + (window.transposed ? 1 : 0)];
      split /= window.groups;
      shape.sizes[0] = window.groups;
      shape.strides[0] = split * by.strides[0];
    }
    shape.normalise();
    return shape;
  }

  static dnnl_status_t describe(dnnl_primitive_desc_t* description, const Window& window,
                                Description source, Description weights, Description bias,
                                Description target,
                                const_dnnl_primitive_attr_t attributes) noexcept {
    constexpr dnnl_prop_kind_t forward = dnnl_forward_inference;
#if DNNL_VERSION_MAJOR >= 3
    if (window.transposed) {
      return dnnl_deconvolution_forward_primitive_desc_create(
          description, engine(), forward, dnnl_deconvolution_direct, source, weights, bias, target,
          window.stride, window.dilation, window.padding, window.padding_after, attributes);
    }
    return dnnl_convolution_forward_primitive_desc_create(
        description, engine(), forward, dnnl_convolution_direct, source, weights, bias, target,
        window.stride, window.dilation, window.padding, window.padding_after, attributes);
#else
    if (window.transposed) {
      dnnl_deconvolution_desc_t operation;
      const dnnl_status_t status = dnnl_dilated_deconvolution_forward_desc_init(
          &operation, forward, dnnl_deconvolution_direct, source, weights, bias, target,
          window.stride, window.dilation, window.padding, window.padding_after);
      if (status != dnnl_success) return status;
      return dnnl_primitive_desc_create(description, &operation, attributes, engine(), nullptr);
    }
    dnnl_convolution_desc_t operation;
    const dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &operation, forward, dnnl_convolution_direct, source, weights, bias, target, window.stride,
        window.dilation, window.padding, window.padding_after);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(description, &operation, attributes, engine(), nullptr);
#endif
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
