// SPDX-License-Identifier: BSD-3-Clause
// What each function of a model's C boundary does first and last: nothing is thrown across it.
#pragma once

#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/abi/handles.hpp"
#include "aoti/model/container.hpp"
#include "aoti/model/imports.hpp"
#include "aoti/result.hpp"

// Null on the native runtime, and on libtorch before 2.13, respectively.
#if !defined(AOTI_LINKED_RUNTIME)
#pragma weak aoti_torch_print_tensor_handle
#pragma weak aoti_torch_cpu_grid_sampler_3d
#endif

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

namespace detail {

/// The text of this thread's last failure.
inline std::string& last_error() noexcept {
  static thread_local std::string text;
  return text;
}

/// Remembers an error for the host. Hosts of torch before 2.13 cannot ask for its text, so it is
/// printed for them, as their own models do.
[[gnu::cold, gnu::noinline]] inline AOTIRuntimeError failed(const Error& error) noexcept {
  static_cast<void>(aoti::detail::guard(Errc::out_of_memory, "", [&]() -> Result<void> {
    last_error() = error.message();
    return success();
  }));
#if !defined(AOTI_LINKED_RUNTIME)
  const bool host_asks =
      &aoti_torch_print_tensor_handle == nullptr || &aoti_torch_cpu_grid_sampler_3d != nullptr;
  if (!host_asks) std::fprintf(stderr, "Error: %s\n", last_error().c_str());
#endif
  return 1;
}

/// Calls `body`, which returns a Result<void>: no exception crosses the boundary.
template <class Body>
[[gnu::always_inline]] inline AOTIRuntimeError answer(const char* function, Body&& body) noexcept {
  const auto done = aoti::detail::guard(Errc::model_threw, function, body);
  if (!done) [[unlikely]]
    return failed(done.error());
  return 0;
}

/// What operators of torch expect of a thread that runs a model: gradients are not recorded.
class NoGradients {
 public:
  NoGradients() noexcept { aoti_torch_grad_mode_set_enabled(false); }
  NoGradients(const NoGradients&) = delete;
  ~NoGradients() { aoti_torch_grad_mode_set_enabled(before_); }

 private:
  const bool before_ = aoti_torch_grad_mode_is_enabled();
};

}  // namespace detail

/// What the functions of one kind of model have in common. Each fails with a text if a handle or a
/// place for a result is null, or an index is out of range. Handles of models, too, point to a
/// Container, of one instance.
template <class Instance> class Boundary {
 protected:
  using E = abi::ModelExports;
  using C = AOTInductorModelContainerHandle;
  using M = AOTInductorModelHandle;
  using Map = std::unordered_map<std::string, AtenTensorHandle>;
  using Code = AOTIRuntimeError;
  using Tensors = AtenTensorHandle*;
  using Entries = const AOTInductorConstantMapEntry*;
  using Entry = abi::ConstantEntry;
  using Here = Container<Instance>;

  template <auto member> static constexpr const char* symbol = abi::export_row<member>.symbol;

  template <auto member, class Body>
  [[gnu::always_inline]] static Code answer(Body&& body) noexcept {
    return detail::answer(symbol<member>, body);
  }

  template <class... Pointers> static Result<void> not_null(Pointers... pointers) {
    if ((... && (pointers != nullptr))) return success();
    return Error{Errc::invalid_argument, "an argument",
                 "found a null pointer, expected a place for the result, a name or a map"};
  }

  /// Calls `body` on the container or model behind a handle.
  template <auto member, class Handle, class Body>
  [[gnu::always_inline]] static Code on(Handle handle, Body&& body) noexcept {
    return answer<member>([&]() -> Result<void> {
      if (handle == nullptr) [[unlikely]]
        return Error{Errc::invalid_argument, symbol<member>, "the handle is null"};
      return body(*reinterpret_cast<Here*>(handle));
    });
  }
  template <auto member, class Handle, class Value, class Ask>
  static Code tell(Handle handle, Value* out, Ask&& ask) noexcept {
    return on<member>(handle, [&](Here& here) -> Result<void> {
      AOTI_TRYV(not_null(out));
      *out = ask(here);
      return success();
    });
  }
  template <auto member, class List, class Value, class Ask>
  static Code tell_of(C handle, List Description::*list, std::size_t i, Value* out,
                      Ask&& ask) noexcept {
    return on<member>(handle, [&](Here& here) -> Result<void> {
      AOTI_TRYV(not_null(out));
      const List& all = here.description().*list;
      if (i >= all.size()) {
        return Error{
            Errc::invalid_argument, symbol<member>,
            aoti::detail::concat({"found the index ", i, ", expected one below ", all.size()})};
      }
      *out = ask(all[i]);
      return success();
    });
  }

  static std::span<const Entry> span(Entries given, std::size_t count) noexcept {
    return {reinterpret_cast<const Entry*>(given), given != nullptr ? count : 0};
  }
  static std::vector<Entry> entries(AOTInductorConstantMapHandle map) {
    std::vector<Entry> all;
    if (map == nullptr) return all;
    for (const auto& [name, tensor] : *reinterpret_cast<Map*>(map)) {
      all.push_back({name.c_str(), tensor});
    }
    return all;
  }
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
