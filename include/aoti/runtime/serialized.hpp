// SPDX-License-Identifier: BSD-3-Clause
// The numbers that torch writes into packages for dtypes, layouts and memory formats.
#pragma once

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The c10 values for torch's serialized ones, which are numbered differently; -1 if there is none.
inline constexpr signed char serialized_dtypes[] = {-1, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                    11, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                                    -1, -1, -1, -1, 27, 24, 23, 26, 25, 44, 28, 29};
inline constexpr signed char serialized_layouts[] = {-1, 1, 2, 4, 5, 6, 3, 0};
inline constexpr signed char serialized_memory_formats[] = {-1, 0, 2, 3, 1};

}  // namespace aoti::inline AOTI_ABI::detail
