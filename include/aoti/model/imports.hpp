// SPDX-License-Identifier: BSD-3-Clause
// The functions that models call, under torch's names.
#pragma once

#include "aoti/abi/handles.hpp"

// What includes this differs between the two: it is in an inline namespace of aoti::model, so that
// a program can have both.
#if defined(AOTI_LINKED_RUNTIME)
#define AOTI_MODEL_ABI linked_in
#else
#define AOTI_MODEL_ABI loaded
#endif

#if defined(AOTI_LINKED_RUNTIME)

// The model becomes part of a program, and calls that program's tensor runtime directly.
#include "aoti/model/bound.hpp"

#define AOTI_ROW(member, symbol, need, major, minor, result, parameters)            \
  [[maybe_unused]] static constexpr aoti::model::Bound<AOTI_LINKED_RUNTIME,         \
                                                       aoti::abi::imported::member> \
      symbol{};
#include "aoti/abi/imports.inc"

#else

// The host provides them when it loads the model.
extern "C" {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) result symbol parameters;
#include "aoti/abi/imports.inc"
}

#endif
