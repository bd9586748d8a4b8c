// SPDX-License-Identifier: BSD-3-Clause
// What a package says about a model's constants, above all its weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"
#include "aoti/file/json.hpp"

namespace aoti::inline AOTI_ABI {

/// What a constant of a model is; the values are torch's ConstantType.
enum class ConstantKind : std::int32_t {
  unknown = 0,
  parameter = 1,
  buffer = 2,
  tensor = 3,
  folded = 4
};

/// One constant of a model.
struct Constant {
  std::string name;  ///< The name inside the compiled code.
  std::string fqn;   ///< The name in the module that was compiled; empty for a folded constant.
  std::vector<std::string> aliases{};  ///< Its other names there, if weights are tied.
  DType dtype{};
  ConstantKind kind = ConstantKind::unknown;  ///< Unknown before torch 2.6.
  /// May include padding, and be the size of a larger storage that this is a view of; 0 before
  /// torch 2.8, which cannot tell.
  std::size_t bytes = 0;
  bool folded = false;  ///< Computed from other constants when the model is loaded.

  // The rest is not reported by any function of the model, but read from the package: from its
  // spec, else from the source that the model was compiled from.
  bool described = false;  ///< Whether shape and strides are known.
  std::vector<std::int64_t> shape{};
  /// Offset of the first element in a blob of weights, in bytes.
  std::size_t offset = 0;
  std::vector<std::int64_t> strides{};  ///< In elements, as the compiled code assumes them.
  /// The device that keeps it: some constants of a model for another device lie on the CPU.
  std::optional<DeviceType> device{};
  /// Computed from weights when the model was compiled (frozen ones, products in C++), under its
  /// own name: it does not follow changes of them.
  bool derived = false;
  bool mutated = false;  ///< The model writes to it when it runs.
  /// Operators may keep its elements in other orders, too: the spec says that the model never
  /// writes to it, and OpenOptions::pack_weights was set.
  bool may_be_packed = false;
};

namespace detail {

inline std::vector<std::int64_t> row_major_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) {
    const std::int64_t size = shape[i] > 1 ? shape[i] : 1;
    if (__builtin_mul_overflow(strides[i], size, &strides[i - 1])) strides[i - 1] = -1;
  }
  return strides;
}

/// The bytes from the first element to the end of the last one; -1 if the numbers make no sense.
inline std::int64_t extent(const std::vector<std::int64_t>& shape,
                           const std::vector<std::int64_t>& strides, DType dtype) noexcept {
  if (shape.size() != strides.size()) return -1;
  std::int64_t last = 0, step = 0, bytes = 0;
  bool empty = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0 || strides[i] < 0) return -1;
    empty |= shape[i] == 0;
    if (shape[i] == 0) continue;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return -1;
    }
  }
  const auto size = static_cast<std::int64_t>(element_size(dtype));
  if (last == std::numeric_limits<std::int64_t>::max() ||
      __builtin_mul_overflow(last + 1, size, &bytes)) {
    return -1;
  }
  return empty ? 0 : bytes;
}

/// Sets a shape, if it agrees with what the model says.
inline void describe(Constant& constant, const std::vector<std::int64_t>& shape,
                     const std::vector<std::int64_t>& strides) {
  const std::int64_t size = extent(shape, strides, constant.dtype);
  const auto stated = static_cast<std::int64_t>(constant.bytes);
  if (size < 0 || element_size(constant.dtype) == 0 || (stated != 0 && size > stated)) return;
  constant.described = true;
  constant.shape = shape;
  constant.strides = strides;
}

/// Copies what a package's spec says about constants; name and dtype must match.
inline void describe_by_spec(std::vector<Constant>& constants, const std::vector<Constant>& spec) {
  for (std::size_t i = 0; i < constants.size() && i < spec.size(); ++i) {
    if (constants[i].name != spec[i].name || constants[i].dtype != spec[i].dtype) continue;
    constants[i].derived = spec[i].derived;
    constants[i].mutated = spec[i].mutated;
    constants[i].may_be_packed = !spec[i].mutated;
    constants[i].aliases = spec[i].aliases;
    if (!spec[i].described) continue;
    describe(constants[i], spec[i].shape, spec[i].strides);
    if (spec[i].offset != 0) constants[i].offset = spec[i].offset;
    constants[i].device = spec[i].device;
  }
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
