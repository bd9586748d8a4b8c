// SPDX-License-Identifier: BSD-3-Clause
// Stands in for torch's header of this name when a compiled model's C++ becomes part of a program:
// the model calls the program's tensor runtime.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/macros.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Float8_e4m3fn.h>
#include <torch/headeronly/util/Float8_e4m3fnuz.h>
#include <torch/headeronly/util/Float8_e5m2.h>
#include <torch/headeronly/util/Float8_e5m2fnuz.h>
#include <torch/headeronly/util/Half.h>
#include <torch/headeronly/util/complex.h>

#include "aoti/abi/types.hpp"
#include "aoti/model/imports.hpp"

/// The number of a C++ type's element type.
template <class T> std::int32_t aoti_torch_dtype() {
  if constexpr (std::is_same_v<T, c10::BFloat16>) return aoti_torch_dtype_bfloat16();
  else if constexpr (std::is_same_v<T, c10::Half>) return aoti_torch_dtype_float16();
  else if constexpr (std::is_same_v<T, c10::Float8_e5m2>) return aoti_torch_dtype_float8_e5m2();
  else if constexpr (std::is_same_v<T, c10::Float8_e4m3fn>) return aoti_torch_dtype_float8_e4m3fn();
  else if constexpr (std::is_same_v<T, c10::Float8_e5m2fnuz>)
    return aoti_torch_dtype_float8_e5m2fnuz();
  else if constexpr (std::is_same_v<T, c10::Float8_e4m3fnuz>)
    return aoti_torch_dtype_float8_e4m3fnuz();
  else if constexpr (std::is_same_v<T, c10::complex<float>>) return aoti_torch_dtype_complex64();
  else return static_cast<std::int32_t>(aoti::dtype_of<T>);
}

/// Fails with a text, which need not be given, unless a condition holds.
#define AOTI_TORCH_CHECK(condition, ...)                                              \
  if (!(condition)) {                                                                 \
    aoti_torch_check(false, __func__, __FILE__, static_cast<std::uint32_t>(__LINE__), \
                     STD_TORCH_CHECK_MSG(condition, "", ##__VA_ARGS__));              \
  }
