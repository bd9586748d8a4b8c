// SPDX-License-Identifier: BSD-3-Clause
// Operators that need no library, for models that run without libtorch.
#pragma once

#include <span>
#include <string_view>

#include "aoti/runtime/native.hpp"
#include "aoti/runtime/native/executor.hpp"
#include "aoti/runtime/plain/arithmetic.hpp"
#include "aoti/runtime/plain/distances.hpp"
#include "aoti/runtime/plain/elementwise.hpp"
#include "aoti/runtime/plain/embedding.hpp"
#include "aoti/runtime/plain/index.hpp"
#include "aoti/runtime/plain/order.hpp"
#include "aoti/runtime/plain/pooling.hpp"
#include "aoti/runtime/plain/proxied.hpp"
#include "aoti/runtime/plain/scan.hpp"
#include "aoti/runtime/plain/scatter.hpp"
#include "aoti/runtime/plain/segments.hpp"
#include "aoti/runtime/plain/select.hpp"
#include "aoti/runtime/plain/views.hpp"

namespace aoti::inline AOTI_ABI {

/// For NativeWith, after providers with faster operators: `NativeWith<PlainOperators>`. Each
/// operator is a plain loop on one thread; its results and their memory layouts are those of
/// torch's operator of that name.
struct PlainOperators {
  static void* import(std::string_view symbol) noexcept {
    using namespace abi::imported;
    using namespace detail::plain;
    static const detail::NativeEntry entries[] = {
        plain_entry<cpu_sort, &Order::sort>(),
        plain_entry<cpu_sort_stable, &Order::sort_stable>(),
        plain_entry<cpu_topk, &Order::topk>(),
        plain_entry<cpu_kthvalue, &Order::kthvalue>(),
        plain_entry<cpu_mode, &Order::mode>(),
        plain_entry<cpu_median, &Order::median>(),
        plain_entry<cpu_nanmedian, &Order::nanmedian>(),
        plain_entry<cpu_cummax, &Order::cummax>(),
        plain_entry<cpu_cummin, &Order::cummin>(),
        plain_entry<cpu_cumsum, &Scan::cumsum>(),
        plain_entry<cpu_cumprod, &Scan::cumprod>(),
        detail::entry<cpu_randint_low_out>(&RandomOperators::randint_low_out),
        plain_entry<cpu_logcumsumexp, &Scan::logcumsumexp>(),
        plain_entry<scatter_out, &Scatter::src_out>(),
        plain_entry<cpu_scatter_src_out, &Scatter::src_out>(),
        plain_entry<cpu_scatter_value_out, &Scatter::value_out>(),
        plain_entry<scatter_reduce_out, &Scatter::reduce_out>(),
        plain_entry<cpu_scatter_reduce_two_out, &Scatter::reduce_two_out>(),
        plain_entry<cpu_index_reduce, &Scatter::index_reduce>(),
        plain_entry<index_put_out, &Index::put_out>(),
        plain_entry<cpu_index_put, &Index::put>(),
        plain_entry<cpu_index_Tensor, &Index::take>(),
        plain_entry<cpu_nonzero, &Select::nonzero>(),
        plain_entry<cpu_nonzero_static, &Select::nonzero_static>(),
        plain_entry<cpu_masked_select, &Select::masked_select>(),
        plain_entry<cpu_masked_scatter, &Select::masked_scatter>(),
        plain_entry<cpu_repeat_interleave_Tensor, &Select::repeat_interleave>(),
        plain_entry<cpu_bucketize_Tensor, &Select::bucketize>(),
        plain_entry<cpu_searchsorted_Tensor, &Select::searchsorted>(),
        plain_entry<cpu_searchsorted_Scalar, &Select::searchsorted_scalar>(),
        plain_entry<cpu_histc, &Select::histc>(),
        plain_entry<cpu_slice_Tensor, &Views::slice>(),
        plain_entry<cpu_narrow, &Views::narrow>(),
        plain_entry<cpu_permute, &Views::permute>(),
        plain_entry<cpu_squeeze_dim, &Views::squeeze>(),
        plain_entry<cpu_view_as_complex, &Views::as_complex>(),
        plain_entry<cpu_view_as_real, &Views::as_real>(),
        plain_entry<cpu_view_dtype, &Views::as_dtype>(),
        plain_entry<cpu__embedding_bag, &Embedding::bag>(),
        plain_entry<cpu__embedding_bag_forward_only, &Embedding::bag_forward_only>(),
        plain_entry<cpu__adaptive_avg_pool2d, &Pooling::adaptive_average<2>>(),
        plain_entry<cpu__adaptive_avg_pool3d, &Pooling::adaptive_average<3>>(),
        plain_entry<cpu_adaptive_max_pool2d, &Pooling::adaptive_largest<2>>(),
        plain_entry<cpu_adaptive_max_pool3d, &Pooling::adaptive_largest<3>>(),
        plain_entry<cpu_avg_pool2d, &Pooling::average<2>>(),
        plain_entry<cpu_avg_pool3d, &Pooling::average<3>>(),
        plain_entry<cpu_max_pool2d_with_indices, &Pooling::largest<2>>(),
        plain_entry<cpu_max_pool3d_with_indices, &Pooling::largest<3>>(),
        plain_entry<cpu_grid_sampler_3d, &Sampling::grid_3d>(),
        plain_entry<cpu__cdist_forward, &Distances::cdist>(),
        plain_entry<cpu__pdist_forward, &Distances::pdist>(),
        plain_entry<cpu__trilinear, &Distances::trilinear>(),
        plain_entry<cpu_addbmm, &Distances::addbmm>(),
        plain_entry<cpu__int_mm_out, &Distances::int_mm_out>(),
        plain_entry<cpu_segment_reduce, &Segments::reduce>(),
        plain_entry<cpu_gcd, &Arithmetic::gcd>(),
        plain_entry<cpu_polar, &Arithmetic::polar>(),
        plain_entry<cpu_add_Tensor, &Arithmetic::add>(),
        plain_entry<cpu_add_Scalar, &Arithmetic::add_scalar>(),
        plain_entry<cpu_mul_Tensor, &Arithmetic::multiply>(),
        plain_entry<cpu_mul_Scalar, &Arithmetic::multiply_scalar>(),
        plain_entry<cpu_pow_Tensor_Tensor, &Arithmetic::power>(),
        plain_entry<cpu_pow_Tensor_Scalar, &Arithmetic::power_of_tensor>(),
        plain_entry<cpu_pow_Scalar, &Arithmetic::power_of_number>(),
        plain_entry<cpu_abs, &Arithmetic::absolute>(),
        plain_entry<cpu_angle, &Arithmetic::angle>(),
        plain_entry<cpu_fill__Scalar, &Arithmetic::fill>(),
        plain_entry<cpu_cat, &Arithmetic::concatenate>(),
    };
    return detail::find(entries, symbol);
  }

  static std::span<const NativeOperator> operators() noexcept {
    using detail::plain::Elementwise;
    using detail::plain::Proxied;
    static constexpr NativeOperator rows[] = {
        native_operator<&Proxied::clone>("aten::clone", "self memory_format"),
        native_operator<&Proxied::convert>("prims::convert_element_type", "a dtype"),
        native_operator<&Proxied::constant_pad>("aten::constant_pad_nd", "self pad value"),
        native_operator<&Proxied::unique>("aten::_unique2",
                                          "self sorted return_inverse return_counts"),
        native_operator<&Proxied::unique_consecutive>("aten::unique_consecutive",
                                                      "self return_inverse return_counts dim"),
        native_operator<&Proxied::unsqueeze>("aten::unsqueeze", "self dim"),
        native_operator<&Proxied::select>("aten::select.int", "self dim index"),
        native_operator<&Proxied::expand>("aten::expand", "self size implicit"),
        native_operator<&Proxied::full>("aten::full",
                                        "size fill_value dtype layout device pin_memory"),
        native_operator<&Proxied::bincount>("aten::bincount", "self weights minlength"),
        native_operator<&Elementwise::conjugate>("aten::_conj", "self"),
        native_operator<&Elementwise::conjugate>("aten::_conj_physical", "self"),
        native_operator<&Elementwise::complex>("aten::complex", "real imag"),
        native_operator<&Elementwise::add>("aten::add.Tensor", "self other alpha"),
        native_operator<&Elementwise::subtract>("aten::sub.Tensor", "self other alpha"),
        native_operator<&Elementwise::multiply>("aten::mul.Tensor", "self other"),
        native_operator<&Elementwise::divide>("aten::div.Tensor", "self other"),
        native_operator<&Elementwise::negate>("aten::neg", "self"),
        native_operator<&Elementwise::reciprocal>("aten::reciprocal", "self"),
        native_operator<&Elementwise::exponential>("aten::exp", "self"),
        native_operator<&Elementwise::square_root>("aten::sqrt", "self"),
    };
    return rows;
  }

 private:
  template <class Import, auto function> static detail::NativeEntry plain_entry() noexcept {
    return detail::entry<Import>(&detail::plain::Adapter<Import, function>::call);
  }
};

}  // namespace aoti::inline AOTI_ABI
