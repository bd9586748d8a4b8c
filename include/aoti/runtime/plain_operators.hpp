// SPDX-License-Identifier: BSD-3-Clause
// Operators that need no library, for models that run without libtorch.
#pragma once

#include <span>
#include <string_view>
#include <type_traits>

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

namespace detail::plain {

template <class Import> struct PlainFunction : std::false_type {};
#define AOTI_PROVIDED(row, ...)                                           \
  template <> struct PlainFunction<abi::imported::row> : std::true_type { \
    static constexpr abi::imported::row::type* function =                 \
        &Adapter<abi::imported::row, &__VA_ARGS__>::call;                 \
  };
#include "aoti/runtime/plain.inc"
template <> struct PlainFunction<abi::imported::cpu_randint_low_out> : std::true_type {
  static constexpr abi::imported::cpu_randint_low_out::type* function =
      &RandomOperators::randint_low_out;
};

}  // namespace detail::plain

/// For NativeWith, after providers with faster operators: `NativeWith<PlainOperators>`. Each
/// operator is a plain loop on one thread; its results and their memory layouts are those of
/// torch's operator of that name.
struct PlainOperators {
  template <class Import> using Function = detail::plain::PlainFunction<Import>;

  static void* import(std::string_view symbol) noexcept {
    using Random = abi::imported::cpu_randint_low_out;
    static const detail::NativeEntry entries[] = {
        detail::entry<Random>(Function<Random>::function),
#define AOTI_PROVIDED(row, ...) \
  detail::entry<abi::imported::row>(Function<abi::imported::row>::function),
#include "aoti/runtime/plain.inc"
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
};

}  // namespace aoti::inline AOTI_ABI
