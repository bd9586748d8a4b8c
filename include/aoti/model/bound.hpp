// SPDX-License-Identifier: BSD-3-Clause
// Functions of a tensor runtime, known at compile time.
#pragma once

#include <type_traits>

#include "aoti/abi/imports.hpp"
#include "aoti/runtime/native.hpp"

namespace aoti::inline AOTI_ABI::model {

/// A function that models import, as a tensor runtime that binds imports provides it: an object
/// that is called like the function, and can be inlined.
template <class Runtime, class Import, class Type = typename Import::type> struct Bound;
template <class Runtime, class Import, class Value, class... Parameters>
struct Bound<Runtime, Import, Value(Parameters...)> {
  using Function = typename Runtime::template Function<Import>;

  [[gnu::always_inline]] Value operator()(Parameters... parameters) const {
    if constexpr (Function::value) {
      return Function::function(parameters...);
    } else if constexpr (std::is_same_v<Import, abi::imported::scalar_to_tensor_complex64>) {
      return scalar<float, DType::complex64>(parameters...);
    } else if constexpr (std::is_same_v<Import, abi::imported::scalar_to_tensor_complex128>) {
      return scalar<double, DType::complex128>(parameters...);
    } else if constexpr (std::is_same_v<Import, abi::imported::delete_c10_value_object>) {
      return ((void)parameters, ..., 1);  // there are none: what makes them is not provided
    } else {
      static_assert(Function::value,
                    "the tensor runtime does not provide this function, which the model calls: see "
                    "the second argument of Bound; give the runtime a provider that has it");
    }
  }

 private:
  /// From torch's complex number, which is complete only where models are compiled.
  template <class T, DType dtype, class Number>
  static AOTITorchError scalar(Number number, AtenTensorHandle* out) {
    return NativeFunctions::scalar<Import, dtype>(
        aoti::detail::Complex<T>{number.real(), number.imag()}, out);
  }
};

}  // namespace aoti::inline AOTI_ABI::model
