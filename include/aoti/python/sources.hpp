// SPDX-License-Identifier: BSD-3-Clause
// Packages of sources, which are compiled when opened.
#pragma once

#include <unistd.h>

#include <span>
#include <string>
#include <string_view>

#include "aoti/package/package.hpp"
#include "aoti/python/errors.hpp"

namespace aoti::inline AOTI_ABI::python {

/// A package's bytes, or its path.
inline Result<Package> open_package(std::string_view source, bool in_memory) {
  return in_memory ? Package::from_bytes(std::as_bytes(std::span{source}))
                   : Package::open(std::string{source});
}

/// The same; if the model has only sources, the package compiled from them.
inline Package open_compiled(std::string_view source, bool in_memory, std::string_view model) {
  Package package = without_gil([&] { return open_package(source, in_memory); });
  const auto found = package.model(model);
  if (!found || !found.value().image.empty()) return package;
  const auto compile = py::module_::import("aoti._sources").attr("compiled_package");
  const py::object made =
      compile(py::bytes(source.data(), source.size()), in_memory, text_of(model));
  if (made.is_none()) return package;
  const auto path = made.cast<std::string>();
  auto compiled = Package::open(path);
  ::unlink(path.c_str());
  return value_or_raise(std::move(compiled));
}

}  // namespace aoti::inline AOTI_ABI::python
