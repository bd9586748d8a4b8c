// SPDX-License-Identifier: BSD-3-Clause
// Turns whatever a program opens into a model of a package.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/image/image.hpp"
#include "aoti/package/package.hpp"

namespace aoti::inline AOTI_ABI {

/// A model that is part of the program. All of it has static lifetime.
struct LinkedModel {
  std::string_view name;                       ///< In errors.
  const abi::ModelExports* exports = nullptr;  ///< The model's functions.
  Bytes package;                     ///< A .pt2 with its metadata, spec and weights; may be empty.
  Metadata (*metadata)() = nullptr;  ///< Instead of a package; may be null.
  bool is_bound = false;  ///< It calls the native runtime; else the process's global functions.
};

/// A model that is part of the program, by a type that stands for it: `linked<digits>()`.
template <class M> LinkedModel linked() noexcept { return M::linked(); }

namespace detail {

template <class Body>
auto with_linked(const LinkedModel& linked, Body&& body)
    -> decltype(body(std::declval<const PackagedModel&>())) {
  const std::string origin{linked.name};
  PackagedModel model;
  if (linked.package.empty()) {
    model.origin = origin;
    if (linked.metadata != nullptr) model.metadata = linked.metadata();
    model.linked = linked.exports;
    return body(model);
  }
  AOTI_TRY(const auto package, Package::from_bytes(linked.package, origin));
  AOTI_TRY(model, package.model());
  model.linked = linked.exports;
  return body(model);
}

/// Calls `body` with a model of a source (a path, bytes, an open package, a model of one, or a
/// linked model), and returns the result. A package that this opens is closed afterwards.
/// @param name the model's; may be empty if there is only one
/// @errors those of Package::open, Package::model and `body`
template <class Source, class Body>
auto with_model(const Source& source, std::string_view name, Body&& body)
    -> decltype(body(std::declval<const PackagedModel&>())) {
  if constexpr (std::same_as<Source, PackagedModel>) {
    return body(source);
  } else if constexpr (std::same_as<Source, LinkedModel>) {
    return with_linked(source, body);
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

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
