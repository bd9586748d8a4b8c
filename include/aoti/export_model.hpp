// SPDX-License-Identifier: BSD-3-Clause
// Makes a shared object of a model that is written in C++. Include it in one file of that library.
#pragma once

#include <boost/preprocessor/cat.hpp>
#include <boost/preprocessor/punctuation/comma_if.hpp>
#include <boost/preprocessor/seq/for_each_i.hpp>
#include <boost/preprocessor/tuple/to_seq.hpp>

#include "aoti/model/exported.hpp"
#include "aoti/model/metadata.hpp"
#include "aoti/model/model.hpp"

namespace aoti_exported {
static constexpr aoti::abi::ModelExports table() noexcept;
static aoti::Metadata metadata();
}  // namespace aoti_exported

/// Exports a model, whose class derives from aoti::model::Model: all functions that torch's runners
/// and this library's call. Stands at the end of a file, outside of any namespace, once in a
/// library.
#define AOTI_EXPORT_MODEL(M)                                                             \
  static constexpr aoti::abi::ModelExports aoti_exported::table() noexcept {             \
    return aoti::model::Exported<aoti::model::Written<M>>::table();                      \
  }                                                                                      \
  static aoti::Metadata aoti_exported::metadata() { return aoti::model::metadata<M>(); } \
  static_assert(true)

// The functions that a host looks for. In optimised code, each is the model's own.
extern "C" {
#define AOTI_PARAMETER(r, data, i, type) BOOST_PP_COMMA_IF(i) type BOOST_PP_CAT(a, i)
#define AOTI_ARGUMENT(r, data, i, type) BOOST_PP_COMMA_IF(i) BOOST_PP_CAT(a, i)
#define AOTI_EACH(what, parameters) \
  BOOST_PP_SEQ_FOR_EACH_I(what, ~, BOOST_PP_TUPLE_TO_SEQ(parameters))
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters)                \
  [[gnu::visibility("default")]] result symbol(AOTI_EACH(AOTI_PARAMETER, parameters)) { \
    return aoti_exported::table().member(AOTI_EACH(AOTI_ARGUMENT, parameters));         \
  }
#include "aoti/abi/exports.inc"

/// What belongs into a package with this model, for tools: calls `take(context, key, value)` for
/// each item of its metadata.
[[gnu::visibility("default")]] void AotiModelMetadata(void (*take)(void*, const char*, const char*),
                                                      void* context) {
  for (const auto& [key, value] : aoti_exported::metadata().items) {
    take(context, key.c_str(), value.c_str());
  }
}
#undef AOTI_EACH
#undef AOTI_ARGUMENT
#undef AOTI_PARAMETER
}
