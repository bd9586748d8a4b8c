// SPDX-License-Identifier: BSD-3-Clause
// What a model needs to run without libtorch: its operators, and the libraries that provide them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aoti/abi/imports.hpp"
#include "aoti/image/image.hpp"
#include "aoti/load/operators.hpp"
#include "aoti/package/package.hpp"
#include "aoti/runtime/native.hpp"
#include "aoti/runtime/plain_operators.hpp"

namespace aoti::inline AOTI_ABI {

/// A library that the native runtime can use, and what it provides.
struct NativeLibrary {
  std::string_view name;                   ///< With its header: "oneDNN (aoti/runtime/onednn.hpp)".
  std::span<const char* const> functions;  ///< Imported by models.
  std::span<const char* const> operators;  ///< Called through a proxy executor.
};

namespace detail {

#define AOTI_PROVIDED(row, function) abi::imported::row::symbol,
#define AOTI_OPERATOR(name, parameters, function)
inline constexpr const char* onednn_functions[] = {
#include "aoti/runtime/onednn.inc"
};
#define AOTI_PROVIDED(row, function) abi::imported::row::symbol,
inline constexpr const char* fftw_functions[] = {
#include "aoti/runtime/fftw.inc"
};
#define AOTI_PROVIDED(row, function)
#define AOTI_OPERATOR(name, parameters, function) name,
inline constexpr const char* fftw_operators[] = {
#include "aoti/runtime/fftw.inc"
};
#define AOTI_PROVIDED(row, function) abi::imported::row::symbol,
#define AOTI_OPERATOR(name, parameters, function)
inline constexpr const char* lapack_functions[] = {
#include "aoti/runtime/lapack.inc"
};
#define AOTI_PROVIDED(row, function)
#define AOTI_OPERATOR(name, parameters, function) name,
inline constexpr const char* lapack_operators[] = {
#include "aoti/runtime/lapack.inc"
};

/// Whether a provider has an operator; most have none.
template <class Provider> bool has_operator(std::string_view name) noexcept {
  if constexpr (requires { Provider::operators(); }) {
    for (const auto& row : Provider::operators()) {
      if (row.name == name) return true;
    }
  }
  return false;
}

}  // namespace detail

inline constexpr NativeLibrary native_libraries[] = {
    {"oneDNN (aoti/runtime/onednn.hpp)", detail::onednn_functions, {}},
    {"FFTW (aoti/runtime/fftw.hpp)", detail::fftw_functions, detail::fftw_operators},
    {"LAPACK (aoti/runtime/lapack.hpp)", detail::lapack_functions, detail::lapack_operators},
};

/// Beyond what compiled models import on every runtime.
struct NativeNeeds {
  std::vector<std::string> operators;       ///< C functions, and names such as "aten::_fft_c2r".
  std::vector<std::string_view> libraries;  ///< Names of the libraries that provide some of them.
  std::vector<std::string> missing;         ///< Those that no provider of the native runtime has.
};

/// Reads the model's image and calls, and runs nothing. A model with weights packed for torch's
/// oneDNN cannot run without libtorch either, which shows only when it is opened.
/// @errors those of Image::parse and OperatorCalls::read; unsupported (sources only)
inline Result<NativeNeeds> native_needs(const PackagedModel& model) {
  if (model.image.data() == nullptr) {
    return Error{Errc::unsupported, model.origin, "the model has sources only"};
  }
  AOTI_TRY(const auto image, Image::parse(model.image, model.origin));
  AOTI_TRY(const auto calls, OperatorCalls::read(model));
  NativeNeeds needs;
  const auto add_library = [&](std::string_view name) {
    for (const std::string_view known : needs.libraries) {
      if (known == name) return;
    }
    needs.libraries.push_back(name);
  };
  const auto add = [&](std::string_view name, bool plain, auto list_of) {
    needs.operators.emplace_back(name);
    if (plain) return;
    for (const NativeLibrary& library : native_libraries) {
      for (const char* provided : list_of(library)) {
        if (provided == name) return add_library(library.name);
      }
    }
    needs.missing.emplace_back(name);
  };
  for (const ImageImport& import : image.imports()) {
    using Proxy = abi::imported::proxy_executor_call_function;
    if (import.weak || !abi::is_runtime_symbol(import.name) || import.name == Proxy::symbol)
      continue;
    if (import.name.starts_with("Sleef_")) {
      add_library("Sleef (libsleef.so.3)");
    } else if (detail::native_import(import.name) == nullptr) {
      add(import.name, PlainOperators::import(import.name) != nullptr,
          [](const NativeLibrary& library) { return library.functions; });
    }
  }
  for (const std::string& name : calls.names) {
    add(name, detail::has_operator<PlainOperators>(name),
        [](const NativeLibrary& library) { return library.operators; });
  }
  return needs;
}

}  // namespace aoti::inline AOTI_ABI
