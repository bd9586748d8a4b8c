// SPDX-License-Identifier: BSD-3-Clause
// The names by which weights are set, and the errors for other names.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/package/constants.hpp"
#include "aoti/package/spec.hpp"

namespace aoti::inline AOTI_ABI::detail {

inline bool contains(const std::vector<std::string>& names, std::string_view name) noexcept {
  for (const std::string& one : names) {
    if (one == name) return true;
  }
  return false;
}

/// Whether a constant has this name in the module or inside the compiled code.
inline bool has_fqn(const Constant& constant, std::string_view name) noexcept {
  return constant.fqn == name || contains(constant.aliases, name);
}
inline bool has_own_name(const Constant& constant, std::string_view name) noexcept {
  return constant.name == name;
}

/// The first few names, with "=" between tied ones.
inline std::string list_names(const std::vector<Constant>& constants) {
  std::string names;
  std::size_t left = 8;
  for (const Constant& constant : constants) {
    if (constant.folded) continue;
    if (left-- == 0) return names + ", …";
    names.append(names.empty() ? "" : ", ").append(constant.fqn);
    for (const std::string& alias : constant.aliases) names.append(" = ").append(alias);
  }
  return names.empty() ? "none" : names;
}

/// The answer to a name that no constant has: success if the model does not depend on that weight,
/// else why it cannot be set.
/// @param spec null if the package has none
[[gnu::cold]] inline Result<void> not_a_constant(std::string_view name,
                                                 const std::vector<Constant>& constants,
                                                 const ModelSpec* spec, const std::string& origin) {
  if (spec != nullptr && contains(spec->unused, name)) return success();
  if (spec != nullptr && contains(spec->fixed, name)) {
    return Error{Errc::no_such_constant, concat({"weight '", name, "'"}),
                 "the model was compiled with its values, or with a copy in another form, so "
                 "setting it has no effect; aoti.export keeps weights changeable, except with "
                 "tune, freezing or updatable=False"};
  }
  std::string text =
      concat({"no weight is named '", name, "'; the model has ", list_names(constants)});
  for (const Constant& constant : constants) {
    if (constant.fqn.empty() || !name.ends_with("." + constant.fqn)) continue;
    const std::size_t prefix = name.size() - constant.fqn.size();
    text += concat({"; leave out the prefix '", name.substr(0, prefix), "'"});
    break;
  }
  if (spec == nullptr || spec->constants.empty()) {
    text += " (others were not used, or compiled into its code)";
  }
  return Error{Errc::no_such_constant, origin, std::move(text)};
}

}  // namespace aoti::inline AOTI_ABI::detail
