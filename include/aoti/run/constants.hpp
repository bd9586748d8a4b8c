// SPDX-License-Identifier: BSD-3-Clause
// A model's constants, its weights above all: what is known of them, and from where.
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
#include "aoti/load/json.hpp"

namespace aoti {

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
  std::vector<std::string> aliases{};  ///< Its other names there, where weights are tied.
  DType dtype{};
  ConstantKind kind = ConstantKind::unknown;  ///< Unknown before torch 2.6.
  /// May be padded, and of a larger storage, of which this is a view; 0 before torch 2.8, which
  /// cannot tell.
  std::size_t bytes = 0;
  bool folded = false;  ///< Computed from other constants when the model is loaded.

  // What no function of the model tells. It comes from the package: from its spec, else from the
  // source that the model was compiled from.
  bool described = false;  ///< Whether shape and strides are known.
  std::vector<std::int64_t> shape{};
  /// Of the first element in a blob of weights, in bytes.
  std::size_t offset = 0;
  std::vector<std::int64_t> strides{};  ///< In elements, as the compiled code assumes them.
  /// Where it is kept: some of a model for another device lie on the CPU.
  std::optional<DeviceType> device{};
  /// Computed from weights when the model was compiled (frozen ones, products in C++), under a name
  /// of its own: it does not follow them.
  bool derived = false;
  bool mutated = false;  ///< The model writes to it when it runs.
};

/// Which weights a model has.
enum class WeightsState : std::uint8_t {
  none,    ///< None, or not all: it cannot run.
  loaded,  ///< All but those that are computed from others. No runner is left so by opening.
  folded,  ///< All; also where none is computed from others. It can run.
};

namespace detail {

/// What is in the two buffers of weights that a container has, and which memory they use. A
/// container makes one block of memory for the weights that it copies itself; other tensors are
/// counted by reference.
struct WeightsLedger {
  WeightsState state = WeightsState::none;
  bool occupied = false;                // the inactive buffer holds something
  bool staged = false;                  // the inactive buffer holds a complete set
  bool waits = false;                   // and one that was never swapped in
  bool folded_freed = false;            // it held folded constants, which were freed
  bool block = false;                   // there is a block
  bool block_active = true;             // it belongs to the active buffer
  bool block_lent = false;              // others use it
  std::vector<char> in_block{};         // which of the active constants lie in the block
  std::vector<char> staged_in_block{};  // and which of the inactive ones

  // The handles that the model made of tensors it was given, in the set in use and in the other,
  // where it never destroys them: they are destroyed once it holds them no more.
  std::vector<AtenTensorHandle> forgotten{};
  std::vector<AtenTensorHandle> forgotten_inactive{};
  void (*destroy)(AtenTensorHandle) = nullptr;
};

template <class = void>
std::vector<std::int64_t> row_major_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) {
    const std::int64_t size = shape[i] > 1 ? shape[i] : 1;
    if (__builtin_mul_overflow(strides[i], size, &strides[i - 1])) strides[i - 1] = -1;
  }
  return strides;
}

/// The bytes from the first element to behind the last one; -1 where the numbers are nonsense.
template <class = void>
std::int64_t extent(const std::vector<std::int64_t>& shape,
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

/// Takes a shape over, if it goes with what the model says.
template <class = void>
void describe(Constant& constant, const std::vector<std::int64_t>& shape,
              const std::vector<std::int64_t>& strides) {
  const std::int64_t size = extent(shape, strides, constant.dtype);
  const auto stated = static_cast<std::int64_t>(constant.bytes);
  if (size < 0 || element_size(constant.dtype) == 0 || (stated != 0 && size > stated)) return;
  constant.described = true;
  constant.shape = shape;
  constant.strides = strides;
}

/// Takes over what a package's spec says of constants, which name and dtype must match.
template <class = void>
void describe_by_spec(std::vector<Constant>& constants, const std::vector<Constant>& spec) {
  for (std::size_t i = 0; i < constants.size() && i < spec.size(); ++i) {
    if (constants[i].name != spec[i].name || constants[i].dtype != spec[i].dtype) continue;
    constants[i].derived = spec[i].derived;
    constants[i].mutated = spec[i].mutated;
    constants[i].aliases = spec[i].aliases;
    if (!spec[i].described) continue;
    describe(constants[i], spec[i].shape, spec[i].strides);
    if (spec[i].offset != 0) constants[i].offset = spec[i].offset;
    constants[i].device = spec[i].device;
  }
}

/// Reads the shapes from the C++ source of a model, in which Inductor writes
/// `constants_info_[3].shape = {8, 32};` and the like.
template <class = void> struct SourceReader {
  std::string_view text;

  /// The text up to `end`, which is skipped.
  std::string_view until(std::string_view end) {
    const std::size_t at = text.find(end);
    const std::string_view found = text.substr(0, at);
    text = at == text.npos ? std::string_view{} : text.substr(at + end.size());
    return found;
  }

  static bool number(std::string_view digits, std::int64_t& out) {
    out = 0;
    for (const char digit : digits) {
      if (digit < '0' || digit > '9' || __builtin_mul_overflow(out, 10, &out) ||
          __builtin_add_overflow(out, digit - '0', &out)) {
        return false;
      }
    }
    return !digits.empty();
  }

  /// "{8, 32}"; numbers may end in L.
  static bool numbers(std::string_view list, std::vector<std::int64_t>& out) {
    if (!list.starts_with('{') || !list.ends_with('}')) return false;
    SourceReader items{list.substr(1, list.size() - 2)};
    while (!items.text.empty()) {
      std::string_view item = items.until(",");
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with('L') || item.ends_with(' ')) item.remove_suffix(1);
      if (!number(item, out.emplace_back())) return false;
    }
    return true;
  }

  void read(std::vector<Constant>& constants) {
    constexpr std::string_view info = "constants_info_[";
    struct Found {
      bool named = false, strided = false, placed = false, sized = false, stepped = false;
      std::int64_t start = 0;  // in its storage, in elements
      std::optional<DeviceType> device;
      std::vector<std::int64_t> shape, strides;
    };
    std::vector<Found> all(constants.size());
    while (until(info), !text.empty()) {
      std::int64_t index = 0;
      if (!number(until("]."), index) || static_cast<std::size_t>(index) >= all.size()) continue;
      Found& found = all[static_cast<std::size_t>(index)];
      const Constant& constant = constants[static_cast<std::size_t>(index)];
      const std::string_view field = until(" = "), value = until(";");
      if (field == "name") found.named = value == concat({"\"", constant.name, "\""});
      if (field == "shape") found.sized = numbers(value, found.shape);
      if (field == "stride") found.stepped = numbers(value, found.strides);
      if (field == "offset") found.placed = number(value, found.start);
      constexpr std::string_view prefix = "cached_torch_device_type_";
      if (DeviceType type{}; field == "device_type" && value.starts_with(prefix) &&
                             parse_device_type(value.substr(prefix.size()), type)) {
        found.device = type;
      }
      if (field == "layout") found.strided = value.find("layout_strided") != value.npos;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Found& found = all[i];
      std::int64_t start = 0;
      if (found.named && found.strided && found.placed && found.sized && found.stepped &&
          !__builtin_mul_overflow(found.start, element_size(constants[i].dtype), &start)) {
        describe(constants[i], found.shape, found.strides);
        constants[i].offset += static_cast<std::size_t>(start);
        constants[i].device = found.device;
      }
    }
  }
};

}  // namespace detail
}  // namespace aoti
