// SPDX-License-Identifier: BSD-3-Clause
// What a tensor runtime is: who implements a model's imports, and what a tensor is to the host.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"

namespace aoti::inline AOTI_ABI {

/// A compile-time policy for tensors. All members are static, and thread-safe on distinct tensors:
/// - `Tensor`: the host's tensor; default-constructed it is undefined; moving takes it over
/// - `is_defined(tensor)`; `is_strided(tensor)`: it is defined, and sizes and strides describe it;
///   `is_strided_on(tensor, type)`: it lies on a device of that type besides
/// - `describe_layout(tensor)`, which may be absent: a sentence on a defined tensor that is not
///   strided, with what makes a strided one of it
/// - `dtype`, `device`, `sizes`, `strides` (in elements) and `is_row_major` (without gaps; so is a
///   tensor without elements) of a strided tensor
/// - `share(tensor)`: a new handle to the same storage; `give(tensor&&)`: a handle that takes the
///   tensor over and leaves an undefined one, or returns null and leaves it as it is. Either is
///   owned by who holds it; null, or an exception, where memory ran out. Tensors are checked behind
///   their handles, so undefined and not strided ones get handles too
/// - `Room`, which may be absent: memory on the stack in which `lend(tensor, room)` makes a
///   handle as share() does, at less cost, for a call during which both live; to destroy the handle
///   does nothing. `is_lent(handle)`: whether it is such a one
/// - `take(handle)`: the tensor behind a handle, which is used up; `peek(handle)`: without taking
/// - `destroy(handle)`: gives a handle up
/// - `reordered(tensor, order)`: a copy whose memory is dense, with the dimensions in that order
///   from the outermost to the innermost
/// - `device_index(tensor)`, which may be absent: which device of its kind a strided tensor is on,
///   as an int; inputs and weights are checked by it where the runner's device is not the CPU
/// - `data(tensor)`, which may be absent: where a strided tensor's first element is; inputs that a
///   model writes to are compared by it with the others, and with weights
/// - `detached(tensor)`, which may be absent: a tensor of the same memory without what a copy of it
///   must not take over; `writable(tensor)`, which may be absent: one of the same memory that may
///   be written to in any mode, for weights that are shared
/// - `owns_memory(tensor)`, which may be absent: whether its memory stays as long as it does; other
///   outputs are copied where they may be views of a model's own memory
/// - `adopt(dtype, data, sizes, strides, release, context)`, which may be absent: a handle of a
///   tensor in memory on the CPU, or null; `release(context)` is called when nothing uses that any
///   more, also where there is no handle. Without it a runner's outputs must not outlive the
///   weights that they are views of
/// - `import(symbol)`: the address of a function that models import, or null
/// - `last_error()`: why an imported function failed last on this thread, or an empty text
/// - `Running`, which may be absent: lives on a thread's stack while the thread runs a model
/// - `Preparing`, which may be absent: the same while it opens one, or changes its weights
/// - `binds_imports`, which may be absent: true where a model's imports are bound to what import()
///   gives when its image is loaded, and not to what is global in the process
/// - `Operators`, which may be absent: runs what models call through a proxy executor. It is empty
///   by default, movable and owns the executor; `has(name)`: whether the process has an operator or
///   a class; `make(model, calls, device)`: a Result of it; `handle()`: what runs are given, or
///   null; `remedy`, which may be absent: what to do where operators are missing; `begin_run()`,
///   `failed()` and `take_failure()`: whether an operator has failed in this thread since a run
///   began, and why, for models that do not tell
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

/// Says, where it is instantiated, what a complete type lacks to be a TensorRuntime: each
/// requirement anew.
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

/// A TensorRuntime; of another complete type an error of compiling says what it lacks.
template <class R>
concept CheckedRuntime = TensorRuntime<R> || NoTensorRuntime<R>::value;

template <class Runtime> struct RoomOf {
  struct type {};
};
template <class Runtime>
requires requires { typename Runtime::Room; }
struct RoomOf<Runtime> {
  using type = typename Runtime::Room;
};

/// A handle for one call.
template <class Runtime>
[[gnu::always_inline]] inline AtenTensorHandle lend(const typename Runtime::Tensor& tensor,
                                                    typename RoomOf<Runtime>::type& room) {
  if constexpr (requires { typename Runtime::Room; }) {
    return Runtime::lend(tensor, room);
  } else {
    static_cast<void>(room);
    return Runtime::share(tensor);
  }
}

template <class Runtime> [[gnu::always_inline]] inline bool is_lent(AtenTensorHandle handle) {
  if constexpr (requires { typename Runtime::Room; }) {
    return Runtime::is_lent(handle);
  } else {
    return false;
  }
}

template <class Runtime> struct RunningOf {
  struct type {};
};
template <class Runtime>
requires requires { typename Runtime::Running; }
struct RunningOf<Runtime> {
  using type = typename Runtime::Running;
};

template <class Runtime> struct PreparingOf {
  struct type {};
};
template <class Runtime>
requires requires { typename Runtime::Preparing; }
struct PreparingOf<Runtime> {
  using type = typename Runtime::Preparing;
};

template <class Runtime>
inline constexpr bool binds_imports = [] {
  if constexpr (requires { Runtime::binds_imports; }) {
    return Runtime::binds_imports;
  } else {
    return false;
  }
}();

}  // namespace detail

/// Tensors are at::Tensor; defined in aoti/runtime/libtorch.hpp, which only its users include.
struct Libtorch;

}  // namespace aoti::inline AOTI_ABI
