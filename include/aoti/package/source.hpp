// SPDX-License-Identifier: BSD-3-Clause
// Turns whatever a program opens into a model of a package.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/image/image.hpp"
#include "aoti/package/package.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Calls `body` with a model of a source (a path, bytes, an open package, or a model of one), and
/// returns the result. A package that this opens is closed afterwards.
/// @param name the model's; may be empty if there is only one
/// @errors those of Package::open, Package::model and `body`
template <class Source, class Body>
auto with_model(const Source& source, std::string_view name, Body&& body)
    -> decltype(body(std::declval<const PackagedModel&>())) {
  if constexpr (std::same_as<Source, PackagedModel>) {
    return body(source);
  } else if constexpr (std::same_as<Source, Package>) {
    AOTI_TRY(auto model, source.model(name));
    return body(model);
  } else if constexpr (std::same_as<Source, Bytes>) {
    const bool bare = Image::recognises(source);
    AOTI_TRY(auto package,
             Package::from_bytes(source, bare ? "image in memory" : "package in memory"));
    return with_model(package, name, body);
  } else {
    AOTI_TRY(auto package, Package::open(source));
    return with_model(package, name, body);
  }
}

}  // namespace aoti::inline AOTI_ABI::detail
