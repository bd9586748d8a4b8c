// SPDX-License-Identifier: BSD-3-Clause
// What compiled models import: rows with the first torch release that has each function, and a
// typed table of the functions that the library calls itself.
#pragma once

#include <string>
#include <string_view>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/row.hpp"
#include "aoti/atomic.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI::abi {

/// All rows of imports.inc.
inline constexpr Row import_rows[] = {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  Row{#symbol, Need::need, {major, minor}},
#include "aoti/abi/imports.inc"
};

/// The row of a symbol, or null: models may import functions that have no row.
constexpr const Row* find_import(std::string_view symbol) noexcept {
  for (const Row& row : import_rows) {
    if (symbol == row.symbol) return &row;
  }
  return nullptr;
}

/// Each function by itself: imported::empty_strided::type and ::symbol.
namespace imported {
#define AOTI_ROW(member, name, need, major, minor, result, parameters) \
  struct member {                                                      \
    using type = result parameters;                                    \
    static constexpr const char* symbol = #name;                       \
  };
#include "aoti/abi/imports.inc"
}  // namespace imported

/// A function of a tensor runtime, or null: resolve<Runtime, imported::copy_>().
template <class Runtime, class Function> typename Function::type* resolve() noexcept {
  return reinterpret_cast<typename Function::type*>(Runtime::import(Function::symbol));
}

/// A function of a tensor runtime, called like a function; null if the runtime lacks it.
template <class Runtime, class Function> class Import {
 public:
  using Pointer = typename Function::type*;
  static constexpr const char* symbol = Function::symbol;

  /// Looks the function up at its first use, and again as long as there is none. Thread-safe.
  operator Pointer() const noexcept {
    Pointer function = function_.load();
    if (function == nullptr) [[unlikely]]
      function_.store(function = resolve<Runtime, Function>());
    return function;
  }

 private:
  mutable aoti::detail::Atomic<Pointer> function_ = nullptr;
};

/// A tensor runtime's functions that this library calls itself, to make and copy weights: what
/// ModelExports is for a model. Models call many more; these are bound when a model is loaded.
template <class Runtime> struct ImportTable {
  template <class Function> using Import = abi::Import<Runtime, Function>;

  Import<imported::empty_strided> empty_strided;
  Import<imported::create_tensor_from_blob> create_tensor_from_blob;
  Import<imported::_reinterpret_tensor> _reinterpret_tensor;
  Import<imported::copy_> copy_;
  Import<imported::get_data_ptr> get_data_ptr;
  Import<imported::get_storage_offset> get_storage_offset;

  /// The runtime's table, valid until the process ends.
  static const ImportTable& get() noexcept {
    static const ImportTable table;
    return table;
  }
};

/// Fails unless a runtime has all of some functions:
/// expect(origin, imports.empty_strided, imports.copy_).
/// @param operation what needs them
/// @errors unsupported, with the names of those that are missing
template <class... Imports>
Result<void> expect(const std::string& operation, const Imports&... imports) {
  std::string missing;
  const auto check = [&](bool found, const char* symbol) {
    if (!found) missing.append(missing.empty() ? "" : ", ").append(symbol);
  };
  (check(imports != nullptr, Imports::symbol), ...);
  if (missing.empty()) return success();
  return Error{Errc::unsupported, operation, "the tensor runtime does not have " + missing};
}

/// Whether a symbol is one that a tensor runtime provides, as opposed to the C and C++ libraries.
constexpr bool is_runtime_symbol(std::string_view symbol) noexcept {
  if (symbol.starts_with("_Z")) {  // C++: the first name in it is the namespace
    const std::size_t at = symbol.find_first_of("0123456789");
    const std::string_view name = at != symbol.npos ? symbol.substr(at) : std::string_view{};
    return name.starts_with("3c10") || name.starts_with("2at") || name.starts_with("5torch");
  }
  return symbol.starts_with("aoti_") || symbol.starts_with("torch_") ||
         symbol.starts_with("Sleef_");  // libtorch carries it
}

/// Whether a symbol is one of C++'s operators new and delete that a tensor runtime may replace: the
/// four for arrays, all or none; and the two for single objects, if their memory is the system's,
/// since the C++ library deletes some objects that a model makes, and the other way round.
constexpr bool is_allocation(std::string_view symbol) noexcept {
  return symbol == "_Znam" || symbol == "_ZnamRKSt9nothrow_t" || symbol == "_ZdaPv" ||
         symbol == "_ZdaPvm" || symbol == "_Znwm" || symbol == "_ZdlPvm";
}

}  // namespace aoti::inline AOTI_ABI::abi
