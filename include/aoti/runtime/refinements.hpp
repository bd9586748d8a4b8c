// SPDX-License-Identifier: BSD-3-Clause
// What a tensor runtime may have beyond TensorRuntime: concepts that refine it, each with its
// purpose.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "aoti/runtime/runtime.hpp"

namespace aoti::inline AOTI_ABI {

/// `Room`: memory on the stack in which `lend(tensor, room)` makes a handle, as share() does but at
/// less cost, for a call during which both live; destroying the handle does nothing.
/// `is_lent(handle)`: whether a handle is of this kind. Without them a run shares its inputs.
template <class R>
concept LendsHandles = requires(const typename R::Tensor& tensor, typename R::Room& room,
                                AtenTensorHandle handle) {
  { R::lend(tensor, room) } -> std::same_as<AtenTensorHandle>;
  { R::is_lent(handle) } -> std::same_as<bool>;
};

/// `describe_layout(tensor)`: for errors, a sentence on a defined tensor that is not strided, with
/// the way to make it strided.
template <class R>
concept DescribesLayouts = requires(const typename R::Tensor& tensor) {
  { R::describe_layout(tensor) } -> std::convertible_to<std::string>;
};

/// `device_index(tensor)`: which device of its kind a strided tensor is on. Inputs and weights are
/// checked by it unless the runner's device is the CPU.
template <class R>
concept TellsDeviceIndex = requires(const typename R::Tensor& tensor) {
  { R::device_index(tensor) } -> std::convertible_to<int>;
};

/// `data(tensor)`: the address of a strided tensor's first element. It serves to compare inputs
/// that a model writes to with other inputs and with weights. Views of inputs have it, too.
template <class R>
concept TellsAddress = requires(const typename R::Tensor& tensor) {
  { R::data(tensor) } -> std::convertible_to<const void*>;
};

/// `owns_memory(tensor)`: whether its memory lives as long as it does. Outputs whose memory does
/// not are copied, as they may be views of a model's memory.
template <class R>
concept TellsOwnership = requires(const typename R::Tensor& tensor) {
  { R::owns_memory(tensor) } -> std::same_as<bool>;
};

/// `detached(tensor)`: a tensor on the same memory without state that its copies must not inherit.
template <class R>
concept Detaches = requires(const typename R::Tensor& tensor) {
  { R::detached(tensor) } -> std::same_as<typename R::Tensor>;
};

/// `writable(tensor)`: a tensor on the same memory that may be written to in any mode, for weights
/// that are shared.
template <class R>
concept MakesWritable = requires(const typename R::Tensor& tensor) {
  { R::writable(tensor) } -> std::same_as<typename R::Tensor>;
};

/// `adopt(dtype, data, sizes, strides, release, context)`: a handle to a tensor in memory on the
/// CPU, or null; `release(context)` is called when nothing uses the memory any more, even if no
/// handle was made. Without it a runner's outputs must not outlive the weights that they are views
/// of.
template <class R>
concept AdoptsMemory = requires(void* memory, std::span<const std::int64_t> sizes,
                                void (*release)(void*)) {
  { R::adopt(DType{}, memory, sizes, sizes, release, memory) } -> std::same_as<AtenTensorHandle>;
};

/// `freeze(handle)`: nobody will write to the tensor from now on, so operators may keep its
/// elements in other orders, too; called while nobody uses the tensor. `thaw(handle)`: somebody may
/// write to it again; called at any time. `repack(handle, old)`: keeps the elements of a frozen
/// tensor, which replaces `old`, in the orders in which operators keep `old`'s.
template <class R>
concept FreezesTensors = requires(AtenTensorHandle handle) {
  R::freeze(handle);
  R::thaw(handle);
  R::repack(handle, handle);
};

/// `binds_imports`: true if a model's imports are bound to the results of import() when its image
/// is loaded, and not to the process's global symbols.
template <class R>
concept BindsImports = requires {
  requires R::binds_imports;
};

/// `Operators`: runs the operators that models call through a proxy executor. It is empty by
/// default, movable, and owns the executor. `handle()`: what runs are given, or null;
/// `begin_run()`, `failed()` and `take_failure()`: whether an operator has failed in this thread
/// since a run began, and why, for models that do not report it. `has(name)`: whether the process
/// has an operator or a class; `make(model, calls, device)`: a Result of it; `remedy`, optional:
/// what to do if operators are missing.
template <class R>
concept RunsOperators = requires(typename R::Operators& operators,
                                 const typename R::Operators& same) {
  requires std::default_initializable<typename R::Operators>;
  requires std::movable<typename R::Operators>;
  { same.handle() } -> std::same_as<AOTIProxyExecutorHandle>;
  same.begin_run();
  { same.failed() } -> std::same_as<bool>;
  { same.take_failure() } -> std::same_as<std::string>;
};

namespace detail {

/// When instantiated, reports members of a runtime that have a refinement's name but not its form:
/// they would be ignored.
template <class R> struct WholeRefinements {
  // clang-format off
  static_assert(!requires { typename R::Room; } || LendsHandles<R>,
                "a TensorRuntime with Room needs static AtenTensorHandle lend(const Tensor&, "
                "Room&) and static bool is_lent(AtenTensorHandle)");
  static_assert(!(requires { &R::lend; } || requires { &R::is_lent; }) || LendsHandles<R>,
                "a TensorRuntime with lend or is_lent needs a type Room, and both of them");
  static_assert(!requires { &R::describe_layout; } || DescribesLayouts<R>,
                "describe_layout of a TensorRuntime must be "
                "static std::string describe_layout(const Tensor&)");
  static_assert(!requires { &R::device_index; } || TellsDeviceIndex<R>,
                "device_index of a TensorRuntime must be static int device_index(const Tensor&)");
  static_assert(!requires { &R::data; } || TellsAddress<R>,
                "data of a TensorRuntime must be static const void* data(const Tensor&)");
  static_assert(!requires { &R::owns_memory; } || TellsOwnership<R>,
                "owns_memory of a TensorRuntime must be static bool owns_memory(const Tensor&)");
  static_assert(!requires { &R::detached; } || Detaches<R>,
                "detached of a TensorRuntime must be static Tensor detached(const Tensor&)");
  static_assert(!requires { &R::writable; } || MakesWritable<R>,
                "writable of a TensorRuntime must be static Tensor writable(const Tensor&)");
  static_assert(!requires { &R::adopt; } || AdoptsMemory<R>,
                "adopt of a TensorRuntime must be static AtenTensorHandle adopt(DType, void*, "
                "std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides, "
                "void (*release)(void*), void* context)");
  static_assert(!(requires { &R::freeze; } || requires { &R::thaw; }) || FreezesTensors<R>,
                "a TensorRuntime with freeze or thaw needs both, and repack: static void freeze("
                "AtenTensorHandle), static void thaw(AtenTensorHandle), static void repack("
                "AtenTensorHandle, AtenTensorHandle)");
  static_assert(!requires { typename R::Operators; } || RunsOperators<R>,
                "Operators of a TensorRuntime need handle(), begin_run(), failed() and "
                "take_failure(), all const, and to be movable and default-constructible");
  // clang-format on
  static constexpr bool value = true;
};

/// A TensorRuntime with complete refinements; else a compile error says what is missing.
template <class R>
concept CheckedRuntime =
    (TensorRuntime<R> || NoTensorRuntime<R>::value) && WholeRefinements<R>::value;

/// Stands for an optional type that a runtime lacks.
struct Nothing {};

template <class R> constexpr auto room_of() {
  if constexpr (LendsHandles<R>) {
    return std::type_identity<typename R::Room>{};
  } else {
    return std::type_identity<Nothing>{};
  }
}
template <class R> constexpr auto running_of() {
  if constexpr (requires { typename R::Running; }) {
    return std::type_identity<typename R::Running>{};
  } else {
    return std::type_identity<Nothing>{};
  }
}
template <class R> constexpr auto preparing_of() {
  if constexpr (requires { typename R::Preparing; }) {
    return std::type_identity<typename R::Preparing>{};
  } else {
    return std::type_identity<Nothing>{};
  }
}

template <class R> using RoomOf = typename decltype(room_of<R>())::type;
/// `Running`: lives on a thread's stack while the thread runs a model.
template <class R> using RunningOf = typename decltype(running_of<R>())::type;
/// `Preparing`: the same while it opens a model or changes its weights.
template <class R> using PreparingOf = typename decltype(preparing_of<R>())::type;

/// Freezes the tensor of a constant that the model is known not to write to.
template <class R> void freeze(bool may_be_packed, AtenTensorHandle handle) noexcept {
  if constexpr (FreezesTensors<R>) {
    if (may_be_packed) R::freeze(handle);
  }
}
template <class R> void thaw(AtenTensorHandle handle) noexcept {
  if constexpr (FreezesTensors<R>) R::thaw(handle);
}
template <class R> void repack(AtenTensorHandle handle, AtenTensorHandle old) noexcept {
  if constexpr (FreezesTensors<R>) R::repack(handle, old);
}

/// A handle for one call.
template <class R>
[[gnu::always_inline]] inline AtenTensorHandle lend(const typename R::Tensor& tensor,
                                                    RoomOf<R>& room) {
  if constexpr (LendsHandles<R>) {
    return R::lend(tensor, room);
  } else {
    static_cast<void>(room);
    return R::share(tensor);
  }
}

template <class R> [[gnu::always_inline]] inline bool is_lent(AtenTensorHandle handle) {
  if constexpr (LendsHandles<R>) {
    return R::is_lent(handle);
  } else {
    return false;
  }
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
