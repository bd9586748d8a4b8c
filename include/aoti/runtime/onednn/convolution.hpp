// SPDX-License-Identifier: BSD-3-Clause
// Convolutions, on oneDNN.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aoti/runtime/onednn/convolution_plan.hpp"
#include "aoti/runtime/onednn/disjoint_convolution.hpp"
#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/one_thread.hpp"
#include "aoti/runtime/onednn/plain_convolution.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/window.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

struct Convolution {
  using Handle = AtenTensorHandle;
  using Code = AOTITorchError;
  using Body = TensorBody;

  static Code convolution(Handle input, Handle weight, Handle* bias, const std::int64_t* stride,
                          std::int64_t strides, const std::int64_t* padding, std::int64_t paddings,
                          const std::int64_t* dilation, std::int64_t dilations,
                          std::int32_t transposed, const std::int64_t* output_padding,
                          std::int64_t output_paddings, std::int64_t groups, Handle* out) noexcept {
    const Filter filter{numbers(stride, strides),
                        numbers(padding, paddings),
                        numbers(dilation, dilations),
                        numbers(output_padding, output_paddings),
                        groups,
                        transposed != 0};
    return convolve(abi::imported::cpu_convolution::symbol, input, weight, bias, filter, {}, {},
                    out);
  }

  /// A convolution, followed by a function of each element.
  static Code pointwise(Handle input, Handle weight, Handle* bias, const std::int64_t* padding,
                        std::int64_t paddings, const std::int64_t* stride, std::int64_t strides,
                        const std::int64_t* dilation, std::int64_t dilations, std::int64_t groups,
                        const char* function, const double** scalars, std::int64_t count,
                        const char** algorithm, Handle* out) noexcept {
    constexpr const char* name = abi::imported::cpu_mkldnn__convolution_pointwise::symbol;
    const Filter filter =
        filter_of(padding, paddings, stride, strides, dilation, dilations, groups);
    Fused fused;
    if (!Fused::parse(function, scalars, count, algorithm, fused)) {
      return NativeFunctions::fail(name, "the fused function is not known");
    }
    return convolve(name, input, weight, bias, filter, fused, {}, out);
  }

  /// A convolution, plus or minus `alpha` times a tensor that is broadcast to the result's sizes,
  /// followed by a function of each element.
  static Code pointwise_binary(Handle input, Handle other, Handle weight, Handle* bias,
                               const std::int64_t* padding, std::int64_t paddings,
                               const std::int64_t* stride, std::int64_t strides,
                               const std::int64_t* dilation, std::int64_t dilations,
                               std::int64_t groups, const char* operation, double* alpha,
                               const char** function, const double** scalars, std::int64_t count,
                               const char** algorithm, Handle* out) noexcept {
    constexpr const char* name = abi::imported::cpu_mkldnn__convolution_pointwise_binary::symbol;
    const Filter filter =
        filter_of(padding, paddings, stride, strides, dilation, dilations, groups);
    return add(name, input, other, weight, bias, filter, operation, alpha, function, scalars, count,
               algorithm, out);
  }

  /// The same, also written to the tensor that is added.
  static Code pointwise_binary_(Handle other, Handle input, Handle weight, Handle* bias,
                                const std::int64_t* padding, std::int64_t paddings,
                                const std::int64_t* stride, std::int64_t strides,
                                const std::int64_t* dilation, std::int64_t dilations,
                                std::int64_t groups, const char* operation, double* alpha,
                                const char** function, const double** scalars, std::int64_t count,
                                const char** algorithm, Handle* out) noexcept {
    constexpr const char* name = abi::imported::cpu_mkldnn__convolution_pointwise_binary_::symbol;
    const Filter filter =
        filter_of(padding, paddings, stride, strides, dilation, dilations, groups);
    Handle result = nullptr;
    if (const Code failed = add(name, input, other, weight, bias, filter, operation, alpha,
                                function, scalars, count, algorithm, &result, Body::of(other))) {
      return failed;
    }
    if (result != other) {
      const char* wrong = copy_elements(*Body::of(other), *Body::of(result));
      Body::of(result)->drop();
      if (wrong != nullptr) return NativeFunctions::fail(name, wrong);
    }
    return NativeFunctions::new_tensor_handle(other, out);
  }

  /// @param bias_handle null, or a handle, which may be to an undefined tensor
  /// @param out a new tensor with torch's strides, or `into`
  /// @param into the tensor that is added, if it may be overwritten: the result is written there if
  ///        it lies as a new one would, in another storage than what is read
  static Code convolve(const char* function, Handle input_handle, Handle weight_handle,
                       const Handle* bias_handle, const Filter& filter, const Fused& fused,
                       const Added& added, Handle* out, Body* into = nullptr) noexcept {
    const Body &input = *Body::of(input_handle), &weight = *Body::of(weight_handle);
    const Body* bias = bias_handle != nullptr ? Body::of(*bias_handle) : nullptr;
    if (bias != nullptr && bias->storage == nullptr) bias = nullptr;
    if (const char* wrong = refused(input, weight, bias, filter)) {
      return NativeFunctions::fail(function, wrong);
    }
    const Window window{input, weight, filter};
    if (const char* wrong = window.refused()) return NativeFunctions::fail(function, wrong);
    const char* reason = nullptr;
    const DType dtype = computed_as(input.dtype);
    const auto is_read = [&](const Body* body) {
      return body != nullptr && body->storage == into->storage;
    };
    if (into != nullptr &&
        (input.rank < 4 || into->rank != input.rank || dtype != into->dtype ||
         !(Shape{*into} == window.to) || is_read(&input) || is_read(&weight) || is_read(bias))) {
      into = nullptr;
    }
    Body* result = into != nullptr ? into : make_result(window, input, reason);
    if (result == nullptr) return NativeFunctions::fail(function, reason);
    Temporary room;
    Body* target = dtype == result->dtype
                       ? result
                       : room.make(dtype, result->sizes(), result->rank, result->strides());
    reason = target == nullptr ? Body::no_memory
             : added.tensor != nullptr && added.tensor != target
                 ? copy_elements(*target, *added.tensor)
                 : nullptr;
    Code failed = reason != nullptr ? NativeFunctions::fail(function, reason) : 0;
    if (failed == 0 && result->count != 0) {
      failed = compute(function, *target, input, weight, bias, filter, fused, added);
    }
    if (failed == 0 && target != result) copy_elements(*result, *target);
    if (failed != 0) {
      if (into == nullptr) result->drop();
      return failed;
    }
    *out = Body::handle(result);
    return 0;
  }

  /// For the fused functions, none of which is transposed.
  static Filter filter_of(const std::int64_t* padding, std::int64_t paddings,
                          const std::int64_t* stride, std::int64_t strides,
                          const std::int64_t* dilation, std::int64_t dilations,
                          std::int64_t groups) noexcept {
    return {numbers(stride, strides),
            numbers(padding, paddings),
            numbers(dilation, dilations),
            {},
            groups,
            false,
            true};
  }

  static Filter::Numbers numbers(const std::int64_t* data, std::int64_t count) noexcept {
    return {data, static_cast<std::size_t>(count)};
  }

 private:
  static Code add(const char* name, Handle input, Handle other, Handle weight, Handle* bias,
                  const Filter& filter, const char* operation, const double* alpha,
                  const char** function, const double** scalars, std::int64_t count,
                  const char** algorithm, Handle* out, Body* into = nullptr) noexcept {
    Fused fused;
    const float sign = sign_of(operation);
    if (sign == 0 ||
        (function != nullptr && !Fused::parse(*function, scalars, count, algorithm, fused))) {
      return NativeFunctions::fail(name, "the fused functions are not known");
    }
    const float scale = sign * (alpha != nullptr ? static_cast<float>(*alpha) : 1.0f);
    return convolve(name, input, weight, bias, filter, fused, {Body::of(other), scale}, out, into);
  }

  /// The plain convolution for types that torch convolves and oneDNN does not; null for others.
  static auto plain_for(DType dtype) noexcept -> decltype(&convolve_plainly<double>) {
    switch (dtype) {
      case DType::float64:
        return convolve_plainly<double>;
      case DType::int64:
        return convolve_plainly<std::uint64_t>;
      case DType::int32:
        return convolve_plainly<std::uint32_t>;
      case DType::int16:
        return convolve_plainly<std::uint16_t>;
      case DType::int8:
      case DType::uint8:
        return convolve_plainly<std::uint8_t>;
      default:
        return nullptr;
    }
  }

  static const char* refused(const Body& input, const Body& weight, const Body* bias,
                             const Filter& filter) noexcept {
    if (input.rank < 3 || input.rank > 5 || weight.rank != input.rank ||
        !filter.fits(input.rank - 2)) {
      return "only for batches of one to three spatial dimensions, and filters of as many";
    }
    if (plain_for(input.dtype) == nullptr && type_of(input.dtype) == dnnl_data_type_undef) {
      return "not for this dtype";
    }
    if (weight.dtype != input.dtype || (bias != nullptr && bias->dtype != input.dtype)) {
      return "the dtypes differ";
    }
    const std::int64_t *w = weight.sizes(), channels = input.sizes()[1], groups = filter.groups;
    const std::int64_t results = filter.transposed ? w[1] * groups : w[0];
    const bool fits = filter.transposed ? channels == w[0] && channels % groups == 0
                                        : channels == w[1] * groups && w[0] % groups == 0;
    if (!fits || (bias != nullptr && (bias->rank != 1 || bias->sizes()[0] != results))) {
      return "the sizes do not match";
    }
    return nullptr;
  }

  static Body* make_result(const Window& window, const Body& input, const char*& reason) noexcept {
    Shape shape = window.to;
    if (input.rank == 3) {  // removes the dimension that was added
      shape.sizes[2] = shape.sizes[3];
      shape.strides[2] = shape.strides[3];
    }
    return Body::make_result(input.rank, shape.sizes, shape.strides, input.dtype, reason);
  }

  static Code compute(const char* function, Body& result, const Body& given_input,
                      const Body& given_weight, const Body* bias, const Filter& filter,
                      const Fused& fused, const Added& added) noexcept {
    Temporary input_room, weight_room, bias_room, repeated_room;
    const DType dtype = result.dtype;
    const auto fit = [dtype](const Body& tensor, Temporary& room) {
      // oneDNN refuses overlapping elements.
      const bool fits = tensor.dtype == dtype && !overlaps_itself(tensor);
      return fits ? &tensor : room.copy(tensor, dtype);
    };
    const Body *input = fit(given_input, input_room), *weight = fit(given_weight, weight_room);
    const bool biased = bias != nullptr;
    if (biased && (!bias->row_major || bias->dtype != dtype)) bias = bias_room.copy(*bias, dtype);
    if (input == nullptr || weight == nullptr || (biased && bias == nullptr)) {
      return NativeFunctions::fail(function, Body::no_memory);
    }
    const auto window = [&] {
      Window made{*input, *weight, filter};
      made.channels_last = Window{given_input, given_weight, filter}.channels_last;
      made.arrange(made.to);
      return made;
    };
    const void* extra = biased ? bias->data : nullptr;
    if (auto* const plainly = plain_for(dtype)) {
      if (fused.algorithm != dnnl_alg_kind_undef) {
        return NativeFunctions::fail(function, "fused functions are not for this dtype");
      }
      plainly(window(), *input, *weight, extra, added, result);
      return 0;
    }
    bool disjoint = false, packs = false;
    if (filter.transposed && added.tensor == nullptr) {
      const Window made = window();
      disjoint = DisjointConvolution::fits(made);
      packs = disjoint && Given{*weight}.forms() != nullptr;
      if (disjoint && biased) {
        const std::int64_t columns = DisjointConvolution::columns(made);
        const Body* repeated = repeated_room.make(dtype, &columns, 1);
        if (repeated == nullptr) return NativeFunctions::fail(function, Body::no_memory);
        DisjointConvolution::repeat(made, bias->data, element_size(dtype), repeated->data);
        extra = repeated->data;
      }
    }
    Signature signature{'c'};
    signature.add(*input);
    signature.add(*weight);
    signature.add(result.strides(), result.rank);
    signature.add(std::int64_t{biased} + 2 * std::int64_t{filter.transposed} +
                  4 * std::int64_t{packs});
    signature.add(filter.groups);
    for (const auto& list :
         {filter.stride, filter.padding, filter.dilation, filter.output_padding}) {
      signature.add(list.data(), list.size());
    }
    fused.add_to(signature);
    added.add_to(signature);
    const std::int64_t windows = filter.transposed ? input->count : result.count;
    const std::int64_t each = weight->count / std::max<std::int64_t>(weight->sizes()[0], 1);
    const OneThread small{OneThread::is_small({windows, each})};
    return run(function, signature, {input->data, *weight, result.data, extra}, [&](Plan& plan) {
      if (disjoint) {
        DisjointConvolution::build(plan, type_of(dtype), window(), biased, packs, fused);
      } else {
        ConvolutionPlan::build(plan, type_of(dtype), window(), biased, fused, added);
      }
    });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
