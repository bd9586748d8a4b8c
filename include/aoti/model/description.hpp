// SPDX-License-Identifier: BSD-3-Clause
// What a container knows about its model.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "aoti/abi/types.hpp"
#include "aoti/model/imports.hpp"
#include "aoti/package/constants.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// Names, constants and call spec of a model. Immutable once made.
struct Description {
  std::vector<const char*> inputs;
  std::vector<const char*> outputs;
  std::vector<Constant> constants;  ///< With shapes, strides, and offsets in a blob of weights.
  std::vector<const void*> values;  ///< The constants' first elements, or null, one for each.
  std::string inputs_spec;          ///< JSON of torch.utils._pytree.
  std::string outputs_spec;

  /// Whether the values of all constants that are not folded are part of the model.
  bool has_values() const noexcept {
    for (std::size_t i = 0; i < constants.size(); ++i) {
      if (!constants[i].folded && values[i] == nullptr) return false;
    }
    return true;
  }

  /// Models align constants in a blob to this.
  static constexpr std::size_t alignment = 64;

  /// The bytes of a blob with all constants that are not folded.
  std::size_t blob_size() const noexcept {
    std::size_t size = 0;
    for (const Constant& one : constants) size += one.folded ? 0 : one.bytes;
    return size;
  }
};

namespace detail {

/// A tree spec of so many leaves: a tuple, or a single leaf.
inline std::string tree_of(std::size_t leaves, bool single) {
  std::string leaf = R"({"type": null, "context": null, "children_spec": []})";
  if (single && leaves == 1) return leaf;
  std::string out = R"({"type": "builtins.tuple", "context": "null", "children_spec": [)";
  for (std::size_t i = 0; i < leaves; ++i) out += (i == 0 ? "" : ", ") + leaf;
  return out + "]}";
}

/// The specs of a function of positional arguments.
inline std::string positional_inputs(std::size_t count) {
  return R"([1, {"type": "builtins.tuple", "context": "null", "children_spec": [)" +
         tree_of(count, false) +
         R"(, {"type": "builtins.dict", "context": "[]", "children_spec": []}]}])";
}
inline std::string positional_outputs(std::size_t count) {
  return "[1, " + tree_of(count, true) + "]";
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
