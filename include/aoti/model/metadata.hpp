// SPDX-License-Identifier: BSD-3-Clause
// What a package says about a model that is written in C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "aoti/abi/types.hpp"
#include "aoti/file/json_writer.hpp"
#include "aoti/model/declarations.hpp"
#include "aoti/package/package.hpp"
#include "aoti/package/spec.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

namespace detail {

/// Writes the input spec of a model, see ModelSpec.
class SpecWriter {
 public:
  explicit SpecWriter(std::string_view device) noexcept : device_{device} {}

  template <class M> std::string text() {
    json_.begin_object();
    json_.key("version");
    json_.value(std::int64_t{1});
    ports("inputs", M::inputs);
    ports("outputs", M::outputs);
    json_.key("constants");
    json_.begin_array();
    for (const Declared& one : M::constants) constant(one);
    json_.end_array();
    json_.end_object();
    return json_.text();
  }

 private:
  void ports(const char* key, std::span<const Port> all) {
    json_.key(key);
    json_.begin_array();
    for (const Port& one : all) {
      json_.begin_object();
      tensor(one.name, one.dtype);
      for (const Dim& dim : std::span{one.dims}.first(one.rank)) size(dim);
      json_.end_array();
      json_.end_object();
    }
    json_.end_array();
  }

  void constant(const Declared& one) {
    json_.begin_object();
    tensor(one.name, one.dtype);
    for (std::size_t d = 0; d < one.shape.rank; ++d) json_.value(one.shape.sizes[d]);
    json_.end_array();
    json_.key("bytes");
    json_.value(one.shape.count() * static_cast<std::int64_t>(element_size(one.dtype)));
    member("kind", one.kind == ConstantKind::folded   ? "folded"
                   : one.kind == ConstantKind::buffer ? "buffer"
                                                      : "parameter");
    member("fqn", one.kind == ConstantKind::folded ? "" : one.name);
    if (one.kind == ConstantKind::buffer) {
      json_.key("mutated");
      json_.value(true);
    }
    json_.end_object();
  }

  /// Leaves the array of sizes open.
  void tensor(std::string_view name, DType dtype) {
    member("name", name);
    member("dtype", to_string(dtype));
    member("device", device_);
    json_.key("shape");
    json_.begin_array();
  }

  void size(const Dim& dim) {
    if (dim.size >= 0) {
      json_.value(dim.size);
      return;
    }
    json_.begin_object();
    member(dim.name != nullptr ? "symbol" : "text", dim.name != nullptr ? dim.name : "any");
    json_.key("min");
    json_.null();
    json_.key("max");
    json_.null();
    json_.end_object();
  }

  void member(const char* key, std::string_view value) {
    json_.key(key);
    json_.value(value);
  }

  std::string_view device_;
  aoti::detail::JsonWriter json_;
};

}  // namespace detail

/// The metadata for a package with this model, the input spec included.
template <class M> Metadata metadata() {
  using Device = typename M::Device;
  const std::string device{Device::key};
  Metadata all;
  all.items.emplace_back("AOTI_DEVICE_KEY", device);
#if defined(__linux__)
  all.items.emplace_back("AOTI_PLATFORM", "linux");
#endif
#if defined(__x86_64__)
  all.items.emplace_back("AOTI_MACHINE", "x86_64");
#elif defined(__aarch64__)
  all.items.emplace_back("AOTI_MACHINE", "aarch64");
#endif
  all.items.emplace_back(ModelSpec::metadata_key, detail::SpecWriter{device}.template text<M>());
  return all;
}

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
