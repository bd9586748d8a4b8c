// SPDX-License-Identifier: BSD-3-Clause
// A product of matrices as a oneDNN primitive.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>

#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/one_thread.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// Adds the step of a product to a plan. Calls give a, b, what `target` takes, and the bias.
/// @param packs whether b is packed, see Plan::packed
/// @param target the memory that the step writes to, from its description
template <class Target>
void add_product(Plan& plan, dnnl_data_type_t type, const Shape& a, const Shape& b, bool packs,
                 const Shape& out, bool biased, Attributes& attributes, Target&& target) noexcept {
  const Layout source{type, a}, weights{type, b}, wanted{type, b, packs}, result{type, out},
      line = biased ? Layout{type, Shape::matrix(1, out.sizes[1])} : Layout{};
  dnnl_primitive_desc_t description = nullptr;
  const dnnl_status_t status =
      describe_product(&description, source, wanted, result, attributes.get(), line.get());
  const int from = plan.given(source.get()), by = plan.given(weights.get()),
            to = target(result.get()), added = biased ? plan.given(line.get()) : -1;
  const int used = plan.packed_for(description, status, by);
  plan.add(
      description, status,
      {{DNNL_ARG_SRC, from}, {DNNL_ARG_WEIGHTS, used}, {DNNL_ARG_BIAS, added}, {DNNL_ARG_DST, to}});
}

/// result = alpha * a @ b + bias + sum * result, followed by a function of each element; for
/// matrices, or for batches of them without bias. A matrix b that does not change is packed once,
/// and in each run if its rows are long. Tests compare bit by bit with products that do not pack.
struct Product {
  dnnl_data_type_t type;
  Shape a, b, out;
  const void* left;
  Given right;
  void* result;
  const void* bias = nullptr;  ///< One element for each column, or null; only where alpha is 1.
  double alpha = 1, sum = 0;
  const Fused& fused = none;

  AOTITorchError run(const char* function) const noexcept {
    // Measured: for many rows of a, reading long rows where they lie takes longer than packing
    // them.
    const bool has_long_rows = b.strides[1] == 1 && b.sizes[1] >= 1024 && a.sizes[0] >= 16;
    const bool packs = b.rank == 2 && (right.forms() != nullptr || has_long_rows);
    Signature signature{'m'};
    signature.add(std::int64_t{type});
    for (const Shape* shape : {&a, &b, &out}) {
      signature.add(shape->sizes, static_cast<std::size_t>(shape->rank));
      signature.add(shape->strides, static_cast<std::size_t>(shape->rank));
    }
    signature.add(std::int64_t{packs} + 2 * std::int64_t{bias != nullptr});
    signature.add(alpha);
    signature.add(sum);
    fused.add_to(signature);
    const std::int64_t batches = out.rank > 2 ? out.sizes[0] : 1;
    const OneThread small{OneThread::is_small(
        {batches, a.sizes[a.rank - 2], b.sizes[b.rank - 2], b.sizes[b.rank - 1]})};
    return onednn::run(function, signature, {left, right, result, bias},
                       [&](Plan& plan) { build(plan, packs); });
  }

 private:
  static constexpr Fused none{};

  void build(Plan& plan, bool packs) const noexcept {
    Attributes attributes;
    if (alpha != 1) attributes.eltwise(dnnl_eltwise_linear, static_cast<float>(alpha), 0);
    if (sum != 0) attributes.sum(static_cast<float>(sum));
    fused.append_to(attributes);
    add_product(plan, type, a, b, packs, out, bias != nullptr, attributes,
                [&](Description target) { return plan.given(target); });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
