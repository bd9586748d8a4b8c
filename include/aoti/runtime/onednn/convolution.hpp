// SPDX-License-Identifier: BSD-3-Clause
// Convolutions, on oneDNN.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"

namespace aoti::detail::onednn {

/// What a convolution is, apart from its tensors.
struct Filter {
  /// One for each spatial dimension, or one for all of them.
  using Numbers = std::span<const std::int64_t>;

  Numbers stride, padding, dilation, output_padding;
  std::int64_t groups;
  bool transposed;

  bool fits(std::uint32_t spatial) const noexcept {
    const auto one = [spatial](Numbers numbers) {
      return numbers.size() == 1 || numbers.size() == spatial;
    };
    return one(stride) && one(padding) && one(dilation) && (!transposed || one(output_padding)) &&
           groups > 0 && *std::min_element(stride.begin(), stride.end()) > 0 &&
           *std::min_element(dilation.begin(), dilation.end()) > 0;
  }
};

/// A convolution as oneDNN has it. As torch does, one of one dimension is one of two whose first is
/// of size 1.
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
    channels_last = is_channels_last(input);
    arrange(to);
  }

  /// Why the result cannot be, or null.
  const char* refused() const noexcept {
    for (int d = 0; d < to.rank; ++d) {
      if (to.sizes[d] < 0) return "the result has a negative size";
    }
    return nullptr;
  }

  /// Of the input and of the result.
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

  /// Whether torch takes strides for channels-last: each dimension, from the channels outwards to
  /// the batch, lies at least as far apart as those before it reach. Where the channels' stride
  /// tells nothing, it does not.
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

  /// Whether torch's own oneDNN, which may be newer than this one, convolves such numbers here.
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

  /// Whether torch's result is channels-last. Found by comparing: in three dimensions it is so
  /// only where torch convolves with its own oneDNN, here taken to have more than one thread.
  bool is_channels_last(const TensorBody& input) const noexcept {
    Shape first = from;
    if (input.rank == 3 && !input.row_major) first.row_major();
    if (!lies_channels_last(first) && !lies_channels_last(by)) return false;
    if (input.rank == 5 && !torch_convolves(input.dtype)) return false;
    if (input.rank < 5 || input.dtype != DType::float32) return true;
    const std::int64_t* sizes = from.sizes;
    return groups > 1 || (by.sizes[3] > 3 && by.sizes[4] > 3) || sizes[0] > 1 ||
           sizes[0] * sizes[1] * sizes[2] * sizes[3] > 20480;
  }
};

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

  /// A convolution, and then a function of each element.
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

  /// A convolution, plus or minus `alpha` times a tensor that can be broadcast to the result's
  /// sizes, and then a function of each element.
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

  /// The same, which also writes the result to the tensor that is added.
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
                                function, scalars, count, algorithm, &result)) {
      return failed;
    }
    const char* wrong = copy_elements(*Body::of(other), *Body::of(result));
    Body::of(result)->drop();
    if (wrong != nullptr) return NativeFunctions::fail(name, wrong);
    return NativeFunctions::new_tensor_handle(other, out);
  }

  /// @param bias_handle null, or a handle, of an undefined tensor too
  /// @param out a new tensor, whose strides are those of torch's
  static Code convolve(const char* function, Handle input_handle, Handle weight_handle,
                       const Handle* bias_handle, const Filter& filter, const Fused& fused,
                       const Added& added, Handle* out) noexcept {
    const Body &input = *Body::of(input_handle), &weight = *Body::of(weight_handle);
    const Body* bias = bias_handle != nullptr ? Body::of(*bias_handle) : nullptr;
    if (bias != nullptr && bias->storage == nullptr) bias = nullptr;
    if (const char* wrong = refused(input, weight, bias, filter)) {
      return NativeFunctions::fail(function, wrong);
    }
    const Window window{input, weight, filter};
    if (const char* wrong = window.refused()) return NativeFunctions::fail(function, wrong);
    const char* reason = nullptr;
    Body* result = make_result(window, input, reason);
    if (result == nullptr) return NativeFunctions::fail(function, reason);
    const DType dtype = computed_as(input.dtype);
    Temporary room;
    Body* target = dtype == result->dtype
                       ? result
                       : room.make(dtype, result->sizes(), result->rank, result->strides());
    reason = target == nullptr         ? Body::no_memory
             : added.tensor != nullptr ? copy_elements(*target, *added.tensor)
                                       : nullptr;
    Code failed = reason != nullptr ? NativeFunctions::fail(function, reason) : 0;
    if (failed == 0 && result->count != 0) {
      failed = compute(function, *target, input, weight, bias, filter, fused, added);
    }
    if (failed == 0 && target != result) copy_elements(*result, *target);
    if (failed != 0) {
      result->drop();
      return failed;
    }
    *out = Body::handle(result);
    return 0;
  }

  /// Of the fused functions, none of which is transposed.
  static Filter filter_of(const std::int64_t* padding, std::int64_t paddings,
                          const std::int64_t* stride, std::int64_t strides,
                          const std::int64_t* dilation, std::int64_t dilations,
                          std::int64_t groups) noexcept {
    return {numbers(stride, strides),
            numbers(padding, paddings),
            numbers(dilation, dilations),
            {},
            groups,
            false};
  }

  static Filter::Numbers numbers(const std::int64_t* data, std::int64_t count) noexcept {
    return {data, static_cast<std::size_t>(count)};
  }

 private:
  static Code add(const char* name, Handle input, Handle other, Handle weight, Handle* bias,
                  const Filter& filter, const char* operation, const double* alpha,
                  const char** function, const double** scalars, std::int64_t count,
                  const char** algorithm, Handle* out) noexcept {
    Fused fused;
    const float sign = sign_of(operation);
    if (sign == 0 ||
        (function != nullptr && !Fused::parse(*function, scalars, count, algorithm, fused))) {
      return NativeFunctions::fail(name, "the fused functions are not known");
    }
    const float scale = sign * (alpha != nullptr ? static_cast<float>(*alpha) : 1.0f);
    return convolve(name, input, weight, bias, filter, fused, {Body::of(other), scale}, out);
  }

  /// What convolves a type that torch convolves and oneDNN does not; null for others.
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
    if (input.rank == 3) {  // without the dimension that was added
      shape.sizes[2] = shape.sizes[3];
      shape.strides[2] = shape.strides[3];
    }
    return Body::make_result(input.rank, shape.sizes, shape.strides, input.dtype, reason);
  }

  static Code compute(const char* function, Body& result, const Body& given_input,
                      const Body& given_weight, const Body* bias, const Filter& filter,
                      const Fused& fused, const Added& added) noexcept {
    Temporary input_room, weight_room, bias_room;
    const DType dtype = result.dtype;
    const auto fit = [dtype](const Body& tensor, Temporary& room) {
      // oneDNN takes no elements that share a place.
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
    Signature signature{'c'};
    signature.add(*input);
    signature.add(*weight);
    signature.add(result.strides(), result.rank);
    signature.add(std::int64_t{biased} + 2 * std::int64_t{filter.transposed});
    signature.add(filter.groups);
    for (const auto& list :
         {filter.stride, filter.padding, filter.dilation, filter.output_padding}) {
      signature.add(list.data(), list.size());
    }
    fused.add_to(signature);
    added.add_to(signature);
    return run(function, signature, {input->data, weight->data, result.data, extra},
               [&](Plan& plan) { build(plan, type_of(dtype), window(), biased, fused, added); });
  }

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
    const int weights_used = plan.arranged(weights_given, wanted(dnnl_query_weights_md));
    const bool in_place = plan.is(target_given, wanted(dnnl_query_dst_md));
    const int target_used = in_place ? target_given : plan.between(wanted(dnnl_query_dst_md));
    plan.add(description, status,
             {{DNNL_ARG_SRC, source_used},
              {DNNL_ARG_WEIGHTS, weights_used},
              {DNNL_ARG_BIAS, bias_given},
              {DNNL_ARG_DST, target_used}});
    if (!in_place) plan.reorder(target_used, target_given);
  }

  /// [groups, results, channels, …], or without the first where there is one group.
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
    if (added != 0) {  // torch's first dimension is that of all groups
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

}  // namespace aoti::detail::onednn
