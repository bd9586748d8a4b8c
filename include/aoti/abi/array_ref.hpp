// SPDX-License-Identifier: BSD-3-Clause
// How memory crosses the C boundary of models that are called without tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "aoti/abi/types.hpp"

namespace aoti::inline AOTI_ABI::abi {

/// The contents of torch's AOTInductorArrayRefTensor. Owns nothing.
struct ArrayRef {
  static constexpr std::size_t max_rank = 8;

  void* data = nullptr;
  std::int64_t size = 0;  ///< The number of elements.
  std::int64_t extents[max_rank] = {};
  std::int64_t steps[max_rank] = {};  ///< The strides, in elements.
  std::int32_t rank = 0;
  DType dtype = DType::float32;
  DeviceType device = DeviceType::cpu;
  std::int32_t device_index = -1;
  std::int64_t reserved[4] = {};
};
static_assert(sizeof(ArrayRef) == 192);

}  // namespace aoti::inline AOTI_ABI::abi
