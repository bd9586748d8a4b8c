// SPDX-License-Identifier: BSD-3-Clause
// What a compiled model exports: a typed table, and the one way to call it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/row.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI::abi {

/// A model's functions, one member for each row of exports.inc; null if the model lacks it. A plain
/// copyable value, valid while the library that it was resolved from stays loaded.
struct ModelExports {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  result(*member) parameters = nullptr;
#include "aoti/abi/exports.inc"
};

/// The contents of AOTInductorConstantMapEntry: a constant's name and its tensor.
struct ConstantEntry {
  const char* name;
  AtenTensorHandle tensor;
};

/// All rows, in the order of the members.
inline constexpr Row export_rows[] = {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  Row{#symbol, Need::need, {major, minor}},
#include "aoti/abi/exports.inc"
};

/// The row of one member: export_row<&ModelExports::run>.
template <auto Member> inline constexpr Row export_row{};
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  template <>                                                            \
  inline constexpr Row export_row<&ModelExports::member>{#symbol, Need::need, {major, minor}};
#include "aoti/abi/exports.inc"

/// Fills the table through `resolve`, a `void*(const char* symbol)` that returns null for symbols
/// that it does not have: dlsym, or a test's own functions.
/// @errors missing_export, with the names of all required functions that are missing
template <class Resolve> Result<ModelExports> resolve_exports(Resolve&& resolve) {
  ModelExports table;
  std::string missing;
  const auto fill = [&]<class Function>(Function*& member, const Row& row) {
    member = reinterpret_cast<Function*>(resolve(row.symbol));
    if (member == nullptr && row.need == Need::required) {
      missing.append(missing.empty() ? "" : ", ").append(row.symbol);
    }
  };
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  fill(table.member, Row{#symbol, Need::need, {major, minor}});
#include "aoti/abi/exports.inc"
  if (!missing.empty()) {
    return Error{Errc::missing_export, "resolving the model's functions",
                 "the image does not export " + missing};
  }
  return table;
}

namespace detail {

[[gnu::cold]] inline Error unsupported(const Row& row) {
  const auto [major, minor] = row.since;
  return {Errc::unsupported, row.symbol,
          aoti::detail::concat({"the model does not have this function; models compiled by torch ",
                                major, ".", minor, " or later do"})};
}

/// The model's message on its last failure; models before torch 2.13 only print it.
[[gnu::cold]] inline Error model_error(const ModelExports& exports, const Row& row, int native) {
  const char* text = nullptr;
  if (exports.get_last_error != nullptr) exports.get_last_error(&text);
  std::string words = text != nullptr ? text : "";
  const Errc code = aoti::detail::tells_of_memory(words) ? Errc::out_of_memory : Errc::model_failed;
  if (words.empty()) {
    words = exports.get_last_error != nullptr
                ? "the model returned an error and gave no reason"
                : "the model returned an error; before torch 2.13 models only print the reason";
  }
  return {code, row.symbol, std::move(words), native};
}

}  // namespace detail

/// Calls one of the model's functions: call<&ModelExports::swap_constant_buffer>(table, container).
/// @errors unsupported (the model lacks it), out_of_memory, model_failed, model_threw
template <auto Member, class... Arguments>
Result<void> call(const ModelExports& exports, Arguments... arguments) {
  constexpr const Row& row = export_row<Member>;
  const auto function = exports.*Member;
  if (function == nullptr) return detail::unsupported(row);
  return aoti::detail::guard(Errc::model_threw, row.symbol, [&]() -> Result<void> {
    const AOTIRuntimeError native = function(arguments...);
    if (native != 0) [[unlikely]]
      return detail::model_error(exports, row, native);
    return success();
  });
}

}  // namespace aoti::inline AOTI_ABI::abi
