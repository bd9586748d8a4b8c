// SPDX-License-Identifier: BSD-3-Clause
// How a model is called from Python, as data: positional and keyword arguments, nested outputs.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/json.hpp"

namespace aoti::inline AOTI_ABI {

/// A tree of nested containers whose leaves, from left to right, are a model's inputs or outputs.
struct TreeSpec {
  std::string type;               ///< "builtins.dict", …; empty for a leaf.
  std::string context;            ///< What torch's pytree records about the container, as JSON.
  std::vector<std::string> keys;  ///< Of a dict, one for each child.
  std::vector<TreeSpec> children;

  bool is_leaf() const noexcept { return type.empty(); }

  std::size_t leaf_count() const noexcept {
    if (is_leaf()) return 1;
    std::size_t count = 0;
    for (const TreeSpec& child : children) count += child.leaf_count();
    return count;
  }
};

/// A model's signature in torch's terms. It may have more leaves than the model has inputs: Python
/// values other than tensors are leaves too, and are compiled into the model.
struct CallSpec {
  TreeSpec args;    ///< A tuple of positional arguments.
  TreeSpec kwargs;  ///< A dict of keyword arguments.
  TreeSpec result;

  /// Parses the two texts that AOTInductorModelContainerGetCallSpec returns.
  /// @errors damaged_package; unsupported (empty texts: the model has no call spec)
  template <class = void>
  static Result<CallSpec> parse(std::string_view inputs, std::string_view outputs);
};

namespace detail {

template <class = void> Error bad_call_spec(std::string_view text) {
  return {Errc::damaged_package, "call spec", concat({"not a tree spec of version 1: ", text})};
}

/// {"type": …, "context": …, "children_spec": […]}, the format of torch.utils._pytree.
template <class T> bool read_tree(const BasicJson<T>& json, TreeSpec& out) {
  if (!json.is(JsonKind::object) || !json["children_spec"].is(JsonKind::array)) return false;
  out.type = json["type"].string;
  out.context = json["context"].string;
  if (auto keys = BasicJson<T>::parse(out.context, "context");
      keys && keys.value().is(JsonKind::array)) {
    for (BasicJson<T>& key : keys.value().items) {
      if (key.is(JsonKind::string)) out.keys.push_back(std::move(key.string));
    }
  }
  for (const BasicJson<T>& child : json["children_spec"].items) {
    if (!read_tree(child, out.children.emplace_back())) return false;
  }
  if (out.keys.size() != out.children.size()) out.keys.clear();
  return true;
}

template <class T> Result<void> parse_tree(std::string_view text, TreeSpec& out) {
  AOTI_TRY(const auto json, BasicJson<T>::parse(text, "call spec"));
  const auto& items = json.items;
  if (items.size() != 2 || items[0].integer != 1 || !read_tree(items[1], out)) {
    return bad_call_spec(text);
  }
  return success();
}

}  // namespace detail

template <class T>
Result<CallSpec> CallSpec::parse(std::string_view inputs, std::string_view outputs) {
  if (inputs.empty() || outputs.empty()) {
    return Error{Errc::unsupported, "call spec", "the model was compiled without a call spec"};
  }
  TreeSpec in, out;
  AOTI_TRYV(detail::parse_tree<T>(inputs, in));
  AOTI_TRYV(detail::parse_tree<T>(outputs, out));
  if (in.children.size() != 2) return detail::bad_call_spec(inputs);
  return CallSpec{std::move(in.children[0]), std::move(in.children[1]), std::move(out)};
}

}  // namespace aoti::inline AOTI_ABI
