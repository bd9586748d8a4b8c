// SPDX-License-Identifier: BSD-3-Clause
// The tensor runtime without libtorch: models get the functions that they import from here.
#pragma once

#include <dlfcn.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aoti/abi/imports.hpp"
#include "aoti/runtime/native/forms.hpp"
#include "aoti/runtime/native/functions.hpp"
#include "aoti/runtime/native/random.hpp"
#include "aoti/runtime/runtime.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

struct NativeEntry {
  std::string_view symbol;
  void* function;
};
template <class Import> NativeEntry entry(typename Import::type* function) noexcept {
  return {Import::symbol, reinterpret_cast<void*>(function)};
}

/// A function that models import, known at compile time, by its type in abi::imported: if `value`,
/// `function` points to it. This one is what every native runtime has.
template <class Import> struct NativeFunction : std::false_type {};
#define AOTI_PROVIDED(row, ...)                                            \
  template <> struct NativeFunction<abi::imported::row> : std::true_type { \
    static constexpr abi::imported::row::type* function = &__VA_ARGS__;    \
  };
#include "aoti/runtime/native.inc"

/// A provider's only function.
template <class Import, auto only, class Wanted> struct OnlyFunction : std::false_type {};
template <class Import, auto only> struct OnlyFunction<Import, only, Import> : std::true_type {
  static constexpr typename Import::type* function = only;
};

/// The function of the first provider that has it, else the native runtime's.
template <class Import, class... Providers> struct FunctionOf : NativeFunction<Import> {};
template <class Import, class First, class... Rest>
struct FunctionOf<Import, First, Rest...> : FunctionOf<Import, Rest...> {};
template <class Import, class First, class... Rest>
requires(First::template Function<Import>::value) struct FunctionOf<Import, First, Rest...>
    : First::template Function<Import> {
};

/// Takes torch's complex number, which is only declared here.
template <class Import, DType dtype, class T> NativeEntry complex_scalar() noexcept {
  AOTITorchError (*const function)(Complex<T>, AtenTensorHandle*) =
      &NativeFunctions::scalar<Import, dtype>;
  return {Import::symbol, reinterpret_cast<void*>(function)};
}

/// The function with that name among these; null if there is none.
template <std::size_t count>
void* find(const NativeEntry (&entries)[count], std::string_view symbol) noexcept {
  for (const NativeEntry& row : entries) {
    if (row.symbol == symbol) return row.function;
  }
  return nullptr;
}

/// The NativeFunctions by the names that models import; null for other names.
inline void* native_import(std::string_view symbol) noexcept {
  using namespace abi::imported;
  using F = NativeFunctions;
  static const NativeEntry entries[] = {
#define AOTI_PROVIDED(row, ...) entry<abi::imported::row>(&__VA_ARGS__),
#include "aoti/runtime/native.inc"
      complex_scalar<scalar_to_tensor_complex64, DType::complex64, float>(),
      complex_scalar<scalar_to_tensor_complex128, DType::complex128, double>(),
      {"_Znam", reinterpret_cast<void*>(&F::new_array)},
      {"_ZnamRKSt9nothrow_t", reinterpret_cast<void*>(&F::new_array_nothrow)},
      {"_ZdaPv", reinterpret_cast<void*>(&F::delete_array)},
      {"_ZdaPvm", reinterpret_cast<void*>(&F::delete_sized_array)},
      {"_Znwm", reinterpret_cast<void*>(&F::new_object)},
      {"_ZdlPvm", reinterpret_cast<void*>(&F::delete_sized_object)},
  };
  void* const found = find(entries, symbol);
  const bool of_objects = symbol == "_Znwm" || symbol == "_ZdlPvm";
  return of_objects && !SystemObjects::known() ? nullptr : found;
}

/// A vector function of Sleef, which libtorch includes and compiled kernels may call: from the
/// program, or from Sleef's own library, which is loaded the first time. Null if neither has it.
inline void* sleef_import(const char* symbol) noexcept {
  if (void* const found = ::dlsym(RTLD_DEFAULT, symbol)) return found;
#if defined(__APPLE__)
  constexpr const char* name = "libsleef.3.dylib";
#else
  constexpr const char* name = "libsleef.so.3";
#endif
  static void* const sleef = ::dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  return sleef != nullptr ? ::dlsym(sleef, symbol) : nullptr;
}

}  // namespace detail

/// A provider of functions that models import: `import(symbol)` is the function's address, or null
/// if it has none with that name. For models that are linked into the program, it also has a
/// template `Function<Import>` that derives from std::true_type and has a member `function`, or
/// derives from std::false_type.
template <class P>
concept ImportProvider = requires(std::string_view symbol) {
  { P::import(symbol) }
  noexcept->std::same_as<void*>;
};

/// One function, of the type in its row in abi/imports.inc:
/// `NativeWith<Provide<abi::imported::cpu_mm_out, my_mm_out>>`. For a function without a row, use
/// any type with the members `type` and `symbol`. Models call it through the C interface: it must
/// not throw, and returns 0 or, on failure, NativeFunctions::fail(…).
template <class Import, auto function> struct Provide {
  static_assert(std::convertible_to<decltype(function), typename Import::type*>,
                "the function must have the type that the import's row in abi/imports.inc states");
  static void* import(std::string_view symbol) noexcept {
    return symbol == Import::symbol ? reinterpret_cast<void*>(function) : nullptr;
  }
  template <class Other> using Function = detail::OnlyFunction<Import, function, Other>;
};

namespace detail {

/// The operators of a runtime with a provider that runs what models call through a proxy executor:
/// see aoti/runtime/native/executor.hpp.
template <class... Providers> struct WithOperators {
  template <class Import> using ProxyFunction = std::false_type;

  static void* proxy_import(std::string_view) noexcept { return nullptr; }
};

/// The function through which models call operators, as if it were a provider's.
template <class... Providers> struct Proxy {
  template <class Import>
  using Function = typename WithOperators<Providers...>::template ProxyFunction<Import>;
};

}  // namespace detail

/// Models run without libtorch, and tensors are aoti::Tensor, on the CPU. Every function of
/// abi/imports.inc is here unless it is an operator, for another device, or for debugging.
/// Operators come from `Providers`: earlier ones take precedence over later ones, and all of them
/// over the functions here. A process may hold models on libtorch and on several of these at once.
template <ImportProvider... Providers> struct NativeWith : detail::WithOperators<Providers...> {
  using Tensor = aoti::Tensor;
  using Running = detail::Running;
  using Room = detail::LentRoom;

  /// A model's imports are bound to import() when its image is loaded, whatever else the process
  /// has under these names.
  static constexpr bool binds_imports = true;

  static bool is_defined(const Tensor& tensor) noexcept {
    const Body* body = Access::body_of(tensor);
    return body != nullptr && body->storage != nullptr;
  }
  static bool is_strided(const Tensor& tensor) noexcept { return is_defined(tensor); }
  static bool is_strided_on(const Tensor& tensor, DeviceType type) noexcept {
    return is_defined(tensor) && type == DeviceType::cpu;
  }
  static DType dtype(const Tensor& tensor) noexcept { return tensor.dtype(); }
  static DeviceType device(const Tensor&) noexcept { return DeviceType::cpu; }
  static std::span<const std::int64_t> sizes(const Tensor& tensor) noexcept {
    return tensor.sizes();
  }
  static std::span<const std::int64_t> strides(const Tensor& tensor) noexcept {
    return tensor.strides();
  }
  static bool is_row_major(const Tensor& tensor) noexcept { return tensor.is_row_major(); }
  static const void* data(const Tensor& tensor) noexcept { return tensor.data(); }

  [[gnu::always_inline]] static AtenTensorHandle share(const Tensor& tensor) noexcept {
    const Body* body = Access::body_of(tensor);
    return Body::handle(body != nullptr ? body->share() : Body::make_undefined());
  }
  [[gnu::always_inline]] static AtenTensorHandle lend(const Tensor& tensor, Room& room) noexcept {
    const Body* body = Access::body_of(tensor);
    return Body::handle(body != nullptr ? body->lend(room) : Body::make_undefined());
  }
  [[gnu::always_inline]] static bool is_lent(AtenTensorHandle handle) noexcept {
    return Body::of(handle)->hold == detail::Hold::lent;
  }
  static AtenTensorHandle give(Tensor&& tensor) noexcept {
    Body* body = Access::body_of(tensor);
    if (body != nullptr && body->references.load() == 1) {
      return Body::handle(Access::leave(std::move(tensor)));
    }
    const AtenTensorHandle handle = share(tensor);
    if (handle != nullptr) tensor = Tensor{};
    return handle;
  }
  [[gnu::always_inline]] static Tensor take(AtenTensorHandle handle) noexcept {
    Body* body = Body::of(handle);
    if (body->hold != detail::Hold::counted) [[unlikely]]
      return Access::owner_of(body->share());
    return Access::owner_of(body);
  }
  static const Tensor& peek(AtenTensorHandle handle) noexcept {
    return Access::peek(Body::of(handle));
  }
  static void destroy(AtenTensorHandle handle) noexcept { Body::of(handle)->drop(); }

  static bool owns_memory(const Tensor& tensor) noexcept {
    const Body* body = Access::body_of(tensor);
    return body == nullptr || body->owns_memory();
  }
  static AtenTensorHandle adopt(DType dtype, void* data, std::span<const std::int64_t> sizes,
                                std::span<const std::int64_t> strides, void (*release)(void*),
                                void* context) noexcept {
    const char* reason = nullptr;
    Body* body = Body::make_using(data, sizes.size(), sizes.data(), strides.data(), 0, dtype,
                                  release, context, reason);
    if (body == nullptr) release(context);
    return Body::handle(body);
  }

  static void freeze(AtenTensorHandle handle) noexcept { detail::Forms::allow(*Body::of(handle)); }
  static void thaw(AtenTensorHandle handle) noexcept { detail::Forms::forbid(*Body::of(handle)); }
  static void repack(AtenTensorHandle handle, AtenTensorHandle old) noexcept {
    detail::Forms::repeat(*Body::of(old), *Body::of(handle));
  }

  static Tensor reordered(const Tensor& tensor, std::span<const int> order) noexcept {
    return Access::owner_of(detail::reordered(*Access::body_of(tensor), order));
  }

  /// A function that models import, known at compile time.
  template <class Import>
  using Function = detail::FunctionOf<Import, Providers..., detail::Proxy<Providers...>>;

  static void* import(const char* symbol) noexcept {
    const std::string_view name = symbol;
    void* found = nullptr;
    static_cast<void>((((found = Providers::import(name)) != nullptr) || ...));
    if (found == nullptr) found = detail::native_import(name);
    if (found == nullptr) found = detail::WithOperators<Providers...>::proxy_import(name);
    if (found == nullptr && name.starts_with("Sleef_")) found = detail::sleef_import(symbol);
    return found;
  }

  /// Seeds the random numbers of all models on this runtime, as torch.manual_seed does: the numbers
  /// that follow are repeatable, and equal torch's for that seed. Without a seed they differ from
  /// process to process. Any thread may call it; models that run at the same time on other threads
  /// get numbers of the old or of the new seed. A library with hidden symbols, such as a plugin,
  /// has its own seed.
  static void manual_seed(std::uint64_t seed) noexcept { detail::random_numbers.seed(seed); }

  /// Returns memory that is kept for later runs to the system: that of the calling thread, and that
  /// of threads that have ended. Otherwise a thread keeps the most that it ever had, for each size
  /// class.
  static void trim() noexcept { detail::Pool::trim(); }

  static std::string last_error() { return NativeFunctions::last_error(); }

 private:
  using Body = detail::TensorBody;
  using Access = detail::TensorAccess;
};

/// Without operators.
using Native = NativeWith<>;

static_assert(TensorRuntime<Native>);

}  // namespace aoti::inline AOTI_ABI
