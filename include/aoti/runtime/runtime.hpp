// SPDX-License-Identifier: BSD-3-Clause
// What a tensor runtime is: it implements a model's imports, and defines the program's tensors.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"

namespace aoti::inline AOTI_ABI {

/// A compile-time policy for tensors. All members are static, and thread-safe on distinct tensors:
/// - `Tensor`: the program's tensor; undefined if default-constructed; movable
/// - `is_defined(tensor)`; `is_strided(tensor)`: it is defined, and sizes and strides describe it;
///   `is_strided_on(tensor, type)`: and it lies on a device of that type
/// - `dtype`, `device`, `sizes`, `strides` (in elements) and `is_row_major` (without gaps; true for
///   a tensor without elements) of a strided tensor
/// - `share(tensor)`: a new handle to the same storage; `give(tensor&&)`: a handle that takes over
///   the tensor and leaves an undefined one, or null, which leaves the tensor unchanged. The
///   receiver owns the handle; null, or an exception, if memory runs out. Tensors are checked
///   behind their handles, so undefined and not strided ones get handles, too
/// - `take(handle)`: the tensor behind a handle, which is consumed; `peek(handle)`: without
///   consuming it
/// - `destroy(handle)`: destroys a handle
/// - `reordered(tensor, order)`: a copy whose memory is dense, with the dimensions in that order
///   from the outermost to the innermost
/// - `import(symbol)`: the address of a function that models import, or null; those that the
///   library calls itself are the members of abi::ImportTable
/// - `last_error()`: why an imported function last failed on this thread, or an empty text
///
/// Optional members are the concepts of aoti/runtime/refinements.hpp, and two types:
/// - `Running`: lives on a thread's stack while the thread runs a model
/// - `Preparing`: the same while it opens a model or changes its weights
template <class R>
concept TensorRuntime = requires(typename R::Tensor& tensor, const typename R::Tensor& input,
                                 AtenTensorHandle handle, std::span<const int> order,
                                 const char* symbol) {
  requires std::default_initializable<typename R::Tensor>;
  requires std::movable<typename R::Tensor>;
  { R::is_defined(input) } -> std::same_as<bool>;
  { R::is_strided(input) } -> std::same_as<bool>;
  { R::is_strided_on(input, DeviceType{}) } -> std::same_as<bool>;
  { R::dtype(input) } -> std::same_as<DType>;
  { R::device(input) } -> std::same_as<DeviceType>;
  { R::sizes(input) } -> std::same_as<std::span<const std::int64_t>>;
  { R::strides(input) } -> std::same_as<std::span<const std::int64_t>>;
  { R::is_row_major(input) } -> std::same_as<bool>;
  { R::share(input) } -> std::same_as<AtenTensorHandle>;
  { R::give(static_cast<typename R::Tensor&&>(tensor)) } -> std::same_as<AtenTensorHandle>;
  { R::take(handle) }
  noexcept->std::same_as<typename R::Tensor>;
  { R::peek(handle) }
  noexcept->std::same_as<const typename R::Tensor&>;
  { R::destroy(handle) }
  noexcept;
  { R::reordered(input, order) } -> std::same_as<typename R::Tensor>;
  { R::import(symbol) } -> std::same_as<void*>;
  { R::last_error() } -> std::same_as<std::string>;
};

namespace detail {

/// When instantiated, reports each requirement of TensorRuntime that a complete type lacks.
template <class R>
requires requires { sizeof(R); }
struct NoTensorRuntime {
  // clang-format off
  static_assert(requires { requires std::default_initializable<typename R::Tensor>;
                           requires std::movable<typename R::Tensor>; },
                "a TensorRuntime needs a type Tensor, default-constructible and movable");
  using Tensor = typename R::Tensor;
  static Tensor&& given();
  static const Tensor& input;
  static AtenTensorHandle handle;
  static std::span<const int> order;
  static const char* symbol;
  static_assert(requires { { R::is_defined(input) } -> std::same_as<bool>; },
                "a TensorRuntime needs static bool is_defined(const Tensor&)");
  static_assert(requires { { R::is_strided(input) } -> std::same_as<bool>; },
                "a TensorRuntime needs static bool is_strided(const Tensor&)");
  static_assert(requires { { R::is_strided_on(input, DeviceType{}) } -> std::same_as<bool>; },
                "a TensorRuntime needs static bool is_strided_on(const Tensor&, DeviceType)");
  static_assert(requires { { R::dtype(input) } -> std::same_as<DType>; },
                "a TensorRuntime needs static DType dtype(const Tensor&)");
  static_assert(requires { { R::device(input) } -> std::same_as<DeviceType>; },
                "a TensorRuntime needs static DeviceType device(const Tensor&)");
  static_assert(requires { { R::sizes(input) } -> std::same_as<std::span<const std::int64_t>>; },
                "a TensorRuntime needs static std::span<const std::int64_t> sizes(const Tensor&)");
  static_assert(requires { { R::strides(input) } -> std::same_as<std::span<const std::int64_t>>; },
                "a TensorRuntime needs static std::span<const std::int64_t> "
                "strides(const Tensor&)");
  static_assert(requires { { R::is_row_major(input) } -> std::same_as<bool>; },
                "a TensorRuntime needs static bool is_row_major(const Tensor&)");
  static_assert(requires { { R::share(input) } -> std::same_as<AtenTensorHandle>; },
                "a TensorRuntime needs static AtenTensorHandle share(const Tensor&)");
  static_assert(requires { { R::give(given()) } -> std::same_as<AtenTensorHandle>; },
                "a TensorRuntime needs static AtenTensorHandle give(Tensor&&)");
  static_assert(requires { { R::take(handle) } noexcept -> std::same_as<Tensor>; },
                "a TensorRuntime needs static Tensor take(AtenTensorHandle) noexcept");
  static_assert(requires { { R::peek(handle) } noexcept -> std::same_as<const Tensor&>; },
                "a TensorRuntime needs static const Tensor& peek(AtenTensorHandle) noexcept");
  static_assert(requires { { R::destroy(handle) } noexcept; },
                "a TensorRuntime needs static void destroy(AtenTensorHandle) noexcept");
  static_assert(requires { { R::reordered(input, order) } -> std::same_as<Tensor>; },
                "a TensorRuntime needs static Tensor "
                "reordered(const Tensor&, std::span<const int>)");
  static_assert(requires { { R::import(symbol) } -> std::same_as<void*>; },
                "a TensorRuntime needs static void* import(const char*)");
  static_assert(requires { { R::last_error() } -> std::same_as<std::string>; },
                "a TensorRuntime needs static std::string last_error()");
  // clang-format on
  static constexpr bool value = false;
};

}  // namespace detail

/// Tensors are at::Tensor; defined in aoti/runtime/libtorch.hpp, which only its users include.
struct Libtorch;

}  // namespace aoti::inline AOTI_ABI
