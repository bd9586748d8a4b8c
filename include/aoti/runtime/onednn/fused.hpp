// SPDX-License-Identifier: BSD-3-Clause
// What torch fuses with an operator: another tensor that is added to the result, and a function of
// each element.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>
#include <string_view>

#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// A function of each element, as a oneDNN algorithm; none if that is undefined.
struct Fused {
  dnnl_alg_kind_t algorithm = dnnl_alg_kind_undef;
  float alpha = 0, beta = 0;
  bool clipped = false;  ///< To numbers from 0 to 1, after the function.

  void add_to(Signature& signature) const noexcept {
    signature.add(std::int64_t{algorithm});
    signature.add(double{alpha});
    signature.add(double{beta});
    signature.add(std::int64_t{clipped});
  }
  void append_to(Attributes& attributes) const noexcept {
    if (algorithm != dnnl_alg_kind_undef) attributes.eltwise(algorithm, alpha, beta);
    if (clipped) attributes.eltwise(dnnl_eltwise_clip, 0, 1);
  }

  /// Parses torch's name of it, with its parameters and its kind, either of which may be null.
  /// @return false if it is unknown
  static bool parse(std::string_view name, const double** scalars, std::int64_t count,
                    const char* const* kind, Fused& fused) noexcept {
    const auto scalar = [&](std::int64_t index, double otherwise) {
      const bool there = scalars != nullptr && index < count && scalars[index] != nullptr;
      return static_cast<float>(there ? *scalars[index] : otherwise);
    };
    if (name == "none" || name.empty()) {
      fused = {};
    } else if (name == "relu") {
      fused = {dnnl_eltwise_relu, 0, 0};
    } else if (name == "leaky_relu") {
      fused = {dnnl_eltwise_relu, scalar(0, 0.01), 0};
    } else if (name == "sigmoid") {
      fused = {dnnl_eltwise_logistic, 0, 0};
    } else if (name == "tanh") {
      fused = {dnnl_eltwise_tanh, 0, 0};
    } else if (name == "swish") {
      fused = {dnnl_eltwise_swish, 1, 0};
    } else if (name == "hardtanh") {
      fused = {dnnl_eltwise_clip, scalar(0, -1), scalar(1, 1)};
    } else if (name == "gelu") {
      const bool tanh = kind != nullptr && *kind != nullptr && std::string_view{*kind} == "tanh";
      fused = {tanh ? dnnl_eltwise_gelu_tanh : dnnl_eltwise_gelu_erf, 0, 0};
    } else if (name == "hardswish") {
      fused = {dnnl_eltwise_hardswish, 1.0f / 6, 0.5f};
    } else if (name == "hardsigmoid") {
      fused = {dnnl_eltwise_linear, 1.0f / 6, 0.5f, true};
    } else {
      return false;
    }
    return true;
  }
};

/// A tensor that is added to a result before a fused function; may be none.
struct Added {
  const TensorBody* tensor = nullptr;
  float scale = 1;

  void add_to(Signature& signature) const noexcept {
    signature.add(std::int64_t{tensor != nullptr});
    signature.add(double{scale});
  }
  void append_to(Attributes& attributes) const noexcept {
    if (tensor != nullptr) attributes.sum(scale);
  }
};

/// The sign of an operand by torch's name of the operation; 0 if it is unknown.
inline float sign_of(std::string_view operation) noexcept {
  return operation == "add" ? 1.0f : operation == "sub" ? -1.0f : 0.0f;
}

}  // namespace aoti::inline AOTI_ABI::detail::onednn
